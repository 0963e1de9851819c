package hoststat

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Rows returns the service as `status` shows it.
func (s *Service) Rows(now time.Time) Rows {
	var r Rows
	r.Add("service", "%s", s.Name)
	r = append(r, Row{Name: "state", Word: s.State.Cell()})
	r.Add("wanted", "%s", orNone(s.Wanted))
	r.Add("deployed", "%s", s.deployment(now))
	r.Add("head", "%s", orNone(Short(s.Head)))
	if s.Frozen != nil {
		r.Add("frozen", "%s%s", s.Frozen.Reason, lasting(now, s.Frozen.Since))
	}
	if s.Pinned != nil {
		r.Add("pinned", "%s, for another %s", Short(s.Pinned.Commit), seconds(s.Pinned.Until.Sub(now)))
	}
	r.Add("last", "%s", orNone(s.Outcome))
	activity := orNone(s.Activity)
	if !s.NextPoll.IsZero() {
		activity += fmt.Sprintf(", next poll in %s", seconds(s.NextPoll.Sub(now)))
	}
	r.Add("now", "%s", activity)
	r = append(r, s.Worker.Row(now))
	r.proxy(s.Proxy, now)
	r.ways(s)
	r.List("unwell", s.Unwell)
	r.List("warning", s.Warnings)
	if s.Error != nil {
		r.Add("error", "%s%s", s.Error.Text, lasting(now, s.Error.Since))
		r.List("", s.Error.Details)
	}
	return r
}

// deployment returns what is deployed, since when and why.
func (s *Service) deployment(now time.Time) string {
	if s.Deployed == "" {
		return "-"
	}
	text := Short(s.Deployed)
	if !s.DeployedAt.IsZero() {
		text += fmt.Sprintf(", %s ago", seconds(now.Sub(s.DeployedAt)))
	}
	why := slices.DeleteFunc([]string{s.Trigger, s.Reason}, func(s string) bool { return s == "" })
	if len(why) > 0 {
		text += ", " + strings.Join(why, ": ")
	}
	if s.Wanted == WantedDown {
		text += " (taken down)"
	}
	return text
}

// Row returns the worker as one row.
func (w *Worker) Row(now time.Time) Row {
	text := ""
	if w.Crashloop {
		text += ", crashloop"
	}
	if w.PID != 0 {
		text += fmt.Sprintf(", pid %d", w.PID)
	}
	if !w.Since.IsZero() {
		text += fmt.Sprintf(", up %s", seconds(now.Sub(w.Since)))
	}
	text += fmt.Sprintf(", restarts: %d", w.Restarts)
	if !w.RetryAt.IsZero() {
		text += fmt.Sprintf(", started again in %s: %s", max(w.RetryAt.Sub(now).Round(100*time.Millisecond), 0), w.Error)
	}
	return Row{Name: "worker", Word: Cell{Text: string(w.State), Level: w.Level()}, Value: text}
}

// Cell returns the worker's state for a table.
func (w *Worker) Cell() Cell {
	text := string(w.State)
	if w.Crashloop {
		text += ", crashloop"
	}
	return Cell{Text: text, Level: w.Level()}
}

// proxy adds a row about the snippet, if the service has one.
func (r *Rows) proxy(p *Proxy, now time.Time) {
	if p == nil {
		return
	}
	row := Row{Name: "proxy", Value: p.Import + " is not written yet"}
	if !p.WrittenAt.IsZero() {
		row.Value = fmt.Sprintf("%s written %s ago", p.Import, seconds(now.Sub(p.WrittenAt)))
	}
	if p.Reload != "" {
		row.Value += ", reload: " + p.Reload
		if !p.ReloadedAt.IsZero() {
			row.Value += fmt.Sprintf(" %s ago", seconds(now.Sub(p.ReloadedAt)))
		}
	}
	if p.Error != "" {
		row.Word = Cell{Text: "failed, ", Level: Bad}
	}
	*r = append(*r, row)
	if p.Error != "" {
		r.Add("", "%s", p.Error)
	}
	if p.CannotSwitch != "" {
		r.Add("", "it cannot switch requests during a deploy: %s", p.CannotSwitch)
	}
}

// ways adds rows about what starts first, if anything may.
func (r *Rows) ways(s *Service) {
	var lines []string
	for _, way := range s.Ways {
		switch {
		case way.StartFirst && way.Note != "":
			lines = append(lines, fmt.Sprintf("%s starts first; %s", way.Service, way.Note))
		case way.StartFirst:
			lines = append(lines, way.Service+" starts first")
		default:
			lines = append(lines, fmt.Sprintf("%s is replaced in place: %s", way.Service, way.Note))
		}
	}
	if len(lines) > 0 && s.Unswitched != "" {
		lines = append(lines, "requests cannot be switched: "+s.Unswitched)
	}
	r.List("deploys", lines)
}

// lasting returns how long something has been so, if that is known.
func lasting(now, since time.Time) string {
	if since.IsZero() {
		return ""
	}
	return fmt.Sprintf(" (for %s)", seconds(now.Sub(since)))
}

func seconds(d time.Duration) time.Duration { return max(d.Round(time.Second), 0) }

// Short returns a commit in its abbreviated form.
func Short(commit string) string { return commit[:min(len(commit), 7)] }
