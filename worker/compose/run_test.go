package compose

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func load(t *testing.T, text string) *Model {
	t.Helper()
	m, err := Load([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestDiff(t *testing.T) {
	for _, test := range []struct {
		name, a, b string
		want       []string
	}{
		{"nothing", `{"a": {"b": [1, "x"]}}`, `{"a": {"b": [1, "x"]}}`, nil},
		{"values", `{"services": {"web": {"image": "a", "user": "x"}}}`, `{"services": {"web": {"image": "b", "user": "x"}}}`, []string{"services.web.image"}},
		{"a key more and one less", `{"services": {"web": {}, "old": {"image": "a"}}}`, `{"services": {"web": {"user": "x"}}}`, []string{"services.old", "services.web.user"}},
		{"in a list", `{"l": ["a", "b"]}`, `{"l": ["a", "c"]}`, []string{"l[1]"}},
		{"another length", `{"l": ["a"]}`, `{"l": ["a", "c"]}`, []string{"l"}},
		{"another type", `{"l": ["a"], "m": {"a": 1}, "n": null}`, `{"l": "a", "m": 1, "n": {}}`, []string{"l", "m", "n"}},
		{"numbers as they were written", `{"n": 1}`, `{"n": 1.0}`, []string{"n"}},
		{"odd keys", `{"labels": {"a.b c": "1"}}`, `{"labels": {"a.b c": "2"}}`, []string{`labels."a.b c"`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := Diff(load(t, test.a), load(t, test.b)); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestRunImages(t *testing.T) {
	m := load(t, `{"services": {"web": {"image": "web", "build": {"context": "."}, "pull_policy": "always"}, "db": {"image": "db"}}}`)
	n := m.Clone()
	n.RunImages(map[string]string{"web": "sha256:1", "gone": "sha256:2"})
	if got, want := string(n.Encode()), string(load(t, `{"services": {"web": {"image": "sha256:1"}, "db": {"image": "db"}}}`).Encode()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := m.Images("p")["web"]; got != "web" {
		t.Errorf("the original has the image %s", got)
	}
}

func TestUsedBy(t *testing.T) {
	m := load(t, `{
		"services": {
			"web": {
				"volumes": [{"type": "bind", "source": "/s/conf"}, {"type": "volume", "source": "data"}],
				"configs": [{"source": "c"}], "secrets": [{"source": "s"}], "env_file": [{"path": "/s/web.env"}],
				"build": {"context": "/s/app"}
			},
			"db": {"volumes": [{"type": "bind", "source": "/s/db"}]}
		},
		"configs": {"c": {"file": "/s/c.txt"}, "other": {"file": "/s/other.txt"}},
		"secrets": {"s": {"file": "/s/s.txt"}},
		"volumes": {"data": {"driver_opts": {"type": "none", "o": "bind", "device": "/s/data"}}, "more": {"driver_opts": {"device": "/s/more"}}}
	}`)
	if got, want := m.UsedBy("web", "/s"), []string{"c.txt", "conf", "data", "s.txt", "web.env"}; !slices.Equal(got, want) {
		t.Errorf("web uses %q, want %q", got, want)
	}
	if got, want := m.UsedBy("db", "/s"), []string{"db"}; !slices.Equal(got, want) {
		t.Errorf("db uses %q, want %q", got, want)
	}
}

func TestVersions(t *testing.T) {
	m := load(t, `{"x-gpo-version": 3, "x-pgo-version": "b", "services": {"web": {}}}`)
	if got, want := m.Versions(), []string{"x-gpo-version=3", "x-pgo-version=b"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestOutside(t *testing.T) {
	m := load(t, `{
		"services": {"web": {"networks": {"a": null, "own": {}}, "volumes": [{"type": "volume", "source": "v"}]}},
		"networks": {"a": {"name": "proxy", "external": true}, "own": {"name": "p_own"}, "unused": {"name": "x", "external": true}},
		"volumes": {"v": {"name": "data", "external": true}}
	}`)
	if got := m.Outside("networks"); !slices.Equal(got, []string{"proxy"}) {
		t.Errorf("networks %q", got)
	}
	if got := m.Outside("volumes"); !slices.Equal(got, []string{"data"}) {
		t.Errorf("volumes %q", got)
	}
}

func TestHostPorts(t *testing.T) {
	m := load(t, `{"services": {"web": {"ports": [
		{"published": "8080", "target": 80, "protocol": "tcp"}, {"published": "9000-9002", "target": 80, "protocol": "udp", "host_ip": "127.0.0.1"},
		{"target": 81}, {"published": "0", "target": 82}, {"published": "x"}]}}}`)
	want := []HostPort{{Service: "web", First: 8080, Last: 8080, Protocol: "tcp"}, {Service: "web", IP: "127.0.0.1", First: 9000, Last: 9002, Protocol: "udp"}}
	if got := m.HostPorts(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestMasked(t *testing.T) {
	m := load(t, `{"services": {"web": {"environment": {"DB_PASSWORD": "hunter2", "API": "http://u:s3cret99@h", "PLAIN": "x"}, "command": ["s3cret99"], "secrets": [{"source": "key"}]}}}`)
	text := string(m.Masked(func(s string) bool { return strings.Contains(s, "s3cret99") }).Text())
	for _, secret := range []string{"hunter2", "s3cret99"} {
		if strings.Contains(text, secret) {
			t.Errorf("%s is shown: %s", secret, text)
		}
	}
	if !strings.Contains(text, `"PLAIN": "x"`) || !strings.Contains(text, `"source": "key"`) {
		t.Errorf("too much is hidden: %s", text)
	}
}

func TestFullName(t *testing.T) {
	for name, want := range map[string]string{
		"busybox": "busybox:latest", "docker.io/library/busybox:1": "busybox:1", "docker.io/team/app": "team/app:latest",
		"localhost:5000/app": "localhost:5000/app:latest", "pgo-web": "pgo-web:latest", "UPPER": "UPPER",
	} {
		if got := FullName(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

func TestStopGrace(t *testing.T) {
	m := load(t, `{"services": {"web": {"stop_grace_period": "1m30s"}, "db": {"scale": 2}, "off": {"scale": 0}}}`)
	if got := m.StopGrace(); got != 110*time.Second {
		t.Errorf("got %s", got)
	}
	if got := load(t, `{"services": {"web": {"stop_grace_period": "2000000h", "scale": 2000000000}}}`).StopGrace(); got != maxGrace {
		t.Errorf("with an endless grace period: got %s", got)
	}
}

// Volumes stay as the engine has made them, whatever a model says about them.
func TestWithVolumes(t *testing.T) {
	m := load(t, `{"services": {"web": {"build": {"context": "/s"}}}, "volumes": {
		"a": {"name": "p_a", "external": true}, "b": {"name": "p_b", "driver_opts": {"type": "tmpfs"}}, "c": {"name": "p_c", "driver": "nfs"}}}`)
	if got, want := m.VolumeNames(), []string{"p_a", "p_b", "p_c"}; !slices.Equal(got, want) {
		t.Errorf("names %q", got)
	}
	made := m.WithVolumes(map[string]Volume{"p_a": {Driver: "local", Options: map[string]string{"o": "bind", "device": "/"}}, "p_b": {Driver: "local"}})
	want := load(t, `{"services": {"web": {}}, "volumes": {
		"a": {"name": "p_a", "external": true, "driver": "local", "driver_opts": {"o": "bind", "device": "/"}}, "b": {"name": "p_b", "driver": "local"}, "c": {"name": "p_c", "driver": "nfs"}}}`)
	if got := made.WithoutBuild(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %s", got.Text())
	}
	if _, changed := m.root["volumes"].(map[string]any)["a"].(map[string]any)["driver"]; changed {
		t.Error("the original was changed")
	}
}
