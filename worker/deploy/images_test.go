package deploy

import (
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
