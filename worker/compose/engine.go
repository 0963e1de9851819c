package compose

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/volume"
	"github.com/moby/moby/client"
)

// The labels that compose puts on what it makes.
const (
	composeLabels = "com.docker.compose." // how all of them begin
	projectLabel  = "com.docker.compose.project"
	serviceLabel  = "com.docker.compose.service"
	oneoffLabel   = "com.docker.compose.oneoff"
)

// Engine asks the Docker engine for what compose does not report, and does what compose cannot.
type Engine struct {
	Host string // its address; empty: the usual one. Set once, then immutable

	mu       sync.Mutex
	client   *connection
	defaults *defaults // nil: never asked
}

// connect returns the one client. It is made when it is first needed: a worker lives mostly
// without one.
func (e *Engine) connect() (*connection, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.client == nil {
		var opts []client.Opt
		if e.Host != "" {
			opts = append(opts, client.WithHost(e.Host))
		}
		c, err := client.New(opts...)
		if err != nil {
			return nil, fmt.Errorf("cannot reach the Docker engine: %w", err)
		}
		e.client = connectionOf(c)
	}
	return e.client, nil
}

// Away returns why the engine does not answer, or nil. One that hangs still takes connections.
func (e *Engine) Away(ctx context.Context) error {
	_, err := e.ping(ctx)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("the Docker engine does not answer: %w", context.Cause(ctx))
	}
	if err != nil {
		return fmt.Errorf("cannot reach the Docker engine: %w", err)
	}
	return nil
}

// Boot identifies the run of the host and of its engine in which containers live: when it
// changes, containers that ran may have stopped. The engine makes its own bridge anew with each
// start, unless containers outlive it.
func (e *Engine) Boot(ctx context.Context) (string, error) {
	host, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	c, err := e.connect()
	if err != nil {
		return "", err
	}
	bridge, err := c.network(ctx, "bridge")
	if err != nil && !errdefs.IsNotFound(err) {
		return "", fmt.Errorf("cannot inspect the engine's bridge: %w", err)
	}
	return strings.TrimSpace(string(host)) + " " + bridge.Created.UTC().Format(time.RFC3339Nano), nil
}

// FullName returns the name of an image as the engine lists it: with a tag, and without the name
// of the default registry. A text that is not a name stays as it is.
func FullName(image string) string {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return image
	}
	return reference.FamiliarString(reference.TagNameOnly(named))
}

// Container is one of a project's containers, as the engine describes it.
type Container struct {
	ID, Name string
	Service  string // the compose service
	Number   int    // compose's, among the containers of that
	Image    string // its ID
	State    string // created, running, paused, restarting, removing, exited, dead
	ExitCode int
	Health   string // starting, healthy, unhealthy; empty: it has no health check
	Checked  string // what its last health check printed
	Failed   int    // how many of its health checks in a row have failed
	Error    string // why it could not be started
	Started  time.Time
	Finished time.Time
	Restarts int // by its restart policy, since it was started by somebody

	Config   string   // compose's hash of what it was made from; empty: compose has not made it
	Networks []string // their names, sorted
	Shares   []string // the IDs of the containers whose namespaces it shares

	Policy     string // no, always, unless-stopped, on-failure
	MaxRetries int    // of on-failure; 0: any number
}

// Returns reports whether the container's restart policy brings it back after an exit with that
// code.
func (c Container) Returns(code int) bool {
	switch container.RestartPolicyMode(c.Policy) {
	case container.RestartPolicyAlways, container.RestartPolicyUnlessStopped:
		return true
	case container.RestartPolicyOnFailure:
		return code != 0 && (c.MaxRetries == 0 || c.Restarts < c.MaxRetries)
	}
	return false
}

// Done reports whether it ended like a job that has done its work.
func (c Container) Done() bool { return c.State == "exited" && c.ExitCode == 0 && !c.Returns(0) }

