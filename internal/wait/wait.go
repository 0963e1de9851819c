// Package wait has the ways of waiting for which the standard library needs a timer and a select.
// It does not know what is waited for.
package wait

import (
	"context"
	"math/rand/v2"
	"time"
)

// For returns nil after d, or the cause of ctx's end if that comes first.
func For(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Until reports whether done is closed within d.
func Until(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// Spread varies d by up to this fraction of it, from 0 to 1, either way. So those that began at
// the same time do not come back at the same time.
func Spread(d time.Duration, part float64) time.Duration {
	most := time.Duration(float64(d) * part)
	return d - most + rand.N(2*most+1)
}
