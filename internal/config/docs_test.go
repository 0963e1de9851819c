package config

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestDocs checks the users' reference against the tables of keys.
func TestDocs(t *testing.T) {
	content, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	pgod, rest, found := strings.Cut(string(content), "\n## `[[services]]`\n")
	services, upstream, more := strings.Cut(rest, "\n## `[upstream]`\n")
	if !found || !more {
		t.Fatal("no sections about [[services]] and [upstream]")
	}
	checkDocs(t, "pgod.", pgod, pgodKeys)
	checkDocs(t, "upstream.", upstream, upstreamKeys)
	checkDocs(t, "services.", services, serviceKeys)
}

func checkDocs[T any](t *testing.T, table, text string, keys []key[T]) {
	t.Helper()
	sections := map[string]string{}
	for _, section := range strings.Split(text, "\n### `")[1:] {
		name, words, _ := strings.Cut(section, "`\n")
		sections[name] = words
	}
	for _, key := range keys {
		section, found := sections[key.name]
		if !found {
			t.Errorf("%s%s has no section", table, key.name)
		}
		delete(sections, key.name)
		_, missing := unsupported[table+key.name]
		if said := strings.Contains(section, "Not supported yet"); said != missing {
			t.Errorf(`%s%s: the reference says "Not supported yet": %v; it is unsupported: %v`, table, key.name, said, missing)
		}
	}
	for name := range sections {
		t.Errorf("%s%s is not a key", table, name)
	}
}

const exampleFile = "../../docs/pgo.example.toml"

// uncommented sets all keys that are commented out in the example.
func uncommented(example string) string {
	return regexp.MustCompile(`(?m)^#(\[|[a-z_]+ = )`).ReplaceAllString(example, "$1")
}

// TestExample loads the example as it is, and then with all keys set.
func TestExample(t *testing.T) {
	if _, err := Load(exampleFile, testOptions); err != nil {
		t.Error(err)
	}
	content, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	text := uncommented(string(content))
	refs := references{
		file: func(path string) (string, error) {
			if strings.HasPrefix(path, "/etc/pgo/keys/") {
				return testKeys().plain, nil
			}
			return "user:S3CRET@registry.example.org", nil
		},
		public: func(string) (string, error) { return testCertificates()["/ca/one.pem"], nil },
		env:    func(string) (string, error) { return "production", nil },
	}
	config, problems := parse([]source{{path: exampleFile, text: text}}, testOptions, refs)
	for _, p := range problems {
		if p.Message != errUnsupported.Error() {
			t.Error(p)
		}
	}
	if len(config.Warnings) > 0 || len(config.Services) < 2 {
		t.Errorf("%d services, warnings %v", len(config.Services), config.Warnings)
	}
	for _, key := range serviceKeys {
		if !strings.Contains(text, "\n"+key.name+" = ") {
			t.Errorf("the example does not show %s", key.name)
		}
	}
	for _, key := range pgodKeys {
		if !strings.Contains(text, "\n"+key.name+" = ") {
			t.Errorf("the example does not show %s", key.name)
		}
	}
	if config.Upstream == nil {
		t.Error("the example does not show upstream")
	}
	_, upstream, _ := strings.Cut(text, "\n[upstream]\n")
	upstream, _, _ = strings.Cut(upstream, "\n[")
	for _, key := range upstreamKeys {
		if !strings.Contains("\n"+upstream, "\n"+key.name+" = ") {
			t.Errorf("the example does not show %s of upstream", key.name)
		}
	}
}
