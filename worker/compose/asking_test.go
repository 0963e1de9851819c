package compose

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"github.com/moby/moby/client/pkg/versions"
)

// versionedEngine answers by path, without the version. What has no answer is not found.
type versionedEngine struct {
	answers map[string]string

	mu             sync.Mutex
	newest, oldest string // of its API
	asked          []string
}

func (f *versionedEngine) speaks(newest, oldest string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.newest, f.oldest, f.asked = newest, oldest, nil
}

func (f *versionedEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Api-Version", f.newest)
	if r.URL.Path == "/_ping" {
		return
	}
	f.asked = append(f.asked, r.URL.Path)
	version, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v"), "/")
	answer, found := f.answers["/"+path]
	switch {
	case versions.LessThan(version, f.oldest):
		w.WriteHeader(http.StatusBadRequest)
		answer = fmt.Sprintf(`{"message": "client version %s is too old. Minimum supported API version is %s"}`, version, f.oldest)
	case !found:
		w.WriteHeader(http.StatusNotFound)
		answer = `{"message": "no such thing"}`
	}
	_, _ = w.Write([]byte(answer))
}

func (f *versionedEngine) last() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[len(f.asked)-1]
}

// engine starts it.
func (f *versionedEngine) engine(t *testing.T) *Engine {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return &Engine{Host: "tcp://" + strings.TrimPrefix(server.URL, "http://")}
}

