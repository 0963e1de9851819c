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

	"pgo/internal/gittest"
)

// noted serves a root, and notes which requests came with which credentials.
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
		t.Errorf("the repository's own server was asked for %s", got)
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
	wantKind(t, err, ErrSubmodule)
	if refused := strings.Count(err.Error(), "an operator can allow"); refused != 3 || publicRequests()+privateRequests() != "" {
		t.Errorf("with nothing listed the servers were asked for %q and %q, and the error is %v", publicRequests(), privateRequests(), err)
	}
	if got := s.missing("."); len(got) != 3 || !got[0].Verdict || !strings.HasSuffix(got[0].Why, lifted(other)) {
		t.Errorf("Missing() = %v", got)
	}
	s.open(Remote{URL: strings.Replace(own, "//", "//oauth2:s3cret@", 1) + "/app", Submodules: []string{other, public, private}})
	err = s.FetchSubmodules(t.Context(), head)
	wantKind(t, err, ErrAuth)
	want := fmt.Sprintf("cannot fetch the submodule \"other3\": it cannot be fetched from %s/other3: it wants credentials, "+
		"and pgo does not send those of `repository` to another server; put it on the same server, or make it public", private)
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
	s.open(Remote{URL: s.url, Submodules: []string{"http://" + silent.Addr().String()}}, StallAfter(2*time.Second))
	wantKind(t, s.FetchSubmodules(soon(t), head), ErrStalled)
	if n := asked.Load(); n != 1 {
		t.Errorf("a silent server was asked %d times", n)
	}
	if got := listing(t, s.stage(head)); got["there/file"] == "" {
		t.Error("the submodule of a working server was not fetched")
	}
}

// A server that a commit names cannot make pgo show its words, nor consider the repository
// damaged.
func TestSubmodulesOfAHostileServer(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	_, lib := s.module("lib", "file", noise(1000))
	git := gittest.Handler(s.root, "", t.Output())
	var asked []string
	hostile := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/says"):
			http.Error(w, "the internal page", http.StatusTeapot)
		case strings.HasPrefix(r.URL.Path, "/points") && r.Method == http.MethodPost:
			w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
			uri := strings.Repeat("1", 40) + " http://" + r.Host + "/elsewhere"
			_, _ = fmt.Fprintf(w, "0012packfile-uris\n%04x%s\n0001000dpackfile\n0000", 5+len(uri), uri)
		case strings.HasPrefix(r.URL.Path, "/dumb"):
			asked = append(asked, r.URL.Path)
			_, _ = fmt.Fprintf(w, "%s\trefs/heads/main\n", lib)
		case strings.HasPrefix(r.URL.Path, "/elsewhere"):
			t.Error("the packfile URI of a server was followed")
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
			r.URL.Path = strings.NewReplacer("/refuses", "/lib", "/points", "/lib").Replace(r.URL.Path)
			git.ServeHTTP(w, r)
		}
	}))
	defer hostile.Close()
	for _, name := range []string{"says", "refuses", "points", "dumb", "lib"} {
		addModule(s.remote, name, hostile.URL+"/"+name, lib)
		s.commit()
		s.open(Remote{URL: gittest.HTTP(t, s.root, "") + "/app", Submodules: []string{hostile.URL}})
		head := s.sync()
		err := s.FetchSubmodules(soon(t), head)
		wantKind(t, err, ErrSubmodule)
		if strings.Contains(err.Error(), "an operator can allow") {
			t.Fatalf("%s: the error is %v", name, err)
		}
		if strings.Contains(err.Error(), "internal") || errors.Is(err, ErrDamaged) {
			t.Errorf("%s: the error is %v", name, err)
		}
		s.stage(head)
		s.wantSound()
		s.remote.Git("rm", "--quiet", "--cached", name)
	}
	if len(asked) != 1 || asked[0] != "/dumb/info/refs" { // not for its alternates
		t.Errorf("as a dumb HTTP server it was asked for %q", asked)
	}
}

