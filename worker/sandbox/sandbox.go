// Package sandbox runs a program that reads what a repository contains. The program may
// read what it is given to read, write to the streams that it was given, and do nothing
// else.
//
// No Go code can run between fork and exec. Therefore this process's own binary is started;
// it confines itself (see Main) and then becomes the program. Since that is the same
// process, whoever started it can wait for it, signal it and have it end with its parent as
// if nothing were in between.
//
// The package must not know which program it confines or what that program reads.
package sandbox

import (
	"errors"
	"os/exec"
	"slices"
	"time"

	llsys "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// shim is the name of a process that has yet to confine itself. Its arguments are the paths
// to read, separator, the program's path, and the program's arguments from its name on.
const (
	shim      = "pgo-sandbox"
	separator = "--"
)

// MaxMemory and MaxCPU bound what a confined program may use. Compose needs 50 MiB and a
// tenth of a second for a typical model, and 280 MiB and 10 s for one with three thousand
// services.
const (
	MaxMemory = 512 << 20
	MaxCPU    = 30 * time.Second // of all threads together
)

// NotEntered is the exit status of a process that could not confine itself. It has said so
// on standard error, and its program did not run.
const NotEntered = 127

// hosted is set by Main. Without Main a confined command would run this whole program once
// more.
var hosted bool

// Confine makes cmd run in a sandbox in which the only readable files are those in read:
// files, and directories with everything below them. Symlinks in read are followed;
// symlinks below it lead no further than it. This needs a kernel with Landlock, see
// Supported; the other limits hold everywhere.
//
// The program dies with the thread that started it, so start it with procgroup.
func Confine(cmd *exec.Cmd, read ...string) {
	if !hosted && cmd.Err == nil {
		cmd.Err = errors.New("sandbox.Main was not called")
	}
	cmd.Args = slices.Concat([]string{shim}, read, []string{separator, cmd.Path}, cmd.Args)
	// Not by its name: another version may be there by now.
	cmd.Path = "/proc/self/exe"
}

// Supported returns the version of Landlock's interface that this kernel has, or 0 if it
// has none: then a confined program can read whatever its user can. TCP is blocked from
// version 4 on.
func Supported() (abi int) {
	abi, err := llsys.LandlockGetABIVersion()
	if err != nil {
		return 0
	}
	return abi
}
