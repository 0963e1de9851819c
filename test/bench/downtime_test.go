package bench

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pgo/test/rig"
)

// BenchmarkDowntime measures how long a client on another host gets no answer while a site is deployed
// again: by pgo in its two ways, and by the bare commands that they consist of. The time before and
// after is not part of it. "Probing" is in place with the setting for the bridge that operators.md
// recommends.
func BenchmarkDowntime(b *testing.B) {
	const inPlace = "docker compose build -q && docker compose up -d --no-build"
	for _, way := range []struct {
		name, deploy, commands string
		probing                bool
	}{
		{"recreate", "recreate", "docker compose build -q && docker compose down && docker compose up -d --no-build", false},
		{"in-place", "in-place", inPlace, false},
		{"probing", "in-place", inPlace, true},
	} {
		b.Run(way.name, func(b *testing.B) {
			r := rig.New(b)
			away := abroad(b)
			web, port := r.Service("web").Set("deploy", way.deploy), r.Port()
			bare, barePort := r.Service("bare"), r.Port()
			commit := web.Push("round 0", away.site(r, port, "round 0"))
			bare.Push("round 0", away.site(r, barePort, "round 0"))
			pgod := r.Start(web)
			deployed(b, pgod, web, commit)
			dir := filepath.Join(r.Dir, "clone")
			shell(b, r.Dir, bare, "git clone --quiet "+bare.Setting("repository").(string)+" clone && cd clone && docker compose up -d --build")
			if way.probing {
				probe(b, web, bare)
			}
			for b.Loop() {
				var pgo, script sample
				for i := range 5 {
					greeting := fmt.Sprintf("round %d", i+1)
					pgo = append(pgo, away.unanswered(b, port, greeting, func() {
						deployed(b, pgod, web, web.Push(greeting, away.site(r, port, greeting)))
					}))
					script = append(script, away.unanswered(b, barePort, greeting, func() {
						bare.Push(greeting, away.site(r, barePort, greeting))
						shell(b, dir, bare, "git fetch --quiet && git reset --quiet --hard FETCH_HEAD && "+way.commands)
					}))
				}
				compare(b, "ms", "pgo", pgo, "bare", script)
			}
		})
	}
}

// probe has this host ask ten times a second, and not once, who has an address on the services' bridges.
func probe(b *testing.B, services ...*rig.Service) {
	b.Helper()
	for _, s := range services {
		id := rig.Run(b, exec.Command("docker", "network", "inspect", "-f", "{{.Id}}", s.Name+"_default")).Exits(b, 0).Stdout
		name := "/proc/sys/net/ipv4/neigh/br-" + strings.TrimSpace(id)[:12] + "/retrans_time_ms"
		if err := os.WriteFile(name, []byte("100"), 0); err != nil {
			b.Fatal(err)
		}
	}
}

// host is a network namespace that is to this host what another host is.
type host struct {
	file *os.File // the namespace
	own  *os.File // this process's
	here string   // this host's address, as seen from there
}

// abroad makes a host, until the benchmark ends.
func abroad(b *testing.B) *host {
	b.Helper()
	const here, there = "198.18.251.1", "198.18.251.2" // of the range for benchmarks, RFC 2544
	name := fmt.Sprintf("pgobench%d", os.Getpid())
	link, peer := "pgob"+strconv.Itoa(os.Getpid()%100000), "pgoc"+strconv.Itoa(os.Getpid()%100000)
	b.Cleanup(func() {
		_ = exec.Command("ip", "link", "delete", link).Run()
		_ = exec.Command("ip", "netns", "delete", name).Run()
	})
	for _, command := range []string{
		"netns add " + name,
		"link add " + link + " type veth peer name " + peer + " netns " + name,
		"address add " + here + "/30 dev " + link,
		"link set " + link + " up",
		"-n " + name + " address add " + there + "/30 dev " + peer,
		"-n " + name + " link set " + peer + " up",
	} {
		rig.Run(b, exec.Command("ip", strings.Fields(command)...)).Exits(b, 0)
	}
	open := func(path string) *os.File {
		file, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = file.Close() })
		return file
	}
	return &host{open("/run/netns/" + name), open("/proc/self/ns/net"), here}
}

// site is the repository of a site that the host reaches.
func (h *host) site(r *rig.Rig, port int, greeting string) rig.Files {
	files := r.Site(port, greeting)
	files["compose.yaml"] = strings.Replace(files["compose.yaml"], "127.0.0.1:", h.here+":", 1)
	return files
}

// dial connects from the host.
func (h *host) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	runtime.LockOSThread() // for as long as it is there
	if err := unix.Setns(int(h.file.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	conn, err = new(net.Dialer).DialContext(ctx, network, address)
	if err := unix.Setns(int(h.own.Fd()), unix.CLONE_NEWNET); err != nil {
		panic(err) // nothing else may run here
	}
	runtime.UnlockOSThread()
	return conn, err
}

func shell(b *testing.B, dir string, s *rig.Service, commands string) {
	b.Helper()
	cmd := exec.Command("sh", "-ec", commands)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "COMPOSE_PROJECT_NAME="+s.Name)
	rig.Run(b, cmd).Exits(b, 0)
}

// unanswered asks the site a hundred times a second while deploy runs, and until it answers with the
// greeting. It returns the milliseconds from the last answer with another greeting to the first with
// this one.
func (h *host) unanswered(b *testing.B, port int, greeting string, deploy func()) float64 {
	b.Helper()
	var (
		mu         sync.Mutex
		old, fresh time.Time
		all        sync.WaitGroup
	)
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: h.dial}}
	answered := make(chan struct{})
	asking := time.NewTicker(10 * time.Millisecond)
	defer asking.Stop()
	all.Go(func() {
		for {
			select {
			case <-answered:
				return
			case <-b.Context().Done():
				return
			case <-asking.C:
			}
			all.Go(func() {
				said, err := ask(client, net.JoinHostPort(h.here, strconv.Itoa(port)))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err != nil:
				case said != greeting:
					old = time.Now()
				case fresh.IsZero():
					fresh = time.Now()
					close(answered)
				}
			})
		}
	})
	deploy()
	select {
	case <-answered:
	case <-time.After(time.Minute):
		b.Fatalf("the site does not say %q", greeting)
	}
	all.Wait()
	return milliseconds(fresh.Sub(old))
}

func ask(client *http.Client, address string) (string, error) {
	reply, err := client.Get("http://" + address)
	if err != nil {
		return "", err
	}
	defer func() { _ = reply.Body.Close() }()
	scanner := bufio.NewScanner(reply.Body)
	scanner.Scan()
	return scanner.Text(), scanner.Err()
}
