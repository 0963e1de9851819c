package test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgo/test/rig"
)

// Each worker, and compose below it, runs as its service's user with the user's groups and
// docker, and nothing else; no user can read another's files.
func TestWorkersAreTheirUsers(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	one, two := r.Service("one"), r.Service("two")
	r.Join(one.User, "games")
	groups := map[*rig.Service][]string{
		one: {"docker", "games", one.User.Name},
		two: {"docker", two.User.Name},
	}
	commits := map[*rig.Service]string{one: one.Push("first", r.Idle()), two: two.Push("first", r.Idle())}
	pgod := r.Pgod(one, two)
	pgod.Env = []string{"SESAME=open"}
	pgod.Start()

	for s, groups := range groups {
		deployed(t, pgod, s, commits[s])
		follow := start(t, pgod.SSHCommand(s.Key, s.Op("logs"), "-f"))
		isOf(t, s, pgod.WorkerPID(s), groups)
		isOf(t, s, composing(t, s, "logs").PID, groups)
		if err := follow.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		follow.ends(t, -1)
	}
	for mine, theirs := range map[*rig.Service]*rig.Service{one: two, two: one} {
		dir := serviceDir(pgod, theirs)
		for _, read := range [][]string{
			{"ls", dir},
			{"cat", filepath.Join(dir, "deployed.json")},
			{"cat", filepath.Join(dir, "checkout/compose.yaml")},
		} {
			rig.Run(t, theirs.User.Command(read[0], read[1])).Exits(t, 0)
			if refused := rig.Run(t, mine.User.Command(read[0], read[1])); !strings.Contains(refused.Stderr, "Permission denied") {
				t.Errorf("%s can read %s: %+v", mine.User.Name, read[1], refused)
			}
		}
		if host := rig.Run(t, mine.User.Command("cat", filepath.Join(pgod.Dir, "host_key"))); host.Code == 0 {
			t.Errorf("%s can read the host key", mine.User.Name)
		}
	}
}

// isOf checks what ps says about a process of the service, which leads a process group of its
// own and has nothing of pgod's environment.
func isOf(t *testing.T, s *rig.Service, pid int, groups []string) {
	t.Helper()
	ps := rig.Run(t, s.User.Command("ps", "-o", "pgid=,user:64=,group:64=,supgrp:256=", "-p", strconv.Itoa(pid))).Exits(t, 0)
	fields := strings.Fields(ps.Stdout)
	has := strings.Split(fields[3], ",")
	slices.Sort(has)
	if fields[0] != strconv.Itoa(pid) || fields[1] != s.User.Name || fields[2] != s.User.Name || !slices.Equal(has, groups) {
		t.Errorf("ps says %q, not: process group %d, user and group %s, supplementary groups %v", ps.Stdout, pid, s.User.Name, groups)
	}
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil || len(environment) == 0 || strings.Contains(string(environment), "SESAME") {
		t.Errorf("the environment of %d is %q, %v", pid, environment, err)
	}
}
