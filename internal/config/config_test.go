package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgo/internal/ports"
)

const everyKey = `
[pgod]
operator_keys = "/etc/pgo/../pgo/operator_keys"
notify = ["https://hooks.example.org/S3CRET"]
trusted_networks = ["10.0.0.0/8", "FD00::/8"]
http_proxy = "ada:S3CRET@proxy.example.org:3128"
https_proxy = "http://proxy.example.org:3128/"
no_proxy = "localhost, .example.org"

[[services]]
name = "web"
user = "alice"
repository = "https://oauth2:S3CRET@git.example.org/web.git"
branch = "release/1.x"
compose = "./deploy/compose.yaml"
profiles = ["debug"]
ignore = true
adopt = true
env = ["A=S3CRET=", "B=", "C=env:PASSWORD", "D=file:///not/a/reference", "E= env:x y", "F=File:relative"]
urls = { "web.example.org" = "web:80 web2:81", "http://*.Example.org:8080/a/" = "web:80" }
ports = ["8080", "5005/5", "9000-9010"]
networks = ["reverse_proxy"]
import = "caddy/Caddyfile-import"
reload = "caddy caddy reload --config /etc/caddy/Caddyfile"
registries = ["robot$x:S3C:R@ET@Registry.example.org:5000", "env:REGISTRY"]
ca = "/ca/one.pem"
allow = ["bind:/srv/data", "privileged"]
deploy = "in-place"
rollback = false
gate = "1m30s"
timeout = "1h"
interval = "5m"
machine = ["HOST1"]
docker_host = "tcp://10.0.0.1:2375"
notify = ["http://hooks.example.org:8080/S3CRET?S3CRET"]
`

