// Package hoststat has the format of pgod's reports on its host and the services: what
// `status --json`, `//status --json` and `//top --json` print, the words in it, and how tables
// show them. Both ends use it: pgod writes it, pgoctl's screen reads it. It knows neither workers
// nor SSH.
//
// The JSON is an interface: a key keeps its name, its meaning and its unit, and keys may be added.
// Absent values are omitted. Times are in UTC, commits are 40 hex digits. Texts are safe to show
// as they are, each on one line. docs/status-json.md has all keys.
package hoststat

import (
	"encoding/json"
	"strings"
	"time"
)

// Interval is the time between two snapshots of a `//top` that follows.
const Interval = 2 * time.Second

// Snapshot is a host and its services at one moment: what `//status --json` prints, and one
// line of `//top --json`.
type Snapshot struct {
	Time        time.Time  `json:"time"` // by the host's clock
	Host        Host       `json:"host"`
	Services    []Service  `json:"services"`               // by name
	Removing    []Removing `json:"removing,omitempty"`     // services that are no longer configured, by name
	ConfigError *Error     `json:"config_error,omitempty"` // why the newest configuration is not in force; an older one is
	Upstream    *Upstream  `json:"upstream,omitempty"`     // where the configuration comes from, if that is git
}

// Host is the machine that pgod runs on.
type Host struct {
	Name    string  `json:"name"`
	Version string  `json:"version"` // pgod's
	Cores   int     `json:"cores"`
	Memory  uint64  `json:"memory"` // in total, in bytes; 0: not known
	Load    float64 `json:"load"`   // of the last minute; 0 also when it is not known
}

// Service is one service: what `status --json` prints.
type Service struct {
	Name       string    `json:"service"`
	User       string    `json:"user"`                 // the Unix user
	State      State     `json:"state"`                // how the service is doing, in one word
	Wanted     Wanted    `json:"wanted,omitempty"`     // what was asked for last: up, down
	Head       string    `json:"head,omitempty"`       // the commit of the branch as last fetched
	Deployed   string    `json:"deployed,omitempty"`   // the commit that runs, or ran before a down
	DeployedAt time.Time `json:"deployed_at,omitzero"` // when that deploy became good
	Trigger    string    `json:"trigger,omitempty"`    // who or what asked for that deploy
	Reason     string    `json:"reason,omitempty"`     // why it was needed
	Outcome    Outcome   `json:"outcome,omitempty"`    // of the last deploy or poll
	Activity   string    `json:"activity,omitempty"`   // what the worker is doing: idle, or the step of a change
	NextPoll   time.Time `json:"next_poll,omitzero"`   // when the branch is polled next
	Frozen     *Freeze   `json:"frozen,omitempty"`     // absent: the branch is followed
	Pinned     *Pin      `json:"pinned,omitempty"`     // absent: build and up act on the head
	Worker     Worker    `json:"worker"`               // the service's process
	Error      *Error    `json:"error,omitempty"`      // of the last poll, fetch or deploy
	Unwell     []string  `json:"unwell,omitempty"`     // containers that are not as they should be, and how
	Warnings   []string  `json:"warnings,omitempty"`   // what works, or could work, but should be changed
	Proxy      *Proxy    `json:"proxy,omitempty"`      // absent: the service is not a reverse proxy
	Ways       []Way     `json:"ways,omitempty"`       // how a deploy replaces each compose service; only with deploy = "start-first"
	Unswitched string    `json:"unswitched,omitempty"` // likewise: why no proxy sends requests to one of its containers during a deploy
	Usage      *Usage    `json:"usage,omitempty"`      // in //top only; absent: the worker did not report in time, or there is none
}

// Way is how a deploy replaces a compose service.
type Way struct {
	Service    string `json:"service"`        // the compose service
	StartFirst bool   `json:"start_first"`    // its new containers start before those end that they replace
	Note       string `json:"note,omitempty"` // why not, or what should be known about it
}

// Freeze is why a branch is not followed.
type Freeze struct {
	Reason string    `json:"reason"` // who froze it, and why
	Since  time.Time `json:"since,omitzero"`
}

// Pin is the commit that build and up act on after a pull.
type Pin struct {
	Commit string    `json:"commit"`
	Until  time.Time `json:"until,omitzero"`
}

