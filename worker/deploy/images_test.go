package deploy

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"pgo/worker/compose"
)

// An image is this service's own if pgo has labelled it so. One of an earlier pgo counts if it is
// known to have been built by that; what it says about itself is not enough.
func TestHasBuilt(t *testing.T) {
	s, err := openStore(t.TempDir(), func() {})
	if err != nil {
		t.Fatal(err)
	}
	i := &images{name: "web", store: s}
	if err := s.update(func(st *State) { st.Brought = []string{"web-site:latest"} }); err != nil {
		t.Fatal(err)
	}
	model := `{"services": {"site": {"build": {"context": "/a", "tags": ["web/extra"]}}, "db": {"image": "web-db"}}}`
	r := Record{Number: 1, Outcome: Deployed, Images: map[string]string{"site": "sha256:1", "db": "sha256:2"}}
	if err := s.history.keep(r, []byte(model), 1); err != nil {
		t.Fatal(err)
	}
	type image = compose.Image
	for name, test := range map[string]struct {
		as    string
		image image
		own   bool
	}{
		"labelled":                             {"web-x", image{ID: "sha256:3", Service: "web"}, true},
		"another service's":                    {"web-x", image{ID: "sha256:3", Service: "other"}, false},
		"another service's, and compose's":     {"web-site", image{ID: "sha256:3", Service: "other", Project: "web", Names: []string{"web-site:latest"}}, false},
		"compose's, brought":                   {"web-site", image{ID: "sha256:3", Project: "web", Names: []string{"web-site:latest"}}, true},
		"compose's, brought by its other name": {"web/extra", image{ID: "sha256:3", Project: "web", Names: []string{"web/extra:latest", "web-site:latest"}}, true},
		"compose's, pinned":                    {"web-x", image{ID: "sha256:3", Project: "web", Names: []string{"pgo/web:abc-x-123", "web-x:latest"}}, true},
		"compose's, pinned by another":         {"web-x", image{ID: "sha256:3", Project: "web", Names: []string{"pgo/web2:abc-x-123", "web-x:latest"}}, false},
		"compose's alone":                      {"web-x", image{ID: "sha256:3", Project: "web", Names: []string{"web-x:latest"}}, false},
		"compose's, of another project":        {"web-site", image{ID: "sha256:3", Project: "other", Names: []string{"web-site:latest"}}, false},
		"brought, and somebody else's":         {"web-site", image{ID: "sha256:3", Names: []string{"web-site:latest"}}, false},
		"of a kept deploy":                     {"web-site", image{ID: "sha256:1"}, true},
		"of a kept deploy, by another name":    {"web/extra", image{ID: "sha256:1"}, true},
		"of a kept deploy, not as its name":    {"web-x", image{ID: "sha256:1"}, false},
		"pulled by a kept deploy":              {"web-db", image{ID: "sha256:2"}, false},
	} {
		if got := i.hasBuilt(test.as, test.image); got != test.own {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// engineWithImages is an engine with images of these names. Two are the same up to the dot in their
// IDs. One that begins with "gone" does not exist, and none is removed.
func engineWithImages(t *testing.T, names map[string]string) *compose.Engine {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/_ping", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		_, image, _ := strings.Cut(r.URL.Path, "/images/")
		if id, tag := strings.CutSuffix(image, "/tag"); tag {
			repository := strings.TrimPrefix(r.URL.Query().Get("repo"), "docker.io/")
			names[strings.TrimPrefix(repository, "library/")] = id
			w.WriteHeader(http.StatusCreated)
			return
		}
		image = strings.TrimSuffix(image, "/json")
		if id := names[image]; id != "" {
			image = id
		}
		w.Header().Set("Content-Type", "application/json")
		if image == "gone.1" {
			w.WriteHeader(http.StatusNotFound)
			_, _ = fmt.Fprint(w, `{"message": "no such image"}`)
			return
		}
		content, _, _ := strings.Cut(image, ".")
		_, _ = fmt.Fprintf(w, `{"Id": %q, "RepoTags": ["some:1"], "Config": {}, "RootFS": {"Type": "layers", "Layers": [%q]}}`, image, content)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return &compose.Engine{Host: "tcp://" + strings.TrimPrefix(server.URL, "http://")}
}

// A build that makes an image that is there already leaves the names where they were: first of all
// with what runs. One that makes another moves them.
func TestKeepSame(t *testing.T) {
	const name, extra = "web-site", "web/extra"
	for what, test := range map[string]struct {
		runs, before, built, platforms string
		want                           string
	}{
		"the same as what runs":              {"run.1", "run.1", "run.2", "", "run.1"},
		"the very same":                      {"run.1", "run.1", "run.1", "", "run.1"},
		"another":                            {"run.1", "run.1", "new.1", "", "new.1"},
		"what runs, after a failed one":      {"run.1", "bad.1", "run.2", "", "run.1"},
		"what was built, and does not run":   {"run.1", "bad.1", "bad.2", "", "bad.1"},
		"what was built, and nothing runs":   {"", "bad.1", "bad.2", "", "bad.1"},
		"the first":                          {"", "", "new.1", "", "new.1"},
		"what runs is gone":                  {"gone.1", "", "gone.2", "", "gone.2"},
		"the same, one of several platforms": {"run.1", "run.1", "run.2", `, "platforms": ["linux/amd64", "linux/arm64"]`, "run.2"},
	} {
		names := map[string]string{name: test.built, extra: test.built}
		engine := engineWithImages(t, names)
		s, err := openStore(t.TempDir(), func() {})
		if err != nil {
			t.Fatal(err)
		}
		if test.runs != "" {
			if err := s.update(func(st *State) { st.Deployed = &Record{Images: map[string]string{"site": test.runs}} }); err != nil {
				t.Fatal(err)
			}
		}
		i := &images{name: "web", store: s, engine: engine}
		model, err := compose.Load([]byte(`{"services": {"site": {"build": {"context": "/a", "tags": ["web/extra"]` + test.platforms + `}}, "db": {"image": "db"}}}`))
		if err != nil {
			t.Fatal(err)
		}
		c := &candidate{resolved: model, images: model.Images("web"), built: model.Built()}
		err = i.keepSame(t.Context(), c, map[string]string{"site": test.before, "db": "x"})
		if now := []string{names[name], names[extra]}; err != nil || !slices.Equal(now, []string{test.want, test.want}) {
			t.Errorf("%s: the names lead to %v, not %s: %v", what, now, test.want, err)
		}
	}
}

// The steps of the last build of everything are kept, and those of what was built since; earlier
// ones may go, unless a later build has used them again.
func TestStepsAfter(t *testing.T) {
	ids := func(text string) []string { return strings.Fields(text) }
	s := BuildSteps{}
	for _, build := range []struct {
		steps         string
		whole         bool
		last, earlier string
	}{
		{"", true, "", ""},
		{"base a b", true, "base a b", ""},
		{"base a b", true, "base a b", ""},
		{"base a c", true, "base a c", "b"},
		{"base x", false, "a c base x", "b"},
		{"base b", true, "base b", "a c x"},
		{"base d", true, "base d", "a c x b"},
		{"", true, "", "a c x b base d"},
	} {
		s = s.after(ids(build.steps), build.whole)
		if want := (BuildSteps{ids(build.last), ids(build.earlier)}); !s.same(want) {
			t.Errorf("after %q: %v, not %v", build.steps, s, want)
		}
	}
	for n := range 3 * maxSteps {
		s = s.after([]string{fmt.Sprint(n)}, true)
	}
	if len(s.Earlier) != maxSteps || s.Earlier[maxSteps-1] != fmt.Sprint(3*maxSteps-2) {
		t.Errorf("%d are remembered, the last one is %s", len(s.Earlier), s.Earlier[len(s.Earlier)-1])
	}
}

// A name that was moved to an image which is the same here goes back to what runs.
func TestStay(t *testing.T) {
	model, err := compose.Load([]byte(`{"services": {"tag": {"image": "tool"}, "pinned": {"image": "tool@sha256:1"}, "other": {"image": "tool", "platform": "linux/s390x"},
		"built": {"image": "tool", "build": {"platforms": ["linux/amd64", "linux/s390x"]}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for what, test := range map[string]struct{ service, runs, now, want string }{
		"the same":                    {"tag", "one.1", "one.2", "one.1"},
		"another":                     {"tag", "one.1", "two.1", "two.1"},
		"what runs is gone":           {"tag", "gone.1", "gone.2", "gone.2"},
		"nothing runs":                {"tag", "", "one.2", "one.2"},
		"it is missing":               {"tag", "one.1", "", ""},
		"by digest":                   {"pinned", "one.1", "one.2", "one.2"},
		"of another platform":         {"other", "one.1", "one.2", "one.2"},
		"built for several platforms": {"built", "one.1", "one.2", "one.2"},
	} {
		names := map[string]string{"tool": test.now}
		i := &images{name: "web", engine: engineWithImages(t, names)}
		now := map[string]string{test.service: test.now}
		err := i.stay(t.Context(), &candidate{resolved: model, images: model.Images("web")}, map[string]string{test.service: test.runs}, now)
		if err != nil || now[test.service] != test.want || names["tool"] != test.want {
			t.Errorf("%s: the name leads to %q, and %q is to run, not %q: %v", what, names["tool"], now[test.service], test.want, err)
		}
	}
}

// The steps of a build are known also if it comes before the deploy is secured; nothing is removed
// then.
func TestStepsOfABuildBeforeTheDeployIsSecured(t *testing.T) {
	s, err := openStore(t.TempDir(), func() {})
	if err != nil {
		t.Fatal(err)
	}
	earlier := BuildSteps{Last: []string{"a", "b"}}
	if err := s.update(func(st *State) { st.Deployed, st.Steps = &Record{Number: 1, Outcome: Deployed}, earlier }); err != nil {
		t.Fatal(err)
	}
	i := &images{name: "web", store: s, engine: &compose.Engine{Host: "tcp://127.0.0.1:1"}} // whoever asks it fails
	if err := i.tidyBuilds(t.Context(), []string{"a", "c"}, true); err != nil {
		t.Error(err)
	}
	if now := s.snapshot().Steps; !now.same(BuildSteps{Last: []string{"a", "c"}, Earlier: []string{"b"}}) {
		t.Errorf("these steps are known: %+v", now)
	}
}
