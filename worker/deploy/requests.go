package deploy

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"
)

// requests has the proxies send requests to one container of the service. The service says what it
// wants, and pgod says what the proxies do; see switches for the other side.
type requests struct {
	store  *store
	around *neighbourhood
	log    hclog.Logger
}

// proxySwitchTime is how long the proxies may take to switch. They need milliseconds: longer, and one of
// them is away.
const proxySwitchTime = 15 * time.Second

// turn has the proxies send the requests for these hosts to a container. If not all of them do so
// soon, why says what is in the way, and requests go to whatever has the names.
func (r *requests) turn(ctx context.Context, hosts []string, container string) (why string, err error) {
	if err := r.store.update(func(st *State) {
		wanted := map[string]string{}
		for host, id := range st.Switches {
			wanted[host] = id
		}
		for _, host := range hosts {
			wanted[host] = container
		}
		st.Switches = wanted
	}); err != nil {
		return "", err
	}
	limit := time.NewTimer(proxySwitchTime)
	defer limit.Stop()
	for {
		now, moved := r.around.now()
		done := now.CannotSwitch == ""
		for _, host := range hosts {
			done = done && now.Switched[host] == container
		}
		if done {
			return "", nil
		}
		select {
		case <-moved:
		case <-limit.C:
			if why = now.CannotSwitch; why == "" {
				why = "the proxy does not answer"
			}
			r.log.Warn("requests cannot be switched", "reason", why)
			return why, nil
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}
