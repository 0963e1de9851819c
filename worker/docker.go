package worker

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/worker/compose"
)

// docker is what the log has been told about Docker.
type docker struct {
	mu   sync.Mutex
	said string
}

// findTime bounds a look at what there is of Docker.
const findTime = 30 * time.Second

// looker finds out what there is of Docker.
type looker interface {
	Docker(context.Context) (compose.Found, error)
}

// tell logs what there is of Docker, if that is not what was logged before: at the start, and when
// the engine or compose was replaced since.
func (d *docker) tell(ctx context.Context, service looker, log hclog.Logger) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, findTime)
	defer cancel()
	found, err := service.Docker(ctx)
	if ctx.Err() != nil {
		return // the worker ends, or the engine is away again, which is said elsewhere
	}
	said := found.String()
	if err != nil {
		said = err.Error()
	}
	if said == d.said {
		return
	}
	d.said = said
	if err != nil {
		log.Warn("Docker is not as pgo needs it", "error", err)
		return
	}
	log.Info("Docker found", found.Facts()...)
	for _, warning := range found.Warnings() {
		log.Warn(warning)
	}
}
