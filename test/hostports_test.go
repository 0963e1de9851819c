package test

import (
	"fmt"
	"net"
	"os"
	"slices"
	"testing"

	"pgo/test/rig"
)

// portRow is one of `//ports --json`.
type portRow struct {
	First, Last                  int
	Granted                      string `json:"granted_to"`
	Service                      string `json:"used_by"`
	Protocol, Container, Program string
	Addresses                    []string
	PID                          int
	Conflict                     string
	Deaf                         []string
}

// The owners of host ports: who is granted them, who really uses them, and where those
// conflict.
func TestHostPorts(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, late, operator := r.Service("web"), r.Service("late"), r.Key("operator")
	first, squatted := freePorts(t, 5), r.Port()
	web.Set("ports", []string{fmt.Sprintf("%d/5", first)})
	late.Set("allow", []string{"network_mode:host"})
	squats := r.Site(squatted, "squats")
	squats["compose.yaml"] += fmt.Sprintf(`  bare:
    image: %s
    network_mode: host
    command: ["httpd", "-f", "-p", "127.0.0.1:%d"]
    init: true
`, r.Busybox(), first)
	commits := []string{web.Push("first", r.Site(first+1, "hello")), late.Push("first", squats)}
	pgod := r.Pgod(web, late)
	pgod.Operators(operator)
	pgod.Flags = []string{"--restart=false"}
	pgod.Start()
	deployed(t, pgod, web, commits[0])
	deployed(t, pgod, late, commits[1])
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+3))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	// The ports that late uses by now are granted to another service.
	web.Set("ports", []string{fmt.Sprintf("%d/5", first), fmt.Sprint(squatted)})
	pgod.Configure()
	says(t, pgod.SSH(operator, "//reload").Exits(t, 0).Stdout, "changed:   "+web.Name)

	ports := func() map[int]portRow {
		t.Helper()
		rows := map[int]portRow{}
		all := read[struct{ Ports, Free []portRow }](t, pgod.SSH(operator, "//ports", "--json").Exits(t, 0).Stdout)
		for _, row := range all.Ports {
			if first <= row.First && row.First <= first+5 || row.First == squatted || row.Granted != "" {
				rows[row.First] = row
			}
			for _, free := range all.Free {
				if free.First <= row.Last && row.First <= free.Last {
					t.Errorf("%+v is listed as free, and there is %+v", free, row)
				}
			}
		}
		if !slices.ContainsFunc(all.Free, func(free portRow) bool { return free.Last > free.First }) {
			t.Errorf("the free ports are %+v", all.Free)
		}
		return rows
	}
	rig.Until(t, "the workers to report their ports", func() error {
		if all := ports(); all[first].Container == "" || all[first+1].Container == "" {
			return fmt.Errorf("they say %+v and %+v", all[first], all[first+1])
		}
		return nil
	})
	bare := ports()[first].PID
	if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", bare)); err != nil || string(name) != "httpd\n" {
		t.Errorf("the process %d, which should be in the container, is %q: %v", bare, name, err)
	}
	loopback := []string{"127.0.0.1"}
	_, own, _ := net.SplitHostPort(pgod.Address)
	want := map[int]portRow{
		first: { // in the host's network, where the engine knows of no port
			First: first, Last: first, Granted: web.Name, Service: late.Name, Protocol: "tcp", Addresses: loopback,
			Container: late.Name + "-bare-1", Program: "httpd", PID: bare, Conflict: "granted to " + web.Name + ", used by " + late.Name,
		},
		first + 1: {First: first + 1, Last: first + 1, Granted: web.Name, Service: web.Name, Protocol: "tcp", Addresses: loopback, Container: web.Name + "-site-1"},
		first + 2: {First: first + 2, Last: first + 2, Granted: web.Name},
		first + 3: {
			First: first + 3, Last: first + 3, Granted: web.Name, Protocol: "tcp", Addresses: loopback, Program: "test.test", PID: os.Getpid(),
			Conflict: "granted to " + web.Name + ", used by another program",
		},
		first + 4: {First: first + 4, Last: first + 5, Granted: web.Name},
		squatted: {
			First: squatted, Last: squatted, Granted: web.Name, Service: late.Name, Protocol: "tcp", Addresses: loopback, Container: late.Name + "-site-1",
			Conflict: "granted to " + web.Name + ", used by " + late.Name,
		},
	}
	rows := ports()
	for port, want := range want {
		if got := rows[port]; fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("port %d: %+v, not %+v", port, got, want)
		}
		delete(rows, port)
	}
	for _, row := range rows { // pgod's own, and no other
		if fmt.Sprint(row.First) != own || row.Service != "(pgod)" || row.Granted != "(pgod)" || row.Conflict != "" {
			t.Errorf("there is also %+v", row)
		}
	}
	for client, table := range bothClients(t, pgod, operator, "//ports") {
		says(t, table, fmt.Sprintf("test.test (pid %d)", os.Getpid()), fmt.Sprintf("%s-bare-1: httpd (pid %d)", late.Name, bare), "\nfree (granted to nobody and not in use): ", "granted to "+web.Name+", used by "+late.Name)
		if unused := line(t, table, fmt.Sprintf("%d-%d", first+4, first+5)); unused[1] != web.Name || unused[2] != "-" {
			t.Errorf("%s: ports that nobody uses have the line %q", client, unused)
		}
	}

	// The engine's program at a port can end while the container runs.
	all, err := rig.Processes()
	if err != nil {
		t.Fatal(err)
	}
	proxies := slices.DeleteFunc(all, func(p rig.Process) bool {
		return p.Name != "docker-proxy" || !slices.Contains(p.Args, fmt.Sprint(first+1))
	})
	if len(proxies) != 1 {
		t.Fatalf("the proxies of port %d are %v", first+1, proxies)
	}
	kill(t, proxies[0].PID)
	deaf := fmt.Sprintf("unwell:    nothing listens at the host port 127.0.0.1:%d/tcp of %s-site-1 any more", first+1, web.Name)
	shows(t, pgod, web, "state:     unwell", deaf)
	says(t, pgod.Log(), "nothing listens at a host port of a container")
	if row := ports()[first+1]; !slices.Equal(row.Deaf, loopback) || row.Conflict != "" {
		t.Errorf("//ports --json has %+v", row)
	}
	says(t, pgod.SSH(operator, "//ports").Exits(t, 0).Stdout, "nothing listens at 127.0.0.1 any more: restart brings it back")
	pgod.SSH(web.Key, web.Op("restart")).Exits(t, 0)
	r.Answers(first+1, "hello")
	shows(t, pgod, web, "state:     running")
	if row := ports()[first+1]; row.Deaf != nil {
		t.Errorf("//ports --json still has %+v", row)
	}

	// What is given up is no longer in use.
	listener.Close()
	pgod.SSH(late.Key, late.Op("down")).Exits(t, 0)
	rig.Until(t, "no port to be in conflict", func() error {
		for _, row := range ports() {
			if row.Conflict != "" {
				return fmt.Errorf("there is %+v", row)
			}
		}
		return nil
	})
}
