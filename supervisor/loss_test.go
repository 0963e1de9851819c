package supervisor

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgo/internal/config"
)

// entries are services that no worker can be started for.
func entries(names string) []config.Service {
	var all []config.Service
	for _, name := range strings.Fields(names) {
		all = append(all, config.Service{Name: name, User: "nobody-has-this-name"})
	}
	return all
}

// lostNames are the names of a Loss, and of how many they are; empty: there is none.
func lostNames(l *Loss) string {
	if l == nil {
		return ""
	}
	return fmt.Sprint(strings.Join(l.Names, " "), " of ", l.Of)
}

// sweep returns what Sweep does not remove: what is not all confirmed.
func sweep(s *Supervisor, confirmed ...string) *Loss {
	_, lost := s.Sweep(nil, confirmed)
	return lost
}

// A configuration that takes away everything, or more than half, is not applied unasked, however
// many steps it takes, and whatever it adds.
func TestLoss(t *testing.T) {
	for _, test := range []struct{ steps, want string }{
		{"a | ", "a of 1"},
		{"a | a", ""},
		{"a | b", "a of 1"}, // another name
		{" | a", ""},
		{"a b | a", ""},
		{"a b | ", "a b of 2"},
		{"a b | c d e f", "a b of 2"},
		{"a b c | a b", ""},
		{"a b c | b d", "a c of 3"},
		{"a b c d | c d", ""},
		{"a b c d | d", "a b c of 4"},
		{"a b c d | a b c | a b", ""},
		{"a b c d | a b c | a b | a", "b c d of 4"},
		{"a b c d | a b c | b c d | c d", ""}, // one is back
		{"a b c d | c d | c d e", ""},         // nothing more is removed
	} {
		s := newSupervisor(t)
		s.grace = time.Hour
		steps := strings.Split(test.steps, "|")
		last := len(steps) - 1
		for _, step := range steps[:last] {
			if lost := s.Loss(entries(step)); lost != nil {
				t.Errorf("%s: %s are lost on the way", test.steps, lostNames(lost))
			}
			s.Apply(entries(step), nil, 0)
		}
		if got := lostNames(s.Loss(entries(steps[last]))); got != test.want {
			t.Errorf("%s: lost: %q, want %q", test.steps, got, test.want)
		}
		s.Close(t.Context())
	}
}

func TestLossSays(t *testing.T) {
	for want, l := range map[string]*Loss{
		"it would remove every service of this host: a; ":       {Names: []string{"a"}, Of: 1},
		"it would remove 2 of 3 services of this host: a, b; ":  {Names: []string{"a", "b"}, Of: 3},
		"it has no entry for every service that this host had,": {Names: []string{"a"}, Of: 1, Begun: true},
	} {
		if !strings.HasPrefix(l.Error(), want) || !strings.Contains(l.Error(), "//reload --remove") {
			t.Errorf("%q does not begin with %q", l, want)
		}
	}
}

// Neither does a restart remove most of what there is: that waits until it is configured again or
// confirmed, which the next pgod remembers.
func TestLossAtTheStart(t *testing.T) {
	s := newSupervisor(t)
	s.grace = time.Hour
	for _, name := range []string{"a", "b", "c", "d"} {
		mark(t, s.data.service(name), name)
	}
	removing := func(want string) {
		t.Helper()
		var names []string
		for _, r := range s.removing() {
			names = append(names, r.Service)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("removed: %q, want %q", got, want)
		}
	}
	s.Apply(nil, nil, 0)
	for range 2 {
		if got := lostNames(sweep(s)); got != "a b c d of 4" {
			t.Errorf("lost: %q", got)
		}
	}
	removing("")
	if !s.isKept("a") || s.isKept("x") {
		t.Error("it is not known which are kept")
	}

	// What is new does not count, and what waits does.
	s.Apply(entries("a x y z"), nil, 0)
	if got := lostNames(sweep(s)); got != "b c d of 4" {
		t.Errorf("lost: %q", got)
	}
	if got := lostNames(s.Loss(entries("x y z"))); got != "a b c d of 7" {
		t.Errorf("with one more: %q", got)
	}
	s.Apply(entries("a b x y z"), nil, 0)
	if got := lostNames(sweep(s)); got != "c d of 4" {
		t.Errorf("half of them are back, and lost: %q", got)
	}
	removing("")
	mark(t, s.data.service("late"), "somebody is about to put this there by hand")
	if got := lostNames(sweep(s, "a", "d")); got != "c d of 4" { // one of them was not shown
		t.Errorf("lost: %q", got)
	}
	removing("")
	_, _ = s.Sweep(nil, []string{"a", "c", "d"})
	removing("c d")
	s.Close(t.Context())

	// The next pgod continues, without asking.
	next, err := New(s.opts)
	if err != nil {
		t.Fatal(err)
	}
	s = next
	next.grace = time.Hour
	next.Apply(nil, nil, 0)
	if got := lostNames(sweep(next)); got != "a b late of 3" {
		t.Errorf("the next one has lost: %q", got)
	}
	removing("c d")
	if got := lostNames(sweep(next, "a", "b")); got != "a b late of 3" {
		t.Errorf("it is not all confirmed, and lost: %q", got)
	}
	removing("c d")
	if got := sweep(next, "a", "b", "late"); got != nil {
		t.Errorf("it is confirmed: %v", got)
	}
	removing("a b c d late")
	next.Close(t.Context())
}

