package gitrepo

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgo/internal/gittest"
)

func TestFetchFollowsTheBranchOverEveryWay(t *testing.T) {
	t.Parallel()
	for name, serve := range ways {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t)
			s.commit("compose.yaml", "one", "config/app", strings.Repeat("some lines\n", 1000))
			remote, opts := serve(t, s)
			s.open(remote, opts...)
			s.wantStaged("compose.yaml", "one")

			s.commit("compose.yaml", "two", "config/app", strings.Repeat("some lines\n", 999)+"and another\n")
			s.wantStaged("compose.yaml", "two", "config/app", strings.Repeat("some lines\n", 999)+"and another\n")

			s.remote.Git("commit", "--amend", "--quiet", "--message=rewritten")
			s.wantStaged("compose.yaml", "two")

			s.remote.Git("reset", "--hard", "--quiet", "HEAD~1")
			s.wantStaged("compose.yaml", "one", "config/app", strings.Repeat("some lines\n", 1000))

			s.remote.Git("checkout", "--quiet", "--orphan", "other")
			s.commit("compose.yaml", "three")
			s.remote.Git("branch", "--move", "--force", "other", "main")
			s.wantStaged("compose.yaml", "three")
			s.wantSound()
		})
	}
}

// wantStaged syncs and checks files of the head, given as names and contents in turn.
func (s *setup) wantStaged(files ...string) {
	s.t.Helper()
	dir := s.stage(s.sync())
	for i := 0; i < len(files); i += 2 {
		wantFile(s.t, files[i+1], dir, files[i])
	}
}

// wantSound has git check the local repository.
func (s *setup) wantSound() {
	s.t.Helper()
	for _, args := range [][]string{{"fsck", "--full", "--strict"}, {"log", "--oneline"}} {
		cmd := exec.Command("git", args...)
		cmd.Dir, cmd.Env = s.dir, gittest.Environment
		if out, err := cmd.CombinedOutput(); err != nil {
			s.t.Errorf("git %v: %v\n%s", args, err, out)
		}
	}
}

// counted serves a setup and counts the bytes of packs.
func counted(t *testing.T, s *setup) (url string, received func() int64) {
	git := gittest.Handler(s.root, "", t.Output())
	var bytes atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.Header.Get("Git-Protocol") == "" {
			w = countingWriter{w, &bytes}
		}
		git.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/app", func() int64 { return bytes.Swap(0) }
}

type countingWriter struct {
	http.ResponseWriter
	bytes *atomic.Int64
}

func (w countingWriter) Write(p []byte) (int, error) {
	w.bytes.Add(int64(len(p)))
	return w.ResponseWriter.Write(p)
}

// A fetch brings the difference of two trees: no history the first time, none behind a merge, and
// never what is here already.
func TestFetchBringsOnlyWhatDiffers(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	for range 5 {
		s.commit("history", noise(100<<10))
	}
	s.remote.Git("branch", "feature", "HEAD~3")
	s.commit("history", "short", "large", noise(100<<10))
	url, received := counted(t, s)
	s.open(Remote{URL: url})
	s.sync()
	if n := received(); n < 100<<10 || n > 150<<10 {
		t.Errorf("the first fetch brought %d bytes, for one commit of 100 KiB", n)
	}

	check := func(what string) {
		t.Helper()
		s.sync()
		if n := received(); n > 2<<10 {
			t.Errorf("%s brought %d bytes", what, n)
		}
	}
	s.commit("small", "a")
	check("a small commit")
	s.remote.Git("checkout", "--quiet", "feature")
	s.commit("feature", "a")
	s.remote.Git("checkout", "--quiet", "main")
	s.remote.Git("merge", "--quiet", "--no-edit", "feature")
	check("the merge of an old branch")
	s.remote.Git("commit", "--quiet", "--amend", "--message=rewritten")
	check("a rewritten branch")
	s.remote.Git("reset", "--hard", "--quiet", "HEAD~1")
	check("a branch that was set back")
	s.wantSound()
}

func noise(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return string(b)
}

func TestFetchAgainAsksNobody(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	first := s.commit("a", "a")
	s.sync()
	s.commit("a", "b")
	s.sync()
	s.remote.Git("gc", "--quiet")
	s.open(Remote{URL: "file:///nonexistent"})
	// Another remote has no head here. But objects that are here need not be fetched.
	if _, ok := s.Head(); ok {
		t.Error("the head of another repository is taken for this one's")
	}
	if err := s.Fetch(t.Context(), first); err != nil {
		t.Error(err)
	}
}

func TestFetchOfWhatIsNotOffered(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	s.commit("a", "a")
	for name, serve := range ways {
		if name == "file" {
			continue // any commit of the server can be fetched
		}
		remote, opts := serve(t, s)
		s.open(remote, opts...)
		wantKind(t, s.Fetch(soon(t), someHash), ErrMoved)
	}
}