// The server that counts is the repository's, not that of the submodule that has the submodule.
func TestSubmodulesOfSubmodulesFromElsewhere(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	_, leaf := s.module("leaf", "file", "1")
	own, ownRequests := noted(t, s.root, "s3cret")
	listed, listedRequests := noted(t, s.root, "")
	third, thirdRequests := noted(t, s.root, "")
	near, _ := s.module("near", "file", "2")
	addModule(near, "third", third+"/leaf", leaf)
	far, _ := s.module("far", "file", "3")
	_, beside := s.module("sibling", "file", "4")
	_, back := s.module("back", "file", "5")
	addModule(far, "sibling", "../sibling", beside)
	addModule(far, "back", own+"/back", back)
	addModule(far, "third", third+"/leaf", leaf)
	addModule(s.remote, "near", "../near", hashOf(near.Commit("nested")))
	addModule(s.remote, "far", listed+"/far", hashOf(far.Commit("nested")))
	s.commit()
	remote := Remote{URL: strings.Replace(own, "//", "//oauth2:s3cret@", 1) + "/app", Submodules: []string{listed}}
	s.open(remote)
	err := s.FetchSubmodules(t.Context(), s.sync())
	wantKind(t, err, ErrSubmodule)
	for _, at := range []string{"near", "far"} {
		want := fmt.Sprintf("cannot fetch the submodule \"%s/third\": it has the url \"%s/leaf\", which is %s", at, third, lifted(third))
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want %s in it", err, want)
		}
	}
	if got := thirdRequests(); got != "" || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("the third server was asked for %s, and the error is %v", got, err)
	}
	s.wantStaged("near/file", "2", "far/file", "3", "far/sibling/file", "4", "far/back/file", "5")

	// That a submodule is here is not a reason to go on to elsewhere.
	remote.Submodules = []string{third}
	s.open(remote)
	s.commit("another", "1")
	before := listedRequests()
	s.syncModules()
	s.wantStaged("near/third/file", "1", "far/third/file", "1")
	if got := ownRequests(); strings.Contains(got, `back ""`) || !strings.Contains(got, `back "s3cret"`) {
		t.Errorf("the repository's own server was asked for %s", got)
	}
	if got := listedRequests() + thirdRequests(); strings.Contains(got, "s3cret") || listedRequests() != before {
		t.Errorf("the others were asked for %s", got)
	}
}

// A server leads no further than .gitmodules could.
func TestSubmodulesThatAreRedirected(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	_, lib := s.module("lib", "file", "1")
	git := gittest.Handler(s.root, "", t.Output())
	target, targetRequests := noted(t, s.root, "")
	var own, listed string
	lead := func(w http.ResponseWriter, r *http.Request) {
		switch top, _, _ := strings.Cut(r.URL.Path[1:], "/"); top {
		case "away":
			http.Redirect(w, r, strings.Replace(target, "//", "//u:p@", 1)+strings.Replace(r.URL.String(), "/away", "/lib", 1), http.StatusFound)
		case "odd":
			http.Redirect(w, r, "http://localhost./lib", http.StatusFound)
		case "within":
			http.Redirect(w, r, strings.Replace(r.URL.String(), "/within", "/lib", 1), http.StatusFound)
		case "home":
			http.Redirect(w, r, own+strings.Replace(r.URL.String(), "/home", "/lib", 1), http.StatusFound)
		case "around": // by a listed one
			http.Redirect(w, r, listed+strings.Replace(r.URL.String(), "/around", "/away", 1), http.StatusFound)
		default:
			if _, password, _ := r.BasicAuth(); r.Host != own[len("http://"):] && password != "" {
				t.Errorf("%s was sent %s", r.Host, password)
			}
			git.ServeHTTP(w, r)
		}
	}
	servers := [2]*httptest.Server{httptest.NewServer(http.HandlerFunc(lead)), httptest.NewServer(http.HandlerFunc(lead))}
	own, listed = servers[0].URL, servers[1].URL
	for _, server := range servers {
		defer server.Close()
	}
	refused := fmt.Sprintf("its server redirects to %s, which is not the repository's server; %s, or an operator can allow = [%q]",
		target, toOwnServer, "submodule:"+target)
	for _, c := range []struct {
		url    string
		more   string // what is listed in addition
		refuse string
	}{
		{own + "/within", "", ""},
		{listed + "/within", "", ""},
		{listed + "/home", "", ""},
		{own + "/away", "", refused},
		{listed + "/away", "", refused},
		{own + "/around", "", refused},
		{own + "/odd", "", "its server redirects to one that is not the repository's; " + toOwnServer},
		{own + "/away", target, ""},
		{listed + "/away", target, ""},
		{own + "/around", target, ""},
	} {
		addModule(s.remote, "lib", c.url, lib)
		s.commit("url", c.url+c.more)
		s.open(Remote{URL: strings.Replace(own, "//", "//oauth2:s3cret@", 1) + "/app", Submodules: []string{listed, c.more}})
		if err := s.Rebuild(); err != nil { // it must be fetched anew
			t.Fatal(err)
		}
		head, before := s.sync(), targetRequests()
		err := s.FetchSubmodules(soon(t), head)
		if c.refuse == "" {
			if err != nil {
				t.Errorf("%s: %v", c.url, err)
			}
			s.wantStaged("lib/file", "1")
		} else if err == nil || !strings.HasSuffix(err.Error(), ": "+c.refuse) || errors.Is(err, ErrStalled) {
			t.Errorf("%s: the error is %v, want %s", c.url, err, c.refuse)
		}
		if asked := targetRequests() != before; asked != (c.more != "") {
			t.Errorf("%s: the other server was asked: %v", c.url, asked)
		}
	}
	if got := targetRequests(); strings.Contains(got, "s3cret") {
		t.Errorf("the other server was asked for %s", got)
	}
	// A redirect of one does not mean that the server is down for the others.
	s.commit()
	addModule(s.remote, "a", own+"/away", someHash)
	s.commit()
	s.open(Remote{URL: own + "/app"})
	if err := s.Rebuild(); err != nil {
		t.Fatal(err)
	}
	addModule(s.remote, "lib", own+"/lib", lib)
	s.commit()
	wantKind(t, s.FetchSubmodules(soon(t), s.sync()), ErrSubmodule)
	s.wantStaged("lib/file", "1")
}

