package compose

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/client"

	"pgo/internal/lazyregexp"
)

// ServiceLabel is the label on each image that pgo builds for a service: its name. The policy keeps
// repositories from setting it, and what a Dockerfile or its base says about it does not count.
const ServiceLabel = "pgo.service"

// composeVersionLabel is the label for the version of compose that made something.
const composeVersionLabel = composeLabels + "version"

// BuildFor labels everything that a model builds as the service's. The project's label is
// compose's own, but compose sets it only where it builds with BuildKit.
func BuildFor(m *Model, service string) {
	for _, s := range m.services() {
		build, ok := s["build"].(map[string]any)
		if !ok {
			continue
		}
		labels, _ := build["labels"].(map[string]any)
		labels = maps.Clone(labels)
		if labels == nil {
			labels = map[string]any{}
		}
		labels[projectLabel], labels[ServiceLabel] = service, service
		build["labels"] = labels
	}
}

// OnePlatform reports whether there is only one platform for which a compose service's image is
// built.
func OnePlatform(m *Model, service string) bool {
	s := m.services()[service]
	build, _ := s["build"].(map[string]any)
	platforms, _ := build["platforms"].([]any)
	return len(platforms) <= 1
}

// ForHost reports whether a compose service runs on whatever platform the engine chooses: the one
// that AreSame compares.
func ForHost(m *Model, service string) bool {
	platform, _ := m.services()[service]["platform"].(string)
	return platform == "" && OnePlatform(m, service)
}

// Image is what an image says about whose it is.
type Image struct {
	ID      string   // empty: there is no such image
	Service string   // the service that it was built for; empty: an earlier pgo, or somebody else
	Project string   // the project that compose built it for
	Names   []string // all of its names
}

// Images are the images of an engine.
type Images struct{ engine *Engine }

// Images returns the engine's images.
func (e *Engine) Images() Images { return Images{e} }

// Image returns the image of a name or ID.
func (s Images) Image(ctx context.Context, name string) (Image, error) {
	c, err := s.engine.connect()
	if err != nil {
		return Image{}, err
	}
	inspect, err := c.ImageInspect(ctx, name)
	if errdefs.IsNotFound(err) {
		return Image{}, nil
	}
	if err != nil {
		return Image{}, fmt.Errorf("cannot inspect image %s: %w", name, err)
	}
	i := Image{ID: inspect.ID, Names: inspect.RepoTags}
	if inspect.Config != nil {
		i.Service, i.Project = inspect.Config.Labels[ServiceLabel], inspect.Config.Labels[projectLabel]
	}
	return i, nil
}

// IDs returns the ID of each image under the key that it is given under, and "" for one that
// does not exist.
func (s Images) IDs(ctx context.Context, images map[string]string) (map[string]string, error) {
	ids := map[string]string{}
	if len(images) == 0 {
		return ids, nil
	}
	c, err := s.engine.connect()
	if err != nil {
		return nil, err
	}
	for key, image := range images {
		inspect, err := c.ImageInspect(ctx, image)
		if err != nil && !errdefs.IsNotFound(err) {
			return nil, fmt.Errorf("cannot inspect image %s: %w", image, err)
		}
		ids[key] = inspect.ID
	}
	return ids, nil
}

// Tags returns the names of an image, or none if the image does not exist.
func (s Images) Tags(ctx context.Context, id string) ([]string, error) {
	c, err := s.engine.connect()
	if err != nil {
		return nil, err
	}
	inspect, err := c.ImageInspect(ctx, id)
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	return inspect.RepoTags, err
}

// Tag gives an image a further name.
func (s Images) Tag(ctx context.Context, id, name string) error {
	c, err := s.engine.connect()
	if err != nil {
		return err
	}
	_, err = c.ImageTag(ctx, client.ImageTagOptions{Source: id, Target: name})
	return err
}