func TestEveryKey(t *testing.T) {
	got, problems := parse([]source{{text: everyKey}}, testOptions, testReferences())
	for _, p := range problems {
		if p.Message != errUnsupported.Error() {
			t.Error(p)
		}
	}
	secret := NewSecret
	proxies := Proxies{
		HTTP:  SecretURL{"http://***@proxy.example.org:3128", secret("http://ada:S3CRET@proxy.example.org:3128")},
		HTTPS: SecretURL{"http://proxy.example.org:3128", secret("http://proxy.example.org:3128")},
		No:    "localhost, .example.org",
	}
	want := &Config{
		OperatorKeys:    "/etc/pgo/operator_keys",
		Notify:          []SecretURL{{"https://hooks.example.org/***", secret("https://hooks.example.org/S3CRET")}},
		TrustedNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")},
		Proxies:         proxies,
		Services: []Service{{
			Name:       "web",
			User:       "alice",
			Repository: SecretURL{"https://***@git.example.org/web.git", secret("https://oauth2:S3CRET@git.example.org/web.git")},
			Branch:     "release/1.x",
			Compose:    []string{"deploy/compose.yaml"},
			Profiles:   []string{"debug"},
			Ignore:     true,
			Adopt:      true,
			Env: []EnvVar{{"A", secret("S3CRET=")}, {"B", secret("")}, {"C", secret("S3CRET")},
				{"D", secret("file:///not/a/reference")}, {"E", secret(" env:x y")}, {"F", secret("File:relative")}},
			URLs: []Route{
				{"http://*.Example.org:8080/a/", "http", "*.example.org", 8080, "/a", []Target{{"web", 80}}},
				{"web.example.org", "https", "web.example.org", 443, "", []Target{{"web", 80}, {"web2", 81}}},
			},
			Ports:    []ports.Range{ports.One(8080), {First: 5005, Last: 5010}, {First: 9000, Last: 9010}},
			Networks: []string{"reverse_proxy"},
			Import:   "caddy/Caddyfile-import",
			Reload:   Reload{"caddy", []string{"caddy", "reload", "--config", "/etc/caddy/Caddyfile"}},
			Registries: []Registry{
				{"registry.example.org:5000", "robot$x", secret("S3C:R@ET")},
				{"registry.example.org", "user", secret("S3CRET")},
			},
			CA:         testCertificates()["/ca/one.pem"],
			Proxies:    proxies,
			Allow:      []string{"bind:/srv/data", "privileged"},
			Deploy:     InPlace,
			Gate:       90 * time.Second,
			Timeout:    time.Hour,
			Interval:   5 * time.Minute,
			Machine:    []string{"host1"},
			DockerHost: "tcp://10.0.0.1:2375",
			Notify:     []SecretURL{{"http://hooks.example.org:8080/***", secret("http://hooks.example.org:8080/S3CRET?S3CRET")}},
		}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}

	// Every field is set above, so a new one cannot be forgotten here.
	service := reflect.ValueOf(got.Services[0])
	for i := range service.NumField() {
		name := service.Type().Field(i).Name
		if service.Field(i).IsZero() && !slices.Contains([]string{"Rollback", "GitKey"}, name) {
			t.Errorf("%s is not set", name)
		}
	}
}

// minimal returns a service with the required keys only, and extra.
func minimal(name, extra string) string {
	return fmt.Sprintf("[[services]]\nname = %q\nuser = %q\nrepository = \"https://git.example.org/x.git\"\n%s\n", name, name, extra)
}

func TestDefaults(t *testing.T) {
	for interval, want := range map[time.Duration]time.Duration{0: time.Minute, 5 * time.Second: 5 * time.Second} {
		config, problems := parse([]source{{text: minimal("web", "")}}, Options{DefaultInterval: interval}, references{})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		got := config.Services[0]
		if got.Branch != "main" || got.Deploy != Recreate || !got.Rollback || got.Gate != time.Minute ||
			got.Timeout != 10*time.Minute || got.Interval != want {
			t.Errorf("defaults: %+v", got)
		}
	}
}

func TestRepository(t *testing.T) {
	for _, test := range []struct{ text, full, shown string }{
		{"https://git.example.org/x.git", "https://git.example.org/x.git", "https://git.example.org/x.git"},
		{"HTTP://git.example.org:8080/x", "http://git.example.org:8080/x", "http://git.example.org:8080/x"},
		{"https://S3CRET@git.example.org/x", "https://S3CRET@git.example.org/x", "https://***@git.example.org/x"},
		{"https://u:S3C%2FRET@git.example.org/%40x", "https://u:S3C%2FRET@git.example.org/%40x", "https://***@git.example.org/%40x"},
		{"ssh://git@git.example.org:2222/x", "ssh://git@git.example.org:2222/x", "ssh://git@git.example.org:2222/x"},
		{"ssh://git:S3CRET@[::1]:2222/x", "ssh://git:S3CRET@[::1]:2222/x", "ssh://git:***@[::1]:2222/x"},
		{"git@git.example.org:team/x.git", "ssh://git@git.example.org/team/x.git", "ssh://git@git.example.org/team/x.git"},
		{"git@[::1]:/srv/a b?.git", "ssh://git@[::1]/srv/a%20b%3F.git", "ssh://git@[::1]/srv/a%20b%3F.git"},
		{"git://git_server/x", "git://git_server/x", "git://git_server/x"},
		{"file:///srv/git/x.git", "file:///srv/git/x.git", "file:///srv/git/x.git"},
		{"file:/secret/repository", "https://oauth2:S3CRET@git.example.org/web.git", "https://***@git.example.org/web.git"},
	} {
		got, err := resolved(testReferences(), parseRepository)(test.text)
		if err != nil || got.Reveal() != test.full || got.String() != test.shown {
			t.Errorf("%s: got %q, shown as %q, %v", test.text, got.Reveal(), got, err)
		}
	}
}

func TestGitKey(t *testing.T) {
	text := strings.Replace(minimal("web", `git_key = "/secret/key"`), "https://", "ssh://git@", 1)
	config, problems := parse([]source{{text: text}}, Options{}, testReferences())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if config.Services[0].GitKey.Reveal() != testKeys().plain {
		t.Error("the key is not the file's content")
	}
}

// TestSecretsAreHidden prints a configuration in every way that a log might.
func TestSecretsAreHidden(t *testing.T) {
	config, _ := parse([]source{{text: everyKey}}, testOptions, testReferences())
	hiding := struct {
		config   Config
		services []Service
	}{*config, config.Services}
	encoded, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{string(encoded)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		texts = append(texts, fmt.Sprintf(verb, config), fmt.Sprintf(verb, config.Services), fmt.Sprintf(verb, hiding))
	}
	for _, text := range texts {
		for _, secret := range []string{token, fmt.Sprintf("%x", token), fmt.Sprintf("%d", []byte(token))} {
			if strings.Contains(text, secret) {
				t.Errorf("a secret in %s", text)
			}
		}
	}
}

func TestMachines(t *testing.T) {
	for _, test := range []struct {
		machine, own string
		here         bool
	}{
		{`[]`, "", true},
		{`[]`, "host1", true},
		{`["host1"]`, "", false},
		{`["host1"]`, "host1", true},
		{`["Host1"]`, "hOST1.example.org", true},
		{`["host1.Example.org"]`, "host1.example.org", true},
		{`["host1.example.org"]`, "host1", false},
		{`["host1.example.com"]`, "host1.example.org", false},
		{`["host"]`, "host1", false},
		{`["host2", "host1"]`, "host1", true},
		{`["host2"]`, "host1", false},
	} {
		options := Options{Machines: []string{"localhost", test.own}}
		config, problems := parse([]source{{text: minimal("web", "machine = "+test.machine)}}, options, references{})
		if len(problems) > 0 {
			t.Error(problems)
		}
		if here := len(config.Services) == 1; here != test.here {
			t.Errorf("machine = %s on %q: here is %v", test.machine, test.own, here)
		}
	}
}

func TestEqual(t *testing.T) {
	load := func(more string) Service {
		config, problems := parse([]source{{text: minimal("web", more)}}, Options{}, testReferences())
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		return config.Services[0]
	}
	registry := func(token string) string { return `registries = ["user:` + token + `@registry.example.org"]` }
	web := load(registry("a"))
	if !web.Equal(load("# now with a comment\n" + registry("a"))) {
		t.Error("a comment makes a difference")
	}
	for _, other := range []string{registry("b"), registry("a") + "\nenv = [\"A=1\"]", ""} {
		if web.Equal(load(other)) {
			t.Errorf("%q makes no difference", other)
		}
	}
}

// writeFiles writes files with this mode to a new directory.
func writeFiles(t *testing.T, mode os.FileMode, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestLoad(t *testing.T) {
	dir := writeFiles(t, 0o600, map[string]string{
		"pgo.toml":          "[pgod]\n" + minimal("main", ""),
		"pgo.d/20-b.toml":   minimal("b", ""),
		"pgo.d/10-a.toml":   minimal("a", ""),
		"pgo.d/.a.toml":     "an editor's backup",
		"pgo.d/a.toml.orig": "not read either",
	})
	config, err := Load(filepath.Join(dir, "pgo.toml"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range config.Services {
		names = append(names, s.Name)
	}
	if want := []string{"main", "a", "b"}; !slices.Equal(names, want) {
		t.Errorf("services %q, want %q", names, want)
	}
}

// A dangling link in place of the directory of drop-ins is a mistake: it does not mean that no
// services are wanted.
func TestLoadDanglingDropins(t *testing.T) {
	dir := writeFiles(t, 0o600, map[string]string{"pgo.toml": minimal("main", "")})
	if err := os.Symlink(filepath.Join(dir, "later"), filepath.Join(dir, "pgo.d")); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(filepath.Join(dir, "pgo.toml"), Options{}); err == nil || !strings.Contains(err.Error(), "pgo.d: cannot open") {
		t.Errorf("got %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "later"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(filepath.Join(dir, "pgo.toml"), Options{}); err != nil {
		t.Error(err)
	}
}

func TestLoadReportsEveryFile(t *testing.T) {
	dir := writeFiles(t, 0o600, map[string]string{
		"operators":        "hello\n",
		"pgo.d/1.toml":     "\n[pgod]\n",
		"pgo.d/2.toml":     "name = ",
		"pgo.d/3.toml":     minimal("main", ""),
		"pgo.d/5.toml/x":   "so 5.toml is a directory, which is skipped",
		"pgo.d/large.toml": strings.Repeat("#", maxFile+1),
	})
	if err := syscall.Mkfifo(filepath.Join(dir, "pgo.d", "4.toml"), 0o600); err != nil { // nobody writes to it
		t.Fatal(err)
	}
	path := filepath.Join(dir, "pgo.toml")
	writeFile(t, path, minimal("main", "brunch = 1")+"[pgod]\noperator_keys = \""+dir+"/operators\"\n")
	_, err := Load(path, Options{})
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatalf("no problems: %v", err)
	}
	want := strings.ReplaceAll(`DIR/pgo.d/4.toml: cannot be read: it is not a regular file
DIR/pgo.d/large.toml: larger than 1 MiB
DIR/pgo.toml:5: services[0] "main": brunch: unknown key; did you mean "branch"?
DIR/pgo.toml:7: pgod.operator_keys: DIR/operators:1: it is not a public key; copy one from a .pub file
DIR/pgo.d/1.toml:2: pgod: only [[services]] is allowed here; move it to the main file
DIR/pgo.d/2.toml:1: name: no value; write one, or leave the key out
DIR/pgo.d/3.toml:2: services[0] "main": name: service "main" (DIR/pgo.toml:1) has this name already`, "DIR", dir)
	if err.Error() != want {
		t.Errorf("got\n%s\nwant\n%s", err, want)
	}
}

func TestLoadMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pgo.toml")
	_, err := Load(path, Options{})
	if want := fmt.Sprintf("%s: cannot open %s: no such file or directory", path, path); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestLoadWarnsOfPublicToken(t *testing.T) {
	text := strings.Replace(minimal("web", ""), "https://", "https://oauth2:S3CRET@", 1)
	for mode, want := range map[os.FileMode]int{0o600: 0, 0o640: 1, 0o604: 1} {
		config, err := Load(filepath.Join(writeFiles(t, mode, map[string]string{"pgo.toml": text}), "pgo.toml"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(config.Warnings) != want {
			t.Errorf("mode %04o: warnings %v", mode, config.Warnings)
		}
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
