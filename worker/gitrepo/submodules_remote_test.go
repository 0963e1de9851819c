package gitrepo

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"pgo/internal/gittest"
)

// noted serves a root, and notes who was sent what credentials for what.
func noted(t *testing.T, root, token string) (server string, requests func() string) {
	git := gittest.Handler(root, token, t.Output())
	var all []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		all = append(all, fmt.Sprintf("%s %q", strings.Split(r.URL.Path, "/")[1], password))
		git.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, func() string { return strings.Join(all, ", ") }
}

// The token goes to the repository's own server, and to no other.
func TestSubmodulesAndTheToken(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	_, lib := s.module("lib", "file", "1")
	s.commit()
	own, ownRequests := noted(t, s.root, "s3cret")
	public, publicRequests := noted(t, s.root, "")
	private, privateRequests := noted(t, s.root, "s3cret")
	other := strings.Replace(public, "127.0.0.1", "localhost", 1)
	addModule(s.remote, "relative", "../lib", lib)
	addModule(s.remote, "absolute", own+"/lib", lib)
	s.commit()
	s.open(Remote{URL: strings.Replace(own, "//", "//oauth2:s3cret@", 1) + "/app"})
	s.syncModules()
	if got := ownRequests(); strings.Contains(got, `lib ""`) || !strings.Contains(got, `lib "s3cret"`) {
		t.Errorf("its own server was asked for %s", got)
	}

	_, other1 := s.module("other1", "file", "2")
	_, other2 := s.module("other2", "file", "3")
	_, other3 := s.module("other3", "file", "4")
	addModule(s.remote, "other1", other+"/other1", other1)
	addModule(s.remote, "other2", strings.Replace(public, "//", "//user:theirs@", 1)+"/other2", other2) // another port
	addModule(s.remote, "other3", private+"/other3", other3)
	s.commit()
	head := s.sync()
	err := s.FetchSubmodules(t.Context(), head)
	wantKind(t, err, ErrAuth)
	want := fmt.Sprintf("cannot fetch the submodule \"other3\": it cannot be fetched from %s/other3: it wants credentials, "+
		"and pgo sends those of `repository` to no other server; put it on the same server, or make it public", private)
	if err.Error() != want {
		t.Errorf("the error is %q, want %q", err, want)
	}
	s.wantStaged("other1/file", "2", "other2/file", "3")
	for _, got := range []string{publicRequests(), privateRequests()} {
		if got == "" || strings.Contains(got, "s3cret") || strings.Contains(got, "theirs") {
			t.Errorf("another server was asked for %s", got)
		}
	}
}

// A server that does not answer is asked once, and for nothing else.
func TestSubmodulesOfASilentServer(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	var asked atomic.Int32
	go func() {
		for {
			conn, err := silent.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			asked.Add(1)
		}
	}()
	s := newSetup(t)
	for _, name := range []string{"a", "b", "c"} {
		addModule(s.remote, name, "http://"+silent.Addr().String()+"/"+name, someHash)
	}
	_, there := s.module("there", "file", "1")
	addModule(s.remote, "there", "../there", there)
	s.commit()
	s.open(Remote{URL: gittest.HTTP(t, s.root, "") + "/app"})
	head := s.sync()
	s.open(s.remoteOf(), StallAfter(2*time.Second))
	wantKind(t, s.FetchSubmodules(soon(t), head), ErrStalled)
	if n := asked.Load(); n != 1 {
		t.Errorf("a silent server was asked %d times", n)
	}
	if got := listing(t, s.stage(head)); got["there/file"] == "" {
		t.Error("the one that is there was not fetched")
	}
}

// remoteOf is where the repository was opened for, without credentials.
func (s *setup) remoteOf() Remote { return Remote{URL: s.url} }

