package deploy

import (
	"cmp"
	"slices"
	"time"

	"pgo/worker/compose"
	"pgo/worker/gitrepo"
)

// Wanted says what somebody asked for last.
type Wanted string

const (
	Up   Wanted = "up"
	Down Wanted = "down"
)

// State is what outlives the worker, in state.json. A crash at any point of a
// switch leaves enough of it to finish the switch.
type State struct {
	Wanted Wanted `json:"wanted"`

	// Deployed records what runs, or ran when somebody took it down.
	Deployed *Record `json:"deployed,omitempty"`

	// Switching is a switch that has begun and not ended. While it is set, it is not known
	// what runs.
	Switching *Switching `json:"switching,omitempty"`

	// Retired says that containers may be stopped for good: without a restart policy, which
	// compose does not notice. They are made anew before any of them runs again.
	Retired bool `json:"retired,omitempty"`

	// Checkout lists the commits whose files the checkout may hold: one, and a second one
	// while it is brought to that. It is empty if the checkout was never completely brought
	// to any.
	Checkout []gitrepo.Hash `json:"checkout,omitempty"`

	// Verdict is the last deploy that failed because of its commit. That
	// commit is not tried again until somebody runs up.
	Verdict *Verdict `json:"verdict,omitempty"`

	// Outages counts the switches of one commit that the surroundings have undone: each took
	// down what ran. nil: none.
	Outages *Outages `json:"outages,omitempty"`

	// Frozen says that the branch is not followed; nil if it is followed.
	Frozen *Frozen `json:"frozen,omitempty"`

	// Pin is the commit that a pull has chosen for the build and up after it.
	Pin *Pin `json:"pin,omitempty"`

	// Deploys counts the deploys that were begun: it is one less than the next one's
	// Number.
	Deploys int `json:"deploys"`

	// Containers is what pgo has to remember about containers to find out what is missing.
	Containers Containers `json:"containers"`

	// Made has what was created last of each compose service.
	Made map[string]Made `json:"made,omitempty"`

	// Brought has the names of images that this service pulled or built. They may be
	// removed when nothing that is kept uses them.
	Brought []string `json:"brought,omitempty"`

	// Steps has the images of the steps of builds, where the builder keeps them.
	Steps BuildSteps `json:"steps,omitzero"`

	// Switches is which container the proxies are asked to send requests to, by the host of a
	// target; see requests.
	Switches map[string]string `json:"switches,omitempty"`

	// Snippet is what is remembered about a reverse proxy's snippet; nil if the service is
	// not a reverse proxy.
	Snippet *Snippet `json:"snippet,omitempty"`
}

// BuildSteps has the IDs of images, oldest first: those of the last build of everything and of what was
// built since are the builder's cache, and those of earlier builds go as soon as nothing is built
// on them.
type BuildSteps struct {
	Last    []string `json:"last,omitempty"`
	Earlier []string `json:"earlier,omitempty"`
}

// Basis is what a model is made from and checked against. If it is the same, there is
// nothing new.
type Basis struct {
	Commit   gitrepo.Hash `json:"commit"`
	Settings string       `json:"settings"` // see Config.settings
	Limits   string       `json:"limits"`   // see neighbourhood.limits
}

// Switching is a switch in progress.
type Switching struct {
	Commit gitrepo.Hash `json:"commit"`
	// Back is the good deploy that pgo goes back to; 0: it goes forward.
	Back int `json:"back,omitempty"`
	// Freeze is why the branch is no longer followed once the switch has worked; nil if it
	// is followed.
	Freeze *Frozen `json:"freeze,omitempty"`
	// Forced says that all containers are made anew, whether or not they differ.
	Forced bool `json:"forced,omitempty"`
	// Reason is why it began; empty: what it switches to differs from what ran.
	Reason string `json:"reason,omitempty"`
	// Made is the engine's boot in which the containers were created and checked: they are to be
	// started and to pass the gate, not to be replaced again. Empty: they are not made yet.
	Made string `json:"made,omitempty"`
	// Serving has the IDs of the containers that there were when the first switch began of those that
	// did not end, and of those that have passed the gate since. Others are not known to work; nil:
	// nothing starts first.
	Serving []string `json:"serving,omitzero"`
	// Was is Made as it was then.
	Was map[string]Made `json:"was,omitempty"`
	// Jobs has those that are done, each with the ID of its image.
	Jobs map[string]string `json:"jobs,omitempty"`
}

// why returns why an interrupted switch is finished.
func (s *Switching) why() string { return cmp.Or(s.Reason, "an earlier deploy did not end") }

// forces reports whether an interrupted switch was to make all containers of a commit anew.
func (s *Switching) forces(commit gitrepo.Hash) bool {
	return s != nil && s.Forced && s.Back == 0 && s.Commit == commit
}

// Outages is how often a commit has failed by a fault of the surroundings that only its
// start could find, and when it may be tried again.
type Outages struct {
	Commit   gitrepo.Hash `json:"commit"`
	Settings string       `json:"settings"`
	Count    int          `json:"count"`
	Next     time.Time    `json:"next"`
	Error    string       `json:"error"`
	// Around identifies the surroundings then; see compose.Vicinity.
	Around compose.Surroundings `json:"around"`
}

// Verdict is why a commit was not deployed, or why what was deployed is not well.
type Verdict struct {
	Basis
	Outcome Outcome   `json:"outcome"` // Refused, Failed or Degraded
	At      time.Time `json:"at"`
	Error   string    `json:"error"`
	Details []string  `json:"details,omitempty"`
}

// Frozen is why and since when the branch is not followed.
type Frozen struct {
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
}

func (f *Frozen) String() string {
	if f == nil {
		return ""
	}
	if f.Reason == "" {
		return "by " + f.By
	}
	return "by " + f.By + ": " + f.Reason
}

// Pin is a commit that operations act on until a given time, whatever the branch does.
type Pin struct {
	Commit gitrepo.Hash `json:"commit"`
	By     string       `json:"by"`
	Until  time.Time    `json:"until"`
}

// Containers is what was last known about a service's containers.
type Containers struct {
	// Boot is the boot of the host during which the rest was seen.
	Boot string `json:"boot,omitempty"`
	// Running has the compose services that ran.
	Running []string `json:"running,omitempty"`
	// Finished has those whose work was done: jobs that are not run again.
	Finished []string `json:"finished,omitempty"`
	// Stopped has the containers that somebody stopped by an operation, until
	// they are started again.
	Stopped []string `json:"stopped,omitempty"`
}

// same reports whether both are equal. An empty set may be nil.
func (c Containers) same(as Containers) bool {
	return c.Boot == as.Boot && slices.Equal(c.Running, as.Running) && slices.Equal(c.Finished, as.Finished) && slices.Equal(c.Stopped, as.Stopped)
}

// condemns reports whether there is a verdict on the commit that still counts: other limits
// may lift a refusal, and say nothing about a build.
func (s State) condemns(b Basis) bool {
	v := s.Verdict
	if v == nil || v.Commit != b.Commit || v.Settings != b.Settings {
		return false
	}
	return v.Outcome != Refused || v.Limits == b.Limits
}

// pinned returns the pin if it still counts, or nil.
func (s State) pinned(now time.Time) *Pin {
	if s.Pin != nil && now.Before(s.Pin.Until) {
		return s.Pin
	}
	return nil
}
