package deploy

import (
	"errors"
	"io"
	"os"
	"path/filepath"
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
