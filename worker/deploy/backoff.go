package deploy

import (
	"time"

	"pgo/worker/gitrepo"
)

// How long a poll leaves alone a commit that failed by a fault of the surroundings.
const (
	firstWait = time.Second
	lastWait  = 10 * time.Minute
)

// faults keeps track of the failures in a row of a commit by a fault of the surroundings,
// so that it is tried again less and less often: each attempt may take down what runs.
type faults struct {
	commit   gitrepo.Hash
	settings string
	err      error
	delay    time.Duration
	until    time.Time

	outages struct { // switches that such a fault has undone
		commit   gitrepo.Hash
		settings string
		count    int
	}
}

// maxOutages is how often a commit may take down what runs because of a fault of the
// surroundings that shows only then. The last of these faults is a verdict.
const maxOutages = 3

// outage counts one more outage, and returns how many the commit has had.
func (f *faults) outage(b Basis) int {
	o := &f.outages
	if o.commit != b.Commit || o.settings != b.Settings {
		o.commit, o.settings, o.count = b.Commit, b.Settings, 0
	}
	o.count++
	return o.count
}

// wait returns the last error while it is too early for another attempt.
func (f *faults) wait(commit gitrepo.Hash, settings string) error {
	if f.commit == commit && f.settings == settings && time.Now().Before(f.until) {
		return f.err
	}
	return nil
}

// note records the result of an attempt.
func (f *faults) note(commit gitrepo.Hash, settings string, err error) {
	if err == nil || isVerdict(err) {
		*f = faults{outages: f.outages}
		return
	}
	delay := firstWait
	if f.commit == commit && f.settings == settings {
		delay = min(2*f.delay, lastWait)
	}
	*f = faults{commit: commit, settings: settings, err: err, delay: delay, until: time.Now().Add(delay), outages: f.outages}
}
