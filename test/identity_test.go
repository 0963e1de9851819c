package test

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgo/test/rig"
)

// Each worker, and compose below it, is its service's user with the user's
// groups and docker, and nothing else; and no user gets at the other's files.
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
	pgod := r.Start(one, two)

	for s, groups := range groups {
		deployed(t, pgod, s, commits[s])
		follow := pgod.SSHCommand(s.Key, s.Op("logs"), "-f")
		if err := follow.Start(); err != nil {
			t.Fatal(err)
		}
		isOf(t, s, pgod.WorkerPID(s), groups)
		isOf(t, s, composing(t, s, "logs").PID, groups)
		_ = follow.Process.Kill()
		_ = follow.Wait()
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
				t.Errorf("%s gets at %s: %+v", mine.User.Name, read[1], refused)
			}
		}
		if host := rig.Run(t, mine.User.Command("cat", filepath.Join(pgod.Dir, "host_key"))); host.Code == 0 {
			t.Errorf("%s can read the host key", mine.User.Name)
		}
	}
}

// isOf checks what ps says of a process of the service.
func isOf(t *testing.T, s *rig.Service, pid int, groups []string) {
	t.Helper()
	ps := rig.Run(t, s.User.Command("ps", "-o", "user:64=,group:64=,supgrp:256=,args=", "-p", strconv.Itoa(pid))).Exits(t, 0)
	fields := strings.Fields(ps.Stdout)
	has := strings.Split(fields[2], ",")
	slices.Sort(has)
	if fields[0] != s.User.Name || fields[1] != s.User.Name || !slices.Equal(has, groups) {
		t.Errorf("ps says %q; the user and the group should be %s, the supplementary groups %v", ps.Stdout, s.User.Name, groups)
	}
}
