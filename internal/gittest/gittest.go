// Package gittest gives tests what they need of git: repositories made with the git command line,
// a smart-HTTP server and an SSH server for them, all private to one test and gone when it ends.
// Only tests may import it, and it must not know pgo.
//
// It needs git, and for SSH OpenSSH's sshd, on the machine.
package gittest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Environment is what git runs with: nobody's configuration, and always the same author.
var Environment = []string{
	"PATH=" + os.Getenv("PATH"),
	"HOME=/nonexistent",
	"LC_ALL=C",
	"GIT_CONFIG_NOSYSTEM=1",
	"GIT_CONFIG_GLOBAL=/dev/null",
	"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.org",
	"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.org",
}

// Repo is a repository with a working tree, to make commits in. The servers of
// this package serve it by the name of its directory.
type Repo struct {
	// Dir is the working tree.
	Dir string

	t testing.TB
}

// NewRepo makes an empty repository in dir, on the branch main.
func NewRepo(t testing.TB, dir string) *Repo {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r := &Repo{Dir: dir, t: t}
	r.Git("init", "--quiet", "--initial-branch=main")
	return r
}

// Git runs git in the working tree and returns what it prints, without the final newline.
func (r *Repo) Git(args ...string) string {
	r.t.Helper()
	return strings.TrimSuffix(r.GitInput("", args...), "\n")
}

// GitInput runs git with input, and returns exactly what it prints.
func (r *Repo) GitInput(stdin string, args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.Dir
	cmd.Env = Environment
	cmd.Stdin = strings.NewReader(stdin)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// Write writes a file of the working tree, with the directories above it.
func (r *Repo) Write(name, content string) {
	r.t.Helper()
	file := filepath.Join(r.Dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// Commit commits the whole working tree as it is, even if nothing changed, and returns the
// commit's hash.
func (r *Repo) Commit(message string) string {
	r.t.Helper()
	r.Git("add", "--all")
	r.Git("commit", "--quiet", "--allow-empty", "--message", message)
	return r.Git("rev-parse", "HEAD")
}
