package rig

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Process is a running process as /proc shows it.
type Process struct {
	PID, Parent, UID int
	// Name is the program's name, cut by the kernel to 15 bytes.
	Name string
	Args []string
}

func (p Process) String() string {
	return fmt.Sprintf("%d %s", p.PID, strings.Join(p.Args, " "))
}

// Processes returns all processes of the machine except zombies, which hold nothing any more.
func Processes() ([]Process, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var found []Process
	for _, dir := range dirs {
		p, alive, err := readProcess(dir)
		if err != nil {
			return nil, err
		}
		if alive {
			found = append(found, p)
		}
	}
	return found, nil
}

// Family returns the process and all its descendants.
func Family(pid int) ([]Process, error) {
	all, err := Processes()
	if err != nil {
		return nil, err
	}
	members := map[int]bool{pid: true}
	// A child can have a lower number than its parent: repeat until a round finds no new
	// process.
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			if members[p.Parent] && !members[p.PID] {
				members[p.PID], grown = true, true
			}
		}
	}
	return slices.DeleteFunc(all, func(p Process) bool { return !members[p.PID] }), nil
}

func processesOf(uid int) ([]Process, error) {
	all, err := Processes()
	return slices.DeleteFunc(all, func(p Process) bool { return p.UID != uid }), err
}

// readProcess reads /proc/<pid>. A process that ends in the meantime is not alive, which is not
// an error.
func readProcess(dir string) (p Process, alive bool, err error) {
	p.PID, err = strconv.Atoi(filepath.Base(dir))
	if err != nil {
		return p, false, err
	}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if gone(err) {
		return p, false, nil
	}
	if err != nil {
		return p, false, err
	}
	cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if gone(err) {
		return p, false, nil
	}
	if err != nil {
		return p, false, err
	}
	p.Args = strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00")
	state := ""
	for lines := bufio.NewScanner(bytes.NewReader(status)); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), ":")
		fields := strings.Fields(value)
		switch {
		case key == "Name":
			p.Name = strings.TrimSpace(value)
		case key == "State":
			state = fields[0]
		case key == "PPid":
			p.Parent, err = strconv.Atoi(fields[0])
		case key == "Uid":
			p.UID, err = strconv.Atoi(fields[0])
		}
		if err != nil {
			return p, false, fmt.Errorf("cannot read %s/status: %w", dir, err)
		}
	}
	return p, state != "Z" && state != "X", nil
}

// gone reports whether the error means that a process ended while its files were read.
func gone(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}

// mountsBelow returns the mount points in the directory, itself included.
func mountsBelow(dir string) ([]string, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var mounts []string
	for line := range strings.Lines(string(table)) {
		// Field five is the mount point, with blanks written as octal escapes;
		// the rig's directories have none.
		if fields := strings.Fields(line); fields[4] == dir || strings.HasPrefix(fields[4], dir+"/") {
			mounts = append(mounts, fields[4])
		}
	}
	return mounts, nil
}
