package rig

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// projectLabel is what compose marks everything of a project with.
const projectLabel = "com.docker.compose.project"

// Container is what `docker inspect` says about a container, as far as the
// tests care.
type Container struct {
	ID      string `json:"Id"`
	Name    string
	ImageID string `json:"Image"`
	State   struct {
		Status    string // created, running, exited, …
		Pid       int
		ExitCode  int
		StartedAt time.Time
	}
	RestartCount int
	Config       struct {
		User   string
		Image  string // as the compose file names it
		Env    []string
		Labels map[string]string
	}
}

// Service is the container's name within its compose file.
func (c Container) Service() string { return c.Config.Labels["com.docker.compose.service"] }

// Running tells whether the container runs.
func (c Container) Running() bool { return c.State.Status == "running" }

// Containers are all of the compose project, stopped ones too, sorted by name.
func Containers(t testing.TB, project string) []Container {
	t.Helper()
	found, err := containers(project)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func containers(project string) ([]Container, error) {
	ids, err := listed("container", project)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	text, err := output("docker", append([]string{"container", "inspect"}, ids...)...)
	// One that was removed meanwhile is left out.
	if err != nil && !strings.Contains(err.Error(), "No such container") {
		return nil, err
	}
	var found []Container
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		return nil, fmt.Errorf("cannot read docker inspect: %w", err)
	}
	slices.SortFunc(found, func(a, b Container) int { return strings.Compare(a.Name, b.Name) })
	return found, nil
}

// Running is a condition to wait for: the project has exactly n containers,
// and all of them run.
func Running(project string, n int) func() error {
	return func() error {
		found, err := containers(project)
		if err != nil {
			return err
		}
		var states []string
		running := 0
		for _, c := range found {
			states = append(states, c.Name+" "+c.State.Status)
			if c.Running() {
				running++
			}
		}
		if running != n || len(found) != n {
			return fmt.Errorf("%s has %d running of %d containers, not %d: %v", project, running, len(found), n, states)
		}
		return nil
	}
}

// removeProject removes the containers, networks, volumes and images of one
// compose project, and sees that none is left.
func removeProject(project string) error {
	// The order is the engine's: it keeps what a container still uses.
	removals := []struct {
		sort string
		args []string
	}{
		{"container", []string{"container", "rm", "--force", "--volumes"}},
		{"network", []string{"network", "rm"}},
		{"volume", []string{"volume", "rm", "--force"}},
		{"image", []string{"image", "rm", "--force"}},
	}
	var errs []error
	for _, removal := range removals {
		names, err := listed(removal.sort, project)
		if err == nil && len(names) > 0 {
			_, err = output("docker", append(removal.args, names...)...)
		}
		errs = append(errs, err)
	}
	for _, removal := range removals {
		left, err := listed(removal.sort, project)
		if len(left) > 0 {
			err = fmt.Errorf("there are still %ss: %v", removal.sort, left)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// listed are the names, by which docker removes them, of the project's things
// of one sort. An image also belongs to a project when pgo pinned it for that.
func listed(sort, project string) ([]string, error) {
	args := []string{sort, "ls", "--quiet"}
	if sort == "container" || sort == "image" {
		args = append(args, "--all", "--no-trunc")
	}
	found, err := output("docker", append(args, "--filter", "label="+projectLabel+"="+project)...)
	if err != nil {
		return nil, err
	}
	names := strings.Fields(found)
	if sort == "image" {
		pinned, err := output("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "reference=pgo/"+project)
		if err != nil {
			return nil, err
		}
		names = append(names, strings.Fields(pinned)...)
	}
	// An image with two tags is listed twice.
	slices.Sort(names)
	return slices.Compact(names), nil
}

// machineFit tells why the rig cannot work here, once per process.
var machineFit = sync.OnceValue(func() error {
	if me, err := output("id", "-u"); err != nil || strings.TrimSpace(me) != "0" {
		return errors.Join(err, errors.New("this is not root"))
	}
	if _, err := output("docker", "version"); err != nil {
		return err
	}
	_, err := output("docker", "compose", "version")
	return err
})

// output runs a command to its end and returns what it wrote to stdout; what
// it wrote to stderr is in the error.
func output(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).Output()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		err = fmt.Errorf("%s: %w: %s", strings.Join(append([]string{name}, args...), " "), err, strings.TrimSpace(string(exit.Stderr)))
	}
	return string(out), err
}
