package compose

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/client"
)

func TestLook(t *testing.T) {
	const rootless = `"name=seccomp,profile=default", "name=rootless"`
	for _, c := range []struct {
		compose, api, info string
		want               string
		warnings           []string
	}{
		{"2.40.3", "1.41", `{"ServerVersion": "20.10.24+dfsg1", "Driver": "overlay2", "CgroupVersion": "1"}`,
			"engine 20.10.24+dfsg1 (API 1.41, image store overlay2, cgroup v1), compose 2.40.3", nil},
		{"v5.6.0", "1.52", `{"ServerVersion": "29.9.0", "Driver": "overlayfs", "CgroupVersion": "2", "SecurityOptions": [` + rootless + `]}`,
			"rootless engine 29.9.0 (API 1.52, image store overlayfs, cgroup v2), compose v5.6.0", nil},
		{"6.0.0", "1.99", `{"ServerVersion": "30.0.0-rc.1", "Driver": "overlayfs", "CgroupVersion": "2", "DefaultAddressPools": [{"Base": "10.0.0.0/8", "Size": 24}]}`,
			"engine 30.0.0-rc.1 (API 1.99, image store overlayfs, cgroup v2), compose 6.0.0", []string{
				"this pgo has not been tried with Docker engine 30.0.0-rc.1: it was with 29 and older",
				"the Docker engine has API 1.99, and the newest that this pgo knows is " + client.MaxAPIVersion + ": it asks for that one",
				"this pgo has not been tried with docker compose 6.0.0: it was with 5 and older",
			}},
		{"2.35.0", "1.45", `{"ServerVersion": "dev"}`, "engine dev (API 1.45, image store , cgroup v1), compose 2.35.0",
			[]string{"this pgo has not been tried with Docker engine dev: it was with 29 and older"}},
	} {
		p := script(t, "echo '"+c.compose+"'")
		p.Home = t.TempDir()
		e := (&versionedEngine{newest: c.api, oldest: "1.12", answers: map[string]string{"/info": c.info, "/version": "{}"}}).engine(t)
		found, err := Look(t.Context(), p, e)
		if err != nil {
			t.Errorf("%s: %v", c.info, err)
			continue
		}
		if said := found.String(); !strings.HasPrefix(said, c.want+", buildx ") {
			t.Errorf("found %q, want %q", said, c.want)
		}
		if got := found.Warnings(); !slices.Equal(got, c.warnings) {
			t.Errorf("%s: warnings %q, want %q", c.info, got, c.warnings)
		}
		if facts := fmt.Sprint(found.Facts()...); !strings.Contains(facts, found.Engine) || !strings.Contains(facts, found.Compose) {
			t.Errorf("facts %s", facts)
		}
	}
}

func TestLookTellsWhatIsTooOld(t *testing.T) {
	for _, c := range []struct {
		compose, api string
		old          bool
	}{{"2.34.0", "1.52", true}, {"5.0.0", "1.40", true}, {"5.0.0", "1.52", false}} {
		p := script(t, "echo "+c.compose)
		p.Home = t.TempDir()
		e := (&versionedEngine{newest: c.api, oldest: "1.12", answers: nil}).engine(t) // it refuses to tell its settings
		_, err := Look(t.Context(), p, e)
		if old := new(TooOldError); err == nil || errors.As(err, &old) != c.old {
			t.Errorf("compose %s, API %s: %v", c.compose, c.api, err)
		}
	}
}

