package policy

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestMeasures(t *testing.T) {
	for _, test := range []struct {
		*measure
		text string
		want int64 // -1: cannot be read
		back string
	}{
		{sizes, "104857600", 100 << 20, "100m"}, {sizes, "64m", 64 << 20, "64m"}, {sizes, "64 MiB", 64 << 20, "64m"}, {sizes, "1.5g", 1536 << 20, "1536m"},
		{sizes, "2GB", 2 << 30, "2g"}, {sizes, "0", 0, "0"}, {sizes, "0.1", 1, "1"}, {sizes, "4000p", 4000 << 50, "4000p"},
		{sizes, "4097p", -1, ""}, {sizes, "", -1, ""}, {sizes, "-1", -1, ""}, {sizes, "1e9", -1, ""}, {sizes, "0x10", -1, ""}, {sizes, "inf", -1, ""},
		{sizes, "1_0", -1, ""}, {sizes, "1mm", -1, ""}, {sizes, " 1m", -1, ""}, {sizes, "1m\n", -1, ""}, {sizes, "99999999999999999999", -1, ""}, {sizes, "+1", -1, ""},
		{logSizes, "-1", unlimited, "-1"}, {logSizes, "10m", 10 << 20, "10m"}, {logSizes, "-2", -1, ""},
		{fileSizes, "0", unlimited, "0"}, {fileSizes, "1k", 1024, "1k"}, {fileSizes, "010", -1, ""}, {fileSizes, "1mb", -1, ""}, {fileSizes, "0x1", -1, ""}, {fileSizes, "", -1, ""}, {fileSizes, "1.5g", -1, ""},
		{percents, "50%", 50, "50%"}, {percents, "50", -1, ""}, {percents, "%", -1, ""}, {percents, "-1%", -1, ""},
		{counts, "5e6", -1, ""}, {counts, "1.5", -1, ""}, {counts, "-1", -1, ""}, {counts, "7", 7, "7"}, {counts, "9999999999999999999", -1, ""}, {counts, "true", -1, ""},
		{limits, "-1", unlimited, "-1"}, {limits, "-2", -1, ""}, {limits, "65536", 65536, "65536"},
		{durations, "1m30s", 90e9, "1m30s"}, {durations, "24h0m0s", 86400e9, "24h"}, {durations, "10m0s", 600e9, "10m"}, {durations, "0s", 0, "0s"}, {durations, "500ms", 5e8, "500ms"},
		{durations, "-1s", -1, ""}, {durations, "1d", -1, ""}, {durations, "5", -1, ""}, {durations, "9999999h", -1, ""},
	} {
		n, ok := test.parse(test.text)
		if ok != (test.want >= 0) || ok && n != test.want {
			t.Errorf("%q: %d, %v", test.text, n, ok)
			continue
		}
		if !ok {
			continue
		}
		if back := test.format(n); back != test.back {
			t.Errorf("%q is formatted as %q", test.text, back)
		} else if again, ok := test.parse(back); !ok || again != n {
			t.Errorf("%q is parsed as %d", back, again)
		}
	}
}

