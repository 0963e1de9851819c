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

// Changes are the services that another configuration has made others, by name.
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

// Reloaded is what came of reading a configuration that is fine.
type Reloaded struct {
	Changes
	Warnings []string // what works but should be changed
	Applied  bool     // it is in force, though there may be something newer that cannot be
}

// reloads is what is known of the configuration on disk.
type reloads struct {
	mu      sync.Mutex               // guards what follows
	reload  func() (Reloaded, error) // nil: nobody can
	applied time.Time                // when the one in force was read
	bad     error                    // what is wrong with the one on disk; nil: it is in force
	since   time.Time                // of bad

	upstream *Upstream // where the configuration is from; nil: it is not from git
}

// OnReload has the host's operation call reload, which reads the configuration again
// and applies it. It may be called by several at once.
func (s *Supervisor) OnReload(reload func() (Reloaded, error)) {
	s.reloads.mu.Lock()
	defer s.reloads.mu.Unlock()
	s.reloads.reload = reload
}

// Rejected notes that the configuration on disk is bad: that is shown until another
// one is applied. nil: it is not, as far as it is known.
func (s *Supervisor) Rejected(err error) {
	r := &s.reloads
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bad == nil {
		r.since = time.Now()
	}
	r.bad = err
}

// accepted notes that a configuration is in force.
func (r *reloads) accepted() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.applied, r.bad, r.since = time.Now(), nil, time.Time{}
}

// configError is what is wrong with the configuration on disk.
type configError struct {
	lines []string // fit to be shown
	since time.Time
	stays string // what is in force instead
}

// maxProblems bounds how many mistakes are shown.
const maxProblems = 100

// get returns when the configuration in force was read, and what is wrong with the
// one on disk, or nil.
func (r *reloads) get() (applied time.Time, bad *configError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bad != nil {
		bad = &configError{problems(r.bad), r.since, r.stays()}
	}
	return r.applied, bad
}

// stays is what is in force while the newest configuration cannot be. Where some of it is
// in git, and nothing of that ever was, no service has begun. The lock is held.
func (r *reloads) stays() string {
	if r.upstream != nil && r.upstream.Commit == "" {
		return "nothing is in force yet, and no service is started until that is mended"
	}
	return "the old one stays in force"
}

// problems are the lines of an error.
func problems(err error) []string {
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	if more := len(lines) - maxProblems; more > 0 {
		lines = append(lines[:maxProblems:maxProblems], fmt.Sprintf("%d more", more))
	}
	return printableLines(lines)
}

// runReload reads the configuration and tells what came of it.
func (s *Supervisor) runReload(_ context.Context, session sshd.Session, _ target.Args) sshd.Exit {
	s.reloads.mu.Lock()
	reload := s.reloads.reload
	s.reloads.mu.Unlock()
	if reload == nil {
		return sshd.Exit{Status: target.StatusFault, Message: "this pgod cannot read its configuration again: restart it"}
	}
	reloaded, err := reload()
	if err != nil {
		for _, line := range problems(err) {
			_, _ = fmt.Fprintln(session.Stderr, line)
		}
	}
	if err != nil && !reloaded.Applied {
		s.reloads.mu.Lock()
		stays := s.reloads.stays()
		s.reloads.mu.Unlock()
		return sshd.Exit{Status: reloadStatus(err), Message: "cannot reload the configuration: " + stays}
	}
	if s.isEnding() {
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
	_ = say(session, r.Text(false))
	if err != nil {
		return sshd.Exit{Status: reloadStatus(err), Message: "the newest configuration is not in force: what is wrong with it is above"}
	}
	return sshd.Exit{}
}

// reloadStatus is the exit status of a configuration that is bad, or cannot be fetched.
func reloadStatus(err error) uint32 {
	if errors.As(err, new(config.Problems)) {
		return target.StatusUsage
	}
	return target.StatusFailed
}

// stopping is the exit of what could not be done any more.
var stopping = sshd.Exit{Status: target.StatusUnavailable, Message: "pgod is stopping; try again when it is back"}

func (s *Supervisor) isEnding() bool {
	select {
	case <-s.ending:
		return true
	default:
		return false
	}
}

func printableLines(texts []string) []string {
	var lines []string
	for _, text := range texts {
		lines = append(lines, printable.Line(text))
	}
	return lines
}
