package worker

import (
	"errors"
	"fmt"
	"time"

	"pgo/worker/compose"
	"pgo/worker/deploy"
)

const (
	// settleTime is how long the engine's events must pause before the
	// containers are looked at: one docker command leads to several.
	settleTime = 300 * time.Millisecond
	// settleMost is how long they are waited for that do not pause.
	settleMost = 3 * time.Second
	// engineWait is the time between two tries to reach an engine that is away.
	engineWait = 2 * time.Second
)

// heal looks after the containers until the worker ends: at the start, when the
// engine tells that something happened to one, and when the engine is back.
func (w *Worker) heal(service *deploy.Service) {
	happened := make(chan struct{}, 1)
	nudge := func() {
		select {
		case happened <- struct{}{}:
		default:
		}
	}
	go w.followEngine(service, nudge)
	timer := time.NewTimer(0)
	defer timer.Stop()
	last := ""
	since := time.Time{} // of the first event that was not looked after yet
	for {
		select {
		case <-happened:
			if since.IsZero() {
				since = time.Now()
			}
			timer.Reset(min(settleTime, max(time.Until(since.Add(settleMost)), 0)))
			continue
		case <-timer.C:
			since = time.Time{}
		case <-w.ctx.Done():
			return
		case <-w.queue.closed:
			return
		}
		// Nothing is changed by that: it need not wait for its turn.
		if err := service.LookAtPorts(w.ctx); err != nil {
			w.log.Debug("cannot see which host ports are in use", "error", err)
		}
		again, err := w.healNow(service)
		if text := fmt.Sprint(err); err != nil && text != last && w.ctx.Err() == nil && !errors.Is(err, errDraining) {
			w.log.Error("cannot look after the containers", "error", err)
		}
		last = fmt.Sprint(err)
		if again > 0 {
			timer.Reset(again)
		}
	}
}

// healNow waits for its turn and looks at the containers.
func (w *Worker) healNow(service *deploy.Service) (again time.Duration, err error) {
	wait := w.queue.do(w.ctx, "a look at the containers", func(string) {}, func() error {
		again, err = service.Heal(w.ctx)
		return nil
	})
	return again, errors.Join(wait, err)
}

// followEngine listens to the engine, again and again when it was away.
func (w *Worker) followEngine(service *deploy.Service, nudge func()) {
	for w.ctx.Err() == nil {
		err := service.FollowEngine(w.ctx, nudge, func(e compose.Event) {
			if service.Happened(e) {
				nudge()
			}
		})
		if w.ctx.Err() != nil {
			return
		}
		w.log.Debug("the engine's events ended", "error", err)
		timer := time.NewTimer(engineWait)
		select {
		case <-timer.C:
		case <-w.ctx.Done():
			timer.Stop()
		}
	}
}
