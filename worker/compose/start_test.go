package compose

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestPlainly(t *testing.T) {
	for _, test := range []struct {
		name, web     string
		starts, stops bool
	}{
		{"nothing special", `{}`, true, true},
		{"a dependency that only has to be started", `{"depends_on": {"db": {"condition": "service_started"}}}`, true, true},
		{"one that has to be healthy", `{"depends_on": {"db": {"condition": "service_healthy"}}}`, false, true},
		{"a job before", `{"depends_on": {"db": {"condition": "service_started"}, "job": {"condition": "service_completed_successfully"}}}`, false, true},
		{"a hook after the start", `{"post_start": [{"command": ["true"]}]}`, false, true},
		{"a hook before it", `{"pre_start": [{"command": ["true"]}]}`, false, true},
		{"a hook before the stop", `{"pre_stop": [{"command": ["true"]}]}`, true, false},
		{"a secret from a file", `{"secrets": [{"source": "file"}]}`, true, true},
		{"a secret from a variable", `{"secrets": [{"source": "file"}, {"source": "variable"}]}`, false, true},
		{"a config with content", `{"configs": [{"source": "content"}]}`, false, true},
		{"a config that nobody defines", `{"configs": [{"source": "other"}]}`, false, true},
	} {
		m, err := Load([]byte(`{"services": {"db": {}, "job": {}, "web": ` + test.web + `},
			"secrets": {"file": {"file": "/f"}, "variable": {"environment": "V"}}, "configs": {"content": {"content": "text"}}}`))
		if err != nil {
			t.Fatal(err)
		}
		if got := StartsPlainly(m, nil); got != test.starts {
			t.Errorf("%s: of all, StartsPlainly is %v", test.name, got)
		}
		if got := StartsPlainly(m, []string{"web"}); got != test.starts {
			t.Errorf("%s: StartsPlainly is %v", test.name, got)
		}
		if !StartsPlainly(m, []string{"db"}) {
			t.Errorf("%s: it is not about db", test.name)
		}
		if got := StopsPlainly(m); got != test.stops {
			t.Errorf("%s: StopsPlainly is %v", test.name, got)
		}
	}
}

// What others depend on starts before them and stops after them, and what runs, or does not, is left
// alone. The engine's refusal is what it would be from compose.
func TestStartAndStop(t *testing.T) {
	container := func(service string, n int, state string) map[string]any {
		return map[string]any{"Id": fmt.Sprintf("%s%d", service, n), "Names": []string{fmt.Sprintf("/p-%s-%d", service, n)}, "State": state,
			"Labels": map[string]string{serviceLabel: service, numberLabel: fmt.Sprint(n)}}
	}
	m, err := Load([]byte(`{"services": {"app": {"depends_on": {"db": {"condition": "service_started"}}}, "db": {}, "web": {"depends_on": {"app": {"condition": "service_started"}}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	p := &Project{Name: "p", Env: []string{"PASSWORD=p-broken-1"}}
	e, told := fakeEngine(t, []map[string]any{
		container("web", 2, "created"), container("web", 1, "created"), container("app", 1, "exited"), container("db", 1, "created"),
		container("db", 2, "running"), container("stranger", 1, "created"),
	})
	var out bytes.Buffer
	for _, test := range []struct {
		services []string
		only     string
		want     []string
	}{
		{nil, "", []string{"start db1", "start app1", "start web1", "start web2"}},
		{[]string{"web", "db"}, "", []string{"start db1", "start web1", "start web2"}},
		{[]string{"web"}, "web2", []string{"start web2"}},
	} {
		*told = nil
		if err := p.Start(t.Context(), e, m, test.services, test.only, Output{Stderr: &out}); err != nil || !slices.Equal(*told, test.want) {
			t.Errorf("of %v %s: %v, %v", test.services, test.only, *told, err)
		}
	}
	if !strings.HasPrefix(out.String(), " Container p-db-1  Starting\n Container p-db-1  Started\n Container p-app-1  Starting\n") {
		t.Errorf("it says %q", out.String())
	}

	e, told = fakeEngine(t, []map[string]any{
		container("web", 1, "running"), container("web", 2, "paused"), container("app", 1, "restarting"), container("db", 1, "running"),
		container("db", 2, "exited"), container("stranger", 1, "running"),
	})
	if err := p.Stop(t.Context(), e, m, Output{}); err != nil || len(*told) != 4 || !slices.Equal((*told)[2:], []string{"stop app1", "stop db1"}) {
		t.Errorf("stopped: %v, %v", *told, err)
	}

	e, told = fakeEngine(t, []map[string]any{container("web", 1, "created"), container("broken", 1, "dead")})
	m, err = Load([]byte(`{"services": {"broken": {}, "web": {"depends_on": {"broken": {"condition": "service_started"}}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	err = p.Start(t.Context(), e, m, nil, "", Output{})
	if exit := new(ExitError); !errors.As(err, &exit) || exit.Status == 0 || !strings.HasPrefix(err.Error(), "cannot start container ***: ") || len(*told) != 1 {
		t.Errorf("the error is %v, after %v", err, *told)
	}
}