func TestHeadSurvivesReopening(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	want := s.commit("a", "a")
	if _, ok := s.Head(); ok {
		t.Error("there is a head before the first fetch")
	}
	s.sync()
	s.open(s.asDirectory())
	if got, ok := s.Head(); !ok || got != want || s.Rebuilt() != nil {
		t.Errorf("the head is %v, %v (rebuilt: %v), want %v", got, ok, s.Rebuilt(), want)
	}
	repo, err := Open(s.dir, s.asDirectory(), "other")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := repo.Head(); ok {
		t.Error("the head of another branch is taken for this one's")
	}
}

func TestCommitSaysWhatItIs(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	s.remote.Git("commit", "--quiet", "--allow-empty", "--author=E\x1b[31mve <eve@example.org>",
		"--message=\x1b[2Jclear\x07 "+strings.Repeat("ü", 300)+"\n\nmore")
	head := s.sync()
	got, err := s.Commit(head)
	if err != nil {
		t.Fatal(err)
	}
	if got.Hash != head || got.Author != "E[31mve" || got.Subject != "[2Jclear "+strings.Repeat("ü", 190)+"…" {
		t.Errorf("Commit() = %+v", got)
	}
	if age := time.Since(got.When); age < 0 || age > time.Hour {
		t.Errorf("the commit is %v old", age)
	}
	_, err = s.Commit(someHash)
	wantKind(t, err, ErrNoCommit)
}

// The token is in no file, nor in an error when the server repeats it.
func TestTokenIsNowhere(t *testing.T) {
	t.Parallel()
	const token = "s3cret/t+ken"
	s := newSetup(t)
	s.commit("a", "a")
	git := gittest.Handler(s.root, token, t.Output())
	broken := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if broken {
			w.WriteHeader(http.StatusInternalServerError)
			_, password, _ := r.BasicAuth()
			_, _ = io.WriteString(w, "oops "+password+" s3cret%2Ft+ken s3cret%2Ft%2Bken "+r.Header.Get("Authorization")+" https://oauth2:s3cret@x/y")
			return
		}
		git.ServeHTTP(w, r)
	}))
	defer server.Close()
	remote := Remote{URL: strings.Replace(server.URL, "//", "//oauth2:s3cret%2Ft+ken@", 1) + "/app"}
	s.open(remote)
	s.sync()
	err := filepath.WalkDir(filepath.Dir(s.dir), func(name string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.Contains(read(t, name), "s3cret") {
			t.Errorf("%s holds the token", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	broken = true
	_, err = s.Look(t.Context())
	if err == nil {
		t.Fatal("no error")
	}
	for ; err != nil; err = errors.Unwrap(err) {
		if text := err.Error(); strings.Contains(text, "s3cret") || strings.Contains(text, "czNjcmV0") {
			t.Errorf("the error holds the token: %s", text)
		}
	}
	for _, text := range []string{remote.String(), fmt.Sprintf("%v", remote), fmt.Sprintf("%+v", remote), fmt.Sprintf("%#v", remote)} {
		if strings.Contains(text, "s3cret") {
			t.Errorf("the remote shows its token: %s", text)
		}
	}
}

func TestKeptCommitsAreFetchedAgainst(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	old := s.commit("large", noise(100<<10))
	url, received := counted(t, s)
	s.open(Remote{URL: url})
	s.sync()
	s.remote.Git("rm", "--quiet", "large")
	s.commit("small", "a")
	s.sync()
	if err := s.Keep(old, someHash); err != nil {
		t.Fatal(err)
	}
	if err := s.Keep(old); err != nil {
		t.Fatal(err)
	}
	received()
	s.remote.Git("revert", "--no-edit", "HEAD")
	s.remote.Git("commit", "--amend", "--quiet", "--message=large is back")
	s.commit("small", "b")
	s.sync()
	if n := received(); n > 2<<10 {
		t.Errorf("%d bytes were fetched though a kept commit has them", n)
	}
	wantFile(t, "b", s.stage(s.tip()), "small")
	s.wantSound()
}

// Large files are not held in memory while they are written.
func TestLargeFiles(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	large := noise(1<<20 + 2)
	s.commit("large", large, "other", large[1:])
	s.open(Remote{URL: gittest.HTTP(t, s.root, "") + "/app"})
	s.wantStaged("large", large, "other", large[1:])
	s.commit("large", large+"more")
	s.wantStaged("large", large+"more", "other", large[1:])
	if err := s.Rebuild(); err != nil {
		t.Fatal(err)
	}
	s.wantStaged("large", large+"more", "other", large[1:])
}
