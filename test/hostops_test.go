package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"pgo/internal/hoststat"
	"pgo/test/rig"
)

// bothClients runs an operation on the host with each of the clients, and returns their output.
func bothClients(t *testing.T, pgod *rig.Pgod, operator *rig.Key, words ...string) map[string]string {
	t.Helper()
	return map[string]string{
		"ssh":    pgod.SSH(operator, words...).Exits(t, 0).Stdout,
		"pgoctl": pgod.Pgoctl(operator, words...).Exits(t, 0).Stdout,
	}
}

// hostStatus is what `//status --json` says, as far as the tests care.
type hostStatus struct {
	Services []struct {
		status
		State string
	}
	ConfigError *struct {
		Text    string
		Details []string
	} `json:"config_error"`
}

func read[T any](t *testing.T, text string) T {
	t.Helper()
	var value T
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return value
}

// line returns the words of the table's line that begins with the name.
func line(t *testing.T, table, name string) []string {
	t.Helper()
	for line := range strings.Lines(table) {
		if words := strings.Fields(line); len(words) > 0 && words[0] == name {
			return words
		}
	}
	t.Fatalf("there is no %s in\n%s", name, table)
	return nil
}

// One table shows the state of all services: what runs, what is refused, what is down, and what
// has no worker.
func TestHostStatus(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, bad, off, operator := r.Service("web"), r.Service("bad"), r.Service("off"), r.Key("operator")
	commits := map[*rig.Service]string{}
	for _, s := range []*rig.Service{web, bad, off} {
		commits[s] = s.Push("first", r.Idle())
	}
	nobody := r.Service("nobody")
	nobody.Set("user", r.Prefix+"-no-such-user")
	pgod := r.Pgod(web, bad, off, nobody)
	pgod.Operators(operator)
	pgod.Start()
	for s, commit := range commits {
		deployed(t, pgod, s, commit)
	}
	idle := r.Idle()
	refused := bad.Push("asks for too much", idle.With("compose.yaml", idle["compose.yaml"]+"    privileged: true\n"))
	shows(t, pgod, bad, "state:     refused")
	pgod.SSH(off.Key, off.Op("down")).Exits(t, 0)
	shows(t, pgod, off, "state:     down")
	shows(t, pgod, web, "state:     running")
	showsTo(t, pgod, operator, nobody, "worker:    backoff")

	for client, table := range bothClients(t, pgod, operator, "//status") {
		if strings.Contains(table, "\x1b") {
			t.Errorf("%s: colours in a pipe: %q", client, table)
		}
		pid := fmt.Sprint(pgod.WorkerPID(web))
		for s, want := range map[*rig.Service][]string{
			web: {"running", commits[web][:7], commits[web][:7], "deployed", "ready", pid, "0", "-"},
			bad: {"refused", commits[bad][:7], refused[:7], "refused", "ready"},
			off: {"down", commits[off][:7], commits[off][:7], "down", "ready"},
		} {
			found := slices.Delete(line(t, table, s.Name)[1:], 2, 3) // the age
			if !slices.Equal(found[:len(want)], want) {
				t.Errorf("%s: %s has the line %q, not %q", client, s.Name, found, want)
			}
		}
		says(t, table, "the policy refuses "+refused[:7])
		if state := line(t, table, nobody.Name)[1]; state != "no-worker" && state != "crashloop" {
			t.Errorf("%s: a service without a user is %s", client, state)
		}
	}
	for client, text := range bothClients(t, pgod, operator, "//status", "--json") {
		states := map[string]string{}
		for _, s := range read[hostStatus](t, text).Services {
			states[s.Service] = s.State
		}
		if len(states) != 4 || states[web.Name] != "running" || states[bad.Name] != "refused" || states[off.Name] != "down" {
			t.Errorf("%s: %v", client, states)
		}
	}
	agree(t, pgod, operator, web, bad, off)

	for _, client := range onTerminal(pgod) {
		seat := sit(t, client(operator, "//status"), 200, 50)
		seat.shows(`\x1b\[31mrefused\x1b\[0m +` + commits[bad][:7])
		seat.shows(`\x1b\[32mrunning\x1b\[0m +` + commits[web][:7])
		seat.ends(0)
		seat = sit(t, client(bad.Key, bad.Op("status")), 200, 50)
		seat.shows(`state: +\x1b\[31mrefused\x1b\[0m\r\n`)
		seat.shows(`worker: +\x1b\[32mready\x1b\[0m, pid`)
		seat.ends(0)
	}

	for _, operation := range []string{"//status", "//top", "//ports", "//reload", "//metrics"} {
		says(t, pgod.SSH(web.Key, operation).Exits(t, 401%256).Stderr, "is not an operator's")
	}
}

