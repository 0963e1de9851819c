package supervisor

import (
	"encoding/json"
	"strings"
	"time"

	"pgo/internal/config"
	"pgo/internal/printable"
)

// statusJSON is what `status --json` prints: an interface of pgo, whose keys
// keep their names and meanings. What there is not is left out. Its texts are
// made fit to be shown, as everywhere: JSON itself escapes less than a terminal
// needs.
type statusJSON struct {
	Service    string      `json:"service"`
	User       string      `json:"user"`
	State      string      `json:"state"`
	Wanted     string      `json:"wanted,omitempty"`
	Head       string      `json:"head,omitempty"`
	Deployed   string      `json:"deployed,omitempty"`
	DeployedAt time.Time   `json:"deployed_at,omitzero"`
	Trigger    string      `json:"trigger,omitempty"`
	Reason     string      `json:"reason,omitempty"`
	Outcome    string      `json:"outcome,omitempty"`
	Activity   string      `json:"activity,omitempty"`
	NextPoll   time.Time   `json:"next_poll,omitzero"`
	Frozen     *frozenJSON `json:"frozen,omitempty"`
	Pinned     *pinnedJSON `json:"pinned,omitempty"`
	Worker     workerJSON  `json:"worker"`
	Error      *errorJSON  `json:"error,omitempty"`
	Unwell     []string    `json:"unwell,omitempty"`
	Warnings   []string    `json:"warnings,omitempty"`
	Proxy      *proxyJSON  `json:"proxy,omitempty"`
}

type frozenJSON struct {
	Reason string    `json:"reason"`
	Since  time.Time `json:"since,omitzero"`
}

type pinnedJSON struct {
	Commit string    `json:"commit"`
	Until  time.Time `json:"until,omitzero"`
}

type workerJSON struct {
	State     string    `json:"state"`
	PID       int       `json:"pid,omitempty"`
	Since     time.Time `json:"since,omitzero"`
	Restarts  int       `json:"restarts"`
	Crashloop bool      `json:"crashloop"`
	Error     string    `json:"error,omitempty"`
	RetryAt   time.Time `json:"retry_at,omitzero"`
}

type errorJSON struct {
	Text    string    `json:"text"`
	Since   time.Time `json:"since,omitzero"`
	Details []string  `json:"details,omitempty"`
}

// encode writes a value as JSON on one line.
func encode(value any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(value) // none of the types here can fail: moment sees to the times
	return b.String()
}

func (s snapshot) statusJSON(service config.Service, now time.Time) statusJSON {
	state := s.report
	all := statusJSON{
		Service:    service.Name,
		User:       service.User,
		State:      string(s.condition(now)),
		Wanted:     printable.Line(state.GetWanted()),
		Head:       printable.Line(state.GetHead()),
		Deployed:   printable.Line(state.GetDeployed()),
		DeployedAt: moment(state.GetDeployedAt()),
		Trigger:    printable.Line(state.GetTrigger()),
		Reason:     printable.Line(state.GetReason()),
		Outcome:    printable.Line(state.GetOutcome()),
		Activity:   printable.Line(state.GetActivity()),
		NextPoll:   moment(state.GetNextPoll()),
		Worker:     s.workerJSON(now),
		Unwell:     printableLines(state.GetUnwell()),
		Warnings:   printableLines(state.GetWarnings()),
		Proxy:      proxyJSONOf(state.GetProxy()),
	}
	if why := state.GetFrozen(); why != "" {
		all.Frozen = &frozenJSON{printable.Line(why), moment(state.GetFrozenSince())}
	}
	if commit := state.GetPinned(); commit != "" {
		all.Pinned = &pinnedJSON{printable.Line(commit), moment(state.GetPinnedUntil())}
	}
	if text := state.GetError(); text != "" {
		all.Error = &errorJSON{printable.Line(text), moment(state.GetErrorSince()), printableLines(state.GetDetails())}
	}
	return all
}

// workerJSON is the worker's process.
func (s snapshot) workerJSON(now time.Time) workerJSON {
	w := workerJSON{State: string(s.state), Restarts: s.restarts.total, Crashloop: s.restarts.crashloop(now)}
	if p := s.process; p != nil {
		w.PID, w.Since = p.pid(), p.since.UTC().Truncate(time.Second)
	}
	if s.err != nil {
		w.Error = printable.Line(s.err.Error())
	}
	if s.state == backoff {
		w.RetryAt = s.retry.UTC().Truncate(time.Millisecond)
	}
	return w
}

func printableLines(texts []string) []string {
	var lines []string
	for _, text := range texts {
		lines = append(lines, printable.Line(text))
	}
	return lines
}

// lastSecond is the end of the year 9999: RFC 3339 has no later time.
const lastSecond = 253402300799

// moment is a time that a worker told in Unix seconds; what can be none is left
// out.
func moment(unix int64) time.Time {
	if unix <= 0 || unix > lastSecond {
		return time.Time{}
	}
	return time.Unix(unix, 0).UTC()
}
