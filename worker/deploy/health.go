package deploy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pgo/worker/compose"
)

// health is the state of a container and what is wrong with it.
type health struct {
	compose.Container
	problem string
	young   bool // the only problem is that it has not run for long enough yet
	looping bool // it exits again and again in the same way
}

// ran reports whether the container has run in this or an earlier run: what it did then is
// evidence.
func (h health) ran() bool {
	switch h.State {
	case "running", "restarting", "exited": // "dead" is one that the engine could not remove
		return h.Error == ""
	}
	return false
}

// isEvidence reports whether what is wrong with the container is known to be caused by its
// commit: it ran, and ended or became unhealthy, or the engine names it as the reason.
func (h health) isEvidence() bool { return h.ran() || h.StartRefused() }

// exits is how a container has ended, again and again.
type exits struct {
	code  int
	count int       // in a row with this code
	last  time.Time // by the engine's clock
}

// loopExits is how many exits in a row with one code are known to be a loop.
const loopExits = 4

// healthWatch remembers what was observed of containers while they become healthy.
type healthWatch struct {
	wanted map[string]int       // containers by compose service
	since  map[string]time.Time // when a container was first seen in its current run
	exits  map[string]exits     // by the container's ID
}

func newHealthWatch(wanted map[string]int) *healthWatch {
	return &healthWatch{wanted: wanted, since: map[string]time.Time{}, exits: map[string]exits{}}
}

// judge returns what is not yet as it should be, and the first container that
// never will be.
func (w *healthWatch) judge(containers []compose.Container, now time.Time) (waiting []health, failed *health) {
	there := map[string]int{}
	for _, c := range containers {
		there[c.Service]++
		problem, hopeless := w.problem(c, now)
		if problem == "" {
			continue
		}
		if hopeless {
			return nil, &health{Container: c, problem: problem}
		}
		waiting = append(waiting, health{Container: c, problem: problem, young: problem == justStarted, looping: w.isLooping(c)})
	}
	for service, n := range w.wanted {
		if there[service] < n {
			waiting = append(waiting, health{
				Container: compose.Container{Name: service, Service: service},
				problem:   fmt.Sprintf("has %d of %d containers", there[service], n),
			})
		}
	}
	slices.SortFunc(waiting, func(a, b health) int { return strings.Compare(a.Name, b.Name) })
	return waiting, nil
}

// isLooping reports whether a container that its restart policy brings back has ended again
// and again in the same way. It is asked each time that the container is looked at and not
// well; some exits go by unseen.
func (w *healthWatch) isLooping(c compose.Container) bool {
	e := w.exits[c.ID]
	if c.State == "restarting" || c.State == "exited" {
		switch {
		case e.count > 0 && e.code != c.ExitCode:
			e = exits{}
		case e.last.Equal(c.Finished):
			return e.isLoop(c)
		}
		e = exits{code: c.ExitCode, count: e.count + 1, last: c.Finished}
		w.exits[c.ID] = e
	}
	return e.isLoop(c)
}

func (e exits) isLoop(c compose.Container) bool {
	return e.count >= loopExits && c.Restarts >= loopExits
}

// problem returns what is wrong with a container, and whether waiting is hopeless.
func (w *healthWatch) problem(c compose.Container, now time.Time) (text string, hopeless bool) {
	switch c.State {
	case "running":
		return w.running(c, now)
	case "exited", "dead":
		switch {
		case c.Done():
			return "", false
		case c.Error != "":
			return "could not be started: " + c.Error, true
		case c.Returns(c.ExitCode):
			return fmt.Sprintf("exited with %d", c.ExitCode), false
		}
		return fmt.Sprintf("exited with %d", c.ExitCode), true
	case "restarting":
		return fmt.Sprintf("keeps restarting, %d times so far, the last time after it exited with %d", c.Restarts, c.ExitCode), false
	case "created":
		if c.Error != "" {
			return "could not be started: " + c.Error, true
		}
		return "is not started", false
	}
	return "is " + c.State, false
}

const justStarted = "has only just started"

func (w *healthWatch) running(c compose.Container, now time.Time) (text string, hopeless bool) {
	run := c.ID + c.Started.String()
	if _, seen := w.since[run]; !seen {
		w.since[run] = now
	}
	switch {
	case c.Health == "unhealthy":
		return "is unhealthy" + checked(c), true
	case c.Health == "starting":
		return "is not healthy yet" + checked(c), false
	case now.Sub(w.since[run]) < steady && now.Sub(c.Started) < steady:
		if c.Restarts > 0 {
			return fmt.Sprintf("has restarted %d times", c.Restarts), false
		}
		return justStarted, false
	}
	return "", false
}

// checked returns what the last health check printed, after a colon, or "".
func checked(c compose.Container) string {
	said := splitLines(strings.TrimSpace(c.Checked))
	if len(said) == 0 {
		return ""
	}
	return ": " + said[len(said)-1]
}
