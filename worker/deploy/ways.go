package deploy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"pgo/internal/printable"
	"pgo/worker/compose"
)

// Way is how a compose service is replaced by a deploy that starts first.
type Way struct {
	Service    string `json:"service"`
	StartFirst bool   `json:"start_first,omitempty"` // its new containers start before the old ones end
	Note       string `json:"note,omitempty"`        // why not, or what should be known about it
}

func (w Way) String() string {
	switch {
	case !w.StartFirst:
		return fmt.Sprintf("%s is replaced in place: %s", brief(w.Service), printable.Line(w.Note))
	case w.Note != "":
		return fmt.Sprintf("%s starts first; %s", brief(w.Service), printable.Line(w.Note))
	}
	return brief(w.Service) + " starts first"
}

// unchecked is what should be known about a container without a health check.
var unchecked = fmt.Sprintf("without a health check it is ready once it has run for %s", steady)

// ways returns how each compose service of the candidate would be replaced; none unless the service
// starts first.
func (a *ahead) ways(ctx context.Context, c *candidate) ([]Way, error) {
	if !a.enabled {
		return nil, nil
	}
	var all []Way
	for _, service := range c.resolved.Services() {
		image := c.record.Images[service]
		if image == "" {
			image = c.images[service]
		}
		declared, err := a.engine.Images().Declared(ctx, image)
		if err != nil {
			return nil, err
		}
		way := Way{Service: service, Note: a.unswitched(c.resolved, service)}
		if way.Note == "" {
			way.Note = compose.StartsSecond(c.resolved, service, declared.Volumes)
		}
		if way.StartFirst = way.Note == ""; way.StartFirst && !compose.ChecksHealth(c.resolved, service, declared) {
			way.Note = unchecked
		}
		all = append(all, way)
	}
	return all, nil
}

// unswitched returns why a proxy cannot switch requests to one of a compose service's containers, as
// far as the service itself decides, or "".
func (a *ahead) unswitched(model *compose.Model, service string) string {
	found := false
	for _, route := range a.routes {
		for _, target := range route.Targets {
			host, _, _ := net.SplitHostPort(target)
			named := compose.NamedBy(model, host)
			switch {
			case !slices.Contains(named, service):
				continue
			case len(named) > 1:
				return fmt.Sprintf("%s is a name of several compose services", host)
			case len(route.Targets) > 1:
				return fmt.Sprintf("its URL %s has several targets", route.URL)
			}
			found = true
		}
	}
	switch {
	case !found:
		return "no URL leads to it"
	case !a.isProxy && !model.Shares(service, a.name):
		return "it is not on any network that a proxy can be on"
	}
	return ""
}

// targets returns the hosts of the targets that lead to a compose service, in lower case, and their
// ports.
func (a *ahead) targets(model *compose.Model, service string) (hosts []string, ports []int) {
	for _, route := range a.routes {
		for _, target := range route.Targets {
			host, text, _ := net.SplitHostPort(target)
			port, err := strconv.Atoi(text)
			if err == nil && slices.Equal(compose.NamedBy(model, host), []string{service}) {
				hosts, ports = add(hosts, strings.ToLower(host)), append(ports, port)
			}
		}
	}
	return hosts, ports
}

// foretell says in the record how each compose service would be replaced.
func (a *ahead) foretell(ctx context.Context, c *candidate) error {
	ways, err := a.ways(ctx, c)
	if err == nil {
		c.record.Ways = ways
	}
	return err
}

// room returns an error if there is not enough memory on this host for old and new containers at
// once. What goes on with an earlier switch may have the new ones already.
func (a *ahead) room(ctx context.Context, c *candidate) error {
	available := availableMemory()
	if !a.enabled || a.store.snapshot().Switching != nil || available == 0 || !a.onThisHost() {
		return nil
	}
	if err := a.plan(ctx, c); err != nil {
		return err
	}
	services := a.chosen(c)
	needed, err := compose.RoomFor(ctx, a.engine, c.resolved, a.name, services)
	if err == nil && needed > available {
		err = fmt.Errorf("one more container of %s may need %d MiB next to the present ones, and the host has %d MiB left: "+
			"free some, or deploy in place; it is tried again", joined(services), needed>>20, available>>20)
	}
	return err
}

// notReplacedError is the error of a deploy of which a part could not be started, while what it was
// to replace runs on as before.
type notReplacedError struct{ error }

func (e *notReplacedError) Unwrap() error { return e.error }

func isNotReplaced(err error) bool { return errors.As(err, new(*notReplacedError)) }