// agree compares the metrics with the status.
func agree(t *testing.T, pgod *rig.Pgod, operator *rig.Key, services ...*rig.Service) {
	t.Helper()
	all := read[hostStatus](t, pgod.SSH(operator, "//status", "--json").Exits(t, 0).Stdout)
	for client, text := range bothClients(t, pgod, operator, "//metrics") {
		values := metricsOf(t, text)
		for _, s := range services {
			for _, of := range all.Services {
				if of.Service != s.Name {
					continue
				}
				for series, want := range map[string]float64{
					"pgo_service_state " + s.Name + " " + of.State:            1,
					"pgo_service_last_outcome " + of.Outcome + " " + s.Name:   1,
					"pgo_service_deployed_info " + of.Deployed + " " + s.Name: 1,
					"pgo_service_head_info " + of.Head + " " + s.Name:         1,
					"pgo_worker_state " + s.Name + " " + of.Worker.State:      1,
					"pgo_worker_restarts_total " + s.Name:                     0,
					"pgo_service_deploys_total deployed " + s.Name:            1,
				} {
					if got, found := values[series]; got != want || !found {
						t.Errorf("%s: %s is %f (%v), not %f", client, series, got, found, want)
					}
				}
			}
		}
		for _, series := range []string{"pgo_build_info test", "pgo_config_last_reload_successful"} {
			if values[series] != 1 {
				t.Errorf("%s: %s is %f", client, series, values[series])
			}
		}
		if values["pgo_ssh_connections"] < 1 { // this one
			t.Errorf("%s: there is no connection", client)
		}
	}
}

// metricsOf returns the values by name and labels.
func metricsOf(t *testing.T, text string) map[string]float64 {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			series := name
			for _, label := range m.GetLabel() {
				series += " " + label.GetValue()
			}
			values[series] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return values
}

