package gitrepo

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http/httpproxy"

	"pgo/internal/gittest"
)

// A host that only the proxy knows is reached through it, over http and https. A proxy that is not
// meant for it is not used.
func TestProxy(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	want := s.commit("a", noise(1<<20))
	git := gittest.Handler(s.root, "", t.Output())
	plain, secure := httptest.NewServer(git), httptest.NewTLSServer(git)
	defer plain.Close()
	defer secure.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	http := gittest.NewProxy(t, plain.Listener.Addr().String(), "S3CRET%/")
	https := gittest.NewProxy(t, secure.Listener.Addr().String(), "S3CRET%/")
	both := httpproxy.Config{HTTPProxy: http.URL, HTTPSProxy: https.URL, NoProxy: "example.net"}

	for _, test := range []struct {
		url   string
		proxy *gittest.Proxy
		asked string
	}{
		{"http://git.example.org/app", http, "GET git.example.org"},
		{"https://example.com/app", https, "CONNECT example.com:443"},
	} {
		s.open(Remote{URL: test.url, Proxy: both, CA: ca})
		s.wantLook(want)
		if err := s.Fetch(soon(t), want); err != nil {
			t.Errorf("%s: %v", test.url, err)
		}
		if !slices.Contains(test.proxy.Asked(), test.asked) {
			t.Errorf("%s: the proxy was asked for %q", test.url, test.proxy.Asked())
		}
	}

	// Each of these fails, and says why without the password.
	closed := httptest.NewServer(nil)
	closed.Close()
	down, _ := url.Parse(closed.URL)
	down.User = url.UserPassword("ada", "S3CRET%/")
	for _, test := range []struct {
		remote Remote
		want   string
	}{
		{Remote{URL: "https://example.com/app", Proxy: both}, "its certificate is not trusted: "},
		{Remote{URL: "https://example.com/app", Proxy: httpproxy.Config{HTTPSProxy: strings.Replace(https.URL, "S3CRET", "S3CRETS", 1)}}, "the proxy wants a user name and a password, or refuses those that it got; "},
		{Remote{URL: "http://example.com/app", Proxy: httpproxy.Config{HTTPProxy: strings.Replace(http.URL, "S3CRET", "S3CRETS", 1)}}, "the proxy wants a user name and a password, or refuses those that it got; "},
		{Remote{URL: "https://example.com/app", Proxy: httpproxy.Config{HTTPSProxy: down.String()}}, "the proxy cannot be reached: "},
		{Remote{URL: "http://example.com/app", Proxy: httpproxy.Config{HTTPProxy: down.String()}}, "the proxy cannot be reached: "},
		{Remote{URL: "https://example.com/app", Proxy: httpproxy.Config{HTTPSProxy: gittest.NewProxy(t, down.Host, "").URL}}, "does not let it through: 502 Bad Gateway"},
		{Remote{URL: plain.URL + "/app-not", Proxy: httpproxy.Config{HTTPProxy: down.String()}}, "the repository was not found"}, // this machine
	} {
		s.open(test.remote)
		_, err := s.Look(soon(t))
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "S3CRET") {
			t.Errorf("%s: the error is %v, want %q", test.remote.URL, err, test.want)
		}
	}
}

