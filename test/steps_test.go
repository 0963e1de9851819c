package test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/test/rig"
	"pgo/worker/deploy"
	"pgo/worker/gitrepo"
)

// A deploy is interrupted at each of its steps: by a process that kills itself as the step
// begins. It is this test's own binary, see TestMain.

// missionKey is the environment variable that tells a child what to do.
const missionKey = "PGO_TEST_MISSION"

// mission is what a child does with a service, as its worker would.
type mission struct {
	Name, Dir, URL string
	InPlace        bool
	// Kill is the step at which it kills itself; empty: it polls until the service is quiet.
	// With Back, it is the step that comes after pgo has begun to go back.
	Kill deploy.Step
	Back bool
}

// carryOut is the main function of the child. It returns its exit status.
func carryOut(text string) int {
	var m mission
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		panic(err)
	}
	back := false
	service, err := deploy.Open(deploy.Config{
		Name: m.Name, Dir: m.Dir, Branch: "main", Remote: gitrepo.Remote{URL: m.URL},
		Timeout: childPatience, Gate: childPatience, Rollback: true, InPlace: m.InPlace,
		OnStep: func(step deploy.Step) {
			fmt.Println(time.Now().Format("05.000"), step)
			if step == m.Kill && back == m.Back {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
			back = back || step == deploy.StepBack
		},
	}, deploy.NewQueue(), hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: os.Stdout}), func() {})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	ctx := context.Background()
	if err := change(service, func(turn *deploy.Turn) error { return turn.Resume(ctx) }); err != nil {
		fmt.Println(err)
		return 1
	}
	// The service is quiet when a poll changes nothing.
	for last := ""; ; {
		err := change(service, func(turn *deploy.Turn) error { return turn.Poll(ctx) })
		state, cannot := os.ReadFile(filepath.Join(m.Dir, "state.json"))
		now := fmt.Sprint(string(state), err, cannot)
		if now == last && !strings.Contains(now, `"switching"`) {
			fmt.Println("quiet:", err)
			return 0
		}
		last = now
		fmt.Println("poll:", err)
	}
}

// childPatience bounds a child: several deploys, on a machine that runs other
// tests too.
const childPatience = 5 * time.Minute

// lane is one service on which deploys are interrupted, one after the other.
type lane struct {
	t       *testing.T
	service *rig.Service
	mission mission
	base    string // of the image that is built
	pulled  string // an image in a registry
	good    string // the last good commit
	n       int
}

// untracked is a file in the checkout that git does not track.
const untracked = "data/base.db"

func newLane(t *testing.T, inPlace bool) *lane {
	r := rig.New(t)
	l := &lane{t: t, service: r.Service("web"), base: r.Busybox(), pulled: r.Registry().Push(r.Busybox(), "plain:1")}
	l.mission = mission{Name: l.service.Name, Dir: filepath.Join(r.Dir, "service"), URL: l.service.Setting("repository").(string), InPlace: inPlace}
	if err := os.Mkdir(l.mission.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l.good = l.push("sleep 86400", "missing")
	l.settle(l.mission.URL)
	put(t, filepath.Join(l.mission.Dir, "checkout", untracked), "all that we have", 0o600)
	l.whole("the first deploy")
	return l
}

// push makes the next commit. Everything in it differs from the one before: the image, the
// model, a mounted file.
func (l *lane) push(command, pull string) (commit string) {
	l.t.Helper()
	l.n++
	return l.service.Push(fmt.Sprint("commit ", l.n), rig.Files{
		"Dockerfile": fmt.Sprintf("FROM %s\nLABEL n=%d lane=%s\n", l.base, l.n, l.service.Name),
		"n.txt":      fmt.Sprint(l.n),
		// Networks are slow to make, and nothing here needs one.
		"compose.yaml": fmt.Sprintf(`services:
  built:
    build: .
    init: true
    network_mode: none
    command: [sh, -c, %q]
    environment: {N: "%d"}
    volumes: ["./n.txt:/n.txt:ro"]
  plain:
    image: %s
    pull_policy: %s
    init: true
    network_mode: none
    command: [sleep, "86400"]
    environment: {N: "%d"}
    mem_limit: %dm
    depends_on: [built]
`, command, l.n, l.pulled, pull, l.n, 64+l.n),
	})
}

// child carries out a mission.
func (l *lane) child(m mission) (said string, status syscall.WaitStatus) {
	l.t.Helper()
	text, err := json.Marshal(m)
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), childPatience)
	defer cancel()
	child := exec.CommandContext(ctx, "/proc/self/exe")
	child.Env = append(os.Environ(), missionKey+"="+string(text))
	out, err := child.CombinedOutput()
	if ctx.Err() != nil || child.ProcessState == nil {
		l.t.Fatalf("the child has not ended within %s: %v\n%s", childPatience, err, out)
	}
	return string(out), child.ProcessState.Sys().(syscall.WaitStatus)
}

