package rig

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

// clone clones a service's repository as its user, into its home, and returns
// the newest commit's hash.
func clone(t *testing.T, s *Service, into string) (result Result, head string) {
	t.Helper()
	dir := filepath.Join(s.User.Home, into)
	cmd := s.User.Command("git", "clone", "--quiet", s.settings["repository"].(string), dir)
	cmd.Env = append(cmd.Env, "GIT_TERMINAL_PROMPT=0")
	result = Run(t, cmd)
	if result.Code == 0 {
		head = strings.TrimSpace(Run(t, s.User.Command("git", "-C", dir, "rev-parse", "HEAD")).Exits(t, 0).Stdout)
	}
	return result, head
}

func TestServiceIsServedWithItsKeyAndPrograms(t *testing.T) {
	r := New(t)
	s := r.Service("web")
	pushed := s.Push("first", r.Site(r.Port(), "hello"))
	result, head := clone(t, s, "clone")
	if result.Exits(t, 0); head != pushed {
		t.Errorf("the clone is at %s, pushed was %s", head, pushed)
	}
	key, err := os.ReadFile(filepath.Join(s.User.Home, "clone/ssh/web.pub"))
	if err != nil || string(key) != s.Key.Public {
		t.Errorf("ssh/web.pub is %q (%v), not %q", key, err, s.Key.Public)
	}
	if info, err := os.Stat(filepath.Join(s.User.Home, "clone/site")); err != nil || info.Mode()&0o111 == 0 {
		t.Errorf("site is not a program: %v, %v", info, err)
	}
	if result := Run(t, s.User.Command("ls", s.Repo.Dir)); result.Code == 0 {
		t.Errorf("the service's user can read what is behind the git server")
	}
}

func TestForcePushRewritesTheBranch(t *testing.T) {
	r := New(t)
	s := r.Service("web")
	base := s.Push("first", Files{"a": "1"})
	lost := s.Push("second", Files{"a": "2"})
	forced := s.ForcePush("other", Files{"a": "3"})
	if parent := s.Repo.Git("rev-parse", forced+"^"); parent != base || forced == lost {
		t.Errorf("%s has the parent %s, not %s", forced, parent, base)
	}
}

func TestPrivateServiceWantsTheToken(t *testing.T) {
	r := New(t)
	s := r.PrivateService("web", "glpat-4711")
	pushed := s.Push("first", Files{"a": "1"})
	if _, head := clone(t, s, "with"); head != pushed {
		t.Errorf("the clone is at %q, pushed was %s", head, pushed)
	}
	with := s.settings["repository"].(string)
	s.Set("repository", strings.Replace(with, "oauth2:glpat-4711@", "", 1))
	if result, _ := clone(t, s, "without"); result.Code == 0 || with == s.settings["repository"] {
		t.Errorf("cloned without the token: %+v", result)
	}
}

func TestSSHServiceWantsTheDeployKey(t *testing.T) {
	r := New(t)
	s, server := r.SSHService("web")
	pushed := s.Push("first", Files{"a": "1"})
	dir := filepath.Join(r.Dir, "clone")
	for key, want := range map[string]int{s.settings["git_key"].(string): 0, s.Key.File: 128} {
		t.Setenv("GIT_SSH_COMMAND", "ssh -F none -o IdentitiesOnly=yes -o BatchMode=yes -o UserKnownHostsFile="+server.KnownHosts+" -i "+key)
		_, err := output("git", "clone", "--quiet", s.settings["repository"].(string), dir)
		if (err == nil) != (want == 0) {
			t.Errorf("clone with the key %s: %v", key, err)
		}
	}
	if head, err := output("git", "-C", dir, "rev-parse", "HEAD"); err != nil || strings.TrimSpace(head) != pushed {
		t.Errorf("the clone is at %q (%v), pushed was %s", head, err, pushed)
	}
}

func TestConfigurationIsWhatTheServicesSay(t *testing.T) {
	r := New(t)
	web := r.Service("web").Set("env", []string{"A=b"}).Set("urls", map[string]string{"a.example.org": "web:8080"})
	api := r.Service("api")
	p := r.Pgod(web, api)
	p.Operators(r.Key("root"))
	var read struct {
		Pgod struct {
			OperatorKeys string `toml:"operator_keys"`
		}
		Services []struct {
			Name, User, Repository string
			Env                    []string
			URLs                   map[string]string
		}
	}
	if _, err := toml.DecodeFile(p.ConfigFile, &read); err != nil {
		t.Fatal(err)
	}
	if len(read.Services) != 2 || read.Services[1].Name != api.Name || read.Services[1].User != api.User.Name {
		t.Fatalf("read back: %+v", read)
	}
	first := read.Services[0]
	if first.Env[0] != "A=b" || first.URLs["a.example.org"] != "web:8080" || !strings.HasPrefix(first.Repository, "http://127.0.0.1:") {
		t.Errorf("read back: %+v", first)
	}
	if text, err := os.ReadFile(read.Pgod.OperatorKeys); err != nil || !strings.HasPrefix(string(text), "ssh-ed25519 ") {
		t.Errorf("the operators' keys are %q, %v", text, err)
	}
	p.Configure(api)
	if text, err := os.ReadFile(p.ConfigFile); err != nil || strings.Contains(string(text), web.Name) {
		t.Errorf("after Configure(api) the file has: %s, %v", text, err)
	}
}
