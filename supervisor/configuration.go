package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"pgo/internal/config"
	"pgo/internal/hoststat"
	"pgo/internal/printable"
	"pgo/internal/sshd"
	"pgo/internal/target"
)

// Changes lists the services that a new configuration affects, by name.
type Changes struct{ Added, Changed, Removed, Unchanged []string }

func (c *Changes) replaced(name string, before bool) {
	if before {
		c.Changed = append(c.Changed, name)
	} else {
		c.Added = append(c.Added, name)
	}
}

func (c *Changes) sort() {
	for _, names := range [][]string{c.Added, c.Changed, c.Removed, c.Unchanged} {
		slices.Sort(names)
	}
}

// Reloaded describes a valid configuration that was read.
type Reloaded struct {
	Changes
	Warnings []string // what works but should be changed
	Applied  bool     // it is in force, though a newer one may have been rejected
}

// Configuration is what is known about the configuration on disk, and how to read it again.
type Configuration struct {
	mu      sync.Mutex       // guards what follows
	reload  ReloadFunc       // nil: it cannot be read again
	applied time.Time        // when the one in force was read
	bad     error            // what is wrong with the one on disk; nil: it is in force
	since   time.Time        // since when it has been bad
	shown   map[string]*Loss // that waits to be confirmed, as an operator has seen it last: by the key's fingerprint

	upstream *Upstream // where the configuration is from; nil: it is not from git
}

// ReloadFunc reads the configuration again and applies it. If that removes most services, the
// services in confirmed are all that it may remove. Several goroutines may call it at once.
type ReloadFunc func(confirmed []string) (Reloaded, error)

// OnReload sets the function that the host's operation calls.
func (c *Configuration) OnReload(reload ReloadFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reload = reload
}

// Rejected notes that the configuration on disk is bad, which is shown until another one is
// applied. A nil error means that nothing is known to be wrong with it.
func (c *Configuration) Rejected(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bad == nil {
		c.since = time.Now()
	}
	c.bad = err
}

// accepted notes that a configuration is in force.
func (c *Configuration) accepted() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.applied, c.bad, c.since = time.Now(), nil, time.Time{}
}

// shows notes what an operator is being shown: nil if nothing waits to be confirmed.
func (c *Configuration) shows(operator string, lost *Loss) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if lost == nil {
		delete(c.shown, operator)
		return
	}
	if c.shown == nil {
		c.shown = map[string]*Loss{}
	}
	c.shown[operator] = lost
}

// seenBy returns the names of the services whose removal the operator can confirm: those that the
// operator has seen to be waiting for that. A newer file or commit may remove more by now.
func (c *Configuration) seenBy(operator string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if lost := c.shown[operator]; lost != nil {
		return lost.Names
	}
	return nil
}

// nothingWaits notes that there is nothing to confirm: what was shown before is over.
func (c *Configuration) nothingWaits() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.shown)
}

// configError is what is wrong with the configuration on disk.
type configError struct {
	lines []string // safe to print
	since time.Time
	stays string // what is in force instead
	lost  *Loss  // nothing is wrong with it, and an operator has to confirm this; nil: it is bad
}

// maxProblems bounds how many mistakes are shown.
const maxProblems = 100

// get returns when the configuration in force was read, and what is wrong with the
// one on disk, or nil.
func (c *Configuration) get() (applied time.Time, bad *configError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bad != nil {
		bad = &configError{lines: problems(c.bad), since: c.since, stays: c.stays(), lost: lossIn(c.bad)}
		if bad.lost != nil && bad.lost.Begun {
			bad.stays = "nothing is removed until then"
		}
	}
	return c.applied, bad
}

// stays says what is in force while the newest configuration cannot be. If some of it is in git
// and none of that was ever in force, no service has been started. The lock is held.
func (c *Configuration) stays() string {
	if c.upstream != nil && c.upstream.Commit == "" {
		return "nothing is in force yet, and no service is started until that is fixed"
	}
	return "the old one stays in force"
}

// inForce is stays for callers that do not hold the lock.
func (c *Configuration) inForce() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stays()
}

// reloader returns the function that OnReload has set, or nil.
func (c *Configuration) reloader() ReloadFunc {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reload
}

// ShowUpstream has the host's status show where the configuration is from; nil: it is
// not from git.
func (c *Configuration) ShowUpstream(u *Upstream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.upstream = u
}

// from returns what ShowUpstream has set.
func (c *Configuration) from() *Upstream {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.upstream
}

// problems returns the lines of an error.
func problems(err error) []string {
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	if more := len(lines) - maxProblems; more > 0 {
		lines = append(lines[:maxProblems:maxProblems], fmt.Sprintf("%d more", more))
	}
	return printableLines(lines)
}

// reload reads the configuration and reports the result.
func (h *host) reload(_ context.Context, session sshd.Command, args target.Args) sshd.Exit {
	reload := h.configuration.reloader()
	if reload == nil {
		return sshd.Exit{Status: target.StatusFault, Message: "this pgod cannot read its configuration again: restart it"}
	}
	var confirmed []string
	operator, again := session.Identity.Fingerprint, ""
	if args.Has("--remove") {
		confirmed = h.configuration.seenBy(operator)
		again = "; --remove confirms only what this key was shown before: if all that is listed above may go, run it once more"
	}
	reloaded, err := reload(confirmed)
	lost := lossIn(err)
	if h.configuration.shows(operator, lost); lost == nil {
		again = ""
	}
	if err != nil {
		for _, line := range problems(err) {
			_, _ = fmt.Fprintln(session.Stderr, line)
		}
	}
	if err != nil && !reloaded.Applied {
		return sshd.Exit{Status: reloadStatus(err), Message: "cannot reload the configuration: " + h.configuration.inForce() + again}
	}
	if h.supervisor.isEnding() {
		return stopping
	}
	for _, warning := range printableLines(reloaded.Warnings) {
		_, _ = fmt.Fprintln(session.Stderr, "warning: "+warning)
	}
	var r hoststat.Rows
	r.Add("added", "%s", cmp.Or(strings.Join(reloaded.Added, ", "), "-"))
	r.Add("changed", "%s", cmp.Or(strings.Join(reloaded.Changed, ", "), "-"))
	r.Add("removed", "%s", cmp.Or(strings.Join(reloaded.Removed, ", "), "-"))
	r.Add("unchanged", "%s", cmp.Or(strings.Join(reloaded.Unchanged, ", "), "-"))
	say(session, r.Text(false))
	if lost != nil {
		return sshd.Exit{Status: reloadStatus(err), Message: "the configuration is in force, and nothing is removed: see the errors above" + again}
	}
	if err != nil {
		return sshd.Exit{Status: reloadStatus(err), Message: "the newest configuration is not in force: see the errors above"}
	}
	return sshd.Exit{}
}

// reloadStatus returns the exit status for a configuration that is bad, cannot be fetched, or waits
// to be confirmed.
func reloadStatus(err error) uint32 {
	if lossIn(err) != nil {
		return target.StatusConflict
	}
	if errors.As(err, new(config.Problems)) {
		return target.StatusUsage
	}
	return target.StatusFailed
}

// stopping is the exit of an operation that the end of pgod interrupts.
var stopping = sshd.Exit{Status: target.StatusUnavailable, Message: "pgod is stopping; try again when it is back"}

func printableLines(texts []string) []string {
	var lines []string
	for _, text := range texts {
		lines = append(lines, printable.Line(text))
	}
	return lines
}
