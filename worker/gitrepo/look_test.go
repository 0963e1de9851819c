package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgo/internal/gittest"
)

func TestLookSeesThePushOverEveryWay(t *testing.T) {
	t.Parallel()
	for name, serve := range ways {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t)
			first := s.commit("compose.yaml", "services: {}")
			s.remote.Git("branch", "main2") // the same beginning, to be told apart
			remote, opts := serve(t, s)
			s.open(remote, opts...)
			s.wantLook(first)
			s.wantLook(first)
			s.wantLook(s.commit("compose.yaml", "services: {a: }"))
		})
	}
}

func (s *setup) wantLook(want Hash) {
	s.t.Helper()
	if got, err := s.Look(soon(s.t)); err != nil || got != want {
		s.t.Fatalf("Look() = %v, %v, want %v", got, err, want)
	}
}

func TestLookNamesTheBranchesThereAre(t *testing.T) {
	t.Parallel()
	for name, serve := range ways {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t)
			s.commit("a", "a")
			s.remote.Git("branch", "--move", "trunk")
			for _, branch := range []string{"a", "b", "c", "d", "e"} {
				s.remote.Git("branch", branch)
			}
			remote, opts := serve(t, s)
			s.open(remote, opts...)
			_, err := s.Look(soon(t))
			wantKind(t, err, ErrNoBranch)
			if want := `there is no branch "main", only a, b, c, d, e and 1 more; set ` + "`branch`"; !strings.HasSuffix(err.Error(), want) {
				t.Errorf("the error is %q, want it to end in %q", err, want)
			}
		})
	}
}

// A tag is not a branch: it does not move.
func TestLookAtATag(t *testing.T) {
	t.Parallel()
	for name, serve := range ways {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t)
			s.commit("a", "a")
			s.remote.Git("tag", "--annotate", "--message", "v9", "v9")
			s.remote.Git("tag", "--no-sign", "v8")
			remote, opts := serve(t, s)
			for _, tag := range []string{"v9", "v8"} {
				repo, err := Open(t.TempDir(), remote, tag, opts...)
				if err != nil {
					t.Fatal(err)
				}
				_, err = repo.Look(soon(t))
				wantKind(t, err, ErrNoBranch)
				if want := `"` + tag + `" is a tag, and pgo follows only branches: main; set ` + "`branch`, or make a branch of the tag"; !strings.HasSuffix(err.Error(), want) {
					t.Errorf("the error is %q, want it to end in %q", err, want)
				}
			}
			s.remote.Git("branch", "v9")
			repo, err := Open(t.TempDir(), remote, "v9", opts...)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := repo.Look(soon(t)); err != nil {
				t.Errorf("a branch with the name of a tag: %v", err)
			}
		})
	}
}

func TestLookAtARepositoryWithSHA256(t *testing.T) {
	t.Parallel()
	for name, serve := range ways {
		for _, empty := range []bool{false, true} {
			if empty && slices.Contains([]string{"git", "ssh", "http, version 0"}, name) {
				continue // version 0 says nothing about an empty repository
			}
			t.Run(fmt.Sprintf("%s, empty %v", name, empty), func(t *testing.T) {
				s := newSetup(t)
				if err := os.RemoveAll(filepath.Join(s.remote.Dir, ".git")); err != nil {
					t.Fatal(err)
				}
				s.remote.Git("init", "--quiet", "--initial-branch=main", "--object-format=sha256")
				if !empty {
					s.remote.Commit("first")
				}
				remote, opts := serve(t, s)
				s.open(remote, opts...)
				_, err := s.Look(soon(t))
				wantKind(t, err, ErrFormat)
				if err != nil && !strings.Contains(err.Error(), "it uses SHA-256 object names, which pgo cannot read; ") {
					t.Errorf("the error is %q", err)
				}
			})
		}
	}
}

func TestLookAtAnEmptyRepository(t *testing.T) {
	t.Parallel()
	for name, serve := range ways {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t)
			remote, opts := serve(t, s)
			s.open(remote, opts...)
			_, err := s.Look(soon(t))
			wantKind(t, err, ErrNoBranch)
			if !strings.Contains(err.Error(), "it is empty") {
				t.Errorf("the error is %q", err)
			}
		})
	}
}

