// Package filelock locks files and directories among processes, with flock(2).
package filelock

import (
	"os"

	"golang.org/x/sys/unix"
)

// Lock is a lock that is held until it is released or the process ends.
type Lock struct{ file *os.File }

// Take locks an open file or directory, and closes it if that fails. The mode is one of LOCK_EX
// and LOCK_SH, with LOCK_NB if it shall not wait: then it fails with EWOULDBLOCK while another
// process holds the lock.
func Take(file *os.File, mode int) (*Lock, error) {
	for {
		err := unix.Flock(int(file.Fd()), mode)
		if err == nil {
			return &Lock{file}, nil
		}
		if err == unix.EINTR {
			continue
		}
		_ = file.Close()
		return nil, &os.PathError{Op: "lock", Path: file.Name(), Err: err}
	}
}

// File returns the locked file.
func (l *Lock) File() *os.File { return l.file }

// Release unlocks the file and closes it. Closing alone would not unlock it at once: a child
// that is being started has a copy of the descriptor until it executes its program.
func (l *Lock) Release() {
	_ = unix.Flock(int(l.file.Fd()), unix.LOCK_UN)
	_ = l.file.Close()
}
