package filelock

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func take(t *testing.T, path string, mode int) (*Lock, error) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return Take(file, mode)
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	held, err := take(t, path, unix.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := take(t, path, unix.LOCK_SH|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("a second one: %v", err)
	}
	held.Release()
	again, err := take(t, path, unix.LOCK_EX|unix.LOCK_NB)
	if err != nil {
		t.Fatal(err)
	}
	again.Release()
}

// A lock that is released is free at once, even while children of the same process are being
// started, which have a copy of each descriptor until they execute their program.
func TestReleasedWhileProgramsStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	ended, enough := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-enough:
				return
			default:
				_ = exec.Command("/nonexistent/program").Run()
			}
		}
	}()
	for range 5000 {
		lock, err := take(t, path, unix.LOCK_EX|unix.LOCK_NB)
		if err != nil {
			t.Error(err)
			break
		}
		lock.Release()
	}
	close(enough)
	<-ended
}
