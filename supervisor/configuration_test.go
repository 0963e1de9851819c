package supervisor

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"pgo/internal/config"
	"pgo/internal/sshd"
	"pgo/internal/target"
)

func TestReload(t *testing.T) {
	s := newSupervisor(t)
	operation, _ := target.Lookup(target.Host, "reload")
	run := func(flags ...string) (stdout, stderr string, exit sshd.Exit) {
		var out, errs bytes.Buffer
		args, err := operation.ParseArgs(flags, true)
		if err != nil {
			t.Fatal(err)
		}
		exit = s.host.reload(t.Context(), sshd.Command{Stdout: &out, Stderr: &errs}, args)
		return out.String(), errs.String(), exit
	}
	if _, _, exit := run(); exit.Status != target.StatusFault {
		t.Errorf("nobody can reload: %+v", exit)
	}

	s.Configuration.OnReload(func([]string) (Reloaded, error) {
		return Reloaded{Changes{Added: []string{"a", "b"}, Unchanged: []string{"c"}}, []string{"pgo.toml:7: allow\n"}, true}, nil
	})
	stdout, stderr, exit := run()
	if want := "added:     a, b\nchanged:   -\nremoved:   -\nunchanged: c\n"; stdout != want || exit != (sshd.Exit{}) {
		t.Errorf("got %s %+v", stdout, exit)
	}
	if stderr != "warning: pgo.toml:7: allow\\n\n" {
		t.Errorf("got %s", stderr)
	}

	mistakes := config.Problems{{File: "pgo.toml", Line: 3, Message: "a"}, {File: "pgo.toml", Line: 4, Message: "b"}}
	s.Configuration.OnReload(func([]string) (Reloaded, error) { return Reloaded{}, mistakes })
	stdout, stderr, exit = run()
	if stdout != "" || stderr != "pgo.toml:3: a\npgo.toml:4: b\n" || exit.Status != target.StatusUsage || !strings.Contains(exit.Message, "the old one stays in force") {
		t.Errorf("got %s, %s, %+v", stdout, stderr, exit)
	}

	// Nothing is wrong with it, but it would remove too much.
	lost := &Loss{Names: []string{"a", "b"}, Of: 3}
	s.Configuration.OnReload(func(confirmed []string) (Reloaded, error) {
		if lost.IsConfirmed(confirmed) {
			return Reloaded{Changes: Changes{Removed: lost.Names}, Applied: true}, nil
		}
		return Reloaded{}, lost
	})
	stdout, stderr, exit = run()
	if stdout != "" || stderr != lost.Error()+"\n" || exit.Status != target.StatusConflict || !strings.HasSuffix(exit.Message, "the old one stays in force") {
		t.Errorf("got %s, %s, %+v", stdout, stderr, exit)
	}
	if stdout, stderr, exit = run("--remove"); !strings.Contains(stdout, "removed:   a, b\n") || stderr != "" || exit != (sshd.Exit{}) {
		t.Errorf("got %s, %s, %+v", stdout, stderr, exit)
	}

	// An older commit is in force, or only what is on this host has changed.
	for _, test := range []struct {
		err    error
		status uint32
	}{{fmt.Errorf("commit abc is bad:\n%w", mistakes), target.StatusUsage}, {errors.New("cannot fetch"), target.StatusFailed}} {
		s.Configuration.OnReload(func([]string) (Reloaded, error) {
			return Reloaded{Changes: Changes{Added: []string{"a"}}, Applied: true}, test.err
		})
		stdout, stderr, exit = run()
		if !strings.HasPrefix(stdout, "added:     a\n") || stderr != test.err.Error()+"\n" || exit.Status != test.status || !strings.Contains(exit.Message, "is not in force") {
			t.Errorf("got %s, %s, %+v", stdout, stderr, exit)
		}
	}
}

