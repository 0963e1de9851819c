package compose

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"

	"github.com/moby/moby/api/types/image"
)

// Two images are the same if what runs is: their IDs, when they were built, and by which version
// of compose are not part of that.
func TestSameImage(t *testing.T) {
	made := func(change func(*image.InspectResponse)) image.InspectResponse {
		i := image.InspectResponse{ID: "sha256:a", Os: "linux", Architecture: "amd64", Created: "1", RootFS: image.RootFS{Layers: []string{"l1", "l2"}}}
		i.Config = &dockerspec.DockerOCIImageConfig{}
		i.Config.Cmd = []string{"httpd"}
		i.Config.Labels = map[string]string{"of": "web", composeVersionLabel: "2.40.3"}
		change(&i)
		return i
	}
	for name, test := range map[string]struct {
		change func(*image.InspectResponse)
		same   bool
	}{
		"nothing":           {func(*image.InspectResponse) {}, true},
		"ID and time":       {func(i *image.InspectResponse) { i.ID, i.Created = "sha256:b", "2" }, true},
		"version":           {func(i *image.InspectResponse) { i.Config.Labels[composeVersionLabel] = "5.6.0" }, true},
		"pgo's label":       {func(i *image.InspectResponse) { i.Config.Labels[ServiceLabel] = "web" }, true},
		"another label":     {func(i *image.InspectResponse) { i.Config.Labels["of"] = "other" }, false},
		"no label":          {func(i *image.InspectResponse) { i.Config.Labels = nil }, false},
		"command":           {func(i *image.InspectResponse) { i.Config.Cmd = []string{"sh"} }, false},
		"layer":             {func(i *image.InspectResponse) { i.RootFS.Layers = []string{"l1", "l3"} }, false},
		"one more layer":    {func(i *image.InspectResponse) { i.RootFS.Layers = []string{"l1", "l2", "l3"} }, false},
		"platform":          {func(i *image.InspectResponse) { i.Architecture = "arm64" }, false},
		"nothing is known":  {func(i *image.InspectResponse) { i.Config = nil }, false},
		"no layer is known": {func(i *image.InspectResponse) { i.RootFS.Layers = nil }, false},
	} {
		before, after := made(func(*image.InspectResponse) {}), made(test.change)
		if got := sameImage(before, after); got != test.same {
			t.Errorf("%s differs: the same is %t", name, got)
		}
		if got := sameImage(after, before); got != test.same {
			t.Errorf("%s differs: the same is %t the other way round", name, got)
		}
		if before.Config.Labels[composeVersionLabel] == "" {
			t.Fatal("a comparison changes an image")
		}
	}
}