func TestRoom(t *testing.T) {
	for _, c := range []struct {
		info, networks string
		free           int
		projects       string
	}{
		// Its own bridge has a piece of each.
		{`{}`, `[{"IPAM": {"Config": [{"Subnet": "172.17.0.0/16"}]}}]`, 30, "[]"},
		{`{"DefaultAddressPools": [{"Base": "10.200.0.0/16", "Size": 24}]}`, `[{"IPAM": {"Config": [{"Subnet": "10.200.0.0/24"}]}}, {"Name": "host"}]`, 255, "[]"},
		{`{"DefaultAddressPools": null}`, `[
			{"IPAM": {"Config": [{"Subnet": "172.17.0.0/16"}]}},
			{"Labels": {"com.docker.compose.project": "b"}, "IPAM": {"Config": [{"Subnet": "172.22.0.0/16"}]}},
			{"Labels": {"com.docker.compose.project": "b"}, "IPAM": {"Config": [{"Subnet": "10.9.0.0/24"}, {"Subnet": "fd00::/64"}]}},
			{"Labels": {"com.docker.compose.project": "a"}, "IPAM": {"Config": [{"Subnet": "192.168.3.0/24"}]}},
			{"IPAM": {"Config": [{"Subnet": "172.28.0.0/14"}]}}]`, 31 - 1 - 1 - 1 - 4, "[a b]"},
		{`{"DefaultAddressPools": [{"Base": "fd00::/48", "Size": 64}, {"Base": "172.30.0.0/24", "Size": 24}]}`, `[]`, 1, "[]"},
		{`{"DefaultAddressPools": [{"Base": "0.0.0.0/0", "Size": 32}, {"Base": "10.0.0.0/8", "Size": 4}]}`, `[]`, maxPieces, "[]"},
	} {
		e := (&versionedEngine{newest: "1.41", oldest: "1.12", answers: map[string]string{"/info": c.info, "/networks": c.networks}}).engine(t)
		room, err := e.Room(t.Context())
		if err != nil || room.Free != c.free || fmt.Sprint(room.Projects) != c.projects {
			t.Errorf("%s, %s: %+v, %v; want %d %s", c.info, c.networks, room, err, c.free, c.projects)
		}
	}
	if _, err := free([]pool{{"nonsense", 24}}, []netip.Prefix{}); err == nil {
		t.Error("no error for a pool that is none")
	}
}

// Compose 5 has no builder of its own. What the engine's cannot do is known before compose runs, or
// ignores it.
func TestBuildsThatNeedBuildx(t *testing.T) {
	cases := []struct{ build, want string }{
		{".", ""},
		{"{context: ., target: x, args: {A: 1}}", ""},
		{"{context: ., platforms: [linux/amd64], privileged: false, secrets: []}", ""},
		{"{context: ., dockerfile_inline: FROM scratch}", "dockerfile_inline"},
		{"{context: ., secrets: [s]}", "secrets"},
		{"{context: ., additional_contexts: {more: ./more}}", "additional_contexts"},
		{"{context: ., ssh: [default]}", "ssh"},
		{"{context: ., privileged: true}", "privileged"},
		{"{context: ., platforms: [linux/amd64, linux/arm64]}", "platforms"},
	}
	text := "secrets: {s: {file: ./s}}\nservices:\n"
	for i, c := range cases {
		text += fmt.Sprintf("  s%d: {build: %s}\n", i, c.build)
	}
	m := resolve(t, project(t), tree(t, map[string]string{"compose.yaml": text, "s": "", "more/x": ""}), "")
	for i, c := range cases {
		name, want := fmt.Sprint("s", i), c.want
		if want != "" {
			want = "services." + name + ".build." + want
		}
		only := &Model{root: map[string]any{"services": map[string]any{"a": map[string]any{"image": "x"}, name: m.services()[name]}}}
		if got := needsBuildx(only); got != want {
			t.Errorf("%s: %q, want %q", c.build, got, want)
		}
	}
	for compose, lacks := range map[string]bool{"2.35.0": false, "v2.40.3": false, "5.0.0": true, "v5.6.0": true, "10.1": true} {
		err := lacksBuilder("services.web.build.ssh", compose)
		if lacks != (err != nil) || lacks && !strings.HasPrefix(err.Error(), "services.web.build.ssh needs buildx, and docker compose "+compose+" has found none: have an operator install the plugin docker-buildx in one of /usr/") {
			t.Errorf("%s: %v", compose, err)
		}
	}
}
