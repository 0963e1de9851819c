package rig

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// User is a Unix user that exists for one test.
type User struct {
	Name     string
	UID, GID int
	Home     string
}

// The uids given out. They are above those that distributions give to people, system services
// and subordinate ids, so that no container or process that is not of the tests runs under one.
const lowestUID, uids = 900_000, 90_000

// User makes a Unix user, with a group of its own and in no other. A process of the user that
// outlives everything else of the test is reported, and ended.
func (r *Rig) User(name string) *User {
	r.t.Helper()
	full := r.Prefix + "-" + name
	r.remember(kindUser, full)
	u, err := addUser(full, filepath.Join(r.Dir, "home-"+name))
	if err != nil {
		r.t.Fatalf("cannot add the user %s: %v", full, err)
	}
	r.t.Cleanup(func() {
		if err := poll(orphanGrace, u.Idle); err != nil {
			r.t.Errorf("%s after all of the test has ended, as %s: %v", orphanGrace, u.Name, err)
		}
	})
	return u
}

// orphanGrace is how long a process may outlive pgod. Only the rig's own tests
// change it.
var orphanGrace = 5 * time.Second

// Command prepares a command that runs as the user alone: no other group, a
// new environment, at home.
func (u *User) Command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{
		Uid: uint32(u.UID), Gid: uint32(u.GID), Groups: []uint32{},
	}}
	cmd.Dir = u.Home
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + u.Home, "USER=" + u.Name}
	return cmd
}

// Join makes the user a member of a group that exists.
func (r *Rig) Join(u *User, group string) {
	r.t.Helper()
	unlock, err := lockMachine(changeUsers)
	if err != nil {
		r.t.Fatal(err)
	}
	defer unlock()
	if _, err := output("usermod", "--append", "--groups", group, u.Name); err != nil {
		r.t.Fatal(err)
	}
}

// Processes returns all that run under the user's uid.
func (u *User) Processes() ([]Process, error) { return processesOf(u.UID) }

// Idle is a condition to wait for: no process runs under the user's uid.
func (u *User) Idle() error {
	running, err := u.Processes()
	if err != nil {
		return err
	}
	if len(running) > 0 {
		return fmt.Errorf("still running: %v", running)
	}
	return nil
}

// addUser adds a user with an unused uid.
func addUser(name, home string) (*User, error) {
	unlock, err := lockMachine(changeUsers)
	if err != nil {
		return nil, err
	}
	defer unlock()
	uid, err := freeUID()
	if err != nil {
		return nil, err
	}
	id := strconv.Itoa(uid)
	if _, err := output("groupadd", "--gid", id, name); err != nil {
		return nil, err
	}
	// Without --no-log-init a uid this high makes the log of last logins a
	// sparse file of hundreds of megabytes.
	_, err = output("useradd", "--uid", id, "--gid", id, "--no-log-init", "--create-home", "--home-dir", home, "--shell", "/bin/sh", name)
	return &User{Name: name, UID: uid, GID: uid, Home: home}, err
}

// freeUID finds a number that is neither a user's nor a group's, nor that of
// a running process.
func freeUID() (int, error) {
	for range 100 {
		uid := lowestUID + rand.N(uids)
		_, errUser := user.LookupId(strconv.Itoa(uid))
		_, errGroup := user.LookupGroupId(strconv.Itoa(uid))
		running, err := processesOf(uid)
		if err != nil {
			return 0, err
		}
		if errUser != nil && errGroup != nil && len(running) == 0 {
			return uid, nil
		}
	}
	return 0, fmt.Errorf("no free uid from %d to %d found in 100 tries", lowestUID, lowestUID+uids)
}

// removeUser ends the user's processes, found by its exact uid, and removes the user. Its home
// is in the rig's directory and goes with that.
func removeUser(name string) error {
	u, err := user.Lookup(name)
	if errors.As(err, new(user.UnknownUserError)) {
		return nil
	}
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	if uid < lowestUID {
		return fmt.Errorf("uid %d was not given out by the rig", uid)
	}
	if err := errors.Join(endProcesses(name, uid), removeSockets(uid)); err != nil {
		return err
	}
	unlock, err := lockMachine(changeUsers)
	if err != nil {
		return err
	}
	defer unlock()
	// userdel removes the group of the same name as well.
	_, err = output("userdel", name)
	return err
}

// endProcesses kills what runs under the user's uid, and under those of its containers, until
// nothing does.
func endProcesses(name string, uid int) error {
	first, number, err := subordinatesOf(name)
	if err != nil {
		return err
	}
	return poll(10*time.Second, func() error {
		running, err := Processes()
		running = slices.DeleteFunc(running, func(p Process) bool {
			return p.UID != uid && (p.UID < first || p.UID >= first+number)
		})
		if err != nil || len(running) == 0 {
			return err
		}
		for _, p := range running {
			if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
		}
		return fmt.Errorf("still running: %v", running)
	})
}

// removeSockets removes what a killed pgod has left of the user's workers, as it would itself
// when started again.
func removeSockets(uid int) error {
	dirs, err := filepath.Glob("/run/pgo/*/*")
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		info, err := os.Stat(dir)
		if err != nil || info.Sys().(*syscall.Stat_t).Uid != uint32(uid) {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		_ = os.Remove(filepath.Dir(dir)) // unless another worker's is in there
	}
	return nil
}
