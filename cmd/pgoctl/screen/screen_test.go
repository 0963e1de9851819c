package screen

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"pgo/internal/hoststat"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func newService(name string, state hoststat.State, cpu float64, memory uint64) hoststat.Service {
	return hoststat.Service{
		Name: name, State: state, Head: "0123456789", Deployed: "0123456789", DeployedAt: noon.Add(-90 * time.Second),
		Worker: hoststat.Worker{State: "ready", PID: 7, Restarts: 1},
		Usage: &hoststat.Usage{CPU: &cpu, Memory: memory, Running: 1, Restarts: 2, Containers: []hoststat.Container{
			{Name: name + "-app-1", State: "running", Health: "healthy", CPU: &cpu, Memory: memory, Restarts: 2},
			{Name: name + "-job-1", State: "exited"},
		}},
	}
}

func newSnapshot(services ...hoststat.Service) *hoststat.Snapshot {
	return &hoststat.Snapshot{Time: noon, Host: hoststat.Host{Cores: 2, Load: 0.5}, Services: services}
}

// screen is a model that a test uses like a user.
type screen struct {
	*model
	left bool
}

func newScreen(t *testing.T, hosts ...string) *screen {
	t.Helper()
	s := &screen{model: newModel(hosts)}
	s.send(tea.WindowSizeMsg{Width: 120, Height: 20})
	return s
}

func (s *screen) send(msg tea.Msg) {
	_, cmd := s.Update(msg)
	s.left = s.left || cmd != nil
}

func (s *screen) press(keys ...string) {
	codes := map[string]rune{"enter": tea.KeyEnter, "esc": tea.KeyEscape, "up": tea.KeyUp, "down": tea.KeyDown, "end": tea.KeyEnd, "pgup": tea.KeyPgUp, "pgdown": tea.KeyPgDown}
	for _, key := range keys {
		if code, ok := codes[key]; ok {
			s.send(tea.KeyPressMsg{Code: code})
			continue
		}
		s.send(tea.KeyPressMsg{Code: []rune(key)[0], Text: key})
	}
}

// lines returns what is on the terminal, without colours.
func (s *screen) lines() []string {
	return strings.Split(ansi.Strip(s.View().Content), "\n")
}

// names returns the services in the order in which they are shown.
func (s *screen) names() string {
	var names []string
	for _, line := range s.lines() {
		if fields := strings.Fields(line); len(fields) > 2 && strings.HasPrefix(fields[0], "svc") {
			names = append(names, fields[0])
		}
	}
	return strings.Join(names, " ")
}

func (s *screen) shows(t *testing.T, parts ...string) {
	t.Helper()
	text := strings.Join(s.lines(), "\n")
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("there is no %q in\n%s", part, text)
		}
	}
}

func TestTable(t *testing.T) {
	s := newScreen(t, "web1")
	s.shows(t, "web1", "waiting for its first answer")
	held := newService("svc-b", hoststat.Held, 12.5, 3<<20)
	held.Head = "fedcba9876"
	failed := newService("svc-c", hoststat.Failed, 0, 1<<10)
	failed.Usage, failed.Error = nil, &hoststat.Error{Text: "cannot pull"}
	s.send(Update{Host: "web1", Snapshot: newSnapshot(newService("svc-a", hoststat.Running, 150, 1<<30), held, failed)})
	s.shows(t, "load 0.50 of 2", "1 failed, 1 held, 1 running", "SERVICE", "RESTARTS",
		"0123456 → fedcba9", "150.0%", "1.00GiB", "1/2", "1m30s", "cannot pull")
	if got := s.names(); got != "svc-a svc-b svc-c" {
		t.Errorf("by name: %s", got)
	}
	for key, want := range map[string]string{"c": "svc-a svc-b svc-c", "s": "svc-c svc-b svc-a", "m": "svc-a svc-b svc-c"} {
		s.press("n", key)
		if got := s.names(); got != want {
			t.Errorf("sorted with %s: %s", key, got)
		}
	}
	s.press("n", "c", "c") // reversed
	if got := s.names(); got != "svc-c svc-b svc-a" {
		t.Errorf("reversed: %s", got)
	}
	for _, line := range s.lines() {
		if ansi.StringWidth(line) > 120 {
			t.Errorf("the line is wider than the terminal: %q", line)
		}
	}
}

func TestDetailsFollowTheService(t *testing.T) {
	s := newScreen(t, "web1")
	s.press("enter") // there is nothing yet
	s.send(Update{Host: "web1", Snapshot: newSnapshot(newService("svc-a", hoststat.Running, 1, 1), newService("svc-b", hoststat.Unwell, 2, 2))})
	s.press("down", "enter")
	s.shows(t, "service:   svc-b", "state:     unwell", "worker:    ready, pid 7, restarts: 1", "svc-b-app-1", "healthy", "svc-b-job-1", "exited")
	// The selected row stays selected when others come before it.
	s.send(Update{Host: "web1", Snapshot: newSnapshot(newService("svc-A", hoststat.Running, 1, 1), newService("svc-a", hoststat.Running, 1, 1), newService("svc-b", hoststat.Down, 2, 2))})
	s.shows(t, "service:   svc-b", "state:     down")
	s.press("esc")
	s.shows(t, "SERVICE", "svc-a")
	s.press("enter")
	s.send(Update{Host: "web1", Snapshot: newSnapshot()}) // all are gone
	s.shows(t, "no services")
	if s.left {
		t.Error("it has ended")
	}
	s.press("esc", "q")
	if !s.left {
		t.Error("q does not end it")
	}
}

