package supervisor

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgo/internal/config"
)

// A worker is asked once for each engine, and what it says is shown whatever it is.
func TestDocker(t *testing.T) {
	me := myself(t)
	service := func(name, host string) config.Service {
		return config.Service{Name: name, User: me, DockerHost: host}
	}
	const here, there = "unix:///run/here.sock", "unix:///run/there.sock"
	both := []config.Service{service("a", here), service("b", there), service("c", here)}
	for _, c := range []struct {
		does string
		of   []config.Service
		want []string
	}{
		{"exit 1", nil, nil},
		{`echo '{"docker": "engine 1", "free": 2, "projects": ["x"]}'`, both, []string{
			"Docker at " + here + ": engine 1", "Docker at " + there + ": engine 1"}},
		{`echo "{\"docker\": \"$1 $2\", \"warnings\": [\"untried\"], \"free\": 0, \"projects\": [\"c\"]}"`, both[:1], []string{
			"Docker at " + here + ": --found " + here,
			"warning: Docker at " + here + ": untried",
			"warning: Docker at " + here + ": at most 0 more networks fit, and services without a network yet: 1; " +
				"make room with default-address-pools in the engine's daemon.json, see \"How many networks fit\" in docs/operators.md"}},
		{`echo '{"docker": "engine 1", "free": 0, "projects": ["a", "c"]}'`, []config.Service{both[0], both[2]}, []string{"Docker at " + here + ": engine 1"}},
		{`echo '{"warnings": ["docker compose 1 is too old"]}'`, both[:1], []string{"warning: Docker at " + here + ": docker compose 1 is too old"}},
		{`printf %s '{"error": "no\nengine"}'`, both[:1], []string{"Docker at " + here + " was not checked: no\\nengine"}},
		{"echo nonsense", both[:1], []string{"Docker at " + here + " was not checked: cannot read the worker's answer: invalid character 'o' in literal null (expecting 'u')"}},
		{"echo 'no idea' >&2; exit 3", both[:1], []string{"Docker at " + here + " was not checked: the worker ended: exit status 3: no idea"}},
	} {
		worker := filepath.Join(t.TempDir(), "pgo-worker")
		if err := os.WriteFile(worker, []byte("#!/bin/sh\n"+c.does+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if got := Docker(t.Context(), worker, c.of); !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", c.does, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}

	if got := Docker(t.Context(), filepath.Join(t.TempDir(), "none"), both[:1]); len(got) != 1 || !strings.HasPrefix(got[0], "Docker at "+here+" was not checked: there is no pgo-worker: stat ") {
		t.Errorf("without a worker: %q", got)
	}
	slow := filepath.Join(t.TempDir(), "pgo-worker")
	if err := os.WriteFile(slow, []byte("#!/bin/sh\nsleep 600\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(context.DeadlineExceeded)
	if got := Docker(ctx, slow, both[:1]); len(got) != 1 || !strings.Contains(got[0], "was not checked: ") {
		t.Errorf("of one that does not answer: %q", got)
	}
}
