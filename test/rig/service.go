package rig

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgo/internal/gittest"
)

// Service is an entry of pgod's configuration with all that belongs to it: a
// Unix user, a repository on a git server, and a key that may use the service.
type Service struct {
	// Name is also that of its compose project.
	Name string
	User *User
	// Key is the key whose public half is in the repository's ssh/.
	Key *Key
	// Repo is what the git server serves. A commit in it is published at once.
	Repo *gittest.Repo

	t        testing.TB
	settings map[string]any
}

// Service makes a service whose repository everybody may read, over HTTP.
func (r *Rig) Service(name string) *Service {
	r.t.Helper()
	return r.PrivateService(name, "")
}

// PrivateService makes a service whose repository is served over HTTP to clients with the
// token, which is part of the configured URL.
func (r *Rig) PrivateService(name, token string) *Service {
	r.t.Helper()
	s := r.service(name)
	server, err := url.Parse(gittest.HTTP(r.t, filepath.Dir(s.Repo.Dir), token))
	if err != nil {
		r.t.Fatal(err)
	}
	if token != "" {
		server.User = url.UserPassword("oauth2", token)
	}
	return s.Set("repository", server.JoinPath(filepath.Base(s.Repo.Dir)).String())
}

// SSHService makes a service whose repository is served over SSH to clients with the deploy
// key, which is configured.
func (r *Rig) SSHService(name string) (*Service, *gittest.SSHServer) {
	r.t.Helper()
	s := r.service(name)
	server := gittest.SSH(r.t)
	key := filepath.Join(r.Dir, "deploy-key-"+name)
	r.write(key, string(server.Key), 0o600)
	return s.Set("repository", server.URL+s.Repo.Dir).Set("git_key", key), server
}

func (r *Rig) service(name string) *Service {
	r.t.Helper()
	s := &Service{Name: r.Prefix + "-" + name, User: r.User(name), Key: r.Key(name), t: r.t, settings: map[string]any{}}
	r.remember(kindProject, s.Name)
	// Only the server can read what is in here.
	served := filepath.Join(r.Dir, "git-"+name)
	r.mkdir(served, 0o700)
	s.Repo = gittest.NewRepo(r.t, filepath.Join(served, name))
	s.Repo.Write("ssh/"+name+".pub", s.Key.Public)
	return s
}

// Set sets a key of the service's entry, as pgo.toml names it. It takes effect at the next
// Start or Configure of a pgod.
func (s *Service) Set(key string, value any) *Service {
	s.settings[key] = value
	return s
}

// Setting returns what Set, or the rig itself, has set.
func (s *Service) Setting(key string) any { return s.settings[key] }

// Op returns the service's operation as a client names it.
func (s *Service) Op(operation string) string { return s.Name + "//" + operation }

// Files are contents by name.
type Files map[string]string

// With returns the files with one more, or with another content for one.
func (f Files) With(name, content string) Files {
	more := maps.Clone(f)
	more[name] = content
	return more
}

// Push commits the files on top of what the repository has, and returns the
// commit.
func (s *Service) Push(message string, files Files) string {
	s.t.Helper()
	s.write(files)
	return s.Repo.Commit(message)
}

// ForcePush rewrites the branch: its newest commit is replaced by one that has
// the files as well.
func (s *Service) ForcePush(message string, files Files) string {
	s.t.Helper()
	s.write(files)
	s.Repo.Git("add", "--all")
	s.Repo.Git("commit", "--quiet", "--amend", "--allow-empty", "--message", message)
	return s.Repo.Git("rev-parse", "HEAD")
}

// write puts the files into the working tree; programs become executable.
func (s *Service) write(files Files) {
	s.t.Helper()
	for name, content := range files {
		s.Repo.Write(name, content)
		if strings.HasPrefix(content, "\x7fELF") || strings.HasPrefix(content, "#!") {
			if err := os.Chmod(filepath.Join(s.Repo.Dir, name), 0o755); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

// entry returns the service's table in the configuration.
func (s *Service) entry() map[string]any {
	// A gate for a machine on which several tests run: starting a container has been
	// seen to take a minute.
	entry := map[string]any{"name": s.Name, "user": s.User.Name, "gate": "2m"}
	maps.Copy(entry, s.settings)
	return entry
}

// Site is a repository with the smallest site there is, built FROM scratch: it
// answers on the host's port with the greeting.
func (r *Rig) Site(port int, greeting string) Files {
	r.t.Helper()
	file, err := siteBinary()
	if err != nil {
		r.t.Fatal(err)
	}
	binary, err := os.ReadFile(file)
	if err != nil {
		r.t.Fatal(err)
	}
	return Files{
		"site":       string(binary),
		"Dockerfile": "FROM scratch\nCOPY site /site\nENTRYPOINT [\"/site\"]\n",
		"compose.yaml": fmt.Sprintf(`services:
  site:
    build: .
    environment:
      GREETING: %q
    ports:
      - "127.0.0.1:%d:8080"
`, greeting, port),
	}
}

// Idle is a repository with one container that does nothing, on the busybox. It has no
// network: those take the engine half as long again as the container itself.
func (r *Rig) Idle() Files {
	r.t.Helper()
	return Files{"compose.yaml": fmt.Sprintf(`services:
  idle:
    image: %s
    command: ["sleep", "86400"]
    init: true
    network_mode: none
`, r.Busybox())}
}