// A server that a commit names gets nothing of what it says shown, nor can it
// have the repository taken for damaged.
func TestSubmodulesOfAHostileServer(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	_, lib := s.module("lib", "file", noise(1000))
	git := gittest.Handler(s.root, "", t.Output())
	hostile := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/says"):
			http.Error(w, "the internal page", http.StatusTeapot)
		case strings.HasPrefix(r.URL.Path, "/refuses") && r.Method == http.MethodPost:
			w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
			_, _ = fmt.Fprintf(w, "%04xERR the internal page", 4+len("ERR the internal page"))
		case r.Method == http.MethodPost:
			recorder := httptest.NewRecorder()
			git.ServeHTTP(recorder, r)
			body := recorder.Body.Bytes()
			if len(body) > 300 {
				body[len(body)-100] ^= 1
			}
			maps.Copy(w.Header(), recorder.Header())
			_, _ = w.Write(body)
		default:
			r.URL.Path = strings.Replace(r.URL.Path, "/refuses", "/lib", 1)
			git.ServeHTTP(w, r)
		}
	}))
	defer hostile.Close()
	for _, name := range []string{"says", "refuses", "lib"} {
		addModule(s.remote, name, hostile.URL+"/"+name, lib)
		s.commit()
		s.open(Remote{URL: gittest.HTTP(t, s.root, "") + "/app"})
		head := s.sync()
		err := s.FetchSubmodules(soon(t), head)
		wantKind(t, err, ErrSubmodule)
		t.Log(err)
		if strings.Contains(err.Error(), "internal") || errors.Is(err, ErrDamaged) {
			t.Errorf("%s: the error is %v", name, err)
		}
		s.stage(head)
		s.wantSound()
		s.remote.Git("rm", "--quiet", "--cached", name)
	}
}

func TestSubmodulesHaveLimits(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	_, commit := s.module("0", "file", "")
	for depth := range maxModuleDepth + 2 {
		repo, _ := s.module(fmt.Sprint(depth+1), "file", "")
		addModule(repo, "m", fmt.Sprint("../", depth), commit)
		commit = plumbing.NewHash(repo.Commit("nested"))
	}
	addModule(s.remote, "deep", fmt.Sprint("../", maxModuleDepth+2), commit)
	s.commit()
	err := s.FetchSubmodules(t.Context(), s.sync())
	at := "deep" + strings.Repeat("/m", maxModuleDepth)
	if want := `cannot fetch the submodule "` + at + `": it is one of a submodule, 6 deep, and pgo goes no deeper`; err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
	if got := s.missing("."); len(got) != 1 || got[0].Path != at || !got[0].Verdict {
		t.Errorf("Missing() = %v", got)
	}

	many := newSetup(t)
	var index strings.Builder
	for i := range maxModules + 50 {
		fmt.Fprintf(&index, "160000 %040x\tm%03d\n", i+1, i)
	}
	many.remote.GitInput(index.String(), "update-index", "--index-info")
	many.remote.Git("commit", "--quiet", "--message=many")
	err = many.FetchSubmodules(t.Context(), many.sync())
	wantKind(t, err, ErrSubmodule)
	if lines := strings.Count(err.Error(), "\n"); lines != maxModules || !strings.HasSuffix(err.Error(), "and pgo fetches no more; use fewer") {
		t.Errorf("the error has %d lines", lines)
	}
	if got := many.missing("m149"); len(got) != 1 || !strings.Contains(got[0].Why, "comes after 100 others") {
		t.Errorf("Missing() = %v", got)
	}

	large := newSetup(t, Limit(1<<20))
	_, commit = large.module("large", "file", noise(2<<20))
	addModule(large.remote, "large", "../large", commit)
	large.commit("a", "a")
	head := large.sync()
	wantKind(t, large.FetchSubmodules(t.Context(), head), ErrTooLarge)
	if got := large.missing("large"); len(got) != 1 || got[0].Verdict {
		t.Errorf("Missing() = %v", got)
	}
	large.wantStaged("a", "a")
}
