package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgo/internal/config"
)

// --check reports the mistakes of all files at once, each on a line that an editor can jump to.
func TestCheckTellsEverything(t *testing.T) {
	dir := t.TempDir()
	service := func(name, more string) string {
		return "[[services]]\nname = \"" + name + "\"\nuser = \"" + name + "\"\nrepository = \"https://git.example.org/x.git\"\n" + more
	}
	if err := os.Mkdir(filepath.Join(dir, "pgo.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func() (string, error) {
		var out strings.Builder
		c := command()
		c.SetOut(&out)
		c.SetArgs([]string{"--check", "-c", filepath.Join(dir, "pgo.toml")})
		err := c.Execute()
		return out.String(), err
	}
	write("pgo.toml", "[pgod]\noperator_keys = \"DIR/operators\"\n"+service("web", "brunch = \"main\"\nports = [\"80\"]\n"))
	write("operators", "no key\n")
	write("pgo.d/a.toml", service("a", "ports = [\"80\"]\nurls = { \"a.example.org/%\" = \"a:1\" }\n"))
	write("pgo.d/b.toml", service("web", "gate = \"1\"\n"))
	write("pgo.d/c.toml", "name = \n")
	_, err := check()
	var problems config.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("no mistakes: %v", err)
	}
	want := []string{
		`DIR/pgo.toml:2: pgod.operator_keys: DIR/operators:1: it is not a public key; copy one from a .pub file`,
		`DIR/pgo.toml:7: services[0] "web": brunch: unknown key; did you mean "branch"?`,
		`DIR/pgo.d/a.toml:5: services[0] "a": ports[0]: service "web" (DIR/pgo.toml:3) has 80 already`,
		`DIR/pgo.d/a.toml:6: services[0] "a": urls."a.example.org/%": a % in the path; write a prefix without it`,
		`DIR/pgo.d/b.toml:2: services[0] "web": name: service "web" (DIR/pgo.toml:3) has this name already`,
		`DIR/pgo.d/b.toml:5: services[0] "web": gate: "1" is not a duration; write a number and its unit, such as "90s", "10m" or "1h30m"`,
		`DIR/pgo.d/c.toml:1: name: `,
	}
	for i, p := range problems {
		if i >= len(want) || !strings.HasPrefix(p.String(), strings.ReplaceAll(want[i], "DIR", dir)) {
			t.Errorf("not expected: %s", p)
		}
	}
	if len(problems) < len(want) {
		t.Errorf("%d mistakes, want %d", len(problems), len(want))
	}

	write("pgo.toml", service("web", "import = \"Caddyfile-import\"\n"))
	write("pgo.d/a.toml", service("a", "import = \"Caddyfile-import\"\n"))
	write("pgo.d/b.toml", "")
	write("pgo.d/c.toml", "")
	out, err := check()
	if err != nil || !strings.HasPrefix(out, "warning: "+dir+"/pgo.d/a.toml:5: ") || !strings.Contains(out, dir+"/pgo.toml is fine; services on this host: 2\n") {
		t.Errorf("%q, %v", out, err)
	}
}

// --check knows what a reload of this file would ask about, if pgod's directory tells.
func TestCheckTellsOfLosses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "pgo.toml")
	for path, text := range map[string]string{
		file:                                "services = []\n",
		filepath.Join(dir, "services.json"): fmt.Sprintf(`{"web": {"configuration": %q}, "tried": {"configuration": "/root/try.toml"}}`, file),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	c := command()
	c.SetOut(&out)
	c.SetArgs([]string{"--check", "-c", file, "-d", dir})
	if err := c.Execute(); err != nil || !strings.HasPrefix(out.String(), "warning: it would remove every service of this host: web; ") {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// Whoever takes a flag for a command, or a URL for a file's path, is told what to write.
func TestUsage(t *testing.T) {
	for arguments, want := range map[string]string{
		"check":                         `unknown argument "check"; did you mean --check?`,
		"check -c x.toml":               `unknown argument "check"; did you mean --check?`,
		"version":                       `unknown argument "version"; did you mean --version?`,
		"help":                          `unknown argument "help"; did you mean --help?`,
		"pgo.toml":                      `unknown argument "pgo.toml"; did you mean -c pgo.toml?`,
		"start":                         `unknown argument "start"; see pgod --help`,
		"--check -c https://S3CRET@h/x": "--config: a URL, not the path of a file; write git+https://host/repository//pgo.toml?ref=branch",
		"--datadir /data":               "unknown flag: --datadir: " + config.InsteadOfDatadir,
		"--datadir=/data --check":       "unknown flag: --datadir: " + config.InsteadOfDatadir,
		"-c git@host:x.git":             "--config: a URL, not the path of a file; write git+ssh://git@host/repository//pgo.toml?ref=branch",
		"-c git+https://host/x/a.toml":  "--config: no // between the repository and the path of the file in it; write git+https://host/repository//pgo.toml?ref=branch",
	} {
		c := command()
		c.SetArgs(strings.Fields(arguments))
		if err := c.Execute(); err == nil || err.Error() != want {
			t.Errorf("pgod %s: %v, want %s", arguments, err, want)
		}
	}
}
