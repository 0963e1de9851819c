package supervisor

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"pgo/internal/hoststat"
	"pgo/internal/printable"
	"pgo/internal/sshd"
	"pgo/internal/target"
)

// maxTrouble is how much of an error fits into a table.
const maxTrouble = 100

// maxShown bounds how many mistakes in the configuration are listed below a table.
const maxShown = 10

// snapshot returns the state of the host and its services at that moment.
func (h *host) snapshot(services []seen, bad *configError, now time.Time) hoststat.Snapshot {
	all := hoststat.Snapshot{
		Time: now.UTC().Truncate(time.Millisecond), Host: thisHost(), Services: []hoststat.Service{},
		Removing: h.supervisor.removing(), ConfigError: bad.status(), Upstream: h.configuration.from().status(),
	}
	for _, service := range services {
		all.Services = append(all.Services, service.status(now))
	}
	return all
}

func (h *host) showStatus(_ context.Context, session sshd.Command, args target.Args) sshd.Exit {
	now := time.Now()
	_, bad := h.configuration.get()
	h.configuration.shows(session.Identity.Fingerprint, bad.waits())
	shown := h.snapshot(h.supervisor.overview(), bad, now)
	if args.Has("--json") {
		return say(session, hoststat.Encode(shown))
	}
	return say(session, statusTable(shown).Text(session.Color)+h.configuration.from().text(now)+bad.text(now))
}

// statusTable has one line per service, with those being removed at the end.
func statusTable(s hoststat.Snapshot) hoststat.Table {
	t := hoststat.Table{hoststat.Texts("SERVICE", "STATE", "DEPLOYED", "AGE", "HEAD", "LAST", "WORKER", "PID", "RESTARTS", "ERROR")}
	for _, one := range s.Services {
		t = append(t, []hoststat.Cell{
			{Text: one.Name},
			one.State.Cell(),
			{Text: hoststat.Short(one.Deployed)},
			{Text: age(one.DeployedAt, s.Time)},
			{Text: hoststat.Short(one.Head)},
			{Text: string(one.Outcome)},
			one.Worker.Cell(),
			{Text: pid(one.Worker)},
			{Text: strconv.Itoa(one.Worker.Restarts)},
			{Text: printable.Cut(one.Trouble(), maxTrouble)},
		})
	}
	for _, one := range s.Removing {
		level := hoststat.Notice
		if one.Error != "" {
			level = hoststat.Bad
		}
		row := append(hoststat.Texts(one.Service), hoststat.Cell{Text: "removing", Level: level})
		t = append(t, append(row, hoststat.Texts("", "", "", "", "", "", "", printable.Cut(one.Error, maxTrouble))...))
	}
	return t
}

func pid(w hoststat.Worker) string {
	if w.PID == 0 {
		return ""
	}
	return strconv.Itoa(w.PID)
}

// age returns how long ago something was.
func age(at, now time.Time) string {
	if at.IsZero() {
		return ""
	}
	return hoststat.Age(now.Sub(at))
}

// text describes what is wrong with the configuration on disk, if anything.
func (c *configError) text(now time.Time) string {
	if c == nil {
		return ""
	}
	lines := c.lines
	if more := len(lines) - maxShown; more > 0 {
		lines = append(lines[:maxShown:maxShown], fmt.Sprintf("and %d more: see //reload", more))
	}
	is := "is bad"
	if c.lost != nil {
		is = "waits for an operator"
	}
	return fmt.Sprintf("\nThe newest configuration %s (for %s); %s:\n  %s\n",
		is, hoststat.Age(now.Sub(c.since)), c.stays, strings.Join(lines, "\n  "))
}

// waits returns what an operator has to confirm; nil: nothing.
func (c *configError) waits() *Loss {
	if c == nil {
		return nil
	}
	return c.lost
}

// status returns the error as --json prints it.
func (c *configError) status() *hoststat.Error {
	if c == nil {
		return nil
	}
	return &hoststat.Error{Text: c.lines[0], Since: c.since.UTC().Truncate(time.Second), Details: c.lines}
}