func TestHostThatIsGone(t *testing.T) {
	s := newScreen(t, "web1", "web2")
	s.send(Update{Host: "web1", Snapshot: newSnapshot(newService("svc-a", hoststat.Running, 1, 1))})
	s.send(Update{Host: "web2", Err: errors.New("cannot connect\nto it")})
	s.shows(t, "HOST", "web2: cannot connect to it", "svc-a")
	s.send(Update{Host: "web1", Err: errors.New("the connection was lost")})
	s.shows(t, "web1: the connection was lost", "svc-a", "(no longer known)")
}

// A host that has fallen silent looks different from one whose services do nothing.
func TestSilence(t *testing.T) {
	s := newScreen(t, "web1")
	s.send(Update{Host: "web1", Snapshot: newSnapshot(newService("svc-a", hoststat.Running, 1, 1))})
	heard := s.heard["web1"]
	s.now = heard.Add(silence)
	if text := strings.Join(s.lines(), "\n"); strings.Contains(text, "old") {
		t.Errorf("it is not old yet:\n%s", text)
	}
	if _, cmd := s.Update(tick(heard.Add(silence + time.Second))); cmd == nil {
		t.Error("the clock stands still")
	}
	s.shows(t, "web1 does not answer: this is 7s old", "svc-a")
	s.send(Update{Host: "web1", Err: errors.New("gone")}) // this says more
	if text := strings.Join(s.lines(), "\n"); strings.Contains(text, "does not answer") {
		t.Errorf("both are shown:\n%s", text)
	}
}

// Details that are longer than the terminal can be scrolled, but not past their end.
func TestDetailsScroll(t *testing.T) {
	s := newScreen(t, "web1")
	one := newService("svc-a", hoststat.Running, 1, 1)
	for i := range 50 {
		one.Usage.Containers = append(one.Usage.Containers, hoststat.Container{Name: fmt.Sprintf("svc-a-app-%d", 100+i)})
	}
	s.send(Update{Host: "web1", Snapshot: newSnapshot(one)})
	s.press("enter", "pgup")
	s.shows(t, "service:   svc-a")
	s.press("pgdown", "pgdown", "pgdown", "pgdown", "pgdown", "pgdown")
	s.shows(t, "svc-a-app-149")
	s.press("pgup")
	s.shows(t, "svc-a-app-130")
	s.press("esc", "enter")
	s.shows(t, "service:   svc-a")
}

// More services than lines: the selected one is always visible.
func TestScroll(t *testing.T) {
	s := newScreen(t, "web1")
	var all []hoststat.Service
	for i := range 100 {
		all = append(all, newService(fmt.Sprintf("svc-%03d", i), hoststat.Running, 1, 1))
	}
	s.send(Update{Host: "web1", Snapshot: newSnapshot(all...)})
	s.press("end")
	s.shows(t, "svc-099")
	s.press("pgup", "pgup")
	if got := s.selected.name; !strings.Contains(strings.Join(s.lines(), "\n"), got) {
		t.Errorf("%s is chosen and not shown", got)
	}
	s.send(tea.WindowSizeMsg{Width: 30, Height: 6})
	s.shows(t, s.selected.name)
	if n := len(s.lines()); n != 6 {
		t.Errorf("%d lines on a terminal of 6", n)
	}
	for _, size := range []tea.WindowSizeMsg{{Width: 1, Height: 1}, {Width: 2, Height: 2}, {}} {
		s.send(size) // nothing to see, and no crash
		s.View()
	}
}

func TestRead(t *testing.T) {
	updates := make(chan Update, 2)
	text := `{"time":"2026-01-02T12:00:00Z","services":[{"service":"a\u001b[31m","state":"running","worker":{"state":"ready","restarts":0}}]}`
	if err := Read(context.Background(), "web1", strings.NewReader(text+"\n"), updates); err != nil {
		t.Fatal(err)
	}
	u := <-updates
	if name := u.Snapshot.Services[0].Name; u.Host != "web1" || strings.Contains(name, "\x1b") {
		t.Errorf("it read %q of %q", name, u.Host)
	}
	if err := Read(context.Background(), "web1", strings.NewReader("pong!\n"), updates); err == nil || !strings.Contains(err.Error(), "web1 sent something that is not a snapshot") {
		t.Errorf("not a snapshot: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Read(ctx, "web1", strings.NewReader(text+"\n"+text+"\n"+text+"\n"), updates); err != nil {
		t.Errorf("with nobody watching: %v", err)
	}
}
