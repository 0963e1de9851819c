package supervisor

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"pgo/internal/printable"
	"pgo/internal/sshd"
	"pgo/internal/target"
	"pgo/proto"
)

// local are the operations on a service that pgod answers itself: they work
// also while the worker is busy or down.
var local = map[string]func(*instance, sshd.Command, target.Args) sshd.Exit{
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
	_, _ = fmt.Fprintf(session.Stdout, "the worker of %s ends; a new one is started\n", i.service.Name)
	return sshd.Exit{}
}

// row is one line of a status: a name and a value. A row without a name goes on with
// what the one before it says.
type row struct {
	name  string
	word  cell // what the value begins with, if that has a colour
	value string
}

type rows []row

func (r *rows) add(name, format string, args ...any) {
	*r = append(*r, row{name: name, value: printable.Line(fmt.Sprintf(format, args...))})
}

func (r rows) write(w io.Writer, color bool) {
	var b strings.Builder
	for _, row := range r {
		name, word := row.name, row.word.text
		if name != "" {
			name += ":"
		}
		if color {
			word = row.word.level.Paint(word)
		}
		fmt.Fprintf(&b, "%-10s %s\n", name, word+row.value)
	}
	_, _ = io.WriteString(w, b.String())
}

func (i *instance) showStatus(session sshd.Command, args target.Args) sshd.Exit {
	v, now := i.view.get(), time.Now()
	if args.Has("--json") {
		_, _ = io.WriteString(session.Stdout, encode(v.statusJSON(i.service, now)))
	} else {
		i.status(v, now).write(session.Stdout, session.Color)
	}
	return sshd.Exit{}
}

// status is what is shown of a service at one moment.
func (i *instance) status(v snapshot, now time.Time) rows {
	state := v.report
	var r rows
	r.add("service", "%s", i.service.Name)
	condition := v.condition(now)
	r = append(r, row{name: "state", word: cell{string(condition), condition.Level()}})
	r.add("wanted", "%s", orNone(state.GetWanted()))
	r.add("deployed", "%s", deployedLine(state, now))
	r.add("head", "%s", orNone(short(state.GetHead())))
	if why := state.GetFrozen(); why != "" {
		r.add("frozen", "%s (for %s)", why, since(now, state.GetFrozenSince()))
	}
	if commit := state.GetPinned(); commit != "" {
		r.add("pinned", "%s, for another %s", short(commit), left(now, state.GetPinnedUntil()))
	}
	r.add("last", "%s", orNone(state.GetOutcome()))
	activity := orNone(state.GetActivity())
	if next := state.GetNextPoll(); next != 0 {
		activity += fmt.Sprintf(", next poll in %s", left(now, next))
	}
	r.add("now", "%s", activity)
	r = append(r, v.workerRow(now))
	r.proxy(state.GetProxy(), now)
	r.list("unwell", state.GetUnwell())
	r.list("warning", state.GetWarnings())
	if text := state.GetError(); text != "" {
		r.add("error", "%s (for %s)", text, since(now, state.GetErrorSince()))
		r.list("", state.GetDetails())
	}
	return r
}

// list adds a row for each text; only the first has the name.
func (r *rows) list(name string, texts []string) {
	for _, text := range texts {
		r.add(name, "%s", text)
		name = ""
	}
}

func (i *instance) showWorker(session sshd.Command, _ target.Args) sshd.Exit {
	v, now := i.view.get(), time.Now()
	var r rows
	r.add("service", "%s", i.service.Name)
	r.add("user", "%s", i.service.User)
	r = append(r, v.workerRow(now))
	r.write(session.Stdout, session.Color)
	return sshd.Exit{}
}

// workerRow is the worker's process in one line.
func (s snapshot) workerRow(now time.Time) row {
	level, text := s.hostWorker(now).Level(), ""
	if s.restarts.crashloop(now) {
		text += ", crashloop"
	}
	if p := s.process; p != nil {
		text += fmt.Sprintf(", pid %d, up %s", p.pid(), now.Sub(p.since).Round(time.Second))
	}
	text += fmt.Sprintf(", restarts: %d", s.restarts.total)
	if s.state == backoff {
		text += fmt.Sprintf(", started again in %s: %v", until(s.retry), s.err)
	}
	return row{name: "worker", word: cell{string(s.state), level}, value: printable.Line(text)}
}

// deployedLine is what runs, since when and why.
func deployedLine(state *proto.State, now time.Time) string {
	if state.GetDeployed() == "" {
		return "-"
	}
	text := fmt.Sprintf("%s, %s ago", short(state.GetDeployed()), since(now, state.GetDeployedAt()))
	if why := join(": ", state.GetTrigger(), state.GetReason()); why != "" {
		text += ", " + why
	}
	if state.GetWanted() == "down" {
		text += " (taken down)"
	}
	return text
}

// join joins the texts that are not empty.
func join(separator string, texts ...string) string {
	return strings.Join(slices.DeleteFunc(texts, func(s string) bool { return s == "" }), separator)
}

func orNone(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// short is a commit as people write it.
func short(commit string) string { return commit[:min(len(commit), 7)] }

func since(now time.Time, unix int64) time.Duration {
	return max(now.Sub(time.Unix(unix, 0)).Round(time.Second), 0)
}

func left(now time.Time, unix int64) time.Duration {
	return max(time.Unix(unix, 0).Sub(now).Round(time.Second), 0)
}
