package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/internal/config"
	"pgo/supervisor"
)

// server stands for a git server that can be away, silent, or have another commit.
type server struct {
	commit string
	err    error
	silent bool
}

func (s *server) Fetch(ctx context.Context) (supervisor.Fetched, error) {
	if s.silent {
		<-ctx.Done()
		return supervisor.Fetched{}, ctx.Err()
	}
	return supervisor.Fetched{Commit: s.commit, Files: []config.File{{Path: "conf//pgo.toml", Content: []byte("# " + s.commit)}}}, s.err
}

func (s *server) Close() {}

// newFollower returns a follower of the server, as a pgod with that directory begins it.
func newFollower(t *testing.T, dir string, s *server) (*follower, *supervisor.Upstream) {
	t.Helper()
	shown := &supervisor.Upstream{}
	f := &follower{
		fetcher: s, path: filepath.Join(dir, "configuration.json"), log: hclog.NewNullLogger(),
		show: func(u *supervisor.Upstream) { *shown = *u }, turn: make(chan struct{}, 1), asked: make(chan struct{}, 1),
	}
	f.turn <- struct{}{}
	f.ctx, f.cancel = context.WithCancel(t.Context())
	t.Cleanup(f.cancel)
	f.shown.From = "https://git.example.org/conf//pgo.toml, branch main"
	f.recall()
	f.tell()
	return f, shown
}

func (f *follower) mustFetch(t *testing.T, news bool) {
	t.Helper()
	if got, err := f.fetch(t.Context()); got != news || err != nil {
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

// The last that was in force is what the next pgod begins with; it is shown as such only
// when it is in force.
func TestFollowerOverRestarts(t *testing.T) {
	dir := t.TempDir()
	git := &server{commit: "one"}
	f, shown := newFollower(t, dir, git)
	if commits(f) != "" {
		t.Errorf("candidates before anything was fetched: %q", commits(f))
	}
	f.mustFetch(t, true)
	f.mustFetch(t, true) // it is still not in force: whatever was in the way may be gone
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
	if _, err := next.fetch(t.Context()); err == nil || shown.Err == nil {
		t.Errorf("a server that is away: %v, shown %v", err, shown.Err)
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

// What cannot be saved is tried again.
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

// A local file that was half written for a moment forgets nothing; one that wants nothing
// from git for long does.
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

// Who waits for a server that does not answer is told in time, also behind somebody else.
func TestFollowerIsImpatient(t *testing.T) {
	git := &server{silent: true}
	f, shown := newFollower(t, t.TempDir(), git)
	first, cancelFirst := context.WithCancel(t.Context())
	defer cancelFirst()
	ended := make(chan struct{})
	go func() { defer close(ended); _, _ = f.fetch(first) }()
	late := errors.New("no answer within a moment")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, late)
	defer cancel()
	if _, err := f.fetch(ctx); !errors.Is(err, late) {
		t.Errorf("behind another one: %v", err)
	}
	cancelFirst()
	<-ended
	ctx, cancel = context.WithTimeoutCause(t.Context(), 20*time.Millisecond, late)
	defer cancel()
	if _, err := f.fetch(ctx); !errors.Is(err, late) || shown.Err == nil {
		t.Errorf("alone: %v, shown %v", err, shown.Err)
	}
	f.cancel()
	if _, err := f.fetch(t.Context()); err == nil {
		t.Error("what is not followed any more was fetched")
	}
}

// With --restart=false a commit is in force only when somebody asks, but the first.
func TestFollowerWaitsToBeAsked(t *testing.T) {
	git := &server{commit: "one"}
	f, _ := newFollower(t, t.TempDir(), git)
	f.upstream.Interval = time.Hour
	news := make(chan string, 1)
	go f.run(false, func() {
		newest := f.candidates()[0]
		f.keep(newest)
		f.applied()
		news <- newest.Commit
	})
	if got := <-news; got != "one" {
		t.Errorf("at first: %q", got)
	}
	<-f.turn // so that the server is not being asked
	git.commit = "two"
	f.turn <- struct{}{}
	f.mustFetch(t, true) // as a look would
	git.commit = "three"
	f.ask()
	if got := <-news; got != "three" {
		t.Errorf("when asked: %q", got)
	}
}
