// Package sandbox runs a program that reads what a repository wrote: it may
// read what it is told to read, write to the streams that it was given, and
// nothing else.
//
// No Go code can run between fork and exec. So what is started is this
// process's own binary, which confines itself (see Main) and then becomes the
// program: in the same process, so that whoever started it can wait for it,
// signal it and have it end with its parent as if nothing were in between.
//
// It must not know which program it confines, nor what that reads.
package sandbox

import (
	"errors"
	"os/exec"
	"slices"
	"time"

	llsys "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// shim is what a process is called that has yet to confine itself. Its
// arguments are the paths to read, separator, the program's path, the program's
// arguments from its name on.
const (
	shim      = "pgo-sandbox"
	separator = "--"
)

// MaxMemory and MaxCPU bound what a confined program may use. Compose needs
// 50 MiB and a tenth of a second for a usual model, and 280 MiB and 10 s for
// one of three thousand services.
const (
	MaxMemory = 512 << 20
	MaxCPU    = 30 * time.Second // of all threads together
)

// NotEntered is the exit status of a process that could not confine itself, and
// has said so on standard error; its program did not run.
const NotEntered = 127

// hosted is set by Main: without it a confined command would run this whole
// program once more.
var hosted bool

// Confine makes cmd, when it is started, run in a sandbox where of all files
// only those in read can be read: files, and directories with all below them.
// Symlinks in read are followed, symlinks below it lead no further than it. Where
// the kernel has Landlock, see Supported; the other limits hold everywhere.
//
// The program dies with the thread that started it: start it with procgroup.
func Confine(cmd *exec.Cmd, read ...string) {
	if !hosted && cmd.Err == nil {
		cmd.Err = errors.New("sandbox.Main was not called")
	}
	cmd.Args = slices.Concat([]string{shim}, read, []string{separator, cmd.Path}, cmd.Args)
	// Not by its name: another version may stand there by now.
	cmd.Path = "/proc/self/exe"
}

// Supported returns the version of Landlock's interface that this kernel has,
// and 0 where it has none: a confined program can then read what its user can.
// TCP is closed from 4 on.
func Supported() (abi int) {
	abi, err := llsys.LandlockGetABIVersion()
	if err != nil {
		return 0
	}
	return abi
}
