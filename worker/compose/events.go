package compose

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"
)

// Event is something that happened to one of a project's containers.
type Event struct {
	Action    string // start, kill, die, stop, destroy, oom, health_status: unhealthy, …
	Container string // its ID
	Name      string
	Service   string // the compose service
	ExitCode  int    // of a die
	Signal    string // of a kill: its number
}

// Events calls happened for each event of the project's containers, and whenever any container
// leaves a network ("disconnect"), until ctx or the engine ends.
// It calls began once it listens: later events are not missed.
func (e *Engine) Events(ctx context.Context, project string, began func(), happened func(Event)) error {
	if err := e.Away(ctx); err != nil {
		return err
	}
	c, err := e.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	own := c.Events(ctx, client.EventsListOptions{Filters: client.Filters{}.
		Add("type", string(events.ContainerEventType)).
		Add("label", projectLabel+"="+project)})
	// The engine does not know of which project a container is that leaves a network.
	left := c.Events(ctx, client.EventsListOptions{Filters: client.Filters{}.
		Add("type", string(events.NetworkEventType)).
		Add("event", string(events.ActionDisconnect))})
	// The request is answered as soon as the engine listens.
	began()
	for {
		select {
		case m := <-own.Messages:
			if m.Actor.Attributes[oneoffLabel] == "True" {
				continue
			}
			code, _ := strconv.Atoi(m.Actor.Attributes["exitCode"])
			happened(Event{
				Action:    string(m.Action),
				Container: m.Actor.ID,
				Name:      m.Actor.Attributes["name"],
				Service:   m.Actor.Attributes[serviceLabel],
				ExitCode:  code,
				Signal:    m.Actor.Attributes["signal"],
			})
		case m := <-left.Messages:
			happened(Event{Action: string(m.Action), Container: m.Actor.Attributes["container"]})
		case err := <-own.Err:
			return followed(err)
		case err := <-left.Err:
			return followed(err)
		}
	}
}

// WasKilled reports whether somebody has stopped or killed a container that has ended. Its exit
// status does not tell: a program may end in the same way by itself.
func (e *Engine) WasKilled(ctx context.Context, ended Container) (bool, error) {
	c, err := e.connect()
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	at := func(t time.Time) string { return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()) }
	happened := c.Events(ctx, client.EventsListOptions{
		Since: at(ended.Started), Until: at(ended.Finished.Add(time.Second)), // "stop" comes a little later
		Filters: client.Filters{}.Add("container", ended.ID).Add("event", "kill", "stop"),
	})
	for {
		select {
		case m := <-happened.Messages:
			if m.Action == events.ActionStop || ends(m.Actor.Attributes["signal"]) {
				return true, nil
			}
		case err := <-happened.Err:
			if err == nil || errors.Is(err, io.EOF) {
				return false, nil
			}
			return false, fmt.Errorf("cannot read the engine's events: %w", err)
		}
	}
}

// ends reports whether a signal, by its number, is one that is sent to end a program.
func ends(signal string) bool { return slices.Contains([]string{"2", "3", "9", "15"}, signal) }

// EndsProgram reports whether the event is a signal that is sent to end a program.
func (e Event) EndsProgram() bool { return ends(e.Signal) }

// followed returns why events are no longer followed.
func followed(err error) error {
	if err == nil {
		err = errStreamEnded
	}
	return fmt.Errorf("cannot follow the engine's events: %w", err)
}
