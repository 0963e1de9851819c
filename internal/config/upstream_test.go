package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestUpstream(t *testing.T) {
	const text = `
[upstream]
repository = "ssh://git@git.example.org/pgo-config.git"
branch = "live"
path = "./hosts/pgo.toml"
user = "fetcher"
git_key = "/secret/key"
interval = "5m"
`
	config, problems := parse([]source{{text: text}}, Options{}, testReferences())
	const repository = "ssh://git@git.example.org/pgo-config.git"
	want := &Upstream{Repository: SecretURL{repository, NewSecret(repository)}, Branch: "live", Path: "hosts/pgo.toml", User: "fetcher", GitKey: NewSecret(testKeys().plain), Interval: 5 * time.Minute}
	if len(problems) > 0 || !reflect.DeepEqual(config.Upstream, want) {
		t.Errorf("got %+v, %v", config.Upstream, problems)
	}

	config, problems = parse([]source{{text: "[upstream]\nrepository = \"file:/secret/repository\""}}, Options{DefaultInterval: time.Hour}, testReferences())
	const full = "https://oauth2:S3CRET@git.example.org/web.git"
	want = &Upstream{Repository: SecretURL{"https://***@git.example.org/web.git", NewSecret(full)}, Branch: "main", Path: "pgo.toml", User: "pgo-config", Interval: time.Hour}
	if len(problems) > 0 || !reflect.DeepEqual(config.Upstream, want) {
		t.Errorf("got %+v, %v", config.Upstream, problems)
	}
}

