package deploy

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pgo/internal/policy"
	"pgo/worker/compose"
)

// What an operator grants to a service can be read while its compose file is resolved, and nothing
// that a link or a pipe in there leads to.
func TestReadable(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	err := errors.Join(
		os.Mkdir(in("granted"), 0o755), os.WriteFile(in("granted/app.env"), []byte("A=1"), 0o600), os.WriteFile(in("secret"), []byte("B=2"), 0o600),
		os.Symlink(in("secret"), in("granted/link.env")), unix.Mkfifo(in("granted/pipe"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	n := &neighbourhood{policy: policy.Limits{Service: "web", Checkout: in("checkout"), Stage: in("stage"), Allow: []string{"bind:" + in("granted")}}}
	for path, want := range map[string][2]string{
		"granted/app.env":  {"A=1", ""},
		"granted/link.env": {"", "bind:" + in("secret")},
		"granted/pipe":     {"", ""},
		"granted/none.env": {"", ""},
		"granted":          {"", ""},
		"secret":           {"", "bind:" + in("secret")},
	} {
		file, entry := n.readable(in(path))
		text := ""
		if file != nil {
			raw, err := io.ReadAll(file)
			if err != nil {
				t.Error(err)
			}
			text = string(raw)
			_ = file.Close()
		}
		if text != want[0] || entry != want[1] {
			t.Errorf("%s: %q, %q", path, text, entry)
		}
	}
}

// Another value of a secret replaces the containers that have it, and no others.
func TestInputsHaveValues(t *testing.T) {
	of := func(value, service string) string {
		model, err := compose.Load([]byte(`{"services": {"web": {"secrets": [{"source": "s"}]}, "db": {}}, "secrets": {"s": {"environment": "PGO_secrets_s", "x-pgo-value": "` + value + `"}}}`))
		if err != nil {
			t.Fatal(err)
		}
		return (&workspace{project: &compose.Project{}}).inputs(model, service, &Record{})
	}
	if of("a", "web") == of("b", "web") || of("a", "db") != of("b", "db") {
		t.Errorf("web: %s and %s, db: %s and %s", of("a", "web"), of("b", "web"), of("a", "db"), of("b", "db"))
	}
}

// A refusal that both looks have is listed once.
func TestTogether(t *testing.T) {
	nested := func(by string) policy.Refusal {
		return policy.Refusal{Path: "services.web.volumes[0].source", Found: "./a", Rule: "it is reached through ./, which " + by + " makes writable", Allow: "nested-bind"}
	}
	other := policy.Refusal{Path: "services.debug.privileged", Found: "true", Allow: "privileged"}
	got := together([]policy.Refusal{nested("services.web")}, []policy.Refusal{nested("services.debug"), other})
	if len(got) != 2 || got[1] != other {
		t.Errorf("%v", got)
	}
}

// The file of a secret that is neither in the commit nor put into the checkout by hand is found
// before anything is taken down. It may still come: that is not a verdict.
func TestPresent(t *testing.T) {
	dir := t.TempDir()
	checkout, stage := filepath.Join(dir, "checkout"), filepath.Join(dir, "stage")
	if err := errors.Join(os.Mkdir(checkout, 0o755), os.Mkdir(stage, 0o700)); err != nil {
		t.Fatal(err)
	}
	p := &prover{files: &workspace{dir: dir, project: &compose.Project{Checkout: checkout}}}
	limits := policy.Limits{Service: "web", Checkout: checkout, Stage: stage}
	look := func(file string) error {
		model, err := compose.Load([]byte(`{"services": {"web": {"secrets": [{"source": "s"}]}}, "secrets": {"s": {"file": "` + file + `"}}}`))
		if err != nil {
			t.Fatal(err)
		}
		return p.present(&candidate{commit: named("a"), resolved: model}, limits, policy.Disk{})
	}
	file := filepath.Join(stage, "key")
	want := "secrets.s.file: key is neither in the repository nor in the checkout: commit it, or have an operator put it on the host as " + checkout + "/key"
	if err := look(file); err == nil || !strings.HasSuffix(err.Error(), want) || isVerdict(err) {
		t.Errorf("error %v", err)
	}
	if err := look("/nonexistent/key"); err == nil || !strings.HasSuffix(err.Error(), "/nonexistent/key does not exist on this host: have an operator create it") {
		t.Errorf("error %v", err)
	}
	if err := os.WriteFile(filepath.Join(checkout, "key"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := look(file); err != nil {
		t.Error(err)
	}
}