// settle makes a child poll until nothing is left to do.
func (l *lane) settle(url string) (said string) {
	l.t.Helper()
	m := l.mission
	m.URL = url
	said, status := l.child(m)
	if status.ExitStatus() != 0 {
		l.t.Fatalf("the child ended with %d:\n%s", status.ExitStatus(), said)
	}
	return said
}

// cut is where a deploy is interrupted.
type cut struct {
	step deploy.Step
	bad  bool // the commit does not become healthy
	back bool // after pgo has begun to go back
}

func (c cut) String() string {
	switch {
	case c.back:
		return string(c.step) + " while going back"
	case c.bad:
		return string(c.step) + " of a bad commit"
	}
	return string(c.step)
}

// breakOff interrupts a commit's deploy, and its resumption at each further cut, and then has a
// child run without an interruption.
func (l *lane) breakOff(cuts ...cut) {
	l.t.Helper()
	before := byService(l.t, l.service)
	command, pull := "sleep 86400", "missing"
	if cuts[0].bad {
		command = "exit 1"
	}
	if slices.ContainsFunc(cuts, func(c cut) bool { return c.step == deploy.StepPull }) {
		pull = "always"
	}
	commit := l.push(command, pull)
	for _, c := range cuts {
		m := l.mission
		m.Kill, m.Back = c.step, c.back
		said, status := l.child(m)
		if !status.Signaled() || status.Signal() != syscall.SIGKILL {
			l.t.Fatalf("%s: the step was never reached:\n%s", c, said)
		}
		if i := slices.Index(deploy.Steps, c.step); !c.back && i <= slices.Index(deploy.Steps, deploy.StepDown) {
			same(l.t, "interrupted at "+c.String(), before, byService(l.t, l.service), "built", "plain")
		}
	}

	url, at := l.mission.URL, cuts[len(cuts)-1]
	if at.step == deploy.StepModel {
		url = "http://127.0.0.1:1/away.git" // what was begun is finished without it
	}
	said := l.settle(url)
	if !at.bad {
		l.good = commit
	} else if state := l.state(); state.Verdict == nil || state.Verdict.Commit.String() != commit || state.Verdict.Outcome != deploy.Degraded {
		l.t.Errorf("%s: the verdict is %+v", at, state.Verdict)
	}
	l.whole(at.String())
	if l.t.Failed() {
		l.t.Fatalf("the last child said:\n%s", said)
	}
}

func (l *lane) state() (state deploy.State) {
	l.t.Helper()
	l.read("state.json", &state)
	return state
}

func (l *lane) read(name string, into any) {
	l.t.Helper()
	raw, err := os.ReadFile(filepath.Join(l.mission.Dir, name))
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		l.t.Fatalf("%s: %v", name, err)
	}
}

// whole reports what is not of the last good commit.
func (l *lane) whole(after string) {
	t := l.t
	t.Helper()
	state := l.state()
	d := state.Deployed
	if d == nil || d.Commit.String() != l.good || d.Outcome != deploy.Deployed || state.Switching != nil || len(state.Checkout) != 1 || state.Checkout[0].String() != l.good {
		t.Fatalf("after %s, with %s to be deployed, the state is %+v; deployed is %+v", after, l.good, state, d)
	}
	n := strings.TrimPrefix(l.service.Repo.Git("show", "--no-patch", "--format=%s", l.good), "commit ")
	containers := rig.Containers(t, l.service.Name)
	for _, c := range containers {
		if !c.Running() || !slices.Contains(c.Config.Env, "N="+n) || c.ImageID != d.Images[c.Service()] {
			t.Errorf("after %s: a container is not of commit %s with the images %v: %+v", after, n, d.Images, c)
		}
		if c.Service() == "built" {
			if seen := docker(t, "exec", c.ID, "cat", "/n.txt"); seen != n {
				t.Errorf("after %s: the container sees %q mounted, not %s", after, seen, n)
			}
		}
	}
	if len(containers) != 2 {
		t.Errorf("after %s there are %d containers: %+v", after, len(containers), containers)
	}
	checkout := filepath.Join(l.mission.Dir, "checkout")
	for name, want := range map[string]string{"n.txt": n, untracked: "all that we have"} {
		if got, err := os.ReadFile(filepath.Join(checkout, name)); err != nil || string(got) != want {
			t.Errorf("after %s: %s in the checkout has %q, %v; not %q", after, name, got, err, want)
		}
	}
	l.kept(after, d)
}