// What is built says whose it is, whatever else it says; what is not built stays as it is.
func TestBuildFor(t *testing.T) {
	m, err := Load([]byte(`{"services": {"a": {"build": {"context": "/a"}}, "b": {"build": {"labels": {"x": "y", "pgo.service": "z"}}}, "c": {"image": "c"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	original := string(m.Encode())
	staged := m.Clone()
	BuildFor(staged, "web")
	if string(m.Encode()) != original {
		t.Error("the model itself has changed")
	}
	for service, n := range map[string]int{"a": 2, "b": 3} {
		labels := staged.services()[service]["build"].(map[string]any)["labels"].(map[string]any)
		if labels[projectLabel] != "web" || labels[ServiceLabel] != "web" || len(labels) != n {
			t.Errorf("%s is built with the labels %v", service, labels)
		}
	}
	if staged.services()["c"]["build"] != nil {
		t.Error("c is built")
	}
}

func TestOnePlatform(t *testing.T) {
	m, err := Load([]byte(`{"services": {"a": {"build": {}}, "b": {"build": {"platforms": ["linux/arm64"]}}, "c": {"build": {"platforms": ["linux/amd64", "linux/arm64"]}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for service, want := range map[string]bool{"a": true, "b": true, "c": false} {
		if OnePlatform(m, service) != want {
			t.Errorf("%s: %t", service, !want)
		}
	}
}

// The images of steps are found in what the classic builder prints, however it arrives, and
// nowhere else.
func TestSteps(t *testing.T) {
	const printed = "Step 1/3 : FROM scratch\n ---> 797fddafcdca\nStep 2/3 : RUN x\n ---> Running in bae90b90c783\n" +
		"#7 0.123  ---> 0123456789ab\n ---> Removed intermediate container bae90b90c783\n ---> 155adb5cb282\r\n ---> 797fddafcdca\n ---> 155adb5cb2829\n" +
		" ---> 155adb5cb283 and more\nSuccessfully built 155adb5cb282\n"
	want := []string{"797fddafcdca", "155adb5cb282"}
	for _, size := range []int{1, 2, 7, 64, len(printed)} {
		s := &Steps{}
		for part := range slices.Chunk([]byte(printed), size) {
			if n, err := s.Write(part); n != len(part) || err != nil {
				t.Fatal(n, err)
			}
		}
		if !slices.Equal(s.IDs, want) {
			t.Errorf("in parts of %d: %v, not %v", size, s.IDs, want)
		}
	}
	s := &Steps{}
	for i := range 2 * maxSteps {
		_, _ = fmt.Fprintf(s, "%s\n ---> %012x\n", strings.Repeat("x", 1000), i)
	}
	if len(s.IDs) != maxSteps || cap(s.line) > 2*maxStep {
		t.Errorf("%d images, and %d bytes of a line", len(s.IDs), cap(s.line))
	}
}

// What has a name stays, and so does what something is built on or runs; what stays is tried again.
func TestRemoveSteps(t *testing.T) {
	images := map[string]string{
		"base":   `{"Id": "sha256:base", "RepoTags": ["busybox:1"]}`,
		"digest": `{"Id": "sha256:digest", "RepoDigests": ["busybox@sha256:1"]}`,
		"first":  `{"Id": "sha256:first"}`,
		"used":   `{"Id": "sha256:used"}`,
		"last":   `{"Id": "sha256:last"}`,
	}
	var removed []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, id, _ := strings.Cut(strings.TrimSuffix(r.URL.Path, "/json"), "/images/")
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, "/_ping"):
			w.Header().Set("Api-Version", "1.41")
		case images[id] == "":
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"message": "no such image"}`)
		case r.Method != http.MethodDelete:
			_, _ = io.WriteString(w, images[id])
		case r.URL.Query().Get("force") == "1" || id == "used":
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, `{"message": "it is in use"}`)
		default:
			removed = append(removed, id)
			_, _ = io.WriteString(w, `[]`)
		}
	}))
	t.Cleanup(server.Close)
	e := &Engine{Host: "tcp://" + strings.TrimPrefix(server.URL, "http://")}
	stay, err := e.Images().RemoveSteps(t.Context(), []string{"base", "digest", "first", "gone", "used", "last"})
	if err != nil || !slices.Equal(stay, []string{"base", "used"}) || !slices.Equal(removed, []string{"last", "first"}) {
		t.Errorf("%v stay, and %v are removed: %v", stay, removed, err)
	}
}

// Only the warnings that nobody who reads them can do anything about are left out.
func TestHush(t *testing.T) {
	const (
		bake    = `time="2026-11-30T15:50:41Z" level=warning msg="Docker Compose is configured to build using Bake, but buildx isn't installed"` + "\n"
		classic = `time="2026-11-30T15:50:42Z" level=warning msg="buildx Docker CLI plugin not found: falling back to the classic builder. BuildKit-only build features (multi-arch, …) will not be available"` + "\n"
		other   = `time="2026-11-30T15:50:42Z" level=warning msg="something else"` + "\n"
		failure = "the classic builder doesn't support secrets; building with BuildKit requires the buildx Docker CLI plugin"
	)
	for printed, want := range map[string]string{
		bake + " web  Building\n":            " web  Building\n",
		"one\n" + classic + "two":            "one\ntwo",
		other + bake + classic:               other,
		failure:                              failure,
		`time="`:                             `time="`,
		"RUN echo " + bake:                   "RUN echo " + bake,
		strings.Repeat("x", 9000):            strings.Repeat("x", 9000),
		`time="` + strings.Repeat("x", 9000): `time="` + strings.Repeat("x", 9000),
	} {
		for _, size := range []int{1, 5, 100, 32 << 10} {
			var got bytes.Buffer
			h := &hush{w: &got}
			for part := range slices.Chunk([]byte(printed), size) {
				if n, err := h.Write(part); n != len(part) || err != nil {
					t.Fatal(n, err)
				}
			}
			h.flush()
			if got.String() != want {
				t.Errorf("in parts of %d: %.200q became %.200q", size, printed, got.String())
			}
		}
	}
	// What is not a warning does not wait for the end of its line.
	var got bytes.Buffer
	_, _ = io.WriteString(&hush{w: &got}, "#5 sending 1.2 MB")
	if got.Len() == 0 {
		t.Error("a line waits for its end")
	}
}

// An image that has lost its tag goes, with the digests that a pull of that tag has left. One that
// has a name, or a digest of somebody else's, stays.
func TestRemoveLeft(t *testing.T) {
	for what, test := range map[string]struct {
		tags, digests string
		goes          bool
	}{
		"nothing is left":          {``, ``, true},
		"the digest of its tag":    {``, `"127.0.0.1:5000/a/tool@sha256:` + strings.Repeat("1", 64) + `"`, true},
		"of Docker Hub":            {``, `"nginx@sha256:` + strings.Repeat("1", 64) + `"`, true},
		"a tag":                    {`"pgo/web:1"`, ``, false},
		"somebody else's digest":   {``, `"other@sha256:` + strings.Repeat("1", 64) + `"`, false},
		"somebody else's, as well": {``, `"nginx@sha256:` + strings.Repeat("1", 64) + `", "other@sha256:` + strings.Repeat("1", 64) + `"`, false},
	} {
		removed := false
		mux := http.NewServeMux()
		mux.HandleFunc("/_ping", func(http.ResponseWriter, *http.Request) {})
		mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if r.Method == http.MethodDelete {
				removed = true
				_, _ = io.WriteString(w, "[]")
				return
			}
			_, _ = fmt.Fprintf(w, `{"Id": "sha256:a", "RepoTags": [%s], "RepoDigests": [%s]}`, test.tags, test.digests)
		})
		server := httptest.NewServer(mux)
		engine := &Engine{Host: "tcp://" + strings.TrimPrefix(server.URL, "http://")}
		err := engine.Images().RemoveLeft(t.Context(), "sha256:a", []string{"127.0.0.1:5000/a/tool:latest", "nginx:1"})
		server.Close()
		if err != nil || removed != test.goes {
			t.Errorf("%s: it was removed: %t, %v", what, removed, err)
		}
	}
}
