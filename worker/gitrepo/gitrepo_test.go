package gitrepo

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"pgo/internal/gittest"
)

// setup is a remote repository, served in some way, and the local one.
type setup struct {
	t      testing.TB
	root   string // what is served
	remote *gittest.Repo
	dir    string // the local repository
	*Repo
}

// newSetup makes a remote repository and opens the local one, which follows it through the
// directory.
func newSetup(t testing.TB, opts ...Option) *setup {
	t.Helper()
	root := t.TempDir()
	s := &setup{t: t, root: root, remote: gittest.NewRepo(t, filepath.Join(root, "app")), dir: filepath.Join(t.TempDir(), "repo.git")}
	s.open(s.asDirectory(), opts...)
	return s
}

// asDirectory returns the remote repository by its directory.
func (s *setup) asDirectory() Remote {
	u := url.URL{Scheme: "file", Path: s.remote.Dir}
	return Remote{URL: u.String()}
}

// open opens the local repository, possibly again.
func (s *setup) open(remote Remote, opts ...Option) {
	s.t.Helper()
	repo, err := Open(s.dir, remote, "main", opts...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Repo = repo
}

// commit writes files, given as names and contents in turn, commits and returns the hash.
func (s *setup) commit(files ...string) Hash {
	s.t.Helper()
	for i := 0; i < len(files); i += 2 {
		s.remote.Write(files[i], files[i+1])
	}
	return hashOf(s.remote.Commit("a commit"))
}

// tip returns the remote's head.
func (s *setup) tip() Hash { return hashOf(s.remote.Git("rev-parse", "HEAD")) }

// sync looks and fetches, and returns the head.
func (s *setup) sync() Hash {
	s.t.Helper()
	head, err := s.Look(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.Fetch(s.t.Context(), head); err != nil {
		s.t.Fatal(err)
	}
	if got, ok := s.Head(); !ok || got != head {
		s.t.Fatalf("the head is %v, %v after fetching %v", got, ok, head)
	}
	return head
}

func (s *setup) stage(commit Hash) string {
	s.t.Helper()
	dir := filepath.Join(s.t.TempDir(), "stage")
	if err := s.Stage(s.t.Context(), commit, dir); err != nil {
		s.t.Fatal(err)
	}
	return dir
}

func read(t testing.TB, elements ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(elements...))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func wantFile(t testing.TB, want string, elements ...string) {
	t.Helper()
	if got := read(t, elements...); got != want {
		t.Errorf("%s holds %q, want %q", filepath.Join(elements...), got, want)
	}
}

func wantKind(t testing.TB, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("the error is %v, want one that is %q", err, kind)
	}
}

// soon bounds an operation that must not take long.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func hashOf(text string) Hash { return Hash(plumbing.NewHash(text)) }