func TestCPUs(t *testing.T) {
	for text, want := range map[string]bool{
		"0": true, "0-3": true, "0,2-3,7": true, "8191": true,
		"": false, "8192": false, "0-4294967295": false, "3-0": false, "a": false, "0-": false, "-1": false, "0,": false, "1:2": false, "0-3,": false,
		strings.Repeat("0,", 600) + "0": false,
	} {
		if got := cpus(text); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// The number of containers is counted over all compose services, and read as compose reads it.
func TestContainers(t *testing.T) {
	service := func(key string, v string) string { return fmt.Sprintf(`{"image": "x", %q: %s}`, key, v) }
	for _, test := range []struct {
		services string
		want     string
	}{
		{service("scale", "100"), ""},
		{service("scale", "101"), `services: a total of 101 containers is refused: at most 100 (allow = ["containers:101"])`},
		{service("scale", "0"), ""},
		{service("deploy", `{"replicas": 101}`), `services: a total of 101 containers is refused: at most 100 (allow = ["containers:101"])`},
		{service("scale", "5e6"), `services.a.scale: 5e6 is refused: only a whole number`},
		{service("scale", "1.5"), `services.a.scale: 1.5 is refused: only a whole number`},
		{service("scale", "-1"), `services.a.scale: -1 is refused: only a whole number`},
		{service("scale", `"2"`), `services.a.scale: 2 is refused: only a whole number`},
		{service("scale", "true"), `services.a.scale: true is refused: only a whole number`},
		{service("deploy", `{"replicas": 1e1}`), `services.a.deploy.replicas: 1e1 is refused: only a whole number`},
		{service("scale", "99999999999999999999"), `services.a.scale: 99999999999999999999 is refused: only a whole number`},
		{`{"scale": 60}, "b": {"deploy": {"replicas": 60}}`, `services: a total of 120 containers is refused: at most 100 (allow = ["containers:120"])`},
		{`{"scale": 1, "deploy": {"replicas": 101}}`, `services: a total of 101 containers is refused: at most 100 (allow = ["containers:101"])`},
		{`{"scale": 60, "ports": [{"target": 80}, {"target": 81, "published": "9000-9440"}]}`, `services: a total of 501 published ports is refused: at most 500 (allow = ["ports.count:501"])`},
		{`{"scale": 60, "volumes": [{"type": "volume", "target": "/a"}, {"type": "volume", "target": "/b"}]}`, `volumes: a total of 120 volumes is refused: at most 100 (allow = ["volumes.count:120"])`},
		{`{"scale": 51, "tmpfs": [` + strings.Repeat(`"/a",`, 99) + `"/a"]}`, `services: a total of 5100 mounts is refused: at most 5000 (allow = ["mounts.count:5100"])`},
		{`{"expose": ["1-65535"]}`, `services: a total of 65535 exposed ports is refused: at most 500 (allow = ["expose.count:65535"])`},
		{`{"expose": ["80", "90/udp", "x", "3-1", "80/x", "80/tcp/x"]}`, "services.a.expose[2]: x is refused: only a port, or a range such as 9000-9002\nservices.a.expose[3]: 3-1 is refused: only a port, or a range such as 9000-9002\nservices.a.expose[4]: 80/x is refused: only a port, or a range such as 9000-9002\nservices.a.expose[5]: 80/tcp/x is refused: only a port, or a range such as 9000-9002"},
	} {
		var lines []string
		for _, r := range Check(home, decode(t, `{"volumes": {}, "services": {"a": `+test.services+`}}`), tree{}) {
			lines = append(lines, r.String())
		}
		if got := strings.Join(lines, "\n"); got != test.want {
			t.Errorf("%s: %s", test.services, got)
		}
	}
}

// What the engine keeps for each container counts for each.
func TestWeight(t *testing.T) {
	text := strings.Repeat("x", 1<<20)
	for _, test := range []struct {
		service map[string]any
		want    int
	}{
		{map[string]any{"environment": map[string]any{"A": text}}, 0},
		{map[string]any{"environment": map[string]any{"A": text}, "scale": json.Number("50")}, 1},
		{map[string]any{"configs": []any{map[string]any{"source": "c"}}, "scale": json.Number("50")}, 1},
		{map[string]any{"labels": map[string]any{"A": text}, "scale": json.Number("0")}, 0},
	} {
		model := map[string]any{"services": map[string]any{"a": test.service}, "configs": map[string]any{"c": map[string]any{"content": text}}}
		if refusals := Check(home, model, tree{}); len(refusals) != test.want || test.want > 0 && !strings.HasPrefix(refusals[0].Allow, "containers.size:") {
			t.Errorf("%v", refusals)
		}
	}
}

// Services of root have no bounds, but all readers must read their models alike.
func TestBoundsOfRoot(t *testing.T) {
	limits := home
	limits.Root = true
	model := `{"services": {"a": {"scale": 1000, "shm_size": "1099511627776", "ulimits": {"nofile": -1}, "tmpfs": ["/x:size=0"], "logging": {"options": {"max-file": "1000"}}}}}`
	if refusals := Check(limits, decode(t, model), tree{}); len(refusals) > 0 {
		t.Errorf("%v", refusals)
	}
	if refusals := Check(limits, decode(t, `{"services": {"a": {"scale": 5e6}}}`), tree{}); len(refusals) != 1 {
		t.Errorf("%v", refusals)
	}
}

// spell writes different options differently.
func TestSpell(t *testing.T) {
	seen := map[string]string{}
	for _, options := range []map[string]any{
		{"device": "/a", "type": "b"}, {"device": "/a,type=b"}, {"device": "/a", "o": "x,type=b"}, {"device": "/a", "o": "x", "type": "b"},
		{"device": "/a,o=x", "type": "b"}, {"device,o": "x"}, {"device": "", "o": "x"}, {"device": `"/a,type=b"`}, {"device": "/a,b"}, {"device": "/a", "o": "a=1,b=2"}, {"device": "/a,o=a=1,b=2"},
	} {
		text, key := spell(options), fmt.Sprint(options)
		if before, taken := seen[text]; taken {
			t.Errorf("%s and %s are both %s", before, key, text)
		}
		seen[text] = key
	}
}