// Containers returns a project's containers, stopped ones too, by name. It leaves out those of
// `compose run`.
func (e *Engine) Containers(ctx context.Context, project string) ([]Container, error) {
	c, err := e.connect()
	if err != nil {
		return nil, err
	}
	summaries, err := c.containers(ctx, true, ofProject(project))
	if err != nil {
		return nil, err
	}
	var all []Container
	for _, summary := range summaries {
		inspect, err := c.container(ctx, summary.ID)
		if errdefs.IsNotFound(err) {
			continue // removed since
		}
		if err != nil {
			return nil, fmt.Errorf("cannot inspect container %s: %w", summary.ID, err)
		}
		all = append(all, containerOf(inspect))
	}
	slices.SortFunc(all, func(a, b Container) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func containerOf(i container.InspectResponse) Container {
	c := Container{
		ID: i.ID, Name: strings.TrimPrefix(i.Name, "/"), Image: i.Image,
		Service: i.Config.Labels[serviceLabel], Restarts: i.RestartCount,
		Policy: string(i.HostConfig.RestartPolicy.Name), MaxRetries: i.HostConfig.RestartPolicy.MaximumRetryCount,
	}
	c.Config = i.Config.Labels[configLabel]
	c.Number, _ = strconv.Atoi(i.Config.Labels[numberLabel])
	if i.NetworkSettings != nil {
		c.Networks = slices.Sorted(maps.Keys(i.NetworkSettings.Networks))
	}
	for _, mode := range []string{string(i.HostConfig.NetworkMode), string(i.HostConfig.PidMode), string(i.HostConfig.IpcMode)} {
		if id, shared := strings.CutPrefix(mode, "container:"); shared {
			c.Shares = append(c.Shares, id)
		}
	}
	if s := i.State; s != nil {
		c.State, c.ExitCode, c.Error = string(s.Status), s.ExitCode, s.Error
		c.Started, _ = time.Parse(time.RFC3339Nano, s.StartedAt)
		c.Finished, _ = time.Parse(time.RFC3339Nano, s.FinishedAt)
		if h := s.Health; h != nil && h.Status != container.NoHealthcheck {
			c.Health, c.Failed = string(h.Status), h.FailingStreak
			if len(h.Log) > 0 {
				c.Checked = h.Log[len(h.Log)-1].Output
			}
		}
	}
	return c
}

// maxLastLines bounds what LastLines reads of a container's output.
const maxLastLines = 16 << 10

// LastLines returns the last lines that a container has printed.
func (e *Engine) LastLines(ctx context.Context, id string, lines int) ([]string, error) {
	c, err := e.connect()
	if err != nil {
		return nil, err
	}
	inspect, err := c.container(ctx, id)
	if err != nil {
		return nil, err
	}
	stream, err := c.ContainerLogs(ctx, id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Tail: fmt.Sprint(lines)})
	if err != nil {
		return nil, err
	}
	defer func() { _ = stream.Close() }()
	text := &Tail{max: maxLastLines}
	if inspect.Config.Tty {
		_, err = io.Copy(text, stream)
	} else {
		_, err = stdcopy.StdCopy(text, text, stream)
	}
	if err != nil {
		return nil, err
	}
	all := strings.Split(strings.TrimRight(text.String(), "\n"), "\n")
	if len(all) == 1 && all[0] == "" {
		return nil, nil
	}
	return all[max(len(all)-lines, 0):], nil
}

// Missing returns, in words, which of these networks and volumes do not exist. All of them must
// exist already.
func (e *Engine) Missing(ctx context.Context, networks, volumes []string) ([]string, error) {
	if len(networks)+len(volumes) == 0 {
		return nil, nil
	}
	c, err := e.connect()
	if err != nil {
		return nil, err
	}
	var missing []string
	found, err := c.networks(ctx, nil)
	if err != nil {
		return nil, err
	}
	for _, name := range networks {
		if !slices.ContainsFunc(found, func(n networkSaid) bool { return n.Name == name || n.ID == name }) {
			missing = append(missing, "network "+name)
		}
	}
	if len(volumes) == 0 {
		return missing, nil
	}
	there, err := c.VolumeList(ctx, client.VolumeListOptions{})
	if err != nil {
		return nil, fmt.Errorf("cannot list the volumes: %w", err)
	}
	for _, name := range volumes {
		if !slices.ContainsFunc(there.Items, func(v volume.Volume) bool { return v.Name == name }) {
			missing = append(missing, "volume "+name)
		}
	}
	return missing, nil
}

// Published describes a host port of a running container.
type Published struct {
	Container, Project string
	IP                 string
	Port               int
	Protocol           string // tcp, udp, sctp
}

// PublishedPorts returns all host ports that running containers have.
func (e *Engine) PublishedPorts(ctx context.Context) ([]Published, error) {
	c, err := e.connect()
	if err != nil {
		return nil, err
	}
	summaries, err := c.containers(ctx, false, nil)
	if err != nil {
		return nil, err
	}
	return published(summaries), nil
}

// NameOf returns the name of a container by its ID; "" if it cannot be read.
func (e *Engine) NameOf(ctx context.Context, id string) string {
	c, err := e.connect()
	if err != nil {
		return ""
	}
	inspect, err := c.container(ctx, id)
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(inspect.Name, "/")
}

var errStreamEnded = errors.New("the engine's events ended")
