package supervisor

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"pgo/internal/hoststat"
	"pgo/internal/sshd"
	"pgo/internal/target"
	"pgo/proto"
)

// onService are the operations on a service that pgod answers itself: they also work while the
// worker is busy or down.
var onService = map[string]func(*instance, sshd.Command, target.Args) sshd.Exit{
	"status":         (*instance).showStatus,
	"worker status":  (*instance).showWorker,
	"worker restart": func(i *instance, s sshd.Command, _ target.Args) sshd.Exit { return i.endWorker(s, true) },
	"worker kill":    func(i *instance, s sshd.Command, _ target.Args) sshd.Exit { return i.endWorker(s, false) },
}

func (i *instance) endWorker(session sshd.Command, politely bool) sshd.Exit {
	err := i.end(politely)
	switch {
	case errors.Is(err, errNoWorker):
		return sshd.Exit{Status: target.StatusUnavailable, Message: err.Error()}
	case err != nil:
		return sshd.Exit{Status: target.StatusConflict, Message: err.Error()}
	}
	_, _ = fmt.Fprintf(session.Stdout, "the worker of %s is ending; a new one is started\n", i.service.Name)
	return sshd.Exit{}
}

func (i *instance) showStatus(session sshd.Command, args target.Args) sshd.Exit {
	now := time.Now()
	status := seen{i.service, i.view.get()}.status(now)
	if args.Has("--json") {
		return say(session, hoststat.Encode(status))
	}
	return say(session, status.Rows(now).Text(session.Color))
}

func (i *instance) showWorker(session sshd.Command, _ target.Args) sshd.Exit {
	now := time.Now()
	worker := seen{i.service, i.view.get()}.status(now).Worker
	var r hoststat.Rows
	r.Add("service", "%s", i.service.Name)
	r.Add("user", "%s", i.service.User)
	return say(session, append(r, worker.Row(now)).Text(session.Color))
}

// status returns how the service is doing, safe to print, but without its usage.
func (s seen) status(now time.Time) hoststat.Service {
	r := s.report
	all := hoststat.Service{
		Name:       s.service.Name,
		User:       s.service.User,
		Wanted:     hoststat.Wanted(proto.Word(r.GetWanted())),
		Head:       r.GetHead(),
		Deployed:   r.GetDeployed(),
		DeployedAt: hoststat.Moment(r.GetDeployedAt()),
		Trigger:    r.GetTrigger(),
		Reason:     r.GetReason(),
		Outcome:    hoststat.Outcome(proto.Word(r.GetOutcome())),
		Activity:   activity(r),
		NextPoll:   hoststat.Moment(r.GetNextPoll()),
		Worker:     s.worker(now),
		Unwell:     slices.Concat(r.GetUnwell(), texts(s.deaf)),
		Warnings:   slices.Clone(r.GetWarnings()),
	}
	if !s.lost.IsZero() {
		all.Warnings = append(all.Warnings, fmt.Sprintf("the service's directory was gone, and was made anew at %s: lost are %s; `worker restart` ends this warning",
			s.lost.UTC().Format("2006-01-02 15:04 UTC"), lostWithDir))
	}
	if why := r.GetFrozen(); why != "" {
		all.Frozen = &hoststat.Freeze{Reason: why, Since: hoststat.Moment(r.GetFrozenSince())}
	}
	if commit := r.GetPinned(); commit != "" {
		all.Pinned = &hoststat.Pin{Commit: commit, Until: hoststat.Moment(r.GetPinnedUntil())}
	}
	if text := r.GetError(); text != "" {
		all.Error = &hoststat.Error{Text: text, Since: hoststat.Moment(r.GetErrorSince()), Details: slices.Clone(r.GetDetails())}
	}
	if p := r.GetProxy(); p != nil {
		all.Proxy = &hoststat.Proxy{
			Import: p.GetImport(), WrittenAt: hoststat.Moment(p.GetWrittenAt()),
			Reload: proto.Word(p.GetReload()), ReloadedAt: hoststat.Moment(p.GetReloadedAt()), Error: p.GetError(),
			CannotSwitch: p.GetCannotSwitch(),
		}
	}
	for _, way := range r.GetWays() {
		all.Ways = append(all.Ways, hoststat.Way{Service: way.GetService(), StartFirst: way.GetStartFirst(), Note: way.GetNote()})
	}
	all.Unswitched = r.GetUnswitched()
	hoststat.Printable(&all)
	all.State = condition(all)
	return all
}

// lostWithDir is what nobody can bring back when a service's directory is gone.
const lostWithDir = "the history and the way back, what somebody had stopped, taken down or frozen, and whatever the checkout had that git does not"

// activity returns what the worker reports that it is doing.
func activity(r *proto.State) string {
	switch r.GetActivity() {
	case proto.State_ACTIVITY_UNSPECIFIED:
		return ""
	case proto.State_ACTIVITY_IDLE:
		return hoststat.Idle
	}
	return cmp.Or(r.GetStep(), proto.Unknown)
}

// worker returns the state of the worker's process.
func (s snapshot) worker(now time.Time) hoststat.Worker {
	w := hoststat.Worker{State: s.state, Restarts: s.restarts.total, Crashloop: s.restarts.crashloop(now)}
	if p := s.process; p != nil {
		w.PID, w.Since = p.pid(), p.since.UTC().Truncate(time.Second)
	}
	if s.err != nil {
		w.Error = s.err.Error()
	}
	if s.state == backoff {
		w.RetryAt = s.retry.UTC().Truncate(time.Millisecond)
	}
	return w
}

// condition sums up in one word how the service is doing.
func condition(s hoststat.Service) hoststat.State {
	switch {
	case s.Worker.Crashloop:
		return hoststat.Crashloop
	case s.Worker.State == backoff, s.Worker.State == killing, s.Worker.State == stopped:
		return hoststat.NoWorker
	case s.Activity != "" && s.Activity != hoststat.Idle:
		return hoststat.Deploying
	case len(s.Unwell) > 0:
		return hoststat.Unwell
	case s.Outcome.Bad():
		return hoststat.State(s.Outcome)
	case s.Wanted == hoststat.WantedDown:
		return hoststat.Down
	case s.Error != nil && s.Deployed == "":
		return hoststat.Failed
	case s.Frozen != nil:
		return hoststat.Frozen
	case s.Outcome == hoststat.OutcomeHeld:
		return hoststat.Held
	case s.Error != nil:
		return hoststat.Stale
	case s.Deployed != "" && slices.Contains(hoststat.Outcomes(), s.Outcome):
		return hoststat.Running
	}
	return hoststat.Starting
}
