package caddyfile

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgo/internal/config"
)

var update = flag.Bool("update", false, "write the snippets to testdata")

// TestRender reads testdata: configurations and their snippets. Caddy must accept each snippet and
// route as the urls say. To add a case, add a .toml file and run with -update, which writes the
// snippet; read it before you commit.
func TestRender(t *testing.T) {
	caddy := startCaddy(t)
	files, err := filepath.Glob("testdata/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in testdata: %v", err)
	}
	for _, path := range files {
		name := strings.TrimSuffix(path, ".toml")
		t.Run(filepath.Base(name), func(t *testing.T) {
			loaded, err := config.Load(path, config.Options{Machines: []string{"host1"}})
			if err != nil {
				t.Fatal(err)
			}
			got := Render(loaded.Services, "/etc/caddy/.urls.switch.")
			if *update {
				err = os.WriteFile(name+".caddyfile", []byte(got), 0o644)
			}
			want, readErr := os.ReadFile(name + ".caddyfile")
			if err != nil || readErr != nil || got != string(want) {
				t.Errorf("got\n%s\nwant\n%s\n%v %v", got, want, err, readErr)
			}
			reversed := slices.Clone(loaded.Services)
			slices.Reverse(reversed)
			if Render(reversed, "/etc/caddy/.urls.switch.") != got {
				t.Error("the order of services makes a difference")
			}
			caddy.check(t, loaded.Services)
		})
	}
}

func TestRenderNothing(t *testing.T) {
	for _, services := range [][]config.Service{nil, {{Name: "web"}}} {
		if got := Render(services, "/etc/caddy/.urls.switch."); got != head {
			t.Errorf("got %q", got)
		}
		if adapted := adapt(t, Render(services, "/etc/caddy/.urls.switch.")); string(adapted) != "{}" {
			t.Errorf("caddy adapts it to %s", adapted)
		}
	}
}