// A reload reports what it changed. A bad configuration changes nothing, and is reported until
// it is fixed.
func TestHostReload(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, late, operator := r.Service("web"), r.Service("late"), r.Key("operator")
	commits := []string{web.Push("first", r.Idle()), late.Push("first", r.Idle())}
	pgod := r.Pgod(web)
	pgod.Operators(operator)
	pgod.Flags = []string{"--restart=false"}
	pgod.Start()
	deployed(t, pgod, web, commits[0])
	before, worker := startedAt(t, web), pgod.WorkerPID(web)

	pgod.Configure(web, late)
	added := pgod.SSH(operator, "//reload").Exits(t, 0)
	if want := "added:     " + late.Name + "\nchanged:   -\nremoved:   -\nunchanged: " + web.Name + "\n"; added.Stdout != want || added.Stderr != "" {
		t.Errorf("got %+v, not %s", added, want)
	}
	deployed(t, pgod, late, commits[1])

	good, err := os.ReadFile(pgod.ConfigFile)
	if err != nil {
		t.Fatal(err)
	}
	bad := strings.Replace(string(good), "name = ", "nmae = ", 1) + "\nintervall = \"1m\"\nallow = [\"privilegd\"]\n"
	if err := os.WriteFile(pgod.ConfigFile, []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	mistakes := []string{pgod.ConfigFile + ":", `nmae: unknown key; did you mean "name"?`, `intervall: unknown key; did you mean "interval"?`, `"privilegd" is not a rule of the policy; did you mean privileged?`}
	stock := pgod.SSH(operator, "//reload").Exits(t, 400%256)
	says(t, stock.Stderr, append(mistakes, "the old one stays in force")...)
	if n := strings.Count(stock.Stderr, pgod.ConfigFile); n < 2 || stock.Stdout != "" {
		t.Errorf("%d mistakes are reported: %+v", n, stock)
	}
	says(t, pgod.Pgoctl(operator, "//reload").Exits(t, 64).Stderr, append(mistakes, "Process exited with status 400")...)
	for client, table := range bothClients(t, pgod, operator, "//status") {
		if err := has(table, append(mistakes, "The newest configuration is bad (for ")...); err != nil {
			t.Errorf("%s: %v", client, err)
		}
	}
	status := read[hostStatus](t, pgod.SSH(operator, "//status", "--json").Exits(t, 0).Stdout)
	if e := status.ConfigError; e == nil || len(e.Details) < 2 || !strings.Contains(e.Text, pgod.ConfigFile) {
		t.Errorf("as JSON it is %+v", e)
	}
	if values := metricsOf(t, pgod.SSH(operator, "//metrics").Exits(t, 0).Stdout); values["pgo_config_last_reload_successful"] != 0 {
		t.Error("the metrics do not show it")
	}
	says(t, pgod.Log(), "cannot reload the configuration")

	pgod.Configure(web) // without late
	removed := pgod.Pgoctl(operator, "//reload").Exits(t, 0)
	says(t, removed.Stdout, "removed:   "+late.Name, "unchanged: "+web.Name)
	if status := read[hostStatus](t, pgod.SSH(operator, "//status", "--json").Exits(t, 0).Stdout); status.ConfigError != nil || len(status.Services) != 1 {
		t.Errorf("after it was fixed: %+v", status)
	}
	stays(t, web, before, "reload")
	if now := pgod.WorkerPID(web); now != worker {
		t.Errorf("the worker was replaced: %d, then %d", worker, now)
	}

	// An operation right after a reload waits for the new worker.
	pgod.Configure(web.Set("timeout", "9m"))
	says(t, pgod.SSH(operator, "//reload").Exits(t, 0).Stdout, "changed:   "+web.Name)
	pgod.SSH(web.Key, web.Op("ps")).Exits(t, 0)
}

// of returns the service's part of a snapshot.
func of(snapshot hoststat.Snapshot, s *rig.Service) hoststat.Service {
	i := slices.IndexFunc(snapshot.Services, func(one hoststat.Service) bool { return one.Name == s.Name })
	if i < 0 {
		return hoststat.Service{}
	}
	return snapshot.Services[i]
}

func measured(u *hoststat.Usage) bool { return u != nil && u.CPU != nil }

// besideStuck stops the worker of one service and reads snapshots, until one shows what the
// other uses, and then disconnects. The worker is continued at the end.
func besideStuck(t *testing.T, pgod *rig.Pgod, top *exec.Cmd, busy, stuck *rig.Service) {
	t.Helper()
	stopped := 0
	stop := func(pid int) {
		if pid > 0 && syscall.Kill(pid, syscall.SIGSTOP) == nil {
			stopped = pid
		}
	}
	stop(pgod.WorkerPID(stuck))
	defer func() {
		if stopped > 0 {
			_ = syscall.Kill(stopped, syscall.SIGCONT)
		}
	}()
	pipe, err := top.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := top.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(pipe)
	rig.Until(t, "a snapshot while a worker is stuck", func() error {
		if !lines.Scan() {
			t.Fatalf("%v has ended: %v", top.Args, lines.Err())
		}
		snapshot := read[hoststat.Snapshot](t, lines.Text())
		if other := of(snapshot, stuck); other.Worker.PID != stopped {
			stop(other.Worker.PID) // it was replaced, since it did not answer
			return fmt.Errorf("there is %+v", other)
		} else if other.Usage != nil {
			return fmt.Errorf("it reported %+v before", other.Usage)
		}
		if one := of(snapshot, busy).Usage; !measured(one) {
			return fmt.Errorf("the other service uses %+v", one)
		}
		return nil
	})
	if err := top.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = top.Wait()
}

// top shows what the services use until the client disconnects. A worker that does not answer
// is shown without values, and holds up nobody.
func TestHostTop(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	busy, stuck, operator := r.Service("busy"), r.Service("stuck"), r.Key("operator")
	idle := r.Idle()
	commits := []string{
		busy.Push("first", idle.With("compose.yaml", strings.Replace(idle["compose.yaml"], `["sleep", "86400"]`, `["sh", "-c", "while :; do :; done"]`, 1)+"    cpus: 0.2\n")),
		stuck.Push("first", idle),
	}
	pgod := r.Pgod(busy, stuck)
	pgod.Operators(operator)
	pgod.Start()
	deployed(t, pgod, busy, commits[0])
	deployed(t, pgod, stuck, commits[1])

	asked := 0
	for client, run := range clients(pgod) {
		command := func(key *rig.Key, words ...string) *exec.Cmd { asked++; return run(key, words...) }
		rig.Until(t, client+" to be told what both use", func() error {
			snapshot := read[hoststat.Snapshot](t, rig.Run(t, command(operator, "//top", "--no-stream", "--json")).Exits(t, 0).Stdout)
			if snapshot.Host.Cores == 0 || snapshot.Host.Memory == 0 {
				t.Errorf("%s: the host has %+v", client, snapshot.Host)
			}
			one, other := of(snapshot, busy).Usage, of(snapshot, stuck).Usage
			if !measured(one) || !measured(other) {
				return fmt.Errorf("they use %+v and %+v", one, other)
			}
			if one.Memory == 0 || one.Running != 1 || len(one.Containers) != 1 || one.Containers[0].Service != "idle" || *one.Containers[0].CPU != *one.CPU {
				t.Errorf("%s: what is busy uses %+v", client, one)
			}
			if *other.CPU >= *one.CPU {
				return fmt.Errorf("what is idle uses %f%%, what is busy %f%%", *other.CPU, *one.CPU)
			}
			return nil
		})
		rig.Until(t, client+" to be shown what is busy", func() error {
			words := line(t, rig.Run(t, command(operator, "//top", "--no-stream")).Exits(t, 0).Stdout, busy.Name)
			if words[1] != "running" || words[2] != commits[0][:7] || !strings.HasSuffix(words[4], "%") || words[6] != "1/1" {
				return fmt.Errorf("its line is %q", words)
			}
			return nil
		})
		besideStuck(t, pgod, command(operator, "//top", "--json"), busy, stuck)
	}
	rig.Until(t, "top to end after its clients have left", func() error {
		if n := strings.Count(pgod.Log(), " operation=top "); n != asked {
			return fmt.Errorf("%d of %d have ended", n, asked)
		}
		return nil
	})

	// On a terminal it is one screen. A pgod that stops does not wait for it.
	seat := sit(t, onTerminal(pgod)["ssh"](operator, "//top"), 200, 50)
	seat.shows(`\x1b\[H\x1b\[2J`)
	seat.shows(busy.Name + ` +\x1b\[32mrunning\x1b\[0m`)
	seat.shows(`\x1b\[H\x1b\[2J`)
	pgod.Stop()
	seat.shows("pgod is stopping")
	seat.ends(503 % 256)
}
