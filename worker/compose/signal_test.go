package compose

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Two processes of a container see the same files, and others do not.
func TestBesides(t *testing.T) {
	start := func() int {
		cmd := exec.Command("sh", "-c", "sleep 60 & wait")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Setpgid: true}
		if os.Geteuid() != 0 {
			cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); _ = cmd.Wait() })
		return cmd.Process.Pid
	}
	child := func(pid int) int {
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/task/" + strconv.Itoa(pid) + "/children")
			if child, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
				return child
			}
		}
		t.Fatal("it has no child")
		return 0
	}
	one, other := start(), start()
	if !besides(child(one), one) {
		t.Error("two of one container are not recognised")
	}
	if besides(one, other) {
		t.Error("two of different containers are taken for one's")
	}
	if besides(os.Getpid(), os.Getppid()) || besides(os.Getpid(), os.Getpid()) {
		t.Error("two of the host are taken for a container's")
	}
	if besides(one, 0) || besides(0, 0) {
		t.Error("what does not run is taken for a container's")
	}
}
