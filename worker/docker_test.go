package worker

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"pgo/worker/compose"
)

type foundDocker struct {
	compose.Found
	err error
}

func (f *foundDocker) Docker(context.Context) (compose.Found, error) { return f.Found, f.err }

// What there is of Docker is logged once, and again when it is something else.
func TestDockerIsToldOnce(t *testing.T) {
	var out bytes.Buffer
	log := hclog.New(&hclog.LoggerOptions{Output: &out})
	d := &docker{}
	now := compose.Found{Engine: "29.9.0", API: "1.52", Store: "overlayfs", Cgroup: "2", Compose: "5.6.0"}
	for _, step := range []struct {
		found foundDocker
		want  []string
	}{
		{foundDocker{Found: now}, []string{`[INFO]  Docker found: engine=29.9.0 api=1.52 store=overlayfs cgroup=2 rootless=false compose=5.6.0 buildx=none`}},
		{foundDocker{Found: now}, nil},
		{foundDocker{err: errors.New("too old")}, []string{`[WARN]  Docker is not as pgo needs it: error="too old"`}},
		{foundDocker{err: errors.New("too old")}, nil},
		{foundDocker{Found: compose.Found{Engine: "31.0.0", API: "1.52", Compose: "5.6.0", Buildx: "0.38.2"}},
			[]string{"Docker found: engine=31.0.0", "[WARN]  this pgo has not been tried with Docker engine 31.0.0"}},
	} {
		out.Reset()
		d.tell(t.Context(), &step.found, log)
		lines := strings.Count(out.String(), "\n")
		for _, want := range step.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("not logged: %s, but %s", want, out.String())
			}
		}
		if lines != len(step.want) {
			t.Errorf("%d lines: %s", lines, out.String())
		}
	}
}
