package test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pgo/internal/gittest"
	"pgo/test/rig"
)

// A worker that is killed while idle answers again, and nothing that runs is affected. The directory
// that a killed pgod has left is removed.
func TestIdleWorkerIsKilled(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, other := r.Service("web"), r.Service("other")
	commit := web.Push("first", r.Idle())
	other.Push("first", r.Idle())
	left := fmt.Sprintf("/run/pgo/%08x", rand.Uint32())
	if err := os.MkdirAll(left, 0o711); err != nil {
		t.Fatal(err)
	}
	pgod := r.Start(web, other)
	if err := os.Remove(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a killed pgod has left is still there: %v", err)
	}
	deployed(t, pgod, web, commit)
	before := startedAt(t, web)
	stop := pings(t, pgod, other)

	worker := pgod.WorkerPID(web)
	kill(t, worker)
	replaced(t, pgod, web, worker)
	shows(t, pgod, web, "deployed:  "+commit[:7], "worker:    ready", "restarts: 1")
	pgod.SSH(web.Key, web.Op("ping")).Exits(t, 0)
	stop()
	stays(t, web, before, "a killed worker")

	// The directory of the workers' sockets may be lost to whatever cleans /run.
	worker = pgod.WorkerPID(web)
	if err := os.RemoveAll(socketDir(t, worker)); err != nil {
		t.Fatal(err)
	}
	kill(t, worker)
	replaced(t, pgod, web, worker)
	pgod.SSH(web.Key, web.Op("ping")).Exits(t, 0)
	stays(t, web, before, "lost sockets")
}

// socketDir returns the directory in which a worker's pgod keeps the sockets of its workers.
func socketDir(t *testing.T, worker int) string {
	t.Helper()
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", worker))
	if err != nil {
		t.Fatal(err)
	}
	for _, variable := range strings.Split(string(environment), "\x00") {
		if own, found := strings.CutPrefix(variable, "PLUGIN_UNIX_SOCKET_DIR="); found {
			return filepath.Dir(own)
		}
	}
	t.Fatal("the worker has no directory for its socket")
	return ""
}

// gitServer is one that can stop answering.
type gitServer struct {
	mu      sync.Mutex
	hanging chan struct{} // closed when it answers again; nil: it answers
}

// hangable puts a server that can stop answering in front of the service's repository.
func hangable(t *testing.T, s *rig.Service) *gitServer {
	t.Helper()
	g, repository := &gitServer{}, gittest.Handler(filepath.Dir(s.Repo.Dir), "", t.Output())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		hanging := g.hanging
		g.mu.Unlock()
		if hanging != nil {
			<-hanging
		}
		repository.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	t.Cleanup(g.answer)
	s.Set("repository", server.URL+"/"+filepath.Base(s.Repo.Dir))
	return g
}

func (g *gitServer) hang() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hanging = make(chan struct{})
}

func (g *gitServer) answer() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.hanging != nil {
		close(g.hanging)
		g.hanging = nil
	}
}

// slowBuild is a repository whose build takes a while, the first time for each test and
// greeting.
func slowBuild(r *rig.Rig, greeting, seconds string) rig.Files {
	return rig.Files{
		"Dockerfile": "FROM " + r.Busybox() + "\nRUN sleep " + seconds + "; echo " + r.Prefix + greeting + " >/greeting\n",
		"compose.yaml": `services:
  slow:
    build: .
    init: true
    network_mode: none
    command: [sleep, "86400"]
    environment: {GREETING: ` + greeting + `}
`,
	}
}

// stubborn is a repository whose container does not end when it is asked to, which makes a
// `stop` or a `down` take a while.
func stubborn(r *rig.Rig, greeting string) rig.Files {
	return rig.Files{"compose.yaml": `services:
  slow:
    image: ` + r.Busybox() + `
    command: [sh, -c, "trap '' TERM; while :; do sleep 1; done"]
    network_mode: none
    stop_grace_period: 6s
    environment: {GREETING: ` + greeting + `}
`}
}

// hooked is stubborn with a hook, which has compose stop it.
func hooked(r *rig.Rig, greeting string) rig.Files {
	files := stubborn(r, greeting)
	files["compose.yaml"] += "    pre_stop: [{command: ['true']}]\n"
	return files
}

// patient is a repository whose second container waits until the first is healthy, which makes
// an `up` take a while.
func patient(r *rig.Rig, greeting string) rig.Files {
	return rig.Files{"compose.yaml": `services:
  first:
    image: ` + r.Busybox() + `
    init: true
    command: [sh, -c, "sleep 2; touch /tmp/ready; sleep 86400"]
    healthcheck: {test: [CMD, test, -e, /tmp/ready], interval: 1s, retries: 30}
    environment: {GREETING: ` + greeting + `}
  slow:
    image: ` + r.Busybox() + `
    init: true
    command: [sleep, "86400"]
    depends_on: {first: {condition: service_healthy}}
    environment: {GREETING: ` + greeting + `}
`}
}

// deploying waits until a deploy is in a step: a run of compose or, as "stopping", what the worker does
// without one. The returned function waits until what was started for it is gone.
func deploying(t *testing.T, pgod *rig.Pgod, s *rig.Service, step string) (ended func()) {
	t.Helper()
	if step == "stopping" {
		shows(t, pgod, s, "now:       stop what runs for ")
		return func() {}
	}
	compose := composing(t, s, step)
	return func() {
		t.Helper()
		rig.Within(t, 5*time.Second, "compose "+step+" of "+s.Name+" to be gone", gone(compose))
	}
}

