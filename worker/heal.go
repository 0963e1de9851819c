package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pgo/internal/wait"
	"pgo/worker/compose"
	"pgo/worker/deploy"
)

const (
	// settleTime is how long the engine's events must pause before the containers are
	// inspected: one docker command causes several events.
	settleTime = 300 * time.Millisecond
	// settleMost bounds the wait for events that do not pause.
	settleMost = 3 * time.Second
	// engineWait is the time between two attempts to reach an engine that is away.
	engineWait = 2 * time.Second
	// engineLook is the time between two looks whether the engine answers, engineAnswer how long it
	// may take: together they are how old the status may be about that.
	engineLook   = 6 * time.Second
	engineAnswer = 8 * time.Second
)

// watchEngine finds out, until the worker ends, whether the engine answers. An engine that hangs
// ends neither its events nor a request by itself.
func (w *Worker) watchEngine(service *deploy.Service) {
	away := false
	for w.ctx.Err() == nil {
		ctx, cancel := context.WithTimeoutCause(w.ctx, engineAnswer, fmt.Errorf("it has said nothing for %s", engineAnswer))
		err := service.LookAtEngine(ctx)
		cancel()
		switch {
		case w.ctx.Err() != nil:
			return
		case err != nil && !away:
			w.log.Error("nobody knows what runs", "error", err)
		case err == nil && away:
			w.log.Info("the engine answers again")
		}
		pause := engineLook
		if away = err != nil; away {
			pause = engineWait
		}
		_ = wait.For(w.ctx, pause)
	}
}

// heal looks after the containers until the worker ends: at the start, when the engine
// reports that something happened to one, and when the engine is back.
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
	since := time.Time{} // of the first event that was not handled yet
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
		case <-w.queue.Draining():
			return
		}
		// It changes nothing, so it need not wait for its turn.
		if err := service.LookAtPorts(w.ctx); err != nil {
			w.log.Debug("cannot find out which host ports are in use", "error", err)
		}
		again, err := w.healNow(service)
		if said := fmt.Sprint(err); err != nil && said != last && w.ctx.Err() == nil && !errors.Is(err, deploy.ErrDraining) {
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
	noTurn := service.Do(w.ctx, "a check of the containers", unannounced, func(t *deploy.Turn) error {
		again, err = t.Heal(w.ctx)
		return nil
	})
	return again, errors.Join(noTurn, err)
}

// followEngine listens to the engine, and does so again each time the engine was away.
func (w *Worker) followEngine(service *deploy.Service, nudge func()) {
	docker := &docker{}
	began := func() {
		nudge()
		go docker.tell(w.ctx, service, w.log)
	}
	for w.ctx.Err() == nil {
		err := service.FollowEngine(w.ctx, began, func(e compose.Event) {
			if service.Happened(e) {
				nudge()
			}
		})
		if w.ctx.Err() != nil {
			return
		}
		w.log.Debug("the engine's events ended", "error", err)
		_ = wait.For(w.ctx, engineWait)
	}
}
