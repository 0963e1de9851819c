package sandbox

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgo/internal/procgroup"
)

// The roles of the test binary when one of these is in its environment.
const (
	dialer = "SANDBOX_TEST_DIAL"   // connects to the address that this holds
	parent = "SANDBOX_TEST_PARENT" // starts a confined program and waits for it
)

func TestMain(m *testing.M) {
	Main()
	switch {
	case os.Getenv(dialer) != "":
		_, err := net.Dial("tcp", os.Getenv(dialer))
		fmt.Println(err)
	case os.Getenv(parent) != "":
		cmd := exec.Command("sleep", "600")
		Confine(cmd)
		group, err := procgroup.Start(cmd)
		if err != nil {
			panic(err)
		}
		fmt.Println(group.Pid())
		<-group.Done()
	default:
		os.Exit(m.Run())
	}
}

func needLandlock(t *testing.T, abi int) {
	t.Helper()
	if Supported() < abi {
		t.Skipf("this kernel has version %d of Landlock, and this needs %d", Supported(), abi)
	}
}

// run runs a shell script in dir that may read below dir. It has no other programs, only
// the shell's builtins.
func run(t *testing.T, dir, script string) string {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = dir
	Confine(cmd, dir, os.DevNull)
	output, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(output)
}

func write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func TestFiles(t *testing.T) {
	needLandlock(t, 1)
	outside := t.TempDir()
	write(t, filepath.Join(outside, "secret"), "content\n", 0o644)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "inside"), "content\n", 0o644)
	write(t, filepath.Join(dir, "program"), "#!/bin/sh\necho content\n", 0o755)
	for link, target := range map[string]string{"in": "inside", "out": outside + "/secret", "up": outside} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for script, want := range map[string]string{
		"read x <inside; echo $x":                "content",
		"read x <in; echo $x":                    "content",
		"read x </dev/null || echo nothing":      "nothing",
		"read x <" + outside + "/secret":         "Permission denied",
		"read x <out":                            "Permission denied",
		"read x <up/secret":                      "Permission denied",
		"read x </etc/passwd":                    "Permission denied",
		"read x </dev/zero":                      "Permission denied",
		"read x </proc/self/environ; echo $x":    "Permission denied",
		"read x </proc/$PPID/environ; echo $x":   "Permission denied",
		"echo *":                                 "in inside out program up",
		"cd " + outside + "; echo *":             "*",
		"echo x >inside":                         "Permission denied",
		"echo x >new":                            "Permission denied",
		"echo x >" + outside + "/new":            "Permission denied",
		"./program":                              "Permission denied",
		"/bin/cat inside":                        "Permission denied",
		"kill -0 $PPID || echo out of its reach": "out of its reach",
	} {
		if strings.HasPrefix(script, "kill") && Supported() < 6 {
			continue
		}
		got := run(t, dir, script)
		if !strings.Contains(got, want) || want != "content" && strings.Contains(got, "content") {
			t.Errorf("%s: %q, want %q", script, got, want)
		}
	}
}

func TestNoTCP(t *testing.T) {
	needLandlock(t, 4)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = []string{dialer + "=" + listener.Addr().String()}
	Confine(cmd)
	output, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(output), "permission denied") {
		t.Errorf("error %v: %s", err, output)
	}
}

// A confined program is inspected from outside: it cannot read anything about itself.
func TestLimits(t *testing.T) {
	cmd := exec.Command("cat")
	cmd.Env = []string{"ONLY=this"}
	Confine(cmd)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	}()
	fmt.Fprintln(stdin, "there?")
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "there?\n" {
		t.Fatalf("%q, error %v", line, err)
	}

	proc := fmt.Sprintf("/proc/%d/", cmd.Process.Pid)
	for file, lines := range map[string][]string{
		"limits": {
			fmt.Sprintf("Max data size %d %d bytes", MaxMemory, MaxMemory),
			"Max cpu time 30 30 seconds",
			"Max file size 0 0 bytes",
			"Max open files 256 256 files",
			"Max core file size 0 0 bytes",
		},
		"status":  {"NoNewPrivs: 1", "Name: cat", "Threads: 1"},
		"cmdline": {"cat\x00"},
		"environ": {"ONLY=this\x00"},
	} {
		content, err := os.ReadFile(proc + file)
		if err != nil {
			t.Fatal(err)
		}
		have := map[string]bool{}
		for line := range strings.Lines(string(content)) {
			have[strings.Join(strings.Fields(line), " ")] = true
		}
		for _, line := range lines {
			if !have[line] {
				t.Errorf("%s: no %q in:\n%s", file, line, content)
			}
		}
	}
}

func TestMemory(t *testing.T) {
	cmd := exec.Command("dd", "bs=2G", "if=/dev/null")
	Confine(cmd, os.DevNull)
	output, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(output), "memory exhausted") {
		t.Errorf("error %v: %.200s", err, output)
	}
}

// The parent-death signal survives the change from one program to the other.
func TestDiesWithParent(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), parent+"=1")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(stdout, &pid); err != nil {
		t.Fatal(err)
	}
	wait(t, "be the program", func() bool {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		return err == nil && string(name) == "sleep\n"
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	wait(t, "end", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || bytes.Contains(stat, []byte(") Z "))
	})
}

func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the confined process does not %s", what)
		}
	}
}

func TestNotEntered(t *testing.T) {
	for name, c := range map[string]struct {
		program string
		read    []string
		want    string
	}{
		"no program":    {"/nonexistent", nil, "/nonexistent: no such file"},
		"a script":      {"/etc/passwd", nil, "cannot read /etc/passwd as an executable"},
		"nothing there": {"/bin/sh", []string{"/nonexistent"}, "/nonexistent: no such file"},
	} {
		cmd := exec.Command(c.program)
		Confine(cmd, c.read...)
		output, err := cmd.CombinedOutput()
		if err == nil || cmd.ProcessState.ExitCode() != NotEntered ||
			!strings.HasPrefix(string(output), "cannot enter the sandbox: ") || !strings.Contains(string(output), c.want) {
			t.Errorf("%s: error %v: %s", name, err, output)
		}
	}
}
