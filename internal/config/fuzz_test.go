package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tooLong reports whether nested tables in a text could cost the toml package gigabytes. Anyone
// who may write the configuration can do worse, but they would stall a fuzzer.
func tooLong(text string) bool {
	return len(text) > 4<<10 || strings.Count(text, "{")+strings.Count(text, ".") > 200
}

func addCases(f *testing.F) {
	f.Add(everyKey)
	paths, err := filepath.Glob("testdata/*.toml")
	if err != nil || len(paths) == 0 {
		f.Fatalf("no cases in testdata: %v", err)
	}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		input, _, _ := strings.Cut(string(content), "-----\n")
		f.Add(input)
	}
}

// FuzzParse looks for panics and for problems on lines that do not exist.
func FuzzParse(f *testing.F) {
	addCases(f)
	f.Fuzz(func(t *testing.T, text string) {
		if tooLong(text) {
			return
		}
		config, problems := parse([]source{{path: "pgo.toml", text: text, public: true}}, testOptions, testReferences())
		last := strings.Count(text, "\n") + 1
		for _, p := range append(problems, config.Warnings...) {
			if p.Line < 1 || p.Line > last {
				t.Errorf("%s: the text has %d lines", p, last)
			}
			if strings.ContainsAny(p.String(), "\n\x1b") {
				t.Errorf("not fit to print: %q", p)
			}
		}
		if len(problems) == 0 {
			_ = fmt.Sprintf("%+v", config)
		}
	})
}

// FuzzSecrets puts a token in every value that may contain one, with various text around it.
func FuzzSecrets(f *testing.F) {
	for _, around := range [][2]string{
		{"https://oauth2:", "@git.example.org/x"}, {"https://", ":@git.example.org"}, {"ssh://git:", "@host/x?y#z"},
		{"user:", "@registry.example.org:5000"}, {"user:", ""}, {"A=", "\x00"}, {"", "=file:/x"}, {"file:", ""},
		{"https://hooks.example.org/", " "}, {"git@host:", "/x"}, {"ftp://", "%zz"},
	} {
		f.Add(around[0], around[1])
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "S3CRET"
		text := before + secret + after
		if _, _, ok := reference(text); ok {
			return // the name of a file or variable may be shown
		}
		raw := map[string]any{
			"name": "web", "user": "alice", "repository": text,
			"registries": []any{text, text}, "env": []any{text, text, "A=" + text}, "notify": []any{text},
		}
		r := &reader{refs: testReferences()}
		r.readService(value{raw: raw, refs: r.refs, path: "services[0]", file: &file{source: source{public: true}, reader: r}})
		r.checkConflicts()
		name, _, _ := strings.Cut(text, "=")
		for _, p := range append(r.problems, r.warnings...) {
			shown := strings.NewReplacer(name+" is set already", "", "the value of "+name, "").Replace(p.String())
			if strings.Contains(shown, secret) && !strings.HasPrefix(p.Message, "there is an account at") {
				t.Errorf("%q is shown: %s", text, p)
			}
		}
	})
}

// FuzzUpstream puts a token before the host in the URL of a configuration, on a command line and
// in a file.
func FuzzUpstream(f *testing.F) {
	for _, around := range [][2]string{
		{"", "git.example.org/x.git"}, {"oauth2:", "git.example.org/x.git//pgo.toml?ref=main"}, {":", ""}, {"%2F", "host//x?ref="}, {"a@", "b@host//c@d"},
	} {
		f.Add(around[0], around[1])
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "S3CRET"
		if strings.ContainsAny(before, "/?#") {
			return // then it is not a token but part of a path
		}
		for _, scheme := range []string{"https", "http", "git", "file"} {
			text := scheme + "://" + before + secret + "@" + after
			if _, err := ParseUpstream("git+" + text); err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("%q: %v", text, err)
			}
			r := &reader{refs: testReferences()}
			r.readUpstream(value{raw: map[string]any{"repository": text, "git_key": "/secret/key"}, refs: r.refs, path: "upstream", file: &file{source: source{public: true}, reader: r}})
			for _, p := range append(r.problems, r.warnings...) {
				if strings.Contains(p.String(), secret) {
					t.Errorf("%q is shown: %s", text, p)
				}
			}
		}
	})
}
