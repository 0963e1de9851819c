package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/internal/config"
	"pgo/internal/hoststat"
	"pgo/proto"
)

// state is where a worker is in its life.
type state = hoststat.WorkerState

const (
	starting = hoststat.WorkerStarting
	ready    = hoststat.WorkerReady
	draining = hoststat.WorkerDraining
	killing  = hoststat.WorkerKilling
	backoff  = hoststat.WorkerBackoff
	stopped  = hoststat.WorkerStopped
)

// instance is the supervisor's view of one service's worker. One goroutine, run, owns every field
// that is not marked otherwise; others send it events.
type instance struct {
	launcher   *launcher      // set by newInstance, then immutable
	service    config.Service // likewise
	log        hclog.Logger   // likewise
	view       *view          // likewise; what others may read
	neighbours *neighbourhood // likewise; Apply replaces its content

	events chan event
	done   chan struct{} // closed when run ends

	state    state
	process  *process           // nil in starting, backoff and stopped
	cancel   context.CancelFunc // of the launch, or of what was begun for the process
	timer    *time.Timer        // fires in backoff, and starts the worker again
	restarts restarts
	stopping context.Context // not nil once stop was called: its end cancels a running change
	again    bool            // this end was asked for: start again at once
}

// event is what an instance's goroutine reacts to.
type event interface{}

type (
	launched struct {
		process *process // nil: err says why
		err     error
	}
	exited    struct{ process *process }
	silent    struct{ process *process } // it does not answer
	displaced struct{ process *process } // its directory is gone
	endAsked  struct {
		politely bool
		reply    chan<- error
	}
	stopAsked  struct{ ctx context.Context }
	timerFired struct{}
)

func newInstance(l *launcher, service config.Service, neighbours *proto.Neighbours) *instance {
	i := &instance{
		launcher:   l,
		service:    service,
		log:        l.opts.Logger.With("service", service.Name),
		view:       newView(),
		neighbours: newNeighbourhood(neighbours),
		events:     make(chan event),
		done:       make(chan struct{}),
		timer:      time.NewTimer(0),
		cancel:     func() {},
	}
	i.timer.Stop()
	i.view.last = l.lastKeys.of(service)
	return i
}

// run is the instance's goroutine, from the first start to stop.
func (i *instance) run() {
	defer close(i.done)
	i.start()
	for i.state != stopped {
		var e event
		select {
		case e = <-i.events:
		case <-i.timer.C:
			e = timerFired{}
		}
		i.handle(e)
	}
}

// send hands an event to run, unless run has ended.
func (i *instance) send(e event) bool {
	select {
	case i.events <- e:
		return true
	case <-i.done:
		return false
	}
}

// handle is the state machine. An event of an earlier process comes too late to matter.
func (i *instance) handle(e event) {
	switch e := e.(type) {
	case launched:
		i.onLaunched(e)
	case exited:
		if e.process == i.process {
			i.onGone(e.process.ending())
		}
	case silent:
		if e.process == i.process && i.state == ready {
			i.log.Error("the worker does not answer: killing it", "pid", e.process.pid())
			i.enter(killing)
			go e.process.dumpAndKill()
		}
	case displaced:
		if e.process == i.process && i.state == ready {
			i.log.Error("the service's directory was removed while its worker ran: another worker gets a new one", "directory", e.process.dir.path)
			i.endSoon()
		}
	case endAsked:
		e.reply <- i.onEndAsked(e)
	case stopAsked:
		i.onStopAsked(e)
	case timerFired:
		if i.state == backoff {
			i.start()
		}
	default:
		i.log.Error("unexpected event", "event", fmt.Sprintf("%T", e), "state", i.state)
	}
}

func (i *instance) enter(s state) {
	i.state = s
	i.view.enter(s, i.process, i.restarts.count())
}

// start begins a launch; the event launched reports the result.
func (i *instance) start() {
	ctx, cancel := context.WithCancel(context.Background())
	i.cancel = cancel
	i.enter(starting)
	neighbours, _ := i.neighbours.get()
	go func() {
		process, err := i.launcher.launch(ctx, i.launcher.errand(i.service, neighbours, i.log, i.lost))
		if !i.send(launched{process, err}) && process != nil {
			process.discard()
		}
	}()
}

