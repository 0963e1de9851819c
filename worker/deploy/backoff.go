package deploy

import (
	"fmt"
	"time"

	"pgo/worker/compose"
	"pgo/worker/gitrepo"
)

// How long a poll leaves alone a commit that failed by a fault of the surroundings. While
// nothing runs, it is tried more often.
const (
	firstWait = time.Second
	lastWait  = 10 * time.Minute
	backWait  = 30 * time.Second
)

// faults keeps track of the failures in a row of a commit by a fault of the surroundings,
// so that it is tried again less and less often, and at once when the surroundings have
// changed.
type faults struct {
	commit   gitrepo.Hash
	settings string
	err      error
	delay    time.Duration
	until    time.Time
	around   compose.Surroundings
}

// wait returns the last error while it is too early for another attempt. around returns the
// surroundings; it is asked only if that matters.
func (f *faults) wait(commit gitrepo.Hash, settings string, around func() compose.Surroundings) error {
	if f.commit != commit || f.settings != settings || !time.Now().Before(f.until) {
		return nil
	}
	if now := around(); now.Known() && f.around.Known() && now != f.around {
		f.around = now // once for each change
		return nil
	}
	return f.err
}

// note records the result of an attempt; most is the longest time between two.
func (f *faults) note(commit gitrepo.Hash, settings string, err error, most time.Duration, around func() compose.Surroundings) {
	if err == nil || isVerdict(err) {
		*f = faults{}
		return
	}
	delay := firstWait
	if f.commit == commit && f.settings == settings {
		delay = min(2*f.delay, most)
	}
	*f = faults{commit: commit, settings: settings, err: err, delay: delay, until: time.Now().Add(delay), around: around()}
}

// A commit may take down what runs maxOutages times because of a fault of the surroundings
// that only a start can find: at once, then after firstOutageWait, then after four times as
// long. Then it waits for a sign that the surroundings have changed: the engine was
// restarted, or some container or network of somebody else came or went. For the latter it
// waits for lastOutageWait at least, and each time for twice as long.
const (
	maxOutages      = 3
	firstOutageWait = 2 * time.Minute
	lastOutageWait  = 30 * time.Minute
	mostOutageWait  = 24 * time.Hour
)

// add counts one more outage.
func (o *Outages) add(b Basis, cause error, around compose.Surroundings, now time.Time) *Outages {
	next := Outages{Commit: b.Commit, Settings: b.Settings, Count: 1, Error: cause.Error(), Around: around}
	if o.of(b) {
		next.Count += o.Count
	}
	wait := firstOutageWait << (2 * (min(next.Count, maxOutages) - 1))
	if next.Count >= maxOutages {
		wait = min(lastOutageWait<<min(next.Count-maxOutages, 10), mostOutageWait)
	}
	next.Next = now.Add(wait)
	return &next
}

// of reports whether the outages are those of this commit with these settings.
func (o *Outages) of(b Basis) bool {
	return o != nil && o.Commit == b.Commit && o.Settings == b.Settings
}

// then says when a commit is tried again.
func (o *Outages) then() string {
	if o.Count < maxOutages {
		return "it is tried again at " + o.Next.UTC().Format("15:04:05 UTC")
	}
	return fmt.Sprintf("what ran was taken down %d times for this; it is tried again when there is a new commit, somebody runs up, or the engine is restarted, "+
		"or after %s when other containers or networks have come or gone", o.Count, o.Next.UTC().Format("15:04 UTC"))
}

// wait returns an error while it is too early to take down what runs once more.
func (o *Outages) wait(b Basis, now time.Time, around func() compose.Surroundings) error {
	if !o.of(b) || o.Count < maxOutages && !now.Before(o.Next) {
		return nil
	}
	at := around()
	switch {
	case !at.Known():
	case o.Around.Known() && at.Boot != o.Around.Boot:
		return nil
	case o.Count >= maxOutages && at != o.Around && !now.Before(o.Next):
		return nil
	}
	return fmt.Errorf("%s; %s", o.Error, o.then())
}
