package worker

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

func TestKillMarked(t *testing.T) {
	marker := "PGO_SERVICE_DIR=" + t.TempDir()
	start := func(env ...string) *exec.Cmd {
		cmd := exec.Command("sleep", "600")
		cmd.Env = append(os.Environ(), env...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		return cmd
	}
	marked, other := start(marker), start(marker+"/other")
	if err := killMarked(marker); err != nil {
		t.Fatal(err)
	}
	if err := marked.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("the marked process ended with %v", err)
	}
	if err := other.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the other process is gone: %v", err)
	}
}
