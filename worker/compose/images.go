package compose

import (
	"context"
	"fmt"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/client"
)

// Engine asks the Docker engine what compose does not tell.
type Engine struct {
	mu     sync.Mutex
	client *client.Client
}

// connect returns the one client, made when it is first needed: most of a
// worker's life passes without.
func (e *Engine) connect() (*client.Client, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.client == nil {
		c, err := client.NewClientWithOpts(client.WithAPIVersionNegotiation())
		if err != nil {
			return nil, fmt.Errorf("cannot reach the Docker engine: %w", err)
		}
		e.client = c
	}
	return e.client, nil
}

// ImageIDs returns the ID of each image by the key that it is given under, and
// "" for one that does not exist.
func (e *Engine) ImageIDs(ctx context.Context, images map[string]string) (map[string]string, error) {
	ids := map[string]string{}
	if len(images) == 0 {
		return ids, nil
	}
	c, err := e.connect()
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