// kept reports what is missing for going back, or in the history.
func (l *lane) kept(after string, deployed *deploy.Record) {
	t := l.t
	t.Helper()
	var records, good []*deploy.Record
	l.read("history/records.json", &records)
	l.read("history/good.json", &good)
	if !slices.ContainsFunc(records, func(r *deploy.Record) bool { return r.Commit.String() == l.good && r.Outcome == deploy.Deployed }) {
		t.Errorf("after %s the history has no deploy of %s: %+v", after, l.good, records)
	}
	if !slices.ContainsFunc(good, func(r *deploy.Record) bool { return r.Number == deployed.Number && r.Commit.String() == l.good }) {
		t.Errorf("after %s there is no way back to deploy %d: %+v", after, deployed.Number, good)
	}
	pins := l.pins()
	for _, g := range good {
		if _, err := os.Stat(filepath.Join(l.mission.Dir, "history", fmt.Sprint(g.Number, ".model.json"))); err != nil {
			t.Errorf("after %s: %v", after, err)
		}
		for service, id := range g.Images {
			if !slices.Contains(pins, pinOf(l.service, g, service, id)) {
				t.Errorf("after %s no image is kept for %s of deploy %d; there are %v", after, service, g.Number, pins)
			}
		}
	}
}

func (l *lane) pins() []string {
	l.t.Helper()
	return strings.Fields(docker(l.t, "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "reference=pgo/"+l.service.Name))
}

// pinOf returns the name under which an image of a good deploy is kept.
func pinOf(s *rig.Service, r *deploy.Record, service, id string) string {
	return "pgo/" + s.Name + ":" + r.Commit.Short() + "-" + service + "-" + strings.TrimPrefix(id, "sha256:")[:12]
}

// tidy reports images and models that nothing needs any more, after a deploy without an
// interruption.
func (l *lane) tidy() {
	t := l.t
	t.Helper()
	l.good = l.push("sleep 86400", "missing")
	l.settle(l.mission.URL)
	l.whole("a deploy without an interruption")
	var good []*deploy.Record
	l.read("history/good.json", &good)
	var want []string
	for _, g := range good {
		want = append(want, fmt.Sprint(g.Number, ".model.json"))
		for service, id := range g.Images {
			want = append(want, pinOf(l.service, g, service, id))
		}
	}
	got := l.pins()
	files, err := filepath.Glob(filepath.Join(l.mission.Dir, "history", "*.model.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		got = append(got, filepath.Base(file))
	}
	slices.Sort(want)
	slices.Sort(got)
	if want = slices.Compact(want); !slices.Equal(got, want) {
		t.Errorf("the kept images and models are %v, the needed ones %v", got, want)
	}
}

// cuts returns all steps, each by itself except for those that leave nothing behind, and the
// steps that going back takes again.
func cuts() [][]cut {
	all := [][]cut{nil}
	for i, step := range deploy.Steps {
		if i <= slices.Index(deploy.Steps, deploy.StepSwitch) {
			all[0] = append(all[0], cut{step: step})
		} else {
			all = append(all, []cut{{step: step, bad: step == deploy.StepBack}})
		}
	}
	all = append(all, []cut{{step: deploy.StepGate, bad: true}})
	for _, steps := range [][]deploy.Step{
		{deploy.StepStage, deploy.StepCheck, deploy.StepSwitch},
		{deploy.StepDown}, {deploy.StepCheckout}, {deploy.StepModel}, {deploy.StepUp}, {deploy.StepGate},
	} {
		var back []cut
		for _, step := range steps {
			back = append(back, cut{step: step, bad: true, back: true})
		}
		all = append(all, back)
	}
	return all
}

// Wherever a deploy is interrupted, the next worker completes it: with the new commit, or if
// that does not work, the last good one. What git does not track stays as it is, and the deploy
// after it works.
func TestBrokenOffAtEachStep(t *testing.T) {
	const lanes = 4 // as many as run at once
	for i := range lanes {
		t.Run(fmt.Sprint("lane ", i), func(t *testing.T) {
			t.Parallel()
			l := newLane(t, false)
			for j, c := range cuts() {
				if j%lanes == i {
					l.breakOff(c...)
				}
			}
			l.tidy()
		})
	}
}

// The same where only what changed is replaced.
func TestBrokenOffInPlace(t *testing.T) {
	t.Parallel()
	l := newLane(t, true)
	l.breakOff(cut{step: deploy.StepCheckout})
	l.breakOff(cut{step: deploy.StepUp}, cut{step: deploy.StepRecord})
	l.breakOff(cut{step: deploy.StepCheckout, bad: true, back: true}, cut{step: deploy.StepUp, bad: true, back: true})
	l.tidy()
}