func connected(t *testing.T, e *Engine) *connection {
	t.Helper()
	c, err := e.connect()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Engine 20.10 really says so, and the client would refuse each of these answers.
func TestOddAnswersAreRead(t *testing.T) {
	e := (&versionedEngine{newest: "1.41", oldest: "1.12", answers: map[string]string{
		"/containers/json": `[
			{"Id": "one", "Names": ["/one"], "State": "created", "Ports": [{"IP": "::", "PrivatePort": 80, "PublicPort": 81, "Type": "tcp"}, {"PrivatePort": 82, "PublicPort": 83, "Type": "udp"}],
				"NetworkSettings": {"Networks": {"six": {"MacAddress": "zz", "IPAMConfig": {"IPv4Address": "foo"}, "Gateway": "fd00:1::1/64"}}}},
			{"Id": "two", "Names": ["/two"], "NetworkSettings": null}]`,
		"/containers/one/json": `{"Id": "one", "Name": "/one", "State": {"Status": "running"}, "Image": "sha256:1",
			"HostConfig": {"Dns": ["resolver.local"], "PortBindings": {"90/tcp": [{"HostIp": "localhost", "HostPort": "90"}]}, "NetworkMode": "container:two", "RestartPolicy": {"Name": "always"}},
			"Config": {"MacAddress": "zz", "ExposedPorts": {"http/tcp": {}, "90-91/tcp": {}}, "Labels": {"com.docker.compose.service": "web"}},
			"NetworkSettings": {"Networks": {"six": {"MacAddress": "zz"}, "five": null}}}`,
		"/networks": `[{"Name": "six", "Id": "6", "EnableIPv6": true, "Labels": {"com.docker.compose.project": "p", "com.docker.compose.network": "six"},
			"IPAM": {"Config": [{"Subnet": "10.2.0.0/24", "Gateway": "10.2.0.1"}, {"Subnet": "fd00:1::/64", "Gateway": "fd00:1::1/64"}, {"Subnet": ""}]}, "Peers": [{"IP": "x"}]}]`,
		"/networks/six": `{"Name": "six", "Id": "6", "IPAM": {"Config": [{"Gateway": "fd00:1::1/64"}]},
			"Containers": {"one": {"Name": "one", "MacAddress": "zz", "IPv4Address": "none"}}}`,
	}}).engine(t)
	ctx := t.Context()
	if ports, err := e.PublishedPorts(ctx); fmt.Sprint(ports) != "[{one  :: 81 tcp} {one   83 udp}]" {
		t.Errorf("ports %v, %v", ports, err)
	}
	if held, err := (&Vicinity{e, "p"}).NamesHeld(ctx); len(held) != 2 || err != nil {
		t.Errorf("names %q, %v", held, err)
	}
	inspect, err := connected(t, e).container(ctx, "one")
	if err != nil {
		t.Fatal(err)
	}
	c := containerOf(inspect)
	if got, want := fmt.Sprint(c.Name, c.Service, c.Image, c.State, c.Policy, c.Networks, c.Shares), "onewebsha256:1runningalways[five six] [two]"; got != want {
		t.Errorf("container %s, want %s", got, want)
	}
	own, err := e.OwnNetworks(ctx, "p")
	if err != nil || len(own) != 1 || fmt.Sprint(own[0].Key, own[0].IPv6) != "sixtrue" || !own[0].overlaps(Network{Subnets: subnets("fd00::/16")}) || own[0].overlaps(Network{Subnets: subnets("10.3.0.0/24")}) {
		t.Errorf("networks %v, %v", own, err)
	}
	if others, err := e.OthersOn(ctx, "six", "p"); err != nil || len(others) != 0 {
		t.Errorf("on the network are %q, %v", others, err)
	}
	made, err := e.Made(ctx, "p")
	if len(made.Networks) != 1 || made.Networks[0]["Peers"] == nil {
		t.Errorf("made %v, %v", made, err)
	}
}

func TestWhatTheEngineRefuses(t *testing.T) {
	e := (&versionedEngine{newest: "1.41", oldest: "1.12", answers: map[string]string{"/networks": `[}`}}).engine(t)
	if _, err := connected(t, e).container(t.Context(), "../none"); !errdefs.IsNotFound(err) || err.Error() != "Error response from daemon: no such thing" {
		t.Errorf("of a container that does not exist: %v", err)
	}
	if name := e.NameOf(t.Context(), "none"); name != "" {
		t.Errorf("its name is %q", name)
	}
	if _, err := connected(t, e).networks(t.Context(), nil); err == nil || !strings.HasPrefix(err.Error(), "cannot list the networks: invalid character") {
		t.Errorf("of no JSON: %v", err)
	}
	e = &Engine{Host: "unix:///none/docker.sock"}
	if _, err := connected(t, e).containers(t.Context(), true, nil); err == nil || !strings.Contains(err.Error(), "/none/docker.sock") {
		t.Errorf("without an engine: %v", err)
	}
}

func TestEngineVersions(t *testing.T) {
	answers := map[string]string{"/version": "{}", "/containers/json": "[]"}
	for _, test := range []struct{ newest, oldest, asked, want string }{
		{"1.39", "1.12", "", "the Docker engine has API 1.39 and is too old: pgo needs engine 20.10 (API 1.41) or newer"},
		{"1.40", "1.12", "", "the Docker engine has API 1.40 and is too old: pgo needs engine 20.10 (API 1.41) or newer"},
		{"", "1.12", "", "the Docker engine has API  and is too old: pgo needs engine 20.10 (API 1.41) or newer"},
		{"1.41", "1.12", "1.41", ""},
		{"1.52", "1.44", "1.52", ""},
		{client.MaxAPIVersion, client.MaxAPIVersion, client.MaxAPIVersion, ""},
		{"1.99", "1.44", client.MaxAPIVersion, ""},
		{"1.99", "1.98", "", "the Docker engine has API 1.99 and refuses API " + client.MaxAPIVersion + ", the newest that this pgo knows: " +
			"use a newer pgo, or a lower min-api-version in the engine's daemon.json: Error response from daemon: client version " +
			client.MaxAPIVersion + " is too old. Minimum supported API version is 1.98"},
	} {
		f := &versionedEngine{newest: test.newest, oldest: test.oldest, answers: answers}
		e := f.engine(t)
		said := ""
		if err := e.CheckVersion(context.Background()); err != nil {
			said = err.Error()
		}
		if said != test.want {
			t.Errorf("%s to %s: %q, want %q", test.oldest, test.newest, said, test.want)
		}
		if test.asked == "" {
			continue
		}
		_, err := connected(t, e).containers(context.Background(), true, nil)
		if want := "/v" + test.asked + "/containers/json"; err != nil || f.last() != want {
			t.Errorf("%s to %s: %v, asked for %q, want %s", test.oldest, test.newest, err, f.last(), want)
		}
	}
}

// An engine that was replaced, by a newer one or an older one, need not take what was agreed with it.
func TestEngineIsReplaced(t *testing.T) {
	ctx := t.Context()
	f := &versionedEngine{answers: map[string]string{"/containers/json": "[]", "/info": `{"DefaultRuntime": "crun"}`}}
	e := f.engine(t)
	for _, test := range []struct{ newest, oldest, asked string }{
		{"1.41", "1.12", "1.41"}, {"1.52", "1.44", "1.52"}, {"1.53", "1.53", "1.53"}, {"1.41", "1.12", "1.41"}, {"1.99", "1.44", client.MaxAPIVersion},
	} {
		f.speaks(test.newest, test.oldest)
		if err := e.Away(ctx); err != nil {
			t.Fatal(err)
		}
		before := connected(t, e)
		if _, err := before.containers(ctx, true, nil); err != nil || f.last() != "/v"+test.asked+"/containers/json" {
			t.Errorf("%s: %v, asked for %s", test.newest, err, f.last())
		}
		if _, _, _, err := e.Defaults(ctx, true); err != nil || f.last() != "/v"+test.asked+"/info" {
			t.Errorf("%s: %v, asked for %s", test.newest, err, f.last())
		}
		if err := e.Away(ctx); err != nil || connected(t, e) != before {
			t.Errorf("%s: another connection to the same engine, %v", test.newest, err)
		}
	}
}
