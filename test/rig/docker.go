package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/volume"
	"github.com/moby/moby/client"

	"pgo/internal/policy"
)

// projectLabel is the label that compose gives everything of a project.
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
	Mounts []struct {
		Type, Name, Source, Destination string
		RW                              bool
	}
}

// Service returns the container's name within its compose file.
func (c Container) Service() string { return c.Config.Labels["com.docker.compose.service"] }

// Running reports whether the container runs.
func (c Container) Running() bool { return c.State.Status == "running" }

// Containers returns all of the compose project's containers, stopped ones too, sorted by name.
func Containers(t testing.TB, project string) []Container {
	t.Helper()
	found, err := containers(project)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func containers(project string) ([]Container, error) {
	api, err := dockerAPI()
	if err != nil {
		return nil, err
	}
	return inspected(api, project)
}

// dockerAPI is the machine's engine. The tests ask it so often that starting the
// docker command each time would cost them a tenth of their time.
var dockerAPI = sync.OnceValues(func() (*client.Client, error) {
	return client.New(client.FromEnv)
})

// inspected returns all containers of the project on an engine, sorted by name. One that is
// removed in the meantime is left out.
func inspected(api *client.Client, project string) ([]Container, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	listed, err := api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: ofProject(project)})
	if err != nil {
		return nil, err
	}
	var found []Container
	for _, one := range listed.Items {
		inspect, err := api.ContainerInspect(ctx, one.ID, client.ContainerInspectOptions{})
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var c Container
		if err := json.Unmarshal(inspect.Raw, &c); err != nil {
			return nil, fmt.Errorf("cannot read what the engine says about a container: %w", err)
		}
		found = append(found, c)
	}
	slices.SortFunc(found, func(a, b Container) int { return strings.Compare(a.Name, b.Name) })
	return found, nil
}

func ofProject(project string) client.Filters {
	return client.Filters{}.Add("label", projectLabel+"="+project)
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

// removeContainer removes a container with its volumes that have no name of their own. The
// engine itself leaves those alone that the container has from the one that it replaced.
func removeContainer(ctx context.Context, api *client.Client, name string) error {
	inspect, err := api.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
	if err != nil {
		return err
	}
	if _, err := api.ContainerRemove(ctx, name, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
		return err
	}
	for _, m := range inspect.Container.Mounts {
		if m.Type != mount.TypeVolume || !policy.Anonymous(m.Name) {
			continue
		}
		if _, err := api.VolumeRemove(ctx, m.Name, client.VolumeRemoveOptions{Force: true}); err != nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) {
			return err
		}
	}
	return nil
}

// object is a kind of object that the engine keeps for a project.
type object struct {
	name string
	// list returns the project's, by the names that remove takes.
	list   func(ctx context.Context, api *client.Client, project string) ([]string, error)
	remove func(ctx context.Context, api *client.Client, name string) error
}

// The order is the engine's: it keeps what a container still uses.
var objects = []object{
	{"container", func(ctx context.Context, api *client.Client, project string) ([]string, error) {
		found, err := api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: ofProject(project)})
		return names(found.Items, func(c container.Summary) string { return c.ID }), err
	}, removeContainer},
	{"network", func(ctx context.Context, api *client.Client, project string) ([]string, error) {
		found, err := api.NetworkList(ctx, client.NetworkListOptions{Filters: ofProject(project)})
		return names(found.Items, func(n network.Summary) string { return n.ID }), err
	}, func(ctx context.Context, api *client.Client, name string) error {
		_, err := api.NetworkRemove(ctx, name, client.NetworkRemoveOptions{})
		return err
	}},
	{"volume", func(ctx context.Context, api *client.Client, project string) ([]string, error) {
		found, err := api.VolumeList(ctx, client.VolumeListOptions{Filters: ofProject(project)})
		return names(found.Items, func(v volume.Volume) string { return v.Name }), err
	}, func(ctx context.Context, api *client.Client, name string) error {
		_, err := api.VolumeRemove(ctx, name, client.VolumeRemoveOptions{Force: true})
		return err
	}},
	{"image", imagesOf, func(ctx context.Context, api *client.Client, name string) error {
		_, err := api.ImageRemove(ctx, name, client.ImageRemoveOptions{Force: true, PruneChildren: true})
		return err
	}},
}

// removeAll removes all of a project's, as long as there are fewer each time: the engine keeps an
// image for as long as there is one that was built on it.
func (o object) removeAll(ctx context.Context, api *client.Client, project string) error {
	for before := -1; ; {
		there, err := o.list(ctx, api, project)
		if err != nil || len(there) == 0 {
			return err
		}
		var errs []error
		for _, name := range there {
			if err := o.remove(ctx, api, name); err != nil && !errdefs.IsNotFound(err) {
				errs = append(errs, err)
			}
		}
		if err := errors.Join(errs...); err == nil || len(there) == before {
			return err
		}
		before = len(there)
	}
}

func names[T any](found []T, name func(T) string) []string {
	var all []string
	for _, one := range found {
		all = append(all, name(one))
	}
	return all
}

// imagesOf returns the project's images, and those that pgo pinned for it.
func imagesOf(ctx context.Context, api *client.Client, project string) ([]string, error) {
	own, err := api.ImageList(ctx, client.ImageListOptions{All: true, Filters: ofProject(project)})
	if err != nil {
		return nil, err
	}
	all := names(own.Items, func(i image.Summary) string { return i.ID })
	pinned, err := api.ImageList(ctx, client.ImageListOptions{Filters: client.Filters{}.Add("reference", "pgo/"+project)})
	for _, one := range pinned.Items {
		all = append(all, one.RepoTags...)
	}
	return all, err
}

// removeProject removes the containers, networks, volumes and images of one compose project,
// and checks that none is left.
func removeProject(project string) error {
	api, err := dockerAPI()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var errs []error
	for _, object := range objects {
		errs = append(errs, object.removeAll(ctx, api, project))
	}
	for _, object := range objects {
		left, err := object.list(ctx, api, project)
		if len(left) > 0 {
			err = fmt.Errorf("there are still %ss: %v", object.name, left)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// machineFit returns what keeps the rig from working here, once per process.
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