// Of everything that git and git-lfs read in a commit, only a submodule's path, url and commit
// count.
func TestNothingElseInACommitLeadsAnywhere(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	_, lib := s.module("lib", "file", "1")
	other, otherRequests := noted(t, s.root, "")
	own := gittest.HTTP(t, s.root, "")
	addModule(s.remote, "lib", "../lib", lib)
	modules := read(t, s.remote.Dir, ".gitmodules")
	config := fmt.Sprintf("[url %q]\n\tinsteadOf = %s\n[remote \"origin\"]\n\turl = %[1]s/app\n\tpromisor = true\n[lfs]\n\turl = %[1]s/lfs\n"+
		"[http]\n\tproxy = %[1]s\n[include]\n\tpath = .lfsconfig\n[extensions]\n\tpartialClone = origin\n", other, own)
	s.commit(
		".gitmodules", modules+"\tupdate = !curl "+other+"\n\tbranch = main\n"+config,
		".lfsconfig", config, ".gitconfig", config, ".git-config", config,
		".gitattributes", "* filter=lfs diff=lfs merge=lfs\n",
		"objects/info/alternates", other+"/lib\n", "objects/info/http-alternates", other+"/lib\n", "info/grafts", lib.String()+"\n",
		"pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:"+strings.Repeat("0", 64)+"\nsize 1\n",
	)
	s.open(Remote{URL: own + "/app"})
	head := s.syncModules()
	s.wantStaged("lib/file", "1")
	if got := s.missing("."); len(got) != 1 || got[0].Path != "pointer" {
		t.Errorf("Missing() = %v", got)
	}
	s.keep(head)
	s.mustCompact()
	if got := otherRequests(); got != "" {
		t.Errorf("another server was asked for %s", got)
	}
}

func TestSubmodulesHaveLimits(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	_, commit := s.module("0", "file", "")
	for depth := range maxModuleDepth + 2 {
		repo, _ := s.module(fmt.Sprint(depth+1), "file", "")
		addModule(repo, "m", fmt.Sprint("../", depth), commit)
		commit = hashOf(repo.Commit("nested"))
	}
	addModule(s.remote, "deep", fmt.Sprint("../", maxModuleDepth+2), commit)
	s.commit()
	err := s.FetchSubmodules(t.Context(), s.sync())
	at := "deep" + strings.Repeat("/m", maxModuleDepth)
	if want := `cannot fetch the submodule "` + at + `": it is nested 6 levels deep, and pgo goes no deeper`; err == nil || err.Error() != want {
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