// Worker is the process that manages a service.
type Worker struct {
	State     WorkerState `json:"state"`
	PID       int         `json:"pid,omitempty"`     // absent: there is no process
	Since     time.Time   `json:"since,omitzero"`    // when the process was started
	Restarts  int         `json:"restarts"`          // how often it has ended
	Crashloop bool        `json:"crashloop"`         // it ended five times within a minute
	Error     string      `json:"error,omitempty"`   // why there is no process
	RetryAt   time.Time   `json:"retry_at,omitzero"` // when it is started again
}

// Error is what went wrong.
type Error struct {
	Text    string    `json:"text"`
	Since   time.Time `json:"since,omitzero"`
	Details []string  `json:"details,omitempty"` // one line each
}

// Proxy is the state of a reverse proxy's snippet.
type Proxy struct {
	Import     string    `json:"import"`              // the snippet's path in the repository
	WrittenAt  time.Time `json:"written_at,omitzero"` // when its content last changed; absent: it is not written yet
	Reload     string    `json:"reload,omitempty"`    // the result of the proxy's reload: pending, reloaded, failed, not running
	ReloadedAt time.Time `json:"reloaded_at,omitzero"`
	Error      string    `json:"error,omitempty"` // why the snippet was not written, or the proxy not reloaded

	CannotSwitch string `json:"cannot_switch,omitempty"` // why it cannot send requests to one container during a deploy with "start-first"
}

// Usage is what the containers of a service use together.
type Usage struct {
	CPU        *float64    `json:"cpu_percent,omitempty"` // 100 is one core; absent: it needs another reading
	Memory     uint64      `json:"memory"`                // bytes, without what the kernel can reclaim
	Running    int         `json:"running"`               // number of running containers
	Restarts   int         `json:"restarts"`              // of the containers, by their restart policies
	Containers []Container `json:"containers"`            // stopped ones too, by name
}

// Container is one container of a service.
type Container struct {
	Name     string   `json:"name"`
	Service  string   `json:"service"`               // the compose service
	State    string   `json:"state,omitempty"`       // the engine's term: created, running, paused, restarting, removing, exited, dead
	Health   string   `json:"health,omitempty"`      // starting, healthy, unhealthy; absent: it has no health check
	CPU      *float64 `json:"cpu_percent,omitempty"` // 100 is one core
	Memory   uint64   `json:"memory"`                // bytes
	Restarts int      `json:"restarts"`              // by its restart policy
}

// Removing is a service that is no longer configured and is being removed.
type Removing struct {
	Service string    `json:"service"`
	Since   time.Time `json:"since"`
	Error   string    `json:"error,omitempty"` // why it is not removed yet
}

// Upstream is the configuration in git.
type Upstream struct {
	From      string    `json:"from"`              // repository, path and branch
	Commit    string    `json:"commit,omitempty"`  // the one in force; absent: none yet
	Author    string    `json:"author,omitempty"`  // of the commit
	Subject   string    `json:"subject,omitempty"` // of the commit
	AppliedAt time.Time `json:"applied_at,omitzero"`
	LookedAt  time.Time `json:"looked_at,omitzero"`      // when the branch was last seen
	Fetching  time.Time `json:"fetching_since,omitzero"` // absent: no fetch is running
	Error     *Error    `json:"error,omitempty"`         // why the last poll failed
}

// Trouble returns the reason for a service's state on one line; empty: all is well.
func (s *Service) Trouble() string {
	switch {
	case s.Worker.Error != "":
		return "the worker is down: " + s.Worker.Error
	case s.Error != nil:
		return s.Error.Text
	case len(s.Unwell) > 0:
		return s.Unwell[0]
	case len(s.Warnings) > 0:
		return "warning: " + s.Warnings[0]
	}
	return ""
}

// Encode returns a value as JSON on one line.
func Encode(value any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(value) // the types here cannot fail if the times are from Moment
	return b.String()
}

// lastSecond is the end of the year 9999, the last time in RFC 3339.
const lastSecond = 253402300799

// Moment returns the time for Unix seconds from an untrusted source. It is zero if JSON cannot
// represent the time.
func Moment(unix int64) time.Time {
	if unix <= 0 || unix > lastSecond {
		return time.Time{}
	}
	return time.Unix(unix, 0).UTC()
}
