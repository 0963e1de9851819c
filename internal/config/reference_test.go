package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestReferences(t *testing.T) {
	dir := writeFiles(t, 0o600, map[string]string{
		"url":      "https://oauth2:S3CRET@git.example.org/x.git\n",
		"password": "two\nlines\n\n",
	})
	t.Setenv("PGO_TEST_REGISTRY", "user:S3CRET@registry.example.org")
	text := fmt.Sprintf("[[services]]\nname = \"web\"\nuser = \"web\"\nrepository = \"file:%s/url\"\nenv = [\"A=file:%s/password\"]\nregistries = [\"env:PGO_TEST_REGISTRY\"]\n", dir, dir)
	path := filepath.Join(dir, "pgo.toml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	config, err := Load(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := config.Services[0]
	if url := got.Repository.Reveal(); url != "https://oauth2:S3CRET@git.example.org/x.git" {
		t.Errorf("repository %q", url)
	}
	if value := got.Env[0].Value.Reveal(); value != "two\nlines\n" {
		t.Errorf("env %q", value)
	}
	if token := got.Registries[0].Password.Reveal(); token != "S3CRET" {
		t.Errorf("registry %q", token)
	}
	if len(config.Warnings) > 0 {
		t.Errorf("the file itself contains no secret: %v", config.Warnings)
	}
}

func TestReadSecretFile(t *testing.T) {
	dir := writeFiles(t, 0o600, map[string]string{"good": "S3CRET", "group": "S3CRET", "others": "S3CRET", "strict": "S3CRET", "large": strings.Repeat("x", maxSecret+1), "largest": strings.Repeat("x", maxSecret)})
	for name, mode := range map[string]os.FileMode{"group": 0o640, "others": 0o604, "strict": 0o400} {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("good", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"good":     "",
		"strict":   "",
		"link":     "",
		"largest":  "",
		"group":    "cannot trust DIR/group: it may be used by others (mode 0640)",
		"others":   "cannot trust DIR/others: it may be used by others (mode 0604)",
		"large":    "cannot read DIR/large: it is larger than 64 KiB",
		"pipe":     "cannot read DIR/pipe: it is not a regular file",
		".":        "cannot read DIR: it is not a regular file",
		"missing":  "cannot open DIR/missing: no such file or directory",
		"good/sub": "cannot open DIR/good/sub: not a directory",
	} {
		content, err := readSecretFile(filepath.Join(dir, name))
		switch {
		case want == "" && (err != nil || content == ""):
			t.Errorf("%s: %v", name, err)
		case want != "" && (err == nil || err.Error() != strings.ReplaceAll(want, "DIR", dir)):
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
}

func TestReadFileOfAnother(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file to somebody else")
	}
	dir := writeFiles(t, 0o600, map[string]string{"theirs": "S3CRET"})
	path := filepath.Join(dir, "theirs")
	if err := os.Chown(path, 4711, 4711); err != nil {
		t.Fatal(err)
	}
	_, err := readSecretFile(path)
	if want := "cannot trust " + path + ": it belongs to user 4711"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
