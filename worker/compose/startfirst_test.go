package compose

import (
	"strings"
	"testing"
)

// What a compose service has decides whether two of its containers can exist at once.
func TestStartsSecond(t *testing.T) {
	for has, want := range map[string]string{
		`"image": "a"`:                                       "",
		`"ports": [{"target": 80}]`:                          "it publishes a port of the host",
		`"container_name": "own"`:                            "it has a container_name",
		`"mac_address": "02:42:ac:11:00:02"`:                 "it has a fixed address",
		`"networks": {"n": {"ipv4_address": ""}}`:            "it has a fixed address",
		`"network_mode": "host"`:                             "it has a network_mode",
		`"pid": "service:other"`:                             "it shares the namespaces or volumes of another container",
		`"volumes_from": ["other"]`:                          "it shares the namespaces or volumes of another container",
		`"x-pgo": {"start-first": false}`:                    "x-pgo says so",
		`"volumes": [{"type": "volume", "target": "/data"}]`: "it has a volume without a name, at /data, which would not be handed on",
		`"volumes": [{"type": "volume", "target": "/data"}], "x-pgo": {"start-first": true}`:             "it has a volume without a name, at /data, which would not be handed on",
		`"volumes": [{"type": "bind", "source": "/a", "target": "/a"}]`:                                  "it can write to what it mounts at /a (if two containers at once are fine: x-pgo: {start-first: true})",
		`"volumes": [{"type": "bind", "source": "/a", "target": "/a", "read_only": true}]`:               "",
		`"volumes": [{"type": "volume", "source": "v", "target": "/v"}], "x-pgo": {"start-first": true}`: "",
		`"volumes": [{"type": "tmpfs", "target": "/t"}]`:                                                 "",
		`"devices": [{"source": "/dev/null"}]`:                                                           "it has a device (if two containers at once are fine: x-pgo: {start-first: true})",
		`"deploy": {"resources": {"reservations": {"devices": [{"driver": "nvidia"}]}}}`:                 "it has a device (if two containers at once are fine: x-pgo: {start-first: true})",
		`"scale": 2, "pre_stop": [{"command": "a"}]`:                                                     "it has several containers, and pre_stop hooks",
		`"scale": 1, "pre_stop": [{"command": "a"}]`:                                                     "",
		`"ports": [{"target": 80}], "x-pgo": {"start-first": true}`:                                      "it publishes a port of the host",
	} {
		m, err := Decode([]byte(`{"services": {"web": {` + has + `}}}`))
		if err != nil {
			t.Fatal(has, err)
		}
		if got := StartsSecond(m, "web", nil); got != want {
			t.Errorf("%s: %q, want %q", has, got, want)
		}
	}
	m, err := Decode([]byte(`{"services": {"web": {"tmpfs": ["/tmp:size=1m"], "volumes": [{"type": "bind", "source": "/a", "target": "/a/", "read_only": true}]},
		"side": {"network_mode": "service:web"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := StartsSecond(m, "web", nil); got != "side shares its namespaces or volumes" {
		t.Error(got)
	}
	delete(m.root["services"].(map[string]any), "side")
	if got := StartsSecond(m, "web", []string{"/tmp", "/a"}); got != "" {
		t.Error("a declared volume over which something is mounted: ", got)
	}
	if got := StartsSecond(m, "web", []string{"/tmp", "/b"}); !strings.Contains(got, "/b") {
		t.Error("a declared volume: ", got)
	}
}

func TestCheckExtensions(t *testing.T) {
	for has, want := range map[string]string{
		`{"start-first": true}`:  "",
		`{}`:                     "",
		`{"start-frist": true}`:  "services.web.x-pgo: start-frist is not known; did you mean start-first?",
		`{"other": true}`:        "services.web.x-pgo: other is not known; the only setting is start-first",
		`{"start-first": "yes"}`: "services.web.x-pgo.start-first: write true or false",
		`"start-first"`:          "services.web.x-pgo: expected a mapping, such as {start-first: true}",
	} {
		m, err := Decode([]byte(`{"services": {"web": {"x-pgo": ` + has + `}}}`))
		if err != nil {
			t.Fatal(has, err)
		}
		got := ""
		if err := CheckExtensions(m); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", has, got, want)
		}
	}
}
