package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParseProxy(t *testing.T) {
	for text, want := range map[string]string{
		"http://proxy:3128":           "http://proxy:3128",
		"http://proxy:3128/":          "http://proxy:3128",
		"proxy.example.org:3128":      "http://proxy.example.org:3128",
		"ada:S3CRET@proxy:3128":       "http://***@proxy:3128",
		"http://S3CRET@proxy:3128":    "http://***@proxy:3128",
		"https://ada:S3CRET@[::1]:80": "https://***@[::1]:80",
		"socks5://ada:S3CRET@proxy:1": "socks5://ada:***@proxy:1",
		"http://":                     "", "http://pro xy": "", "ftp://proxy": "", "http://proxy/path": "", "http://proxy?x": "",
		"http://a:S3C/RET@proxy": "", "http://proxy:0": "", "http://ada:S3C%RET@proxy": "", "direct://": "",
	} {
		got, err := parseProxy(text)
		if got.String() != want || (err != nil) != (want == "") || err != nil && strings.Contains(err.Error(), "S3C") {
			t.Errorf("%q: %v, %v, want %q", text, got, err, want)
		}
	}
}

// What [pgod] says comes before the environment, one by one, and all of it is known wherever a
// server is reached.
func TestProxies(t *testing.T) {
	environment := func(variables map[string]string) references {
		refs := testReferences()
		refs.env = func(name string) (string, error) {
			if content, ok := variables[name]; ok {
				return content, nil
			}
			return "", errors.New("not set")
		}
		return refs
	}
	const upstream = "[upstream]\nrepository = \"https://git.example.org/c.git\"\n"
	for _, test := range []struct {
		name, pgod string
		env        map[string]string
		want       string // HTTP, HTTPS, no
		warnings   int
	}{
		{"nothing", "", nil, "||", 0},
		{"environment", "", map[string]string{"HTTP_PROXY": "a:1", "HTTPS_PROXY": "b:2", "NO_PROXY": "c"}, "http://a:1|http://b:2|c", 0},
		{"lower case", "", map[string]string{"http_proxy": "a:1", "https_proxy": "b:2", "no_proxy": "c"}, "http://a:1|http://b:2|c", 0},
		{"both cases", "", map[string]string{"http_proxy": "x:1", "HTTP_PROXY": "a:1"}, "http://a:1||", 0},
		{"empty", "", map[string]string{"HTTP_PROXY": "", "http_proxy": "a:1"}, "http://a:1||", 0},
		{"keys", "http_proxy = \"k:1\"\nno_proxy = \"n\"\n", map[string]string{"HTTP_PROXY": "a:1", "HTTPS_PROXY": "b:2", "NO_PROXY": "c"}, "http://k:1|http://b:2|n", 0},
		{"reference", "https_proxy = \"env:THEIRS\"\n", map[string]string{"THEIRS": "http://ada:S3CRET@k:1"}, "|http://ada:S3CRET@k:1|", 0},
		{"no text", "", map[string]string{"NO_PROXY": "a,\xff"}, "||", 1},
		{"control characters", "", map[string]string{"no_proxy": "a\x1b"}, "||", 1},
		{"wrong", "", map[string]string{"HTTP_PROXY": "ftp://ada:S3CRET@a", "HTTPS_PROXY": "b:2"}, "|http://b:2|", 1},
	} {
		text := "[pgod]\n" + test.pgod + upstream + minimal("web", "") + minimal("other", "")
		config, problems := parse([]source{{path: "pgo.toml", text: text}}, testOptions, environment(test.env))
		if len(problems) > 0 || len(config.Warnings) != test.warnings || strings.Contains(config.Warnings.Error(), token) {
			t.Errorf("%s: %v, warnings %v", test.name, problems, config.Warnings)
		}
		for _, p := range []Proxies{config.Proxies, config.Services[0].Proxies, config.Services[1].Proxies, config.Upstream.Proxies} {
			if got := p.HTTP.Reveal() + "|" + p.HTTPS.Reveal() + "|" + p.No; got != test.want {
				t.Errorf("%s: %s, want %s", test.name, got, test.want)
			}
			if shown := fmt.Sprintf("%v %+v %#v", p, p, p); strings.Contains(shown, token) {
				t.Errorf("%s: a password is shown: %s", test.name, shown)
			}
		}
	}
}

// A file of certificates is watched, and read again with the configuration.
func TestCertificatesAreRead(t *testing.T) {
	dir := t.TempDir()
	ca, main := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "pgo.toml")
	text := testCertificates()["/ca/one.pem"]
	write := func(file, text string, mode os.FileMode) {
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	write(main, minimal("web", `ca = "`+ca+`"`), 0o644)
	if config, err := Load(main, testOptions); err == nil || !slices.Contains(config.Files, ca) {
		t.Errorf("a missing file: %v", err)
	}
	write(ca, "# the company's\n"+text, 0o644)
	config, err := Load(main, testOptions)
	if err != nil || config.Services[0].CA != text || !slices.Contains(config.Files, ca) {
		t.Fatalf("%v", err)
	}
	before := config.Services[0]
	write(ca, text+text, 0o644)
	if config, err = Load(main, testOptions); err != nil || config.Services[0].Equal(before) {
		t.Errorf("another certificate changes nothing: %v", err)
	}
	write(ca, text, 0o666)
	if _, err = Load(main, testOptions); err == nil || !strings.Contains(err.Error(), "it may be changed by others (mode 0666); chmod go-w "+ca) {
		t.Errorf("a file that others can change: %v", err)
	}
}

// The reload of upstream's own pgo.toml means the same.
func TestUpstreamsReload(t *testing.T) {
	for text, want := range map[string][]string{
		"localhost:caddy//exec caddy reload --config /etc/caddy/Caddyfile": {"caddy", "caddy", "reload", "--config", "/etc/caddy/Caddyfile"},
		"host.example.org:web-1//exec  sh -c 'caddy reload'":               {"web-1", "sh", "-c", "caddy reload"},
		":caddy//exec caddy reload":                                        {"caddy", "caddy", "reload"},
		"caddy sh -c 'wget http://x//exec y'":                              {"caddy", "sh", "-c", "wget http://x//exec y"},
	} {
		got, err := parseReload(text)
		if err != nil || !slices.Equal(append([]string{got.Service}, got.Command...), want) {
			t.Errorf("%q: %v, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"localhost:caddy//exec", "localhost:caddy//exec ", "localhost:caddy//restart caddy", "localhost://exec caddy reload"} {
		if got, err := parseReload(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}