func (i *instance) onLaunched(e launched) {
	if e.err != nil {
		i.onGone(e.err)
		return
	}
	i.process = e.process
	ctx, cancel := context.WithCancel(context.Background())
	i.cancel()
	i.cancel = cancel
	i.enter(ready)
	i.log.Info("the worker is ready", "pid", e.process.pid())
	go func() {
		<-e.process.gone()
		i.send(exited{e.process})
	}()
	go func() {
		if trouble := e.process.watch(ctx); trouble != nil {
			i.send(trouble)
		}
	}()
	go i.follow(ctx, e.process)
	go i.adjust(ctx, e.process)
	if i.stopping != nil {
		i.drain(i.stopping)
	}
}

// follow keeps the last report of the worker.
func (i *instance) follow(ctx context.Context, p *process) {
	stream, err := p.rpc.Report(ctx, &proto.ReportRequest{})
	for err == nil {
		var report *proto.ReportReply
		if report, err = stream.Recv(); err == nil {
			i.view.reported(report)
			if isConnected(i.service) {
				i.launcher.connect()
			}
			if report.GetKeysKnown() {
				i.launcher.lastKeys.note(i.service, report.GetKeys())
			}
		}
	}
	if ctx.Err() == nil && !p.goneSoon() {
		i.log.Debug("the worker's reports ended", "error", loggable(err))
		i.send(silent{p})
	}
}

// onGone decides what happens after a worker has ended or could not be started.
func (i *instance) onGone(err error) {
	i.cancel()
	var lived time.Duration
	if i.process != nil {
		lived = time.Since(i.process.since)
		i.process.discard()
		i.process = nil
	}
	if i.stopping != nil {
		i.enter(stopped)
		return
	}
	if i.again {
		i.again = false
		i.restarts.forget()
		i.start()
		return
	}
	delay := i.restarts.next(lived)
	i.log.Error("the worker is down", "error", loggable(err), "retry_in", delay.Round(time.Millisecond))
	i.view.down(err, time.Now().Add(delay))
	i.timer.Reset(delay)
	i.enter(backoff)
}

// errNoWorker is the refusal to end a worker that does not exist.
var errNoWorker = errors.New("there is no worker to end: it is being started")

func (i *instance) onEndAsked(e endAsked) error {
	switch {
	case i.stopping != nil:
		return errors.New("pgod is stopping")
	case i.state == backoff: // do not wait any longer
		i.view.forgive()
		i.timer.Stop()
		i.restarts.forget()
		i.start()
		return nil
	case i.process == nil:
		return errNoWorker
	}
	i.view.forgive()
	if e.politely {
		i.endSoon()
		return nil
	}
	i.again = true
	i.enter(killing)
	i.process.runner.abort()
	return nil
}

// endSoon ends the worker, which may finish the running change if that is soon, and has another
// one started at once.
func (i *instance) endSoon() {
	i.again = true
	ctx, cancel := context.WithTimeout(context.Background(), DrainTimeout)
	context.AfterFunc(ctx, cancel)
	i.drain(ctx)
}

// lost notes that the service had a directory that is gone. Another goroutine calls it.
func (i *instance) lost() {
	i.log.Error("the service's directory is gone, and is made anew", "directory", i.launcher.data.service(i.service.Name), "lost", lostWithDir)
	i.view.lose(time.Now())
}

func (i *instance) drain(ctx context.Context) {
	if i.state != ready {
		return // it is ending already
	}
	i.enter(draining)
	go i.process.drain(ctx) // exited follows
}

func (i *instance) onStopAsked(e stopAsked) {
	i.stopping = e.ctx
	switch i.state {
	case starting:
		i.cancel() // launched follows, with an error
	case ready:
		i.drain(e.ctx)
	case backoff:
		i.timer.Stop()
		i.enter(stopped)
	case draining, killing, stopped:
		// The worker is ending anyway.
	}
}

// stop ends the worker, and returns when it is gone. A running change may continue until ctx
// ends.
func (i *instance) stop(ctx context.Context) {
	i.send(stopAsked{ctx})
	<-i.done
}

// end ends the worker and has a new one started.
func (i *instance) end(politely bool) error {
	reply := make(chan error, 1)
	if !i.send(endAsked{politely, reply}) {
		return errors.New("pgod is stopping")
	}
	return <-reply
}
