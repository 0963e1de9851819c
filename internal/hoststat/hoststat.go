// Package hoststat is what pgod tells of all services of its host at once: the words for
// the states that a service can be in, and the form of what `//top --json` prints. Both
// ends use it: pgod writes it, pgoctl's screen reads it.
package hoststat

import "time"

// Interval is the time between two snapshots of a `//top` that goes on.
const Interval = 2 * time.Second

// Snapshot is what all services do and use at one moment: one line of `//top --json`. All
// texts in it are fit to be shown as they are, each on one line. What there is not is left
// out.
type Snapshot struct {
	Time        time.Time `json:"time"` // by the host's clock
	Host        Host      `json:"host"`
	ConfigError string    `json:"config_error,omitempty"` // what is wrong with the configuration on disk: an older one is in force
	Services    []Service `json:"services"`               // by name
}

// Host is the machine that pgod runs on.
type Host struct {
	Name    string  `json:"name"`
	Version string  `json:"version"` // pgod's
	Cores   int     `json:"cores"`
	Memory  uint64  `json:"memory"` // all that it has, in bytes; 0: not known
	Load    float64 `json:"load"`   // of the last minute
}

// Service is one service at that moment.
type Service struct {
	Name       string    `json:"service"`
	State      State     `json:"state"`
	Activity   string    `json:"activity,omitempty"`   // what its worker is at: idle, or the step of a change
	Head       string    `json:"head,omitempty"`       // the fetched commit
	Deployed   string    `json:"deployed,omitempty"`   // the commit that runs, or ran before a down
	DeployedAt time.Time `json:"deployed_at,omitzero"` // when that deploy was good
	Outcome    string    `json:"outcome,omitempty"`    // of the last deploy or poll
	Error      string    `json:"error,omitempty"`      // why State is as it is
	ErrorSince time.Time `json:"error_since,omitzero"` // may be missing, also with an error
	Frozen     string    `json:"frozen,omitempty"`     // why the branch is not followed
	Unwell     []string  `json:"unwell,omitempty"`     // containers that are not as they should be, and how
	Worker     Worker    `json:"worker"`               // its process
	Usage      *Usage    `json:"usage,omitempty"`      // nil: the worker has not told in time, or there is none
}

// Worker is the process that looks after a service.
type Worker struct {
	State     string `json:"state"` // ready, starting, draining, killing, backoff, stopped
	PID       int    `json:"pid,omitempty"`
	Restarts  int    `json:"restarts"`
	Crashloop bool   `json:"crashloop"`
}

// Usage is what the containers of a service use together.
type Usage struct {
	CPU        *float64    `json:"cpu_percent,omitempty"` // 100 is one core; nil: it takes another reading to tell
	Memory     uint64      `json:"memory"`                // bytes, without what the kernel can drop
	Running    int         `json:"running"`               // how many of the containers run
	Restarts   int         `json:"restarts"`              // of the containers, by their restart policies
	Containers []Container `json:"containers"`            // stopped ones too, by name
}

// Container is one container of a service.
type Container struct {
	Name     string   `json:"name"`
	Service  string   `json:"service"`          // the compose service
	State    string   `json:"state"`            // running, exited, …
	Health   string   `json:"health,omitempty"` // starting, healthy, unhealthy; empty: it has no health check
	CPU      *float64 `json:"cpu_percent,omitempty"`
	Memory   uint64   `json:"memory"`
	Restarts int      `json:"restarts"`
}