// What was kept once is kept, also by the next pgod and however much comes back, until it is
// configured or confirmed. What was not goes as before.
func TestKeptIsKept(t *testing.T) {
	s := newSupervisor(t)
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "elsewhere"} {
		mark(t, s.data.service(name), name)
	}
	step := func(configured string, spared []string, wantRemoved, wantLost string) {
		t.Helper()
		s.Apply(entries(configured), nil, 0)
		removed, lost := s.Sweep(spared, nil)
		if got := strings.Join(removed, " "); got != wantRemoved || lostNames(lost) != wantLost {
			t.Errorf("%s: removed: %q, want %q; lost: %q, want %q", configured, got, wantRemoved, lostNames(lost), wantLost)
		}
	}
	restart := func() {
		t.Helper()
		s.Close(t.Context())
		next, err := New(s.opts)
		if err != nil {
			t.Fatal(err)
		}
		s = next
		s.grace = time.Hour
	}
	s.grace = time.Hour
	step("a b", []string{"elsewhere"}, "", "c d e f of 7")
	step("a b e f", []string{"elsewhere", "c"}, "", "d of 7") // a kept one is for other hosts for a while
	step("a b e f", []string{"elsewhere"}, "", "c d of 7")
	step("a b e f", nil, "elsewhere", "c d of 7")
	restart()
	step("a b e f", nil, "elsewhere", "c d of 6")
	if !s.isKept("c") {
		t.Error("it is not known that one is kept")
	}
	step("a b c e f", nil, "", "d of 6")
	if removed := s.Apply(entries("a b e f"), nil, 0).Removed; len(removed) != 1 || removed[0] != "c" {
		t.Errorf("a configured one that is taken out: %v", removed)
	}
	step("a b e f", nil, "", "d of 5")
	step("a b d e f", nil, "", "")
	restart()
	step("a b e f", nil, "c elsewhere d", "") // a new case, and less than half
	s.Close(t.Context())
}

// What is for other hosts does not count as lost, and goes only when it is certain.
func TestLossSparesOtherMachines(t *testing.T) {
	s := newSupervisor(t)
	s.grace = time.Hour
	for _, name := range []string{"a", "b", "elsewhere"} {
		mark(t, s.data.service(name), name)
	}
	s.Apply(entries("a"), nil, 0)
	if removed, lost := s.Sweep([]string{"elsewhere"}, nil); lost != nil || len(removed) != 1 || removed[0] != "b" {
		t.Errorf("removed: %v, lost: %v", removed, lost)
	}
	if all := s.removing(); len(all) != 1 || all[0].Service != "b" {
		t.Errorf("removed: %v", all)
	}
	_, _ = s.Sweep([]string{"elsewhere"}, []string{"b", "elsewhere"})
	if all := s.removing(); len(all) != 1 {
		t.Errorf("removed: %v", all)
	}
	s.Close(t.Context())
}

// A check of a file can tell what a reload of it would lose.
func TestLossAt(t *testing.T) {
	s := newSupervisor(t)
	for name, is := range map[string]record{
		"a": {Configuration: "/etc/pgo.toml"}, "b": {Configuration: "/etc/pgo.toml"},
		"other": {Configuration: "/root/try.toml"}, "gone": {Configuration: "/etc/pgo.toml", Leaving: true},
	} {
		s.records.change(func(all map[string]record) { all[name] = is })
	}
	s.Close(t.Context())
	for names, want := range map[string]string{"": "a b of 2", "a": "", "x": "a b of 2", "a b": ""} {
		if got := lostNames(LossAt(s.opts.Dir, "/etc/pgo.toml", entries(names))); got != want {
			t.Errorf("%q: %q, want %q", names, got, want)
		}
	}
	s = newSupervisor(t)
	for name, is := range map[string]record{"a": {Configuration: "/etc/pgo.toml"}, "b": {Configuration: "/etc/pgo.toml"}, "c": {Configuration: "/etc/pgo.toml", Kept: true}} {
		s.records.change(func(all map[string]record) { all[name] = is })
	}
	s.Close(t.Context())
	for names, want := range map[string]string{"a b": "c of 3", "a b c": "", "b c": "", "a": "b c of 3"} {
		if got := lostNames(LossAt(s.opts.Dir, "/etc/pgo.toml", entries(names))); got != want {
			t.Errorf("with one that is kept, %q: %q, want %q", names, got, want)
		}
	}
	if got := LossAt(t.TempDir(), "/etc/pgo.toml", nil); got != nil {
		t.Errorf("without records: %v", got)
	}
}
