package compose_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"pgo/internal/policy"
	"pgo/internal/ports"
	"pgo/worker/compose"
)

var update = flag.Bool("update", false, "write what is found into testdata")

// laidOut is the policy's view of a checkout that has what is in the stage.
type laidOut policy.Limits

func (l laidOut) Readlink(path string) (string, error) {
	if rest, inside := strings.CutPrefix(path, l.Checkout+"/"); inside {
		path = l.Stage + "/" + rest
	}
	return policy.Disk{}.Readlink(path)
}

// testCase is a file in testdata/policy: compose files, a line of dashes, the refusals. Lines
// that begin with "#: " say what the service may do, and what is in the stage next to the files.
type testCase struct {
	compose.Project
	limits policy.Limits
	root   string // holds all that is made for the case
}

// readCase lays out the files of a case and reads its settings.
func readCase(t *testing.T, input string) *testCase {
	t.Helper()
	plugin, err := compose.FindPlugin()
	if err != nil {
		t.Fatalf("%v (`make test` installs it)", err)
	}
	c := &testCase{root: filepath.Join(t.TempDir(), "pgo")}
	c.limits = policy.Limits{
		Service:   "pgo",
		Others:    []string{"default", "pgo-api", "shop"},
		Checkout:  filepath.Join(c.root, "checkout"),
		Stage:     filepath.Join(c.root, "stage"),
		Forbidden: []string{c.root},
		Home:      filepath.Join(c.root, "docker"),
	}
	c.Project = compose.Project{
		Plugin: plugin, Name: c.limits.Service, Home: filepath.Join(c.root, "docker"),
		Checkout: c.limits.Checkout, Marker: "PGO_SERVICE_DIR=" + c.root,
	}
	archive := txtar.Parse([]byte(input))
	archive.Files = append(archive.Files, txtar.File{Name: "compose.yaml", Data: archive.Comment})
	for _, f := range archive.Files {
		c.write(t, f.Name, string(f.Data))
	}
	for line := range strings.Lines(string(archive.Comment)) {
		if setting, found := strings.CutPrefix(line, "#: "); found {
			c.set(t, strings.TrimSuffix(setting, "\n"))
		}
	}
	return c
}

func (c *testCase) write(t *testing.T, name, content string) {
	t.Helper()
	path := filepath.Join(c.limits.Stage, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (c *testCase) set(t *testing.T, setting string) {
	t.Helper()
	name, value, _ := strings.Cut(setting, " ")
	first, second, _ := strings.Cut(value, " ")
	switch name {
	case "ports":
		c.limits.Ports = append(c.limits.Ports, portRange(t, value))
	case "granted":
		c.limits.Granted = append(c.limits.Granted, portRange(t, value))
	case "network":
		c.limits.Networks = append(c.limits.Networks, value)
	case "allow":
		c.limits.Allow = append(c.limits.Allow, value)
	case "reserved":
		if c.limits.Reserved == nil {
			c.limits.Reserved = map[string]string{}
		}
		c.limits.Reserved[first] = second
	case "root":
		c.limits.Root = true
	case "profile":
		c.Profiles = append(c.Profiles, value)
	case "env":
		c.Env = append(c.Env, value)
	case "symlink":
		if err := os.Symlink(second, filepath.Join(c.limits.Stage, first)); err != nil {
			t.Fatal(err)
		}
	default:
		t.Fatalf("no setting is called %q", name)
	}
}

func portRange(t *testing.T, text string) ports.Range {
	t.Helper()
	r, ok := ports.Parse(text)
	if !ok {
		t.Fatalf("%q is not a range of ports", text)
	}
	return r
}

// model returns what the real compose resolves the case's files to.
func (c *testCase) model(t *testing.T) map[string]any {
	t.Helper()
	resolved, err := c.Resolve(t.Context(), c.limits.Stage)
	if err != nil {
		t.Fatal(err)
	}
	// In a compose file its dollars are doubled, in values alone; no case has two in a row in a
	// key.
	return decode(t, strings.ReplaceAll(string(resolved.Encode()), "$$", "$"))
}

func decode(t *testing.T, text string) map[string]any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var model map[string]any
	if err := d.Decode(&model); err != nil {
		t.Fatal(err)
	}
	return model
}

// text returns the refusals as a person would read them, with the case's directory in /var/lib.
func (c *testCase) text(refusals []policy.Refusal) string {
	var b strings.Builder
	for _, r := range refusals {
		b.WriteString(strings.ReplaceAll(r.String(), filepath.Dir(c.root), "/var/lib") + "\n")
	}
	return b.String()
}

// TestPolicy reads testdata/policy. To add a case, add a file, or a compose service to an
// existing file. -update writes what is found: read it before you believe it. If a refusal has an
// entry of allow, the entry lifts it, and nothing else does.
func TestPolicy(t *testing.T) {
	files, err := filepath.Glob("testdata/policy/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in testdata/policy: %v", err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			t.Parallel()
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			const dashes = "-----\n"
			input, want, found := strings.Cut(string(content), "\n"+dashes)
			if !found {
				t.Fatal("no line of five dashes")
			}
			c := readCase(t, input+"\n")
			model := c.model(t)
			refusals := policy.Check(c.limits, model, laidOut(c.limits))
			got := c.text(refusals)
			if *update {
				if err := os.WriteFile(path, []byte(input+"\n"+dashes+got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != want {
				t.Errorf("found:\n%s\nwant:\n%s", got, want)
			}
			c.checkAllow(t, model, refusals)
		})
	}
}

// checkAllow lifts each refusal by its own entry.
func (c *testCase) checkAllow(t *testing.T, model map[string]any, refusals []policy.Refusal) {
	t.Helper()
	for _, refusal := range refusals {
		if refusal.Allow == "" {
			continue
		}
		if complaints := policy.Complaints([]string{refusal.Allow}); complaints != nil {
			t.Errorf("a refusal names an entry that causes complaints: %q", complaints)
		}
		limits := c.limits
		limits.Allow = append(limits.Allow[:len(limits.Allow):len(limits.Allow)], refusal.Allow)
		for _, left := range policy.Check(limits, model, laidOut(limits)) {
			if left == refusal {
				t.Errorf("allow = [%s] does not lift: %s", strconv.Quote(refusal.Allow), refusal)
			}
		}
	}
}
