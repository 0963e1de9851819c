package gitrepo

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgo/internal/gittest"
)

func TestLimits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ content, want string }{
		"received":      {noise(2 << 20), "it takes more than the 1.0 MiB allowed for one repository"},
		"when unpacked": {strings.Repeat("\x00", 2<<20), "its files are too large"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSetup(t)
			s.commit("a", "small")
			url := gittest.HTTP(t, s.root, "") + "/app"
			s.open(Remote{URL: url}, Limit(1<<20))
			before := s.sync()
			s.commit("b", c.content)
			head, err := s.Look(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			err = s.Fetch(t.Context(), head)
			wantKind(t, err, ErrTooLarge)
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %q, want %q in it", err, c.want)
			}
			if got, _ := s.Head(); got != before {
				t.Errorf("the head is %v, want still %v", got, before)
			}
			wantFile(t, "small", s.stage(before), "a")
			if used, _ := diskUsage(s.dir); used > 1<<20 {
				t.Errorf("%d bytes are left on the disk", used)
			}
		})
	}
}

// Pushes add up. When they reach the limit, the clone is made anew, as small as one commit.
func TestOldCommitsMakeRoom(t *testing.T) {
	t.Parallel()
	s := newSetup(t, Limit(1<<20))
	for range 10 {
		s.commit("large", noise(170<<10))
		s.stage(s.sync())
	}
	s.commit("large", noise(1400<<10))
	head, err := s.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before, _ := s.Head()
	wantKind(t, s.Fetch(t.Context(), head), ErrTooLarge)
	if got, ok := s.Head(); !ok || got != before {
		t.Errorf("the head is %v, want still %v", got, before)
	}
	s.stage(before)
}

func TestStalledFetchEnds(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	s.commit("a", noise(1<<20))
	git := gittest.Handler(s.root, "", t.Output())
	stuck := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.Header.Get("Git-Protocol") == "" {
			w = &stallingWriter{w, 100 << 10, stuck}
		}
		git.ServeHTTP(w, r)
	}))
	defer server.Close()
	defer close(stuck)
	s.open(Remote{URL: server.URL + "/app"})
	head, err := s.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.open(Remote{URL: server.URL + "/app"}, StallAfter(200*time.Millisecond))
	err = s.Fetch(soon(t), head)
	wantKind(t, err, ErrStalled)
	if _, ok := s.Head(); ok {
		t.Error("there is a head although the fetch failed")
	}
}

// However long a fetch takes, it goes on while something arrives.
func TestSlowFetchGoesOn(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	s.commit("a", noise(1<<20))
	git := gittest.Handler(s.root, "", t.Output())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.Header.Get("Git-Protocol") == "" {
			w = slowWriter{w}
		}
		git.ServeHTTP(w, r)
	}))
	defer server.Close()
	const stall = 2 * time.Second
	s.open(Remote{URL: server.URL + "/app"}, StallAfter(stall))
	head, err := s.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := s.Fetch(soon(t), head); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took < stall {
		t.Errorf("the fetch took only %v", took)
	}
}

// slowWriter writes a few KiB at a time.
type slowWriter struct{ http.ResponseWriter }

func (w slowWriter) Write(p []byte) (n int, err error) {
	for piece := range slices.Chunk(p, 24<<10) {
		time.Sleep(70 * time.Millisecond)
		if _, err := w.ResponseWriter.Write(piece); err != nil {
			return n, err
		}
		_ = http.NewResponseController(w.ResponseWriter).Flush()
		n += len(piece)
	}
	return n, nil
}

// A server that says nothing is noticed after a minute.
func TestPatience(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	s.open(Remote{URL: "https://git.example.org/app"})
	if s.origin.stall != time.Minute || s.reader.stall != time.Minute {
		t.Errorf("a look ends after %v, a fetch after %v", s.origin.stall, s.reader.stall)
	}
}

// stallingWriter passes on so many bytes and then waits.
type stallingWriter struct {
	http.ResponseWriter
	left int
	wait <-chan struct{}
}

func (w *stallingWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		_ = http.NewResponseController(w.ResponseWriter).Flush()
		<-w.wait
		return 0, errors.New("stuck")
	}
	return w.ResponseWriter.Write(p)
}

func TestKilledWhileFetching(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	s.commit("a", "before")
	before := s.sync()
	want := s.commit("a", "after", "large", noise(1<<20))

	git := gittest.Handler(s.root, "", t.Output())
	stuck, goOn := make(chan struct{}, 1), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.Header.Get("Git-Protocol") == "" {
			w = &notifyingWriter{&stallingWriter{w, 200 << 10, goOn}, stuck}
		}
		git.ServeHTTP(w, r)
	}))
	defer server.Close()
	defer close(goOn)

	// The URL differs from now on, so the head has to be fetched again.
	s.open(Remote{URL: server.URL + "/app"})
	if err := s.Fetch(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GITREPO_FETCH="+s.dir, "GITREPO_URL="+server.URL+"/app")
	cmd.Stdout = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-stuck
	for deadline := time.Now().Add(time.Minute); packFiles(t, s.dir, "tmp_") == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Error("the process writes no pack")
			break
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	s.open(Remote{URL: server.URL + "/app"})
	if got, ok := s.Head(); !ok || got != before || s.Rebuilt() != nil {
		t.Errorf("the head is %v, %v (rebuilt: %v), want %v", got, ok, s.Rebuilt(), before)
	}
	if left := packFiles(t, s.dir, "tmp_"); left != 0 {
		t.Errorf("%d partial packs are still there", left)
	}
	wantFile(t, "before", s.stage(before), "a")

	s.open(s.asDirectory())
	if got := s.sync(); got != want {
		t.Errorf("the head is %v, want %v", got, want)
	}
	s.wantStaged("a", "after")
}

type notifyingWriter struct {
	*stallingWriter
	stuck chan<- struct{}
}

func (w *notifyingWriter) Write(p []byte) (int, error) {
	if w.left < len(p) {
		select {
		case w.stuck <- struct{}{}:
		default:
		}
	}
	return w.stallingWriter.Write(p)
}

func packFiles(t *testing.T, dir, prefix string) int {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, packDir))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			n++
		}
	}
	return n
}
