package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgo/test/rig"
)

// Helpers that several of the tests need.

// deployed waits until the service says that the commit runs.
func deployed(t *testing.T, pgod *rig.Pgod, s *rig.Service, commit string) {
	t.Helper()
	shows(t, pgod, s, "deployed:  "+commit[:7])
}

// startedAt returns the service's only container, and when it was started.
func startedAt(t *testing.T, s *rig.Service) string {
	t.Helper()
	containers := rig.Containers(t, s.Name)
	if len(containers) != 1 {
		t.Fatalf("%s has %d containers", s.Name, len(containers))
	}
	return fmt.Sprint(containers[0].ID[:12], " ", containers[0].State.StartedAt)
}

// stays reports a container of the service that was replaced or restarted.
func stays(t *testing.T, s *rig.Service, before, event string) {
	t.Helper()
	if now := startedAt(t, s); now != before {
		t.Errorf("%s: the container was replaced or restarted: %s, then %s", event, before, now)
	}
}

// replaced waits until the service has another worker.
func replaced(t *testing.T, pgod *rig.Pgod, s *rig.Service, worker int) {
	t.Helper()
	rig.Until(t, "another worker of "+s.Name, func() error {
		if pgod.WorkerPID(s) == worker {
			return fmt.Errorf("it is still %d", worker)
		}
		return nil
	})
}

// shows waits until the service's status has all of the words.
func shows(t *testing.T, pgod *rig.Pgod, s *rig.Service, words ...string) {
	t.Helper()
	showsTo(t, pgod, s.Key, s, words...)
}

// showsTo is shows with another key, such as an operator's.
func showsTo(t *testing.T, pgod *rig.Pgod, key *rig.Key, s *rig.Service, words ...string) {
	t.Helper()
	rig.Until(t, fmt.Sprintf("the status of %s to have %q", s.Name, words), func() error {
		status := pgod.SSH(key, s.Op("status"))
		return has(status.Stdout+status.Stderr, words...)
	})
}

// status is what `status --json` says, as far as the tests care.
type status struct {
	Service, Wanted, Head, Deployed, Trigger, Reason, Outcome string

	NextPoll time.Time `json:"next_poll"`
	Frozen   *struct{ Reason string }
	Pinned   *struct{ Commit string }
	Worker   struct {
		State string
		PID   int
	}
	Error *struct {
		Text    string
		Details []string
	}
	Unwell []string
}

func statusOf(t *testing.T, pgod *rig.Pgod, s *rig.Service) status {
	t.Helper()
	var found status
	text := pgod.SSH(s.Key, s.Op("status"), "--json").Exits(t, 0).Stdout
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		t.Fatalf("status --json says %q: %v", text, err)
	}
	return found
}

// polled waits until the branch was polled once more, and what that led to has ended.
func polled(t *testing.T, pgod *rig.Pgod, s *rig.Service) {
	t.Helper()
	next := statusOf(t, pgod, s).NextPoll
	for range 2 { // the next poll may have begun before
		rig.Until(t, "a poll of "+s.Name, func() error {
			now := statusOf(t, pgod, s).NextPoll
			if now.Equal(next) {
				return fmt.Errorf("the next poll is still the one of %s", now)
			}
			next = now
			return nil
		})
	}
}

// isFine waits until nothing is wrong with what is deployed. An error is shown until all of a
// deploy has ended, its cleanup included.
func isFine(t *testing.T, pgod *rig.Pgod, s *rig.Service) {
	t.Helper()
	rig.Until(t, "nothing to be wrong with "+s.Name, func() error {
		if now := statusOf(t, pgod, s); now.Error != nil || now.Outcome != "deployed" {
			return fmt.Errorf("its status is %+v", now)
		}
		return nil
	})
}

// switches counts how often pgo began to replace what ran with the commit.
func switches(pgod *rig.Pgod, s *rig.Service, commit string) int {
	return strings.Count(pgod.Log(), "deploying: service="+s.Name+" commit="+commit[:7]+" ")
}

// has returns an error unless the text has all of the words.
func has(text string, words ...string) error {
	for _, word := range words {
		if !strings.Contains(text, word) {
			return fmt.Errorf("there is no %q in %q", word, text)
		}
	}
	return nil
}

// says reports the words that a text lacks.
func says(t *testing.T, text string, words ...string) {
	t.Helper()
	if err := has(text, words...); err != nil {
		t.Error(err)
	}
}

// checkout returns the path of a file in the service's checkout.
func checkout(pgod *rig.Pgod, s *rig.Service, name string) string {
	return filepath.Join(serviceDir(pgod, s), "checkout", name)
}

func serviceDir(pgod *rig.Pgod, s *rig.Service) string {
	return filepath.Join(pgod.Dir, "services", s.Name)
}

// put writes a file that a person, or a container, might have left on the host.
func put(t *testing.T, file, content string, mode os.FileMode) {
	t.Helper()
	err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(content), mode), os.Chmod(file, mode))
	if err != nil {
		t.Fatal(err)
	}
}

// composes returns the service's compose processes that carry out the command.
func composes(t *testing.T, s *rig.Service, command string) []rig.Process {
	t.Helper()
	all, err := s.User.Processes()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(p rig.Process) bool {
		return p.Name != "docker-compose" || !slices.Contains(p.Args, command)
	})
}

// composing waits until compose carries out the command for the service, and
// returns the process.
func composing(t *testing.T, s *rig.Service, command string) rig.Process {
	t.Helper()
	var found []rig.Process
	rig.Until(t, "compose "+command+" of "+s.Name, func() error {
		if found = composes(t, s, command); len(found) != 1 {
			return fmt.Errorf("there are %d: %v", len(found), found)
		}
		return nil
	})
	return found[0]
}

// gone is a condition to wait for: the process has ended.
func gone(p rig.Process) func() error {
	return func() error {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", p.PID)); err == nil {
			return fmt.Errorf("%v still runs", p)
		}
		return nil
	}
}

// ping asks once whether the key may use the service and its worker answers.
func ping(pgod *rig.Pgod, s *rig.Service, key *rig.Key) error {
	out, err := pgod.SSHCommand(key, s.Op("ping")).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return err
}

// docker does by hand what somebody might do behind pgo's back.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	return rig.Run(t, exec.Command("docker", args...)).Exits(t, 0).Stdout
}
