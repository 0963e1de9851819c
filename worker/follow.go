package worker

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"pgo/internal/wait"
	"pgo/worker/deploy"
	"pgo/worker/gitrepo"
)

// follow follows the branch until the worker ends. It polls at once and then once per
// interval.
func (w *Worker) follow() {
	for w.service.Load() == nil {
		if !w.wait() {
			return
		}
		w.open()
	}
	service := w.service.Load()
	go w.watchEngine(service)
	w.change("the start", func(t *deploy.Turn) error { return t.Resume(w.ctx) })
	go w.heal(service) // it does not wait for a git server
	if w.cfg.GetProxy() != nil {
		go w.syncProxy(service)
	}
	var seen gitrepo.Hash
	for {
		polled := make(chan struct{})
		go func() {
			defer close(polled)
			w.change("a poll", func(t *deploy.Turn) error { return t.Poll(w.ctx) })
			if head := service.Status().Head; head != seen {
				// Starting, fetching and staging need much more memory than polling. What
				// is in pools is freed only by the second collection.
				runtime.GC()
				debug.FreeOSMemory()
				seen = head
			}
		}()
		for waiting := true; waiting; {
			if !w.wait() {
				return
			}
			select {
			case <-polled:
				waiting = false
			default:
				// Which keys are valid must not depend on how long a change takes.
				service.Refresh(w.ctx)
			}
		}
	}
}

// syncProxy passes each new snippet on to the proxy until the worker ends.
func (w *Worker) syncProxy(service *deploy.Service) {
	for {
		select {
		case <-w.renewed:
		case <-w.ctx.Done():
			return
		case <-w.queue.Draining():
			return
		}
		_ = service.Do(w.ctx, "updating the proxy", unannounced, func(t *deploy.Turn) error {
			t.SyncProxy(w.ctx)
			return nil
		})
	}
}

// change runs one of the worker's own changes. Its error stays in the service's status for
// as long as it lasts, and is logged once.
func (w *Worker) change(name string, change func(*deploy.Turn) error) {
	service := w.service.Load()
	before := service.Status().Error
	err := service.Do(w.ctx, name, unannounced, change)
	if err != nil && w.ctx.Err() == nil && err.Error() != before {
		w.log.Error("cannot bring the service up to date", append([]any{"during", name, "error", err}, details(err)...)...)
	}
}

// unannounced is for a change that waits for its turn without telling anybody.
func unannounced(string) {}

// maxLogged bounds the number of refusals in one log line.
const maxLogged = 20

// details returns the refusals for a log line. A container's last output does not belong in
// the log of the host.
func details(err error) []any {
	var refused *deploy.RefusedError
	if !errors.As(err, &refused) {
		return nil
	}
	lines := refused.Details()
	if more := len(lines) - maxLogged; more > 0 {
		lines = append(lines[:maxLogged:maxLogged], fmt.Sprintf("%d more lines", more))
	}
	if len(lines) == 0 {
		return nil
	}
	return []any{"details", strings.Join(lines, "; ")}
}

// wait waits until the next poll is due, and reports when that is. It returns false if the
// worker ends. The delay is spread so that the workers of many services and hosts do not
// ask a git server all at once.
func (w *Worker) wait() bool {
	delay := wait.Spread(time.Duration(w.cfg.GetIntervalMs())*time.Millisecond, 0.25)
	w.board.nextPoll(time.Now().Add(delay))
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-w.ctx.Done():
		return false
	case <-w.queue.Draining():
		return false
	}
}