// NamesIn returns the local names of a repository of images: name:tag.
func (s Images) NamesIn(ctx context.Context, repository string) ([]string, error) {
	c, err := s.engine.connect()
	if err != nil {
		return nil, err
	}
	images, err := c.ImageList(ctx, client.ImageListOptions{Filters: client.Filters{}.Add("reference", repository)})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, i := range images.Items {
		for _, name := range i.RepoTags {
			if strings.HasPrefix(name, repository+":") {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names, nil
}

// DeclaredVolumes returns the paths at which an image declares volumes.
func (s Images) DeclaredVolumes(ctx context.Context, image string) ([]string, error) {
	declared, err := s.Declared(ctx, image)
	return declared.Volumes, err
}

// Declared has what an image gives its containers unless a model says otherwise.
type Declared struct {
	Volumes     []string // the paths of volumes without a name
	HealthCheck bool
}

// Declared returns what an image declares; nothing if there is no such image.
func (s Images) Declared(ctx context.Context, image string) (Declared, error) {
	c, err := s.engine.connect()
	if err != nil {
		return Declared{}, err
	}
	inspect, err := c.ImageInspect(ctx, image)
	if errdefs.IsNotFound(err) || err == nil && inspect.Config == nil {
		return Declared{}, nil
	}
	if err != nil {
		return Declared{}, fmt.Errorf("cannot inspect image %s: %w", image, err)
	}
	var declared Declared
	for path := range inspect.Config.Volumes {
		declared.Volumes = append(declared.Volumes, filepath.Clean(path))
	}
	slices.Sort(declared.Volumes)
	check := inspect.Config.Healthcheck
	declared.HealthCheck = check != nil && len(check.Test) > 0 && check.Test[0] != "NONE"
	return declared, nil
}

// ChecksHealth reports whether the containers of a compose service have a health check.
func ChecksHealth(m *Model, service string, declared Declared) bool {
	check, said := m.services()[service]["healthcheck"].(map[string]any)
	if !said {
		return declared.HealthCheck
	}
	test := anyList(check["test"])
	if check["disable"] == true || len(test) > 0 && test[0] == "NONE" {
		return false
	}
	return len(test) > 0 || declared.HealthCheck
}

// AreSame reports whether two images have the same files and the same configuration, on the
// platform that the engine would run. Their IDs may differ all the same: they also stand for when
// and by what an image was built.
func (s Images) AreSame(ctx context.Context, a, b string) (bool, error) {
	c, err := s.engine.connect()
	if err != nil {
		return false, err
	}
	var both [2]image.InspectResponse
	for i, id := range []string{a, b} {
		found, err := c.ImageInspect(ctx, id)
		if errdefs.IsNotFound(err) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("cannot inspect image %s: %w", id, err)
		}
		both[i] = found.InspectResponse
	}
	return sameImage(both[0], both[1]), nil
}

// Remove takes a name from an image. The image goes with its last name, unless a container
// uses it. It is not an error that it is gone or in use. What it was built on stays: an engine with
// the store of containerd would also remove what others are built on.
func (s Images) Remove(ctx context.Context, name string) error {
	c, err := s.engine.connect()
	if err != nil {
		return err
	}
	_, err = c.ImageRemove(ctx, name, client.ImageRemoveOptions{})
	if errdefs.IsNotFound(err) || errdefs.IsConflict(err) {
		return nil
	}
	return err
}

// RemoveLeft removes an image that has no name any more, except digests in the repositories of these
// names: an engine with its own store of images keeps those when a pull moves the tag.
func (s Images) RemoveLeft(ctx context.Context, id string, names []string) error {
	if id == "" {
		return nil
	}
	c, err := s.engine.connect()
	if err != nil {
		return err
	}
	inspect, err := c.ImageInspect(ctx, id)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot inspect image %s: %w", id, err)
	}
	repositories := map[string]bool{}
	for _, name := range names {
		repositories[repository(name)] = true
	}
	if len(inspect.RepoTags) > 0 || slices.ContainsFunc(inspect.RepoDigests, func(d string) bool { return !repositories[repository(d)] }) {
		return nil
	}
	return s.Remove(ctx, id)
}

// repository returns the name of an image without its tag and digest.
func repository(name string) string {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return name
	}
	return named.Name()
}

// RemoveNameless removes the images that a project's builds have made and that no longer have a
// name or a container.
func (s Images) RemoveNameless(ctx context.Context, project string) error {
	c, err := s.engine.connect()
	if err != nil {
		return err
	}
	images, err := c.ImageList(ctx, client.ImageListOptions{Filters: client.Filters{}.Add("dangling", "true").Add("label", projectLabel+"="+project)})
	if err != nil {
		return err
	}
	for _, i := range images.Items {
		if err := s.Remove(ctx, i.ID); err != nil {
			return err
		}
	}
	return nil
}

// RemoveSteps removes images of a build's steps that have no name and that nothing else needs. It
// returns those that stay for now, because something is built on them or runs them.
func (s Images) RemoveSteps(ctx context.Context, ids []string) (stay []string, err error) {
	c, err := s.engine.connect()
	if err != nil {
		return ids, err
	}
	for _, id := range slices.Backward(ids) { // each is built on the one before
		inspect, err := c.ImageInspect(ctx, id)
		if errdefs.IsNotFound(err) || err == nil && len(inspect.RepoDigests) > 0 && len(inspect.RepoTags) == 0 {
			continue // gone, or a base that is known by its digest
		}
		if err == nil && len(inspect.RepoTags) == 0 {
			_, err = c.ImageRemove(ctx, id, client.ImageRemoveOptions{})
			if err == nil || errdefs.IsNotFound(err) {
				continue
			}
		}
		if err != nil && !errdefs.IsConflict(err) {
			return ids, fmt.Errorf("cannot remove image %s: %w", id, err)
		}
		stay = append(stay, id)
	}
	slices.Reverse(stay)
	return stay, nil
}

func sameImage(a, b image.InspectResponse) bool {
	for _, i := range []*image.InspectResponse{&a, &b} {
		if i.Config == nil || len(i.RootFS.Layers) == 0 {
			return false // what it is made of is not known
		}
		config := *i.Config
		config.Labels = maps.Clone(config.Labels)
		maps.DeleteFunc(config.Labels, func(label, _ string) bool { return label == ServiceLabel || label == composeVersionLabel })
		i.Config = &config
	}
	return a.Os == b.Os && a.Architecture == b.Architecture && a.Variant == b.Variant &&
		slices.Equal(a.RootFS.Layers, b.RootFS.Layers) && reflect.DeepEqual(a.Config, b.Config)
}

// Steps collects the images of the steps of a build from what compose prints. A builder other than
// BuildKit keeps them, as its cache, and they have neither a name nor a label. A step may print what
// looks like one, which RemoveSteps would not take if anything needs it.
type Steps struct {
	IDs  []string
	line []byte // its beginning, so far
}

const (
	maxSteps = 1000
	maxStep  = 64 // bytes of a line that names one
)

var step = lazyregexp.New(`^ ---> ([0-9a-f]{12})\s*$`)

func (s *Steps) Write(b []byte) (int, error) {
	for line := range bytes.Lines(b) {
		s.line = append(s.line, line[:min(len(line), max(maxStep-len(s.line), 0))]...)
		if line[len(line)-1] != '\n' {
			break // the rest comes with the next write
		}
		if found := step.FindSubmatch(s.line); found != nil && len(s.IDs) < maxSteps && !slices.Contains(s.IDs, string(found[1])) {
			s.IDs = append(s.IDs, string(found[1]))
		}
		s.line = s.line[:0]
	}
	return len(b), nil
}