func TestParseUpstream(t *testing.T) {
	for _, test := range []struct{ text, repository, branch, path string }{
		{"git+https://git.example.org/org/pgo-config.git//pgo.toml?ref=main", "https://git.example.org/org/pgo-config.git", "main", "pgo.toml"},
		{"git+https://git.example.org/x.git", "https://git.example.org/x.git", "main", "pgo.toml"},
		{"git+http://git.example.org:8080/x.git?ref=release%2F1.x", "http://git.example.org:8080/x.git", "release/1.x", "pgo.toml"},
		{"git+ssh://git@git.example.org/x.git//hosts/a%20b.toml", "ssh://git@git.example.org/x.git", "main", "hosts/a b.toml"},
		{"git+git://git.example.org/x.git//a.toml?ref=a/b", "git://git.example.org/x.git", "a/b", "a.toml"},
		{"git+file:///srv/git/x.git//a.toml", "file:///srv/git/x.git", "main", "a.toml"},
	} {
		u, err := ParseUpstream(test.text)
		if err != nil || !IsUpstream(test.text) {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		want := &Upstream{Repository: SecretURL{test.repository, NewSecret(test.repository)}, Branch: test.branch, Path: test.path, User: "pgo-config", Interval: time.Minute}
		if !reflect.DeepEqual(u, want) {
			t.Errorf("%s: got %+v", test.text, u)
		}
	}
	const token = "a user name or token"
	for text, want := range map[string]string{
		"git+https://oauth2:S3CRET@git.example.org/x.git":        token,
		"git+https://S3CRET@git.example.org/x.git//pgo.toml":     token,
		"git+ssh://git:S3CRET@git.example.org/x.git//pgo.toml":   token,
		"git+https://u:S3//CRET@git.example.org/x.git":           token,
		"git+https://git.example.org/x.git?ref=main&depth=1":     "after the ?",
		"git+https://git.example.org/x.git?ref=main&ref=x":       "after the ?",
		"git+https://git.example.org/x.git?ref=":                 "after the ?",
		"git+https://git.example.org/x.git?branch=main":          "after the ?",
		"git+https://git.example.org/x.git?ref=-x":               "is not a branch name",
		"git+https://git.example.org/x.git//":                    "no file path",
		"git+https://git.example.org/x.git//%zz":                 "no file path",
		"git+https://git.example.org/x.git//../pgo.toml":         "outside the repository",
		"git+https://git.example.org//pgo.toml":                  "a URL without a path",
		"git+https://git.example.org/x.git//pgo.toml#main":       "a # in the URL",
		"git+https://git.example.org/x.git/S3C/pgo.toml":         "no // between",
		"git+https://git.example.org/x.git/S3C/pgo.toml?ref=x":   "no // between",
		"git+ftp://git.example.org/x.git":                        "not the URL of a git repository",
		"git+file://host/x.git":                                  "a file on another host",
		"git+file:////pgo.toml":                                  "a URL without a path",
		"git+https://git.example.org/x.git?ref=main;x=S3CRET%0a": "after the ?",
	} {
		_, err := ParseUpstream(text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "S3C") {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
	for _, path := range []string{"/etc/pgo.toml", "git+https", "pgo.toml", "https://host/x", "/git+https://x"} {
		if IsUpstream(path) {
			t.Errorf("%s is the path of a file", path)
		}
	}
}

func TestCheckPath(t *testing.T) {
	for text, want := range map[string]string{
		"https://u:S3CRET@git.example.org/x.git//pgo.toml": "write git+https://host/repository//pgo.toml?ref=branch",
		"http://git.example.org/x.git":                     "write git+http://host/repository//pgo.toml?ref=branch",
		"SSH://git@git.example.org/x.git":                  "write git+ssh://git@host/repository//pgo.toml?ref=branch",
		"git@git.example.org:S3CRET.git":                   "write git+ssh://git@host/repository//pgo.toml?ref=branch",
		"file:///srv/x.git":                                "write git+file:///repository//pgo.toml?ref=branch",
		"/etc/pgo.toml":                                    "",
		"pgo.toml":                                         "",
		"./git@git.example.org:x":                          "",
		"conf:a//b":                                        "",
		"C://x":                                            "",
		"pgo@home.toml":                                    "",
	} {
		err := CheckPath(text)
		if (err != nil) != (want != "") || err != nil && err.Error() != "--config: a URL, not the path of a file; "+want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

func TestLoadRemote(t *testing.T) {
	dir := writeFiles(t, 0o600, map[string]string{
		"pgo.toml":     "[pgod]\n[upstream]\nrepository = \"https://git.example.org/pgo-config.git\"\n" + minimal("local", ""),
		"pgo.d/1.toml": minimal("dropin", ""),
	})
	remote := []File{
		{"pgo-config.git//pgo.toml", []byte(minimal("remote", `machine = ["host1"]`))},
		{"pgo-config.git//pgo.d/a.toml", []byte(minimal("team", ""))},
		{"pgo-config.git//pgo.d/b.toml", []byte(minimal("elsewhere", `machine = ["host2"]`))},
	}
	path := filepath.Join(dir, "pgo.toml")
	for path, want := range map[string][]string{path: {"local", "dropin", "remote", "team"}, "": {"remote", "team"}} {
		config, err := Load(path, Options{Machines: []string{"host1"}, Remote: remote})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range config.Services {
			names = append(names, s.Name)
		}
		if !slices.Equal(names, want) || (config.Upstream != nil) != (path != "") {
			t.Errorf("%q: services %q, want %q; upstream %v", path, names, want, config.Upstream)
		}
	}
}

func TestLoadRemoteMistakes(t *testing.T) {
	dir := writeFiles(t, 0o600, map[string]string{"pgo.toml": "[pgod]\n[upstream]\nrepository = \"https://git.example.org/pgo-config.git\"\n"})
	path := filepath.Join(dir, "pgo.toml")
	token := strings.Replace(minimal("remote", ""), "https://", "https://oauth2:S3CRET@", 1)
	remote := []File{
		{"x//pgo.toml", []byte("[pgod]\n[upstream]\nrepository = \"https://git.example.org/x.git\"\n" + token + token)},
		{"x//a\n.toml", []byte("[pgod]\n[upstream]\n" + strings.Replace(minimal("team", ""), `"team"`+"\nrep", `"pgo-config"`+"\nrep", 1))},
		{"x//large.toml", []byte(strings.Repeat("#", maxFile+1))},
	}
	config, err := Load(path, Options{Remote: remote})
	want := strings.ReplaceAll(`x//large.toml: larger than 1 MiB
x//pgo.toml:1: pgod: DIR/pgo.toml:1 has this table already; leave it out of one
x//pgo.toml:2: upstream: this file is from git itself; leave it out
x//pgo.toml:10: services[1] "remote": name: service "remote" (x//pgo.toml:4) has this name already
x//a\n.toml:1: pgod: only [[services]] is allowed here; move it to the main file
x//a\n.toml:2: upstream: this file is from git itself; leave it out
x//a\n.toml:5: services[0] "team": user: this user fetches the configuration from git: the service could forge it; give the service a user of its own`, "DIR", dir)
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	if !slices.Equal(config.Files, []string{path}) {
		t.Errorf("files %q", config.Files)
	}

	u, err := ParseUpstream("git+https://git.example.org/x.git")
	if err != nil {
		t.Fatal(err)
	}
	if config, err = Load("", Options{Remote: []File{{"pgo.toml", []byte(token)}}, Upstream: u}); err != nil {
		t.Fatal(err)
	}
	if config.Upstream != u || len(config.Warnings) != 1 || !strings.Contains(config.Warnings[0].String(), "a secret, and anyone who can read the repository") {
		t.Errorf("warnings %v", config.Warnings)
	}
	own := strings.Replace(minimal("web", ""), `user = "web"`, `user = "pgo-config"`, 1)
	if _, err = Load("", Options{Remote: []File{{"pgo.toml", []byte(own)}}, Upstream: u}); err == nil {
		t.Error("a service of the user that fetches the configuration is accepted")
	}

	many := make([]File, maxRemote+1)
	for i := range many {
		many[i] = File{fmt.Sprintf("x//%d.toml", i), []byte("services = []")}
	}
	if _, err = Load("", Options{Remote: many}); err == nil || err.Error() != "x//0.toml: 1001 files, of which only the first 1000 are read" {
		t.Errorf("got %v", err)
	}
	if _, err = Load("", Options{Remote: many[1:]}); err != nil {
		t.Error(err)
	}
	if _, err = Load("", Options{}); err == nil {
		t.Error("a missing configuration is taken for an empty one")
	}
}

// TestLoadFiles checks that Files has every file that can change the configuration.
func TestLoadFiles(t *testing.T) {
	for _, mistake := range []string{"", "brunch = 1"} {
		dir := writeFiles(t, 0o600, map[string]string{
			"url":          "https://oauth2:S3CRET@git.example.org/x.git\n",
			"key":          testKeys().plain,
			"operators":    testKeys().public,
			"pgo.d/a.toml": "",
		})
		rewrite := func(name, text string) {
			writeFile(t, filepath.Join(dir, name), strings.ReplaceAll(text, "DIR", dir))
		}
		rewrite("pgo.d/a.toml", strings.Replace(minimal("a", "env = [\"A=file:DIR/url\"]"), "https://git.example.org/x.git", "file:DIR/url", 1))
		rewrite("pgo.toml", "[pgod]\noperator_keys = \"DIR/operators\"\n"+
			strings.Replace(minimal("b", "git_key = \"DIR/key\"\n"+mistake), "https://", "ssh://git@", 1)+
			minimal("elsewhere", "machine = [\"other\"]\nenv = [\"A=file:/not/here\"]"))
		config, err := Load(filepath.Join(dir, "pgo.toml"), Options{})
		if (err != nil) != (mistake != "") {
			t.Fatal(err)
		}
		var want []string
		for _, name := range []string{"key", "operators", "pgo.d/a.toml", "pgo.toml", "url"} {
			want = append(want, filepath.Join(dir, name))
		}
		if !slices.Equal(config.Files, want) {
			t.Errorf("files %q, want %q", config.Files, want)
		}
	}
	missing := filepath.Join(t.TempDir(), "pgo.toml")
	config, err := Load(missing, Options{})
	if problems := (Problems)(nil); !errors.As(err, &problems) || !slices.Equal(config.Files, []string{missing}) {
		t.Errorf("files %q, %v", config.Files, err)
	}
}

// TestLoadHostile has texts that would cost a parser unbounded time and memory. Somebody else
// writes them to a repository, and root reads them.
func TestLoadHostile(t *testing.T) {
	const n = maxFile - 100
	for want, texts := range map[string][]string{
		"x//pgo.toml:1: nested more than 32 deep": {
			strings.Repeat("a.", n/2) + "a = 1", "[" + strings.Repeat("a.", n/2) + "a]",
			"a = " + strings.Repeat("[", n/2) + strings.Repeat("]", n/2),
			"a = " + strings.Repeat("{a=", n/4) + "1" + strings.Repeat("}", n/4),
		},
		"more than 5000 services":                   {strings.Repeat("[[services]]\n", n/13)},
		"those after the first 1000 are not listed": {"services = []\n" + strings.Repeat("a", 10) + numbered(n)},
	} {
		for _, text := range texts {
			_, err := Load("", Options{Remote: []File{{"x//pgo.toml", []byte(text)}}})
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%.20q…: %.300v", text, err)
			}
			if len(err.Error()) > 256<<10 {
				t.Errorf("%.20q…: an error of %d bytes", text, len(err.Error()))
			}
		}
	}
}

// numbered returns very many keys, in about size bytes.
func numbered(size int) string {
	var b strings.Builder
	for i := 0; b.Len() < size-30; i++ {
		fmt.Fprintf(&b, "k%d = 1\n", i)
	}
	return b.String()
}
