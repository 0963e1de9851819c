package policy

import (
	"encoding/json"
	"flag"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what is found into docs")

func decode(t *testing.T, text string) map[string]any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var model map[string]any
	if err := d.Decode(&model); err != nil {
		t.Fatal(err)
	}
	return model
}

// TestUnknownKeys puts a key that is not in the table into each object whose keys the
// repository does not choose, one after the other.
func TestUnknownKeys(t *testing.T) {
	const key = "unheard-of"
	var look func(n *node)
	look = func(n *node) {
		if n == nil || n.rule != nil && n.rule.whole {
			return
		}
		if n.keys != nil && n.names == nil {
			model := modelOf(strings.TrimPrefix(n.pattern+"."+key, "."), false)
			refused := false
			for _, r := range Check(home, model, tree{}) {
				refused = refused || strings.HasSuffix(r.Path, "."+key) || r.Path == key
			}
			if !refused {
				t.Errorf("a key %s is not refused in %q", key, n.pattern)
			}
		}
		for _, child := range n.keys {
			look(child)
		}
		look(n.names)
		look(n.items)
	}
	look(schema())
}

// fixedObjects returns the objects in v whose keys are all in the table.
func fixedObjects(n *node, v any) []map[string]any {
	if n == nil || n.rule != nil && n.rule.whole {
		return nil
	}
	var found []map[string]any
	switch v := v.(type) {
	case map[string]any:
		if n.names == nil {
			found = append(found, v)
		}
		for key, value := range v {
			found = append(found, fixedObjects(n.child(key), value)...)
		}
	case []any:
		for _, value := range v {
			found = append(found, fixedObjects(n.items, value)...)
		}
	}
	return found
}

// A built image must be named after the service: a name that only begins alike is not enough.
func TestBuiltNames(t *testing.T) {
	for image, want := range map[string]bool{
		"post": true, "post-web:1": true, "post.web": true, "post_web": true, "team/post": true, "registry.example.org/team/post-web": true,
		"postgres:16": false, "team/postgres": false, "post-shop": false, "web": false,
	} {
		limits := home
		limits.Service, limits.Others = "post", []string{"post-shop"}
		model := map[string]any{"services": map[string]any{"web": map[string]any{"image": image, "build": map[string]any{"context": limits.Stage}}}}
		if got := len(Check(limits, model, tree{})) == 0; got != want {
			t.Errorf("%s: %v", image, got)
		}
	}
}