// --remove confirms what its operator was shown, and nothing that a newer file or commit removes in
// addition, or that only somebody else has seen.
func TestConfirmsWhatWasShown(t *testing.T) {
	s := newSupervisor(t)
	defer s.Close(t.Context())
	operation, _ := target.Lookup(target.Host, "reload")
	var lost *Loss
	s.Configuration.OnReload(func(confirmed []string) (Reloaded, error) {
		if lost == nil || lost.IsConfirmed(confirmed) {
			s.Apply(nil, nil, 0)
			_, _ = s.Sweep(nil, nil)
			return Reloaded{Changes: Changes{Removed: []string{"it"}}, Applied: true}, nil
		}
		s.Configuration.Rejected(fmt.Errorf("commit abc: %w", lost))
		return Reloaded{Applied: lost.Begun}, fmt.Errorf("commit abc: %w", lost)
	})
	reload := func(key string, flags ...string) sshd.Exit {
		args, err := operation.ParseArgs(flags, true)
		if err != nil {
			t.Fatal(err)
		}
		return s.host.reload(t.Context(), sshd.Command{Stdout: io.Discard, Stderr: io.Discard, Identity: sshd.Identity{Fingerprint: key}}, args)
	}
	status := func(key string) {
		s.host.showStatus(t.Context(), sshd.Command{Stdout: io.Discard, Identity: sshd.Identity{Fingerprint: key}}, target.Args{})
	}
	removes := func(what, key string, want bool) {
		t.Helper()
		exit := reload(key, "--remove")
		if want != (exit == sshd.Exit{}) {
			t.Errorf("%s: %+v", what, exit)
		}
		if again := strings.Contains(exit.Message, "run it once more"); again == want || again && exit.Status != target.StatusConflict {
			t.Errorf("%s: %+v", what, exit)
		}
	}
	names := func(names ...string) *Loss { return &Loss{Names: names, Of: 4} }

	lost = names("a", "b", "c")
	removes("nothing was shown", "me", false)
	removes("the answer has shown it", "me", true)
	removes("it has been confirmed once, and is a new case", "me", false)
	if exit := reload("me"); exit.Status != target.StatusConflict || strings.Contains(exit.Message, "once more") {
		t.Errorf("without --remove: %+v", exit)
	}
	removes("only somebody else has seen it", "you", false)
	lost = names("a", "b", "c", "d")
	removes("one more", "me", false)
	lost = names("a", "b", "c")
	removes("one fewer", "me", true)

	lost = names("a", "b", "c")
	s.Configuration.Rejected(lost)
	removes("pgod alone has noticed it", "me", false)
	lost = names("b", "c", "d")
	s.Configuration.Rejected(lost)
	removes("another one, as many", "me", false)
	lost = &Loss{Names: []string{"a", "b"}, Of: 2, Begun: true}
	s.Configuration.Rejected(lost)
	removes("since the start", "me", false)
	status("me")
	removes("the status has shown it", "me", true)

	status("me") // now nothing waits
	lost = names("a", "b", "c")
	s.Configuration.Rejected(lost)
	status("you")
	removes("somebody else has looked", "me", false)
	s.Configuration.Rejected(errors.New("a mistake"))
	status("me")
	removes("a mistake was shown last", "me", false)
	lost = nil
	removes("nothing is lost", "me", true)
}

func TestChanges(t *testing.T) {
	var c Changes
	c.replaced("b", false)
	c.replaced("a", false)
	c.replaced("c", true)
	c.Removed = []string{"e", "d"}
	c.sort()
	if got := fmt.Sprint(c); got != "{[a b] [c] [d e] []}" {
		t.Errorf("got %s", got)
	}
}

// Mistakes have the time of the first one, and only some of very many are shown.
func TestMistakesAreBounded(t *testing.T) {
	s := newSupervisor(t)
	s.Configuration.Rejected(errors.New("first"))
	_, before := s.Configuration.get()
	s.Configuration.Rejected(errors.New(strings.Repeat("again\n", 5*maxProblems)))
	_, bad := s.Configuration.get()
	if !bad.since.Equal(before.since) {
		t.Errorf("it is bad since %s, not %s", bad.since, before.since)
	}
	if len(bad.lines) != maxProblems+1 || !slices.Contains(bad.lines, "400 more") {
		t.Errorf("%d lines", len(bad.lines))
	}
	if got := bad.text(time.Now()); !strings.HasSuffix(got, "  and 91 more: see //reload\n") {
		t.Errorf("got %s", got)
	}
}