// A server that asks for a pause is left alone until that is over, by everything of this
// repository.
func TestServerWantsAPause(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	first := s.commit("a", "a")
	git := gittest.Handler(s.root, "", t.Output())
	var requests atomic.Int64
	var after atomic.Value // Retry-After: the answer is 429
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if header, _ := after.Load().(string); header != "" {
			w.Header().Set("Retry-After", header)
			http.Error(w, "too fast", http.StatusTooManyRequests)
			return
		}
		git.ServeHTTP(w, r)
	}))
	defer server.Close()
	s.open(Remote{URL: server.URL + "/app"})
	s.wantLook(first)

	after.Store("2")
	_, err := s.Look(soon(t))
	wantKind(t, err, ErrBusy)
	if err == nil || !strings.Contains(err.Error(), "its server answers 429 Too Many Requests and wants no requests until ") {
		t.Errorf("the error is %v", err)
	}
	after.Store("")
	asked := requests.Load()
	for range 3 {
		_, err = s.Look(soon(t))
		wantKind(t, err, ErrBusy)
	}
	wantKind(t, s.Fetch(soon(t), first), ErrBusy)
	if requests.Load() != asked {
		t.Errorf("the server was asked %d times during its pause", requests.Load()-asked)
	}
	for _, err := s.Look(soon(t)); err != nil; _, err = s.Look(t.Context()) {
		wantKind(t, err, ErrBusy)
		time.Sleep(20 * time.Millisecond)
		if t.Context().Err() != nil {
			t.Fatal("the pause does not end")
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	date := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	for header, want := range map[string]time.Duration{
		"": 0, "0": 0, "-1": 0, "soon": 0, "1.5": 0, date(-time.Minute): 0,
		"30": 30 * time.Second, "3600": time.Hour, "86400": time.Hour, "4294967295": time.Hour, "99999999999999999999": 0,
		date(10 * time.Minute): 10 * time.Minute, date(48 * time.Hour): time.Hour,
	} {
		got, ok := retryAfter(header)
		if ok != (want > 0) || ok && (got > want || got < want-10*time.Second) {
			t.Errorf("%q: %v, %v, want %v", header, got, ok, want)
		}
	}
	var p pauses
	for status, want := range map[int]bool{429: true, 503: true, 500: false, 200: false} {
		r := &http.Response{StatusCode: status, Header: http.Header{"Retry-After": {"60"}}}
		if err := p.begin(http.StatusText(status), r); (err != nil) != want || (p.left(http.StatusText(status)) != nil) != want {
			t.Errorf("status %d begins a pause: %v", status, err)
		}
	}
	if p.begin("x", &http.Response{StatusCode: 429}) != nil {
		t.Error("without a time, there is a pause")
	}
}

// A server of submodules that asks for a pause is asked once, whatever it has, and in pgo's words.
func TestServerOfSubmodulesWantsAPause(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.Header().Set("Retry-After", "3600")
		http.Error(w, "S3CRET", http.StatusServiceUnavailable)
	}))
	defer busy.Close()
	s := newSetup(t)
	for _, name := range []string{"a", "b"} {
		addModule(s.remote, name, busy.URL+"/"+name, someHash)
	}
	s.commit()
	s.open(Remote{URL: gittest.HTTP(t, s.root, "") + "/app", Submodules: []string{busy.URL}})
	head := s.sync()
	for range 2 {
		err := s.FetchSubmodules(soon(t), head)
		wantKind(t, err, ErrBusy)
		if err == nil || strings.Count(err.Error(), "its server answers 503 Service Unavailable and wants no requests until ") != 2 || strings.Contains(err.Error(), "S3CRET") {
			t.Errorf("the error is %v", err)
		}
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("the server was asked %d times", n)
	}
	if _, err := s.Look(soon(t)); err != nil {
		t.Errorf("the repository's own server is not asked any more: %v", err)
	}
}

// A submodule on the repository's own server cannot pause the repository, and a pause is that of the
// server which asked for it, not of the one that has sent a request there.
func TestPausesAreTheRightServers(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	wait := func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
	}
	busy := httptest.NewServer(http.HandlerFunc(wait))
	defer busy.Close()
	s := newSetup(t)
	git := gittest.Handler(s.root, "", t.Output())
	own := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/busy"):
			wait(w, r)
		case strings.HasPrefix(r.URL.Path, "/moved"):
			http.Redirect(w, r, busy.URL+"/app/info/refs?"+r.URL.RawQuery, http.StatusFound)
		default:
			git.ServeHTTP(w, r)
		}
	}))
	defer own.Close()
	addModule(s.remote, "a", own.URL+"/busy", someHash)
	s.commit()
	s.open(Remote{URL: own.URL + "/app"})
	head := s.sync()
	wantKind(t, s.FetchSubmodules(soon(t), head), ErrBusy)
	if _, err := s.Look(soon(t)); err != nil {
		t.Errorf("a submodule has paused the repository: %v", err)
	}

	s.open(Remote{URL: own.URL + "/moved"})
	requests.Store(0)
	for range 2 {
		_, err := s.Look(soon(t))
		wantKind(t, err, ErrBusy)
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("a server that wants a pause was asked %d times", n)
	}
	if err := s.origin.web.pauses.left(strings.TrimPrefix(own.URL, "http://")); err != nil {
		t.Errorf("the server that sends requests there is paused: %v", err)
	}
}
