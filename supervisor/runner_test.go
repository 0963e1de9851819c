package supervisor

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestOnlyTheWorkersOwnSocket(t *testing.T) {
	r := &runner{socket: "/run/pgo/1/plugin-dir2"}
	if _, _, err := r.PluginToHost("unix", "/run/pgo/1/plugin-dir2/plugin3"); err != nil {
		t.Error(err)
	}
	for _, a := range [][2]string{
		{"tcp", "127.0.0.1:22"},
		{"unix", "/run/docker.sock"},
		{"unix", "/run/pgo/1/plugin-dir2/../plugin-dir3/x"},
		{"unix", "/run/pgo/1/plugin-dir2"},
		{"unix", ""},
	} {
		if _, _, err := r.PluginToHost(a[0], a[1]); err == nil {
			t.Errorf("%s %s is accepted", a[0], a[1])
		}
	}
}

// A descendant that left the worker's group holds its pipes open; pgod does not read from them
// for ever.
func TestEscapedDescendantIsNotListenedTo(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can start a process as somebody")
	}
	script := filepath.Join(t.TempDir(), "worker")
	text := "#!/bin/sh\nsetsid sh -c 'echo $$ >" + script + ".pid; exec sleep 600' &\nuntil [ -s " + script + ".pid ]; do :; done\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	read := make(chan error, 1)
	r := &runner{path: script, socket: t.TempDir(), stderr: func(_ context.Context, stderr io.Reader) {
		_, err := io.Copy(io.Discard, stderr)
		read <- err
	}}
	r.account = account{uid: uint32(os.Getuid()), gid: uint32(os.Getgid())}
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		pid, err := os.ReadFile(script + ".pid")
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(pid)))
		if err != nil {
			t.Fatal(err)
		}
		_ = syscall.Kill(n, syscall.SIGKILL)
	})
	if err := <-read; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("reading ended with %v", err)
	}
	if _, err := io.Copy(io.Discard, r.Stdout()); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("reading standard output ended with %v", err)
	}
}
