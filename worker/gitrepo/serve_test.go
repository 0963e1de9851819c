package gitrepo

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgo/internal/gittest"
)

var someHash = hashOf("1234567890123456789012345678901234567890")

// ways are all the ways to reach the remote repository of a setup.
var ways = map[string]func(testing.TB, *setup) (Remote, []Option){
	"file": func(_ testing.TB, s *setup) (Remote, []Option) {
		return s.asDirectory(), nil
	},
	"http": func(t testing.TB, s *setup) (Remote, []Option) {
		return Remote{URL: gittest.HTTP(t, s.root, "") + "/app"}, nil
	},
	"http, version 0": func(t testing.TB, s *setup) (Remote, []Option) {
		git := gittest.Handler(s.root, "", t.Output())
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("Git-Protocol")
			git.ServeHTTP(w, r)
		}))
		t.Cleanup(server.Close)
		return Remote{URL: server.URL + "/app"}, nil
	},
	"http, user and token": func(t testing.TB, s *setup) (Remote, []Option) {
		return Remote{URL: strings.Replace(gittest.HTTP(t, s.root, "s3c/ret"), "//", "//oauth2:s3c%2Fret@", 1) + "/app"}, nil
	},
	"http, token alone": func(t testing.TB, s *setup) (Remote, []Option) {
		return Remote{URL: strings.Replace(gittest.HTTP(t, s.root, "s3cret"), "//", "//s3cret@", 1) + "/app"}, nil
	},
	"ssh": func(t testing.TB, s *setup) (Remote, []Option) {
		server := gittest.SSH(t)
		return Remote{URL: server.URL + s.remote.Dir, Key: server.Key}, []Option{KnownHosts("/nonexistent", server.KnownHosts)}
	},
	"git": func(t testing.TB, s *setup) (Remote, []Option) {
		return Remote{URL: "git://" + gitDaemon(t, s.root) + "/app"}, nil
	},
}

// gitDaemon serves the repositories in root over git's own protocol and returns
// its address.
func gitDaemon(t testing.TB, root string) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				cmd := exec.CommandContext(t.Context(), "git", "daemon", "--inetd", "--export-all", "--base-path="+root, root)
				cmd.Env = gittest.Environment
				socket, err := conn.(*net.TCPConn).File()
				if err != nil {
					return
				}
				defer socket.Close()
				cmd.Stdin, cmd.Stdout = socket, socket
				_ = cmd.Run()
			}()
		}
	}()
	return listener.Addr().String()
}

// runAsHelper does not return in a process that another test started as its helper.
func runAsHelper() {
	if root := os.Getenv("GITREPO_SERVE"); root != "" {
		server := httptest.NewServer(gittest.Handler(root, "", io.Discard))
		fmt.Println(server.URL)
		select {}
	}
	if dir := os.Getenv("GITREPO_COMPACT"); dir != "" {
		repo, err := Open(dir, Remote{URL: os.Getenv("GITREPO_URL")}, "main")
		for err == nil {
			err = repo.compact(context.Background(), slack{loose: -1})
		}
		fmt.Println("not killed:", err)
		os.Exit(1)
	}
	if dir := os.Getenv("GITREPO_FETCH"); dir != "" {
		repo, err := Open(dir, Remote{URL: os.Getenv("GITREPO_URL")}, "main")
		if err == nil {
			var head Hash
			if head, err = repo.Look(context.Background()); err == nil {
				err = repo.Fetch(context.Background(), head)
			}
		}
		fmt.Println("not killed:", err)
		os.Exit(1)
	}
}

// serveApart serves root from a process of its own, so that its CPU time does not count, and
// returns its URL.
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

// BenchmarkLook measures the CPU time of the client for a look at an unchanged branch, also where
// the repository has many refs.
func BenchmarkLook(b *testing.B) {
	for _, refs := range []int{1, 1000} {
		b.Run(fmt.Sprintf("refs=%d", refs), func(b *testing.B) {
			s := newSetup(b)
			s.commit("compose.yaml", "services: {}")
			var updates strings.Builder
			for i := range refs - 1 {
				fmt.Fprintf(&updates, "create refs/pull/%d/head %s\n", i, s.tip())
			}
			s.remote.GitInput(updates.String(), "update-ref", "--stdin")
			s.open(Remote{URL: serveApart(b, s.root) + "/app"})
			if _, err := s.Look(b.Context()); err != nil {
				b.Fatal(err)
			}
			before := cpuTime(b)
			for b.Loop() {
				if _, err := s.Look(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

func cpuTime(b *testing.B) time.Duration {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}
