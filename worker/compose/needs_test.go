package compose

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
)

// What compose says only when it creates containers is known before.
func TestUnmakeable(t *testing.T) {
	for text, want := range map[string]string{
		"services: {web: {image: busybox, secrets: [s]}}\nsecrets: {s: {external: true}}":                                           "secrets.s: external is for Swarm alone; use file, environment or content",
		"services: {web: {image: busybox, configs: [c]}}\nconfigs: {c: {external: true}}":                                           "configs.c: external is for Swarm alone",
		"services: {web: {image: busybox, read_only: true, secrets: [s]}}\nsecrets: {s: {environment: S}}":                          "services.web is read_only, and docker compose can give it secrets.s only from a file",
		"services: {web: {image: busybox, read_only: true, configs: [c]}}\nconfigs: {c: {content: x}}":                              "services.web is read_only, and docker compose can give it configs.c only from a file",
		"services: {web: {image: busybox, read_only: true, secrets: [s]}}\nsecrets: {s: {file: ./s}}":                               "",
		"services: {web: {image: busybox, read_only: true, secrets: [e]}}\nsecrets: {e: {environment: EMPTY}}":                      "",
		"services: {web: {image: busybox, secrets: [s], configs: [c]}}\nsecrets: {s: {environment: S}}\nconfigs: {c: {content: x}}": "",
	} {
		err := Unmakeable(resolve(t, project(t), tree(t, map[string]string{"compose.yaml": text, ".env": "S=1\nEMPTY=\n"}), ""))
		if want == "" && err != nil || want != "" && (!errors.Is(err, ErrNoModel) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s\n%v, want %s", text, err, want)
		}
	}
}

func TestRequired(t *testing.T) {
	dir := tree(t, map[string]string{"compose.yaml": `
services:
  web:
    image: busybox
    secrets: [s, v]
    configs: [c]
    volumes: ["./data:/d"]
secrets: {s: {file: ./s.txt}, unused: {file: ./u.txt}, v: {environment: V}}
configs: {c: {file: ./s.txt}}
`, ".env": "V=1"})
	got := Required(resolve(t, project(t), dir, ""))
	if want := map[string]string{dir + "/s.txt": "secrets.s.file"}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", slices.Collect(maps.Keys(got)), want)
	}
}
