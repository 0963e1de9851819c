package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stopGrace is how long pgod may take to stop, and its workers to be gone.
const stopGrace = 20 * time.Second

// removeAll removes whatever exists of what a demo made. It goes on after an error, to leave as
// little as possible.
func removeAll() error {
	errs := []error{stopPgod()}
	for _, service := range []string{web, clock, proxy} {
		label := "label=com.docker.compose.project=" + service
		errs = append(errs,
			remove("docker container ls -aq --filter "+label, "docker container rm -fv"),
			remove("docker network ls -q --filter "+label, "docker network rm"),
			remove("docker image ls -q --filter "+label, "docker image rm -f"),
			within(stopGrace, func() error { return remove("getent passwd "+service+" | cut -d: -f1", "userdel") }),
		)
	}
	return errors.Join(append(errs,
		remove("docker image ls -q "+busybox, "docker image rm -f"),
		remove("docker image ls -q "+caddy, "docker image rm -f"),
		os.RemoveAll(dir),
	)...)
}

// remove runs a command to remove what another one lists.
func remove(list, with string) error {
	script := fmt.Sprintf(`set -e; names=$(%s); echo "$names" | sort -u | xargs -r %s`, list, with)
	cmd := exec.Command("sh", "-c", script)
	cmd.SysProcAttr = ownGroup
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot remove what `%s` lists: %w: %s", list, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// stopPgod stops the demo's pgod, also one that an earlier demo has left.
func stopPgod() error {
	stopped := func() error {
		if pid := pgodPID(); pid != 0 {
			return fmt.Errorf("pgod (%d) does not end", pid)
		}
		return nil
	}
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if pid := pgodPID(); pid != 0 {
			if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
		}
		if within(stopGrace, stopped) == nil {
			return nil
		}
	}
	return stopped()
}

// pgodPID returns the process ID of the demo's pgod, 0 if it does not run. The ID may be
// another process's by now, but that one does not have the demo's directory.
func pgodPID() int {
	text, err := os.ReadFile(filepath.Join(dir, "pgod.pid"))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	if at, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); err != nil || at != dir {
		return 0
	}
	return pid
}

// within tries until it works or the time is over.
func within(limit time.Duration, try func() error) error {
	for deadline := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		if err := try(); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}
