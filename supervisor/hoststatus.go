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

// maxTrouble is as much of an error as has room in a table.
const maxTrouble = 100

// maxShown bounds how many mistakes of the configuration stand below a table.
const maxShown = 10

// hostStatusJSON is what `//status --json` prints: an interface of pgo. Its services
// are what `status --json` prints of each.
type hostStatusJSON struct {
	Services    []statusJSON   `json:"services"`
	Removing    []removingJSON `json:"removing,omitempty"`
	ConfigError *errorJSON     `json:"config_error,omitempty"`
	Upstream    *upstreamJSON  `json:"upstream,omitempty"` // where the configuration is from, if that is git
}

// removingJSON is a service that is not configured any more, and being removed.
type removingJSON struct {
	Service string    `json:"service"`
	Since   time.Time `json:"since"`
	Error   string    `json:"error,omitempty"` // why it is not removed yet
}

func (s *Supervisor) showHostStatus(_ context.Context, session sshd.Command, args target.Args) sshd.Exit {
	services, now := s.overview(), time.Now()
	_, bad := s.reloads.get()
	if args.Has("--json") {
		all := hostStatusJSON{Services: []statusJSON{}, ConfigError: bad.json(), Upstream: s.reloads.from().json()}
		for _, s := range services {
			all.Services = append(all.Services, s.statusJSON(s.service, now))
		}
		for _, r := range s.removing() {
			all.Removing = append(all.Removing, removingJSON{r.name, r.since.UTC().Truncate(time.Second), r.trouble})
		}
		return say(session, encode(all))
	}
	table := append(statusTable(services, now), removingRows(s.removing())...)
	return say(session, table.text(session.Color)+s.reloads.from().text(now)+bad.text(now))
}

// statusTable has all services in a line each.
func statusTable(services []seen, now time.Time) table {
	t := table{texts("SERVICE", "STATE", "DEPLOYED", "AGE", "HEAD", "LAST", "WORKER", "PID", "RESTARTS", "ERROR")}
	for _, s := range services {
		report, worker, condition := s.report, s.hostWorker(now), s.condition(now)
		trouble, _ := s.trouble()
		t = append(t, []cell{
			{text: s.service.Name},
			{string(condition), condition.Level()},
			{text: printable.Line(short(report.GetDeployed()))},
			{text: age(report.GetDeployedAt(), now)},
			{text: printable.Line(short(report.GetHead()))},
			{text: printable.Line(report.GetOutcome())},
			workerCell(worker),
			{text: pid(worker)},
			{text: strconv.Itoa(worker.Restarts)},
			{text: printable.Cut(trouble, maxTrouble)},
		})
	}
	return t
}

// removingRows has a line for each service that is being removed.
func removingRows(all []removing) table {
	var t table
	for _, r := range all {
		level := hoststat.Notice
		if r.trouble != "" {
			level = hoststat.Bad
		}
		row := append(texts(r.name), cell{"removing", level})
		row = append(row, texts("", "", "", "", "", "", "", printable.Cut(r.trouble, maxTrouble))...)
		t = append(t, row)
	}
	return t
}

// workerCell is the state of a worker's process.
func workerCell(w hoststat.Worker) cell {
	text := w.State
	if w.Crashloop {
		text += ", crashloop"
	}
	return cell{text, w.Level()}
}

func pid(w hoststat.Worker) string {
	if w.PID == 0 {
		return ""
	}
	return strconv.Itoa(w.PID)
}

// age is how long ago something was that a worker told in Unix seconds.
func age(unix int64, now time.Time) string {
	at := moment(unix)
	if at.IsZero() {
		return ""
	}
	return hoststat.Age(now.Sub(at))
}

// text tells what is wrong with the configuration on disk, if anything is.
func (c *configError) text(now time.Time) string {
	if c == nil {
		return ""
	}
	lines := c.lines
	if more := len(lines) - maxShown; more > 0 {
		lines = append(lines[:maxShown:maxShown], fmt.Sprintf("and %d more, which //reload shows", more))
	}
	return fmt.Sprintf("\nThe newest configuration is bad (for %s); %s:\n  %s\n",
		hoststat.Age(now.Sub(c.since)), c.stays, strings.Join(lines, "\n  "))
}

func (c *configError) json() *errorJSON {
	if c == nil {
		return nil
	}
	return &errorJSON{Text: c.lines[0], Since: c.since.UTC().Truncate(time.Second), Details: c.lines}
}
