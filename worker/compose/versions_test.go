package compose

import (
	"context"
	"strings"
	"testing"
)

func TestCheckVersion(t *testing.T) {
	for said, old := range map[string]bool{
		"2.40.3": false, "v2.35.0": false, "2.35.0-desktop.1": false, "5.0.1": false, "2.100.0": false,
		"2.34.0": true, "v2.4.1": true, "1.29.2": true, "": true, "nonsense": true,
	} {
		p := script(t, "echo '"+said+"'")
		p.Home = t.TempDir()
		err := p.CheckVersion(context.Background())
		if (err != nil) != old {
			t.Errorf("%q: error %v", said, err)
		}
		if err != nil && !strings.Contains(err.Error(), "is too old: pgo needs 2.35 or newer") {
			t.Errorf("%q: error %v", said, err)
		}
	}
	p := project(t)
	if err := p.CheckVersion(context.Background()); err != nil {
		t.Errorf("the installed one: %v", err)
	}
}

// What an engine is too old for is known before compose says it, which would be when what ran has
// ended.
func TestTooNew(t *testing.T) {
	for text, wants := range map[string]map[string]string{
		"{healthcheck: {test: x, start_interval: 5s}}": {
			"1.41": "services.web.healthcheck.start_interval needs Docker engine 25 or newer (API 1.44), and the one here has API 1.41: leave it out, or upgrade the engine",
			"1.43": "services.web.healthcheck.start_interval", "1.44": "", "1.51": "", "1.100": "",
		},
		"{healthcheck: {test: x, interval: 5s}}":                             {"1.41": ""},
		"{networks: {default: {interface_name: eth9}}}":                      {"1.48": "services.web.networks.interface_name needs Docker engine 28.1", "1.49": ""},
		"{networks: {default: {gw_priority: 1}}}":                            {"1.47": "services.web.networks.gw_priority needs Docker engine 28 or newer (API 1.48)", "1.48": ""},
		"{networks: {default: {gw_priority: 0}}}":                            {"1.41": ""},
		"{networks: {default: {aliases: [x]}}}":                              {"1.41": ""},
		"{volumes: [\"/data\", {type: image, source: busybox, target: /b}]}": {"1.47": "services.web.volumes.type: image needs Docker engine 28 or newer", "1.48": ""},
		"{volumes: [\"./image:/image\"]}":                                    {"1.41": ""},
	} {
		service := strings.Replace(text, "{", "{image: busybox, ", 1)
		m := resolve(t, project(t), tree(t, map[string]string{"compose.yaml": "services: {other: {image: busybox}, web: " + service + "}"}), "")
		checkTooNew(t, m, text, wants)
	}
	for entry, wants := range map[string]map[string]string{
		"{enable_ipv4: false, enable_ipv6: true}": {"1.47": "networks.six.enable_ipv4: false needs Docker engine 28 or newer (API 1.48), and the one here has API 1.47", "1.48": ""},
		"{enable_ipv4: true}":                     {"1.41": ""},
	} {
		checkTooNew(t, resolve(t, project(t), tree(t, map[string]string{"compose.yaml": "services: {web: {image: busybox, networks: [six]}}\nnetworks: {six: " + entry + "}\n"}), ""), entry, wants)
	}
}

func checkTooNew(t *testing.T, m *Model, text string, wants map[string]string) {
	t.Helper()
	for api, want := range wants {
		if err := tooNew(m, api); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s with API %s: %v, want %q", text, api, err, want)
		}
	}
}
