package rig

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestWithinReportsTheLastState(t *testing.T) {
	looks := 0
	try(t, func(t testing.TB) {
		Within(t, 20*time.Millisecond, "the impossible", func() error {
			looks++
			return fmt.Errorf("look %d", looks)
		})
	}).complains(t, "waited 20ms for the impossible", fmt.Sprintf("look %d", looks))
	if looks < 2 {
		t.Errorf("it looked %d times", looks)
	}
}

func TestWithinEndsAsSoonAsItHolds(t *testing.T) {
	begun := time.Now()
	Within(t, time.Hour, "the third look", func() error {
		if time.Since(begun) < 10*time.Millisecond {
			return errors.New("not yet")
		}
		return nil
	})
}

func TestUserIsAloneAndGoesWithTheTest(t *testing.T) {
	var u *User
	try(t, func(t testing.TB) {
		u = New(t).User("alice")
		if got := Run(t, u.Command("id", "-un")).Exits(t, 0).Stdout; got != u.Name+"\n" {
			t.Errorf("id -un says %q, not %q", got, u.Name)
		}
		if got := Run(t, u.Command("id", "-Gn")).Exits(t, 0).Stdout; got != u.Name+"\n" {
			t.Errorf("its groups are %q, not only its own", got)
		}
		Run(t, u.Command("sh", "-c", "touch ~/mine && ! ls /root")).Exits(t, 0)
	}).isContent(t)
	if _, err := user.LookupId(fmt.Sprint(u.UID)); err == nil {
		t.Errorf("the user %s is still there", u.Name)
	}
	if _, err := user.LookupGroup(u.Name); err == nil {
		t.Errorf("the group %s is still there", u.Name)
	}
	if _, err := os.Stat(u.Home); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the home %s is still there: %v", u.Home, err)
	}
}

func TestOrphansAreReportedAndEnded(t *testing.T) {
	orphanGrace = 100 * time.Millisecond
	defer func() { orphanGrace = 5 * time.Second }()
	var orphan *exec.Cmd
	try(t, func(t testing.TB) {
		orphan = New(t).User("bob").Command("sleep", "3600")
		if err := orphan.Start(); err != nil {
			t.Fatal(err)
		}
	}).complains(t, "still running", "sleep 3600")
	_ = orphan.Wait()
	if status := orphan.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		t.Errorf("the orphan ended with %v", orphan.ProcessState)
	}
}

func TestForgottenMountIsReported(t *testing.T) {
	var dir string
	try(t, func(t testing.TB) {
		dir = New(t).Dir
		if err := syscall.Mount("none", dir, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
	}).complains(t, dir+" is still mounted")
	if err := syscall.Unmount(dir, 0); err != nil {
		t.Fatal(err)
	}
}

func TestDirectoryIsOpenToServiceUsers(t *testing.T) {
	r := New(t)
	r.write(filepath.Join(r.Dir, "open"), "word", 0o644)
	r.write(filepath.Join(r.Dir, "closed"), "word", 0o600)
	u := r.User("carol")
	Run(t, u.Command("cat", filepath.Join(r.Dir, "open"))).Exits(t, 0)
	Run(t, u.Command("cat", filepath.Join(r.Dir, "closed"))).Exits(t, 1)
}

func TestPortsAreFreeAndDistinct(t *testing.T) {
	r := New(t)
	var given []int
	for range 50 {
		port := r.Port()
		if slices.Contains(given, port) {
			t.Fatalf("port %d was given twice", port)
		}
		given = append(given, port)
	}
}

func TestKeyIsWhatOpenSSHTakes(t *testing.T) {
	key := New(t).Key("dora")
	derived, err := output("ssh-keygen", "-y", "-f", key.File)
	if err != nil {
		t.Fatal(err)
	}
	if derived != key.Public {
		t.Errorf("ssh-keygen derives %q, the public half is %q", derived, key.Public)
	}
	listed, err := output("ssh-keygen", "-l", "-f", key.File)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(listed, key.Fingerprint) {
		t.Errorf("ssh-keygen says %q, the fingerprint is %q", listed, key.Fingerprint)
	}
}

func TestFamilyHasGrandchildren(t *testing.T) {
	parent := exec.Command("sh", "-c", "sleep 3600; true")
	parent.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Kill(-parent.Process.Pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		_ = parent.Wait()
	}()
	Until(t, "the shell to have started sleep", func() error {
		family, err := Family(os.Getpid())
		if err != nil {
			return err
		}
		for _, p := range family {
			if p.Name == "sleep" && p.Parent == parent.Process.Pid {
				return nil
			}
		}
		return fmt.Errorf("the family is %v", family)
	})
}
