package compose

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// spread returns a model that has the text in each kind of place where a difference between two
// readers would be dangerous.
func spread(text string) *Model {
	return &Model{root: map[string]any{
		"name": "unit",
		"services": map[string]any{"web": map[string]any{
			"image":       "busybox",
			"command":     []any{text},
			"entrypoint":  nil,
			"environment": map[string]any{"K": text},
			"labels":      map[string]any{"l" + text: text},
			"networks":    map[string]any{"default": nil},
			"volumes": []any{map[string]any{
				"type": "bind", "source": "/s/" + text, "target": "/t/" + text, "bind": map[string]any{"create_host_path": true},
			}, map[string]any{"type": "volume", "source": "v", "target": "/v", "volume": map[string]any{}}},
			"secrets": []any{map[string]any{"source": "s"}},
			"configs": []any{map[string]any{"source": "c"}},
			"build":   map[string]any{"context": "/b/" + text, "dockerfile": "Dockerfile"},
			"logging": map[string]any{"options": map[string]any{"tag": text}},
		}},
		"networks": map[string]any{"default": map[string]any{"name": "unit_default", "ipam": map[string]any{}}},
		"volumes": map[string]any{"v": map[string]any{
			"name": "unit_v", "driver_opts": map[string]any{"type": "none", "o": "bind", "device": "/d/" + text},
		}},
		"secrets": map[string]any{"s": map[string]any{"name": "unit_s", "file": "/f/" + text}},
		"configs": map[string]any{"c": map[string]any{"name": "unit_c", "content": text}},
	}}
}

// reread returns a model as compose reads it.
func reread(t testing.TB, p *Project, m *Model) *Model {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "start.json")
	if err := os.WriteFile(file, m.Encode(), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, words strings.Builder
	if err := p.Run(context.Background(), file, dir, Output{Stdout: &out, Stderr: &words}, "config", "--format", "json"); err != nil {
		t.Fatalf("%v: %s\n%s", err, &words, m.Encode())
	}
	again, err := Decode([]byte(out.String()))
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// wantReadAlike checks that compose reads what Encode writes as it was meant, and that Load does
// too.
func wantReadAlike(t testing.TB, p *Project, text string) {
	t.Helper()
	want := spread(text)
	loaded, err := Load(want.Encode())
	if err != nil || !reflect.DeepEqual(loaded.root, want.root) {
		t.Errorf("%q: Load (error %v) reads another model", text, err)
	}
	again := reread(t, p, want)
	web := again.services()["web"]
	volumes := list(web["volumes"])
	if len(volumes) != 2 {
		t.Fatalf("%q: compose reads other volumes: %v", text, volumes)
	}
	device, _ := objects(again.root["volumes"])["v"]["driver_opts"].(map[string]any)
	for place, pair := range map[string][2]any{
		"command":     {web["command"], []any{text}},
		"environment": {web["environment"], map[string]any{"K": text}},
		"labels":      {web["labels"], map[string]any{"l" + text: text}},
		"source":      {volumes[0]["source"], "/s/" + text},
		"target":      {volumes[0]["target"], "/t/" + text},
		"context":     {web["build"].(map[string]any)["context"], "/b/" + text},
		"tag":         {web["logging"].(map[string]any)["options"], map[string]any{"tag": text}},
		"device":      {device["device"], "/d/" + text},
		"secret":      {objects(again.root["secrets"])["s"]["file"], "/f/" + text},
		"config":      {objects(again.root["configs"])["c"]["content"], text},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%q: compose reads the %s as %q, want %q", text, place, pair[0], pair[1])
		}
	}
}

// TestReadAlike covers texts in which the readers of YAML and JSON are known to take a character
// for something else.
func TestReadAlike(t *testing.T) {
	p := project(t)
	for _, text := range []string{
		"a\u0085b", "a\u2028b", "a\u2029b", "\ufeff", "a\ufeffb", "a\u00a0b", "a\u3000b", "a\u200bb", "\u0001\u001f\u007f\u0080\u009f",
		"\n", "a\nb", "a\r\nb", "\t", " ", "  a  ", "a \\\n b", "\\", `\u0085`, `\N`, `"`, "'", "#", "a: b", "- a", "*a", "&a", "!!str a", "%", "@",
		"$", "$$", "${x}", "$x", "~", "null", "true", "1", "1e3", "0x1f", "2026-11-30", "<<", "=", "[", "{", "ü", "日本", "😀", "\U0010ffff", "\ufffd", "\uffff",
		strings.Repeat("x", 900), "a" + strings.Repeat(" ", 200) + "b",
	} {
		wantReadAlike(t, p, text)
	}
}

func TestEncodeIsPlain(t *testing.T) {
	for _, r := range string(spread("a\u0085b\u2028c\ufeffd\u007fe\u00a0f\u00fcg").Encode()) {
		if r != '\n' && (r < ' ' || r > '~') {
			t.Errorf("%U is not escaped", r)
		}
	}
	if !json.Valid(spread("😀ü\u0085").Encode()) {
		t.Error("the encoded model is not JSON")
	}
}

func FuzzReadAlike(f *testing.F) {
	plugin, err := FindPlugin()
	if err != nil {
		f.Fatalf("%v (`make test` installs it)", err)
	}
	p := &Project{Plugin: plugin, Name: "unit", Home: f.TempDir(), Checkout: f.TempDir(), Marker: "PGO_SERVICE_DIR=/unit"}
	f.Add("a\u0085b")
	f.Add("$${a}\u2028😀")
	f.Fuzz(func(t *testing.T, text string) {
		// A model holds only valid UTF-8, the policy lets no longer key pass, and a slash makes
		// one path of several.
		if !utf8.ValidString(text) || len(text) > 150 || strings.Contains(text, "/") {
			return
		}
		wantReadAlike(t, p, "x"+text+"y")
	})
}
