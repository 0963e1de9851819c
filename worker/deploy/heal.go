package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"pgo/internal/lazyregexp"
	"pgo/internal/printable"
	"pgo/worker/compose"
)

// How soon pgo brings back containers that somebody keeps taking away.
const (
	healFirst = time.Second
	healLast  = 5 * time.Minute
	healCalm  = 10 * time.Minute // after that long without any, the delays begin anew

	lookTime = 30 * time.Second // to inspect the containers, while whatever changes them waits
)

// networkGone matches the engine's error about a container whose network was created anew.
var networkGone = lazyregexp.New(`network \S+ not found`)

// healing is what is known about containers that somebody took away.
type healing struct {
	mu      sync.Mutex
	killed  map[string]bool // containers that were sent a signal to end, by ID
	stopped map[string]bool // those that ended because of it, or were stopped
	own     map[string]bool // all that there were at the last look

	delay time.Duration // used by changes only, like last
	last  time.Time
}

// happened records an event of the engine, and reports whether it is a reason to heal.
func (cs *containers) happened(e compose.Event) bool {
	h := &cs.healing
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.killed == nil {
		h.killed, h.stopped = map[string]bool{}, map[string]bool{}
	}
	switch action, _, _ := strings.Cut(e.Action, ":"); action {
	case "kill":
		if e.EndsProgram() {
			h.killed[e.Container] = true
		}
		return false
	case "die":
		h.stopped[e.Container] = h.killed[e.Container]
	case "stop":
		h.stopped[e.Container] = true
	case "start", "restart":
		delete(h.killed, e.Container)
		delete(h.stopped, e.Container)
	case "destroy":
		delete(h.killed, e.Container)
		delete(h.stopped, e.Container)
	case "disconnect":
		return h.own[e.Container]
	case "oom", "pause", "unpause", "health_status":
	default:
		return false // exec_create, resize, attach, …
	}
	return true
}

// heal inspects the containers, and brings back those that somebody removed or stopped
// behind pgo's back, or that ended with the host. One that ended by itself is left to its
// restart policy. It returns when to look again; 0 means when something happens. What did
// not become healthy is left as it is, for somebody to look at.
func (cs *containers) heal(ctx context.Context) (again time.Duration, err error) {
	state := cs.store.snapshot()
	if cs.store.usable() != nil || state.Wanted != Up || !state.Deployed.good() || state.Switching != nil {
		cs.setUnwell(nil)
		return 0, nil
	}
	ctx, cancel := deadline(ctx, cs.timeout)
	defer cancel()
	model, err := cs.files.loadDeployed()
	if err != nil {
		return 0, err
	}
	looking, enough := context.WithTimeoutCause(ctx, lookTime, fmt.Errorf("%w: the engine has not answered within %s", context.DeadlineExceeded, lookTime))
	defer enough()
	boot, containers, err := cs.whatRuns(looking)
	if err != nil {
		return healFirst, err
	}
	cs.healing.follow(containers)
	lost, other := cs.lost(model, boot, containers, state.Containers), astray(model, containers, state)
	unwell := append(ailing(containers, state.Containers), superfluous(model, containers)...)
	if len(lost)+len(other) == 0 {
		cs.setUnwell(unwell)
		return 0, cs.look(ctx, true)
	}
	if wait := cs.healing.wait(time.Now()); wait > 0 {
		return wait, nil
	}
	if err := cs.bringBack(ctx, model, lost, other); err != nil {
		err = fmt.Errorf("cannot bring back %s: %w", joined(slices.Concat(lost, other)), err)
		cs.setUnwell(append(unwell, err.Error()))
		return cs.healing.delay, err
	}
	return healFirst, cs.look(ctx, true) // and again, to see whether it worked
}

// lost returns the compose services that have a container to bring back.
func (cs *containers) lost(model *compose.Model, boot string, containers []compose.Container, known Containers) []string {
	cs.healing.mu.Lock()
	defer cs.healing.mu.Unlock()
	ended := known.Boot != "" && known.Boot != boot
	var lost []string
	for _, name := range model.Services() {
		if slices.Contains(known.Stopped, name) {
			continue
		}
		there, running, isLost := 0, 0, false
		for _, c := range containers {
			if c.Service != name {
				continue
			}
			there++
			if c.State == "running" {
				running++
			}
			isLost = isLost || cs.isLost(c, slices.Contains(known.Running, name), ended)
		}
		// Not one in excess, which somebody may be about to start.
		isLost = isLost && running < model.Replicas(name)
		if isLost || there < model.Replicas(name) && !slices.Contains(known.Finished, name) {
			lost = add(lost, name)
		}
	}
	return lost
}

// isLost reports whether a container has to be brought back. ran says that its compose
// service ran at the last inspection, ended that the host or the engine has ended since.
func (cs *containers) isLost(c compose.Container, ran, ended bool) bool {
	switch c.State {
	case "exited", "dead":
		return cs.healing.stopped[c.ID] || ran && ended
	case "created":
		return ran && c.Error == "" // not one that waits for another that failed
	}
	return false
}

// bringBack starts what is lost, and makes the others anew.
func (cs *containers) bringBack(ctx context.Context, model *compose.Model, lost, others []string) error {
	cs.board.setActivity("bring back " + joined(slices.Concat(lost, others)))
	if len(lost) > 0 {
		cs.log.Warn("bringing back containers that were removed or stopped", "containers_of", joined(lost))
	}
	if len(others) > 0 {
		cs.log.Warn("making containers anew that somebody has changed, or that share a namespace with one that was replaced",
			"containers_of", joined(others))
	}
	err := cs.startAndRemake(ctx, compose.Output{}, model, lost, others)
	cs.board.setActivity(Idle)
	return err
}

func joined(services []string) string { return strings.Join(services, ", ") }

// follow remembers which containers are the service's own.
func (h *healing) follow(containers []compose.Container) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.own = map[string]bool{}
	for _, c := range containers {
		h.own[c.ID] = true
	}
}

// wait returns how long to wait before bringing something back. If that is 0, it counts an
// attempt.
func (h *healing) wait(now time.Time) time.Duration {
	if now.Sub(h.last) > healCalm {
		h.delay = 0
	}
	if due := h.last.Add(h.delay); now.Before(due) {
		return due.Sub(now)
	}
	h.last = now
	h.delay = min(max(2*h.delay, healFirst), healLast)
	return 0
}

// ailing returns which containers are not as they should be, and how.
func ailing(containers []compose.Container, known Containers) []string {
	var all []string
	watch := newHealthWatch(nil)
	for _, c := range containers {
		text := ""
		switch {
		case slices.Contains(known.Stopped, c.Service) && c.State != "running":
			text = "is stopped, until start or up"
		case c.State == "paused":
			text = "is paused, until up"
		case c.State != "running" || c.Health == "unhealthy":
			text, _ = watch.problem(c, time.Now())
		}
		if len(all) == maxUnwell {
			return append(all, "and more")
		}
		if text != "" {
			all = append(all, printable.Cut(c.Name+" "+text, maxReason))
		}
	}
	return all
}

// maxUnwell bounds how many containers are reported.
const maxUnwell = 50

// setUnwell puts unwell on the board, without secrets.
func (cs *containers) setUnwell(unwell []string) {
	for i, text := range unwell {
		unwell[i] = cs.redact(text)
	}
	cs.board.setUnwell(unwell)
}
