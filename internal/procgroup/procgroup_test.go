package procgroup

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test binary plays the parent in TestDiesWithParent.
func TestMain(m *testing.M) {
	if os.Getenv("PROCGROUP_PARENT") != "" {
		g, err := Start(exec.Command("sleep", "600"))
		if err != nil {
			panic(err)
		}
		fmt.Println(g.Pid())
		<-g.Done()
		return
	}
	os.Exit(m.Run())
}

// gone waits until pid does not exist or is a zombie.
func gone(t *testing.T, pid int) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			_ = unix.Kill(pid, unix.SIGKILL)
			t.Fatalf("process %d is still there: %s", pid, stat)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func readPid(t *testing.T, r io.Reader) int {
	t.Helper()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestLeftoversDieWithTheChild(t *testing.T) {
	cmd := exec.Command("sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!")
	var out strings.Builder
	cmd.Stdout = &out
	g, err := Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	gone(t, readPid(t, strings.NewReader(out.String())))
	g.Signal(syscall.SIGTERM) // must not reach anybody
}

func TestStopKillsWhatIgnoresTERM(t *testing.T) {
	cmd := exec.Command("sh", "-c", "trap '' TERM; echo $$; while :; do sleep 600; done")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	g, err := Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	if pid := readPid(t, stdout); pid != g.Pid() {
		t.Fatalf("pid %d, want %d", pid, g.Pid())
	}
	g.Stop(10 * time.Millisecond)
	if g.Wait() == nil {
		t.Error("a killed child reports success")
	}
	gone(t, g.Pid())
}

func TestDiesWithParent(t *testing.T) {
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), "PROCGROUP_PARENT=1")
	stdout, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	child := readPid(t, stdout)
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	gone(t, child)
}

func TestStartReportsItsError(t *testing.T) {
	if _, err := Start(exec.Command("/nonexistent")); err == nil {
		t.Error("no error")
	}
}
