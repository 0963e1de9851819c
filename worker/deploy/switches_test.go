package deploy

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgo/worker/compose"
)

// The switches become what is asked for. Those of a service that has not asked yet stay, and so does
// every other file.
func TestTurnAll(t *testing.T) {
	tree := t.TempDir()
	caddy := filepath.Join(tree, "caddy")
	if err := os.Mkdir(caddy, 0o755); err != nil {
		t.Fatal(err)
	}
	id := func(digit string) string { return strings.Repeat(digit, 64) }
	for _, name := range []string{
		"urls", ".urls.swp", ".urls.switch.odd", ".urls.switch.odd=name", // nobody's
		".urls.switch.app.web=" + id("0")[:12], ".urls.switch.app.web=left over", // another container by now
		".urls.switch.app.web.internal=" + id("3")[:12], // as it should be
		".urls.switch.app.api=" + id("4")[:12],          // no longer asked for
		".urls.switch.later.web=" + id("5")[:12],        // its worker has said nothing yet
		".urls.switch.gone.web=" + id("6")[:12],         // of no service
	} {
		if err := os.WriteFile(filepath.Join(caddy, name), []byte("#\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := &proxy{
		name: "gate", entry: &Proxy{Import: "caddy/urls", Switch: ".urls.switch."},
		files: &workspace{dir: t.TempDir(), project: &compose.Project{Checkout: tree}},
	}
	asked := map[string]map[string]string{"app": {"web": id("1"), "web.internal": id("3")}, "new": {"web": id("2")}}
	switched, err := p.turnAll(Neighbours{Services: []string{"app", "later", "new"}, Switches: asked})
	if err != nil || switched["app"]["web"] != id("1") || switched["new"]["web"] != id("2") {
		t.Errorf("switched to %v, %v", switched, err)
	}
	entries, err := os.ReadDir(caddy)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	want := []string{
		".urls.switch.app.web.internal=" + id("3")[:12], ".urls.switch.app.web=" + id("1")[:12], ".urls.switch.later.web=" + id("5")[:12],
		".urls.switch.new.web=" + id("2")[:12], ".urls.switch.odd", ".urls.switch.odd=name", ".urls.swp", "urls",
	}
	if !slices.Equal(names, want) {
		t.Errorf("there are %q\nwant      %q", names, want)
	}
}