func TestLookWhereThereIsNoRepository(t *testing.T) {
	t.Parallel()
	for name, serve := range ways {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t)
			remote, opts := serve(t, s)
			remote.URL += "-not"
			s.open(remote, opts...)
			_, err := s.Look(soon(t))
			if name != "git" { // whose server just hangs up
				wantKind(t, err, ErrNotFound)
			}
			if err == nil {
				t.Error("no error")
			}
		})
	}
}

// A deleted branch, or a server that is gone, does not change the local repository.
func TestWhatIsGoneKeepsTheHead(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	s.commit("a", "a")
	server := httptest.NewServer(gittest.Handler(s.root, "", t.Output()))
	defer server.Close()
	remote := Remote{URL: server.URL + "/app"}
	s.open(remote)
	want := s.sync()
	steps := []struct {
		what func()
		kind error
	}{
		{func() { s.remote.Git("branch", "--move", "other") }, ErrNoBranch},
		{func() {
			if err := os.Rename(s.remote.Dir, s.remote.Dir+".gone"); err != nil {
				t.Fatal(err)
			}
		}, ErrNotFound},
		{server.Close, nil},
	}
	for _, step := range steps {
		step.what()
		_, err := s.Look(soon(t))
		if err == nil || step.kind != nil && !errors.Is(err, step.kind) {
			t.Errorf("the error is %v, want one that is %v", err, step.kind)
		}
		if got, ok := s.Head(); !ok || got != want {
			t.Errorf("the head is %v, %v after %v", got, ok, err)
		}
		wantFile(t, "a", s.stage(want), "a")
		if err := s.Fetch(soon(t), want); err != nil {
			t.Errorf("fetching a commit that is already here: %v", err)
		}
	}
	s.open(remote)
	if got, ok := s.Head(); !ok || got != want {
		t.Errorf("the head is %v, %v after a restart", got, ok)
	}
}

// An unchanged branch costs one request, whose size does not grow with the repository's refs.
func TestLookIsOneRequest(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	s.commit("a", "a")
	git := gittest.Handler(s.root, "", t.Output())
	var requests []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests = append(requests, r.Method+" "+r.URL.Path)
		git.ServeHTTP(w, r)
	}))
	defer server.Close()
	s.open(Remote{URL: server.URL + "/app"})
	for range 3 {
		if _, err := s.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	want := "GET /app/info/refs, POST /app/git-upload-pack, POST /app/git-upload-pack, POST /app/git-upload-pack"
	if got := strings.Join(requests, ", "); got != want {
		t.Errorf("three looks were %s, want %s", got, want)
	}
}

// A server may be replaced by an older one.
func TestLookGoesBackToVersion0(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	want := s.commit("a", "a")
	git := gittest.Handler(s.root, "", t.Output())
	var old bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if old {
			r.Header.Del("Git-Protocol")
		}
		git.ServeHTTP(w, r)
	}))
	defer server.Close()
	s.open(Remote{URL: server.URL + "/app"})
	for _, old = range []bool{true, false, true, true} {
		s.wantLook(want)
	}
}

