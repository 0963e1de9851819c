package gitrepo

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"pgo/internal/gittest"
)

// TestMain makes the test's binary a git server of its own where a benchmark
// needs one whose CPU time is not its own.
func TestMain(m *testing.M) {
	if root := os.Getenv("GITREPO_SERVE"); root != "" {
		serve(root)
	}
	os.Exit(m.Run())
}

func serve(root string) {
	server := httptest.NewServer(gittest.Handler(&testing.B{}, root, ""))
	fmt.Println(server.URL)
	select {}
}

func BenchmarkLook(b *testing.B) {
	for _, refs := range []int{1, 1000} {
		b.Run(fmt.Sprintf("refs=%d", refs), func(b *testing.B) {
			s := newSetup(b)
			s.commit("compose.yaml", "services: {}")
			for i := range refs - 1 {
				s.remote.Git("update-ref", fmt.Sprintf("refs/pull/%d/head", i), "HEAD")
			}
			s.open(Remote{URL: serveApart(b, s.root) + "/app"})
			if _, err := s.Look(b.Context()); err != nil {
				b.Fatal(err)
			}
			before := cpu()
			for b.Loop() {
				if _, err := s.Look(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

func serveApart(b *testing.B, root string) string {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GITREPO_SERVE="+root)
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var url string
	if _, err := fmt.Fscanln(out, &url); err != nil {
		b.Fatal(err)
	}
	return url
}

func cpu() time.Duration {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		panic(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

var _ = http.MethodGet
var _ = filepath.Join