// A worker that is killed in the middle of a deploy leaves no second compose process behind,
// and the next worker finishes the deploy. The same holds for pgod.
func TestKilledInADeploy(t *testing.T) {
	for step, files := range map[string]func(r *rig.Rig, greeting string) rig.Files{
		"build":    func(r *rig.Rig, greeting string) rig.Files { return slowBuild(r, greeting, "4") },
		"stop":     hooked,
		"stopping": stubborn,
		"up":       patient,
	} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			r := rig.New(t)
			web, other := r.Service("web"), r.Service("other")
			first := web.Push("first", files(r, "one"))
			other.Push("first", r.Idle())
			git := hangable(t, web)
			pgod := r.Start(web, other)
			deployed(t, pgod, web, first)
			stopPings := pings(t, pgod, other)
			stopWatch := oneCompose(t, web)

			second := web.Push("second", files(r, "two"))
			ended := deploying(t, pgod, web, step)
			kill(t, pgod.WorkerPID(web))
			ended()
			deployed(t, pgod, web, second)
			stopPings()
			converged(t, web, "two")

			third := web.Push("third", files(r, "three"))
			ended = deploying(t, pgod, web, step)
			pgod.Kill()
			ended()
			if step != "build" { // what ran is gone: it must run again whether git answers or not
				git.hang()
			}
			pgod.Start()
			deployed(t, pgod, web, third)
			stopWatch()
			converged(t, web, "three")
			if step == "down" {
				fourth := web.Push("fourth", files(r, "four"))
				git.answer()
				deployed(t, pgod, web, fourth)
			}
		})
	}
}

// What was to be made anew is, also by another worker.
func TestKilledInAForcedDeploy(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web").Set("deploy", "in-place")
	commit := web.Push("first", stubborn(r, "one"))
	pgod := r.Start(web)
	deployed(t, pgod, web, commit)
	before := rig.Containers(t, web.Name)[0].ID
	up := start(t, pgod.PgoctlCommand(web.Key, web.Op("up"), "--force-recreate"))
	shows(t, pgod, web, "now:       create the containers of ")
	kill(t, pgod.WorkerPID(web))
	up.ends(t, 69)
	rig.Until(t, "another container, and no more than that", func() error {
		containers := rig.Containers(t, web.Name)
		if len(containers) != 1 || containers[0].ID == before || !containers[0].Running() {
			return fmt.Errorf("there are %+v", containers)
		}
		return nil
	})
	shows(t, pgod, web, "state:     running")
}

// converged reports containers that are missing, do not run, or are of another
// commit.
func converged(t *testing.T, s *rig.Service, greeting string) {
	t.Helper()
	containers := rig.Containers(t, s.Name)
	if !slices.ContainsFunc(containers, func(c rig.Container) bool { return c.Service() == "slow" }) {
		t.Errorf("a container is missing: %+v", containers)
	}
	for _, c := range containers {
		if !c.Running() || !slices.Contains(c.Config.Env, "GREETING="+greeting) {
			t.Errorf("it did not converge: %+v", c)
		}
	}
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("cannot kill %d: %v", pid, err)
	}
}

// pings pings the service repeatedly until the returned function is called, which reports each
// ping that was not answered.
func pings(t *testing.T, pgod *rig.Pgod, s *rig.Service) (stop func()) {
	t.Helper()
	return background(t, "ping "+s.Name, func() error { return ping(pgod, s, s.Key) })
}

// oneCompose checks that no more than one compose process runs for the service at any time, not
// counting those that only read.
func oneCompose(t *testing.T, s *rig.Service) (stop func()) {
	t.Helper()
	return background(t, "watch for a second compose of "+s.Name, func() error {
		running, err := s.User.Processes()
		running = slices.DeleteFunc(running, func(p rig.Process) bool { return p.Name != "docker-compose" || slices.Contains(p.Args, "config") })
		if len(running) > 1 {
			err = fmt.Errorf("there are %d: %v", len(running), running)
		}
		return err
	})
}

// background calls look repeatedly until the returned function is called, which reports what
// look found wrong, or that it never ran.
func background(t *testing.T, what string, look func() error) (stop func()) {
	t.Helper()
	done, looks := make(chan struct{}), 0
	var wrong []error
	var looking sync.WaitGroup
	looking.Go(func() {
		pause := 10 * time.Millisecond
		for {
			select {
			case <-done:
				return
			case <-time.After(pause):
				looks++
				began := time.Now()
				if err := look(); err != nil {
					wrong = append(wrong, err)
				}
				// As in rig.Until: what costs much is done less often, other tests run too.
				pause = max(10*time.Millisecond, min(3*time.Since(began), time.Second))
			}
		}
	})
	stop = sync.OnceFunc(func() {
		close(done)
		looking.Wait()
		if looks == 0 || len(wrong) > 0 {
			t.Errorf("%s: %d of %d looks failed; the first: %v", what, len(wrong), looks, errors.Join(wrong[:min(len(wrong), 1)]...))
		}
	})
	t.Cleanup(stop)
	return stop
}
