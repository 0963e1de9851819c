// Package backoff computes how long to wait before something that failed is tried again:
// twice as long after each failure in a row. It keeps numbers only: it neither waits nor
// tries, and does not know what failed.
package backoff

import (
	"time"

	"pgo/internal/wait"
)

// Delays are the rule: the first delay, doubled with each failure up to the last.
type Delays struct {
	First, Last time.Duration
	Jitter      float64       // each delay varies by up to this fraction of it, either way
	Calm        time.Duration // a failure so long after the last one counts as the first; 0: never
}

// After returns the delay after so many failures in a row, without jitter; 0 for none.
func (d Delays) After(failures int) time.Duration {
	if failures <= 0 {
		return 0
	}
	delay := d.First
	for range failures - 1 {
		if delay >= d.Last {
			break
		}
		delay *= 2
	}
	return min(delay, d.Last)
}

// Failures counts failures in a row. The zero value has none.
type Failures struct {
	count int
	last  time.Time
	until time.Time
}

// Next counts a failure and returns how long to wait before the next try.
func (f *Failures) Next(by Delays) time.Duration {
	now := time.Now()
	if by.Calm > 0 && now.Sub(f.last) > by.Calm {
		f.count = 0
	}
	if f.count == 0 || by.After(f.count) < by.Last { // more make no difference
		f.count++
	}
	delay := wait.Spread(by.After(f.count), by.Jitter)
	f.last, f.until = now, now.Add(delay)
	return delay
}

// Left returns how much is left of the last delay; 0: it is over, or there was none.
func (f *Failures) Left() time.Duration { return max(0, time.Until(f.until)) }

// Reset forgets all failures.
func (f *Failures) Reset() { *f = Failures{} }
