package supervisor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"pgo/proto"
)

// maxKeys bounds how many keys of one service count.
const maxKeys = 4096

// view is the part of an instance that goroutines other than its own may see.
type view struct {
	judged chan struct{} // closed when the service's keys are known, or known to take long
	once   sync.Once

	keys keyring         // of the service
	last map[string]bool // what an earlier pgod knew of them; set once, then immutable

	mu sync.Mutex // guards what follows; taken before that of keys
	snapshot
	moved chan struct{} // closed when state changes
}

// snapshot is an instance at one moment.
type snapshot struct {
	state    state
	process  *process // nil: none
	restarts restartCount
	err      error     // why there is no worker
	retry    time.Time // when one is started again

	lost      time.Time  // when the service's directory was made anew; zero: it was not, as far as known
	deaf      []hostPort // of its containers: nothing listens there
	keysKnown bool       // also after the worker that reported them is gone
	report    *proto.State
	deploys   tally
}

// hadKey reports whether a key was the service's when keys were last known, by an earlier pgod. It
// returns false once this pgod knows them.
func (v *view) hadKey(key ssh.PublicKey) bool {
	return v.last[string(key.Marshal())] && !v.get().keysKnown
}

func newView() *view {
	return &view{judged: make(chan struct{}), moved: make(chan struct{}), snapshot: snapshot{state: starting, report: &proto.State{}}}
}

// inherit takes over the keys of an earlier instance of the same branch: they are right until the
// new worker reports.
func (v *view) inherit(old *view) {
	if !old.get().keysKnown {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.keys.replace(old.keys.all())
	v.keysKnown = true
	v.judge()
}

func (v *view) get() snapshot {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.snapshot
}

func (v *view) enter(s state, p *process, r restartCount) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state, v.process, v.restarts = s, p, r
	if s == ready {
		v.err = nil
		v.deploys.again()
	}
	close(v.moved)
	v.moved = make(chan struct{})
}

// lose notes that the service's directory was made anew, until an operator says otherwise.
func (v *view) lose(at time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.lost = at
}

// forgive forgets that the service's directory was lost.
func (v *view) forgive() { v.lose(time.Time{}) }

// setDeaf sets at which host ports of the service nothing listens, and reports whether that is new.
func (v *view) setDeaf(ports []hostPort) (news bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	ports = ports[:min(len(ports), maxShownLines)]
	news = !slices.Equal(ports, v.deaf)
	v.deaf = ports
	return news
}

// startPatience is how long a command waits for a worker that is being started: after a reload
// that takes a moment, unless the previous worker has a deploy to finish.
const startPatience = 5 * time.Second

// started waits for a worker that is being started, unless a start has failed before.
func (v *view) started(ctx context.Context) snapshot {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for {
		v.mu.Lock()
		now, moved := v.snapshot, v.moved
		v.mu.Unlock()
		if now.state != starting || now.err != nil {
			return now
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return now
		}
	}
}

func (v *view) down(err error, retry time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.err, v.retry = err, retry
	v.judge()
}

// reported takes a worker's report. A report without keys does not revoke those of an earlier
// one: it means that the worker does not know any yet.
func (v *view) reported(r *proto.ReportReply) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if r.GetState() != nil {
		v.report = bounded(r.GetState())
		v.deploys.count(v.report)
	}
	if r.GetKeysKnown() {
		v.keysKnown = true
		keys := map[string]bool{}
		for _, key := range r.GetKeys()[:min(len(r.GetKeys()), maxKeys)] {
			keys[string(key)] = true
		}
		v.keys.replace(keys)
	}
	if v.keysKnown || v.report.GetError() != "" {
		v.judge()
	}
}

// maxShownLines bounds each list of lines that a worker reports and pgod only shows.
const maxShownLines = 201

// bounded returns a worker's state with each list cut to what workers send. What is cut off is
// released: a message of a few MiB can be a hundred times that here.
func bounded(s *proto.State) *proto.State {
	cut := func(lines []string) []string {
		if len(lines) > maxShownLines {
			return slices.Clone(lines[:maxShownLines])
		}
		return lines
	}
	s.Details, s.Unwell, s.Warnings = cut(s.Details), cut(s.Unwell), cut(s.Warnings)
	if len(s.Ports) > maxUsedPorts {
		s.Ports = slices.Clone(s.Ports[:maxUsedPorts])
	}
	if len(s.OnHost) > maxUsedPorts {
		s.OnHost = slices.Clone(s.OnHost[:maxUsedPorts])
	}
	boundSwitches(s)
	for _, commit := range []*string{&s.Head, &s.Deployed, &s.Pinned} {
		if !isCommit(*commit) {
			*commit = ""
		}
	}
	return s
}

// isCommit reports whether the text can be a commit: 40 hex digits.
func isCommit(hash string) bool {
	const length = 40
	return len(hash) == length && strings.Trim(hash, "0123456789abcdef") == ""
}

func (v *view) judge() { v.once.Do(func() { close(v.judged) }) }

// unavailable says why no worker answers.
func (s snapshot) unavailable(service string) string {
	switch {
	case s.state == backoff:
		return fmt.Sprintf("the worker of %s is down: %v; it is started again in %s", service, s.err, until(s.retry))
	case s.err != nil:
		return fmt.Sprintf("the worker of %s is %s: %v", service, s.state, s.err)
	default:
		return fmt.Sprintf("the worker of %s is %s: try again in a moment", service, s.state)
	}
}

func until(t time.Time) time.Duration {
	return max(time.Until(t).Round(100*time.Millisecond), 0)
}
