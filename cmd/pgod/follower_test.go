package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/internal/config"
	"pgo/supervisor"
)

// server stands in for a git server that can be away, slow, or have another commit.
type server struct {
	slow chan struct{} // it answers when this is closed; nil: at once

	mu     sync.Mutex // guards what follows
	commit string
	err    error
	looks  int
}

func (s *server) Fetch(ctx context.Context) (supervisor.Fetched, error) {
	if s.slow != nil {
		select {
		case <-s.slow:
		case <-ctx.Done():
			return supervisor.Fetched{}, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks++
	return supervisor.Fetched{Commit: s.commit, Files: []config.File{{Path: "conf//pgo.toml", Content: []byte("# " + s.commit)}}}, s.err
}

func (s *server) set(commit string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commit, s.err = commit, err
}

func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.looks
}

func (s *server) Close() {}

// newFollower returns a follower of the server, as a pgod with that directory starts it.
func newFollower(t *testing.T, dir string, s *server) (*follower, *supervisor.Upstream) {
	t.Helper()
	shown := &supervisor.Upstream{}
	f := &follower{
		fetcher: s, path: filepath.Join(dir, "configuration.json"), log: hclog.NewNullLogger(),
		show: func(u *supervisor.Upstream) { *shown = *u }, asks: make(chan chan<- answer, 1),
	}
	f.ctx, f.cancel = context.WithCancel(t.Context())
	t.Cleanup(f.cancel)
	f.shown.From = "https://git.example.org/conf//pgo.toml, branch main"
	f.recall()
	f.tell()
	return f, shown
}

func (f *follower) mustFetch(t *testing.T, news bool) {
	t.Helper()
	if got, err := f.fetch(); got != news || err != nil {
		t.Fatalf("news: %v, %v; want %v", got, err, news)
	}
}

func commits(f *follower) string {
	var all []string
	for _, c := range f.candidates() {
		all = append(all, c.Commit)
	}
	return strings.Join(all, " ")
}

// The next pgod begins with what was last in force, and shows it as such only once it is in
// force.
func TestFollowerOverRestarts(t *testing.T) {
	dir := t.TempDir()
	git := &server{commit: "one"}
	f, shown := newFollower(t, dir, git)
	if commits(f) != "" {
		t.Errorf("candidates before anything was fetched: %q", commits(f))
	}
	f.mustFetch(t, true)
	f.mustFetch(t, true) // it is still not in force: the obstacle may be gone
	if !f.keep(f.candidates()[0]) {
		t.Error("the newest is not the newest")
	}
	if shown.Commit != "" {
		t.Errorf("shown as in force before it is: %q", shown.Commit)
	}
	f.applied()
	f.mustFetch(t, false)
	if shown.Commit != "one" {
		t.Errorf("shown as in force: %q", shown.Commit)
	}
	git.commit = "two"
	f.mustFetch(t, true)
	if commits(f) != "two one" {
		t.Errorf("candidates: %q", commits(f))
	}

	git.err = errors.New("away")
	next, shown := newFollower(t, dir, git)
	if commits(next) != "one" || shown.Commit != "" {
		t.Errorf("the next pgod begins with %q, and shows %q", commits(next), shown.Commit)
	}
	if _, err := next.fetch(); err == nil || shown.Err == nil {
		t.Errorf("a server that is down: %v, shown %v", err, shown.Err)
	}
	if newest := next.keep(next.candidates()[0]); newest {
		t.Error("what an earlier pgod had counts as what is in the branch")
	}
	next.applied()
	if shown.Commit != "one" {
		t.Errorf("shown as in force: %q", shown.Commit)
	}
	info, err := os.Stat(next.path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: it may hold tokens", info, err)
	}
}

// A failed save is tried again.
func TestFollowerSavesAgain(t *testing.T) {
	dir := t.TempDir()
	git := &server{commit: "one"}
	f, _ := newFollower(t, filepath.Join(dir, "missing"), git)
	f.mustFetch(t, true)
	f.keep(f.candidates()[0])
	f.applied()
	if err := os.Mkdir(filepath.Join(dir, "missing"), 0o700); err != nil {
		t.Fatal(err)
	}
	f.mustFetch(t, false)
	if next, _ := newFollower(t, filepath.Join(dir, "missing"), git); commits(next) != "one" {
		t.Errorf("the next pgod begins with %q", commits(next))
	}
}

// A local file that is half written for a moment does not make the follower forget; one that
// wants nothing from git for long does.
func TestFollowerLeaves(t *testing.T) {
	dir := t.TempDir()
	git := &server{commit: "one"}
	f, _ := newFollower(t, dir, git)
	f.mustFetch(t, true)
	f.keep(f.candidates()[0])
	f.applied()
	f.leave()
	soon, _ := newFollower(t, dir, git)
	if commits(soon) != "one" {
		t.Errorf("at once: %q", commits(soon))
	}
	soon.good.Left = time.Now().Add(-rejoin)
	soon.save()
	if late, _ := newFollower(t, dir, git); commits(late) != "" {
		t.Errorf("later: %q", commits(late))
	}
}

// Whoever waits for a server that does not answer is told in time. The look continues, and a late
// result is applied all the same.
func TestFollowerIsImpatient(t *testing.T) {
	git := &server{commit: "one", slow: make(chan struct{})}
	f, _ := newFollower(t, t.TempDir(), git)
	f.upstream.Interval = time.Hour
	applied := make(chan string, 2)
	go f.run(true, func() (supervisor.Reloaded, error) {
		newest := f.candidates()[0]
		f.keep(newest)
		f.applied()
		applied <- newest.Commit
		return supervisor.Reloaded{Applied: true}, nil
	})
	for range 3 {
		if _, inTime := f.await(make(chan answer, 1), false, 10*time.Millisecond); inTime {
			t.Error("there is an answer before the server has given one")
		}
	}
	close(git.slow)
	if got := <-applied; got != "one" {
		t.Errorf("applied %q", got)
	}
	if a, inTime := f.await(make(chan answer, 1), false, time.Minute); !inTime || !a.Applied || a.err != nil {
		t.Errorf("%+v, %v", a, inTime)
	}
	f.cancel()
	if _, inTime := f.await(make(chan answer, 1), false, time.Minute); inTime {
		t.Error("a stopped follower answers")
	}
}

// With --restart=false a commit, except the first, is in force only when somebody asks. Whoever
// asks is told about a server that is away.
func TestFollowerWaitsToBeAsked(t *testing.T) {
	git := &server{commit: "one"}
	f, _ := newFollower(t, t.TempDir(), git)
	f.upstream.Interval = 2 * time.Millisecond
	var inForce atomic.Value
	go f.run(false, func() (supervisor.Reloaded, error) {
		newest := f.candidates()[0]
		f.keep(newest)
		f.applied()
		inForce.Store(newest.Commit)
		return supervisor.Reloaded{Applied: true}, nil
	})
	if a, inTime := f.await(make(chan answer, 1), false, time.Minute); !inTime || a.err != nil || inForce.Load() != "one" {
		t.Errorf("at first: %+v, %v in force", a, inForce.Load())
	}
	git.set("two", nil)
	for looks := git.count(); git.count() < looks+3; {
		time.Sleep(time.Millisecond)
	}
	if inForce.Load() != "one" {
		t.Errorf("nobody asked, and %v is in force", inForce.Load())
	}
	if a, inTime := f.await(make(chan answer, 1), false, time.Minute); !inTime || a.err != nil || inForce.Load() != "two" {
		t.Errorf("when asked: %+v, %v in force", a, inForce.Load())
	}
	away := errors.New("away")
	git.set("three", away)
	if a, inTime := f.await(make(chan answer, 1), false, time.Minute); !inTime || !errors.Is(a.err, away) || !a.Applied {
		t.Errorf("a server that is down: %+v", a)
	}
}

// The status shows that a large repository is being fetched.
func TestFetchingIsShown(t *testing.T) {
	s := &server{slow: make(chan struct{}), commit: "1111111"}
	f, _ := newFollower(t, t.TempDir(), s)
	looking := make(chan time.Time, 10)
	f.show = func(u *supervisor.Upstream) { looking <- u.Looking }
	before := time.Now()
	done := make(chan error)
	go func() {
		_, err := f.fetch()
		done <- err
	}()
	if since := <-looking; since.Before(before) {
		t.Errorf("it is fetched since %v", since)
	}
	close(s.slow)
	if since := <-looking; !since.IsZero() {
		t.Error("it is still being fetched")
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// What is no longer followed is not shown, however late its last look ends.
func TestNothingIsShownOfWhatIsNotFollowed(t *testing.T) {
	for range 20 {
		s := &server{slow: make(chan struct{}), commit: "1111111"}
		f, _ := newFollower(t, t.TempDir(), s)
		f.upstream.Interval = time.Hour
		var shown atomic.Pointer[supervisor.Upstream]
		looking := make(chan struct{}, 10)
		f.show = func(u *supervisor.Upstream) {
			shown.Store(u)
			looking <- struct{}{}
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			f.run(true, func() (supervisor.Reloaded, error) { return supervisor.Reloaded{}, nil })
		}()
		<-looking
		f.ask()
		f.stop()
		f.leave()
		shown.Store(nil)
		<-ended
		if u := shown.Load(); u != nil {
			t.Fatalf("it shows %+v", u)
		}
	}
}