func TestSilentServersAreLeft(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close() // the kernel queues connections, and nobody answers

	s := newSetup(t)
	ssh := gittest.SSH(t)
	address := silent.Addr().String()
	for _, remote := range []Remote{
		{URL: "http://" + address + "/x"},
		{URL: "ssh://git@" + address + "/x", Key: ssh.Key},
		{URL: "git://" + address + "/x"},
	} {
		t.Run(remote.URL[:3], func(t *testing.T) {
			s.open(remote, StallAfter(50*time.Millisecond))
			_, err := s.Look(soon(t))
			wantKind(t, err, ErrStalled)

			s.open(remote)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			err = s.Fetch(ctx, someHash)
			wantKind(t, err, context.DeadlineExceeded)
			if !strings.HasSuffix(err.Error(), "it took longer than allowed") {
				t.Errorf("the error is %q", err)
			}
		})
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	s.commit("a", "a")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "<html>Please sign in")
	}))
	defer page.Close()
	tls := httptest.NewUnstartedServer(gittest.Handler(s.root, "", t.Output()))
	tls.Config.ErrorLog = log.New(t.Output(), "", 0)
	tls.StartTLS()
	defer tls.Close()
	token := gittest.HTTP(t, s.root, "s3cret")

	for url, want := range map[string]string{
		"http://" + closed.Addr().String() + "/app": "connection refused",
		page.URL + "/app": "not with git's smart protocol",
		tls.URL + "/app":  "its certificate is not trusted",
		token + "/app":    "authentication required; put a token in `repository` or set `git_key`",
		strings.Replace(token, "//", "//oauth2:wr0ng@", 1) + "/app": "the token in `repository` is refused",
		"http://nosuch.invalid/app":                                 "nosuch.invalid",
	} {
		s.open(Remote{URL: url})
		_, err := s.Look(soon(t))
		if err == nil || !strings.HasPrefix(err.Error(), "cannot look at "+Remote{URL: url}.String()+": ") || !strings.Contains(err.Error(), want) {
			t.Errorf("looking at %s: the error is %v, want %q in it", url, err, want)
		}
		if strings.Contains(err.Error(), "wr0ng") {
			t.Errorf("the error holds the token: %v", err)
		}
		if asked := strings.Contains(want, "token"); asked != errors.Is(err, ErrAuth) {
			t.Errorf("looking at %s: whether %v is ErrAuth should be %v", url, err, asked)
		}
	}
}

// A moved repository is followed, but the token goes to no other host.
func TestRedirects(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	want := s.commit("a", "a")
	var sent []string
	git := gittest.Handler(s.root, "", t.Output())
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent = append(sent, r.Header.Get("Authorization"))
		git.ServeHTTP(w, r)
	}))
	defer target.Close()
	moved := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// By another name than target's, which is 127.0.0.1.
		http.Redirect(w, r, strings.Replace(target.URL, "127.0.0.1", "localhost", 1)+r.URL.String(), http.StatusMovedPermanently)
	}))
	defer moved.Close()
	s.open(Remote{URL: strings.Replace(moved.URL, "//", "//oauth2:s3cret@", 1) + "/app"})
	if got := s.sync(); got != want {
		t.Errorf("the head is %v, want %v", got, want)
	}
	if len(sent) == 0 || strings.Join(sent, "") != "" {
		t.Errorf("the other host was sent %q", sent)
	}
}

func TestOpenRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	key := gittest.SSH(t).Key
	for _, c := range []struct {
		remote Remote
		branch string
		want   string
	}{
		{Remote{URL: "https://git.example.org/x.git"}, "", "not a valid branch name"},
		{Remote{URL: "https://git.example.org/x.git"}, "a..b", "not a valid branch name"},
		{Remote{URL: "https://user:to%ken@git.example.org/x.git"}, "main", "not a URL"},
		{Remote{URL: "https://user:to/ken@git.example.org/x.git"}, "main", "not a URL"},
		{Remote{URL: "https://git.example.org/x.git?private=token"}, "main", "?"},
		{Remote{URL: "ftp://git.example.org/x.git"}, "main", "must begin with"},
		{Remote{URL: "/srv/git/x.git"}, "main", "must begin with"},
		{Remote{URL: "https:///x.git"}, "main", "no host"},
		{Remote{URL: "ssh://git@git.example.org/x.git"}, "main", "set `git_key`"},
		{Remote{URL: "ssh://git:token@git.example.org/x.git", Key: key}, "main", "not a password"},
		{Remote{URL: "git@git.example.org:x.git", Key: []byte("token")}, "main", "not an SSH private key"},
	} {
		_, err := Open(filepath.Join(t.TempDir(), "repo.git"), c.remote, c.branch)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Open(%s, %q): the error is %v, want %q in it", c.remote, c.branch, err, c.want)
		}
		if err != nil && (strings.Contains(err.Error(), "ken@") || strings.Contains(err.Error(), "=token")) {
			t.Errorf("the error holds the token: %v", err)
		}
	}
}

func TestMain(m *testing.M) {
	runAsHelper() // for a test that needs another process
	// The modes of written files must not depend on it.
	syscall.Umask(0o077)
	os.Exit(m.Run())
}
