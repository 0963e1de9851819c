package deploy

import "time"

// How long a poll leaves a commit alone that failed by a fault of the
// surroundings.
const (
	firstWait = time.Second
	lastWait  = 10 * time.Minute
)

// faults counts how often in a row a commit failed by a fault of the
// surroundings, so that it is tried again less and less often. Each try may
// take down what runs.
type faults struct {
	commit, settings string
	err              error
	delay            time.Duration
	until            time.Time
}

// wait returns the last error while it is too early for another try.
func (f *faults) wait(commit, settings string) error {
	if f.commit == commit && f.settings == settings && time.Now().Before(f.until) {
		return f.err
	}
	return nil
}

// note takes what a try came to.
func (f *faults) note(commit, settings string, err error) {
	if err == nil || isVerdict(err) {
		*f = faults{}
		return
	}
	delay := firstWait
	if f.commit == commit && f.settings == settings {
		delay = min(2*f.delay, lastWait)
	}
	*f = faults{commit: commit, settings: settings, err: err, delay: delay, until: time.Now().Add(delay)}
}
