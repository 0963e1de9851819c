package sandbox

import (
	"debug/elf"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/landlock-lsm/go-landlock/landlock"
	llsys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// limits are set as both soft and hard limits: a Go program ignores the signal of the soft
// limit of CPU time, and raises the soft limit of open files by itself.
var limits = []struct {
	resource int
	max      uint64
}{
	{unix.RLIMIT_DATA, MaxMemory}, // not AS: Go reserves much more than it uses
	{unix.RLIMIT_CPU, uint64(MaxCPU / time.Second)},
	{unix.RLIMIT_FSIZE, 0},
	{unix.RLIMIT_NOFILE, 256},
	{unix.RLIMIT_CORE, 0},
}

const (
	readFile = landlock.AccessFSSet(llsys.AccessFSReadFile)
	readDir  = landlock.AccessFSSet(llsys.AccessFSReadDir)
	execute  = landlock.AccessFSSet(llsys.AccessFSExecute)
)

// Main turns a process that a confined command started into that command's program, and
// then does not return. In every other process it returns at once. It comes first in the
// main function of each program that uses Confine.
func Main() {
	if os.Args[0] != shim {
		hosted = true
		return
	}
	err := enter(os.Args[1:])
	fmt.Fprintln(os.Stderr, "cannot enter the sandbox:", err)
	os.Exit(NotEntered)
}

// enter returns only if it fails.
func enter(args []string) error {
	i := slices.Index(args, separator)
	if i < 0 || len(args) < i+3 {
		return fmt.Errorf("%s is started only by pgo", shim)
	}
	read, program, argv := args[:i], args[i+1], args[i+2:]

	// Exec keeps the settings below only for the thread that calls it, and the parent-death
	// signal belongs to one thread.
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("cannot set the parent-death signal: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("cannot set no_new_privs: %w", err)
	}
	rules, err := rules(read, program)
	if err != nil {
		return err
	}
	if err := landlock.V11.BestEffort().Restrict(rules...); err != nil {
		return err
	}
	if err := limit(); err != nil {
		return err
	}
	return &os.PathError{Op: "exec", Path: program, Err: syscall.Exec(program, argv, os.Environ())}
}

// rules returns rules that allow reading, and executing the program.
func rules(read []string, program string) ([]landlock.Rule, error) {
	rules := []landlock.Rule{landlock.PathAccess(readFile|execute, program)}
	loader, err := loader(program)
	if err != nil {
		return nil, err
	}
	if loader != "" {
		rules = append(rules, landlock.PathAccess(readFile|execute, loader))
		// The C library is next to it.
		read = append(read, filepath.Dir(loader))
	}
	for _, path := range read {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		access := readFile
		if info.IsDir() {
			access |= readDir
		}
		rules = append(rules, landlock.PathAccess(access, path))
	}
	return rules, nil
}

// loader returns the dynamic loader that program needs, or "" if it needs none. Compose as
// packaged by Docker needs one.
func loader(program string) (string, error) {
	file, err := elf.Open(program)
	if err != nil {
		return "", fmt.Errorf("cannot read %s as an executable: %w", program, err)
	}
	defer file.Close()
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP {
			path, err := io.ReadAll(segment.Open())
			if err != nil {
				return "", err
			}
			return filepath.EvalSymlinks(strings.TrimRight(string(path), "\x00"))
		}
	}
	return "", nil
}

func limit() error {
	for _, l := range limits {
		var was unix.Rlimit
		if err := unix.Getrlimit(l.resource, &was); err != nil {
			return fmt.Errorf("cannot read limit %d: %w", l.resource, err)
		}
		max := min(l.max, was.Max) // only root can raise it
		if err := unix.Setrlimit(l.resource, &unix.Rlimit{Cur: max, Max: max}); err != nil {
			return fmt.Errorf("cannot set limit %d: %w", l.resource, err)
		}
	}
	return nil
}
