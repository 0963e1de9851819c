package test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh/knownhosts"

	"pgo/internal/gittest"
	"pgo/test/rig"
)

const token = "glpat-swordfish-4711"

// spellings are the forms in which the login user:secret could appear.
func spellings(user, secret string) []string {
	return []string{secret, base64.StdEncoding.EncodeToString([]byte(user + ":" + secret))}
}

// holds returns the files of the service that have one of the secrets, read as root.
func holds(t *testing.T, pgod *rig.Pgod, s *rig.Service, secrets []string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(serviceDir(pgod, s), func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		for _, secret := range secrets {
			if strings.Contains(string(text), secret) {
				files = append(files, path)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// A token in `repository` opens a private repository and then appears nowhere, even when the
// git server misbehaves.
func TestTokenStaysSecret(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	s := r.Service("shy")
	server := moodyServer(t, s)
	secrets := spellings("oauth2", token)
	first := s.Push("first", r.Idle())
	pgod := r.Start(s)
	hunt := pgod.Hunt(secrets...)
	deployed(t, pgod, s, first)

	told := ""
	for mood, sentence := range map[int]string{
		http.StatusUnauthorized:        "the token in `repository` is refused",
		http.StatusInternalServerError: "its server answers 500",
	} {
		server.mood.Store(int64(mood))
		shows(t, pgod, s, "error:", sentence)
		told += pgod.SSH(s.Key, s.Op("status")).Stdout
		pull := pgod.Pgoctl(s.Key, s.Op("git pull")).Exits(t, 76)
		says(t, pull.Stderr, sentence, "[ERROR] Process exited with status 502")
		told += pull.Stdout + pull.Stderr
	}
	server.mood.Store(http.StatusOK)
	deployed(t, pgod, s, s.Push("second", r.Idle().With("README.md", "again\n")))
	pgod.Restart()
	deployed(t, pgod, s, s.Push("third", r.Idle().With("compose.yaml", r.Idle()["compose.yaml"]+"    environment: [N=3]\n")))

	hunt.Ends()
	for _, secret := range secrets {
		if strings.Contains(told, secret) {
			t.Errorf("the user was told the secret: %s", told)
		}
	}
	if files := holds(t, pgod, s, secrets); len(files) > 0 {
		t.Errorf("the token is on disk: %v", files)
	}
}

// moody is a git server that requires the token, and in a bad mood answers with a status and
// all that it was sent.
type moody struct{ mood atomic.Int64 }

func moodyServer(t *testing.T, s *rig.Service) *moody {
	t.Helper()
	m := &moody{}
	m.mood.Store(http.StatusOK)
	git := gittest.Handler(filepath.Dir(s.Repo.Dir), token, t.Output())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if mood := int(m.mood.Load()); mood != http.StatusOK {
			user, password, _ := r.BasicAuth()
			http.Error(w, "no: "+r.Header.Get("Authorization")+" "+user+":"+password+" "+r.URL.String(), mood)
			return
		}
		git.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("oauth2", token)
	s.Set("repository", u.JoinPath(filepath.Base(s.Repo.Dir)).String())
	return m
}

// Without a token a private repository says what is missing.
func TestMissingToken(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	s, operator := r.PrivateService("shy", token), r.Key("operator")
	s.Push("first", r.Idle())
	with := s.Setting("repository").(string)
	s.Set("repository", strings.Replace(with, "oauth2:"+token+"@", "", 1))
	pgod := r.Pgod(s)
	pgod.Operators(operator)
	pgod.Start()
	showsTo(t, pgod, operator, s, "authentication required; put a token in `repository`")
	// It is not known yet whose keys may use it.
	pgod.SSH(s.Key, s.Op("ping")).Exits(t, 255)

	s.Set("repository", with)
	pgod.Configure()
	rig.Until(t, "the service to run", rig.Running(s.Name, 1))
	pgod.SSH(s.Key, s.Op("ping")).Exits(t, 0)
}

// git over SSH works with a deploy key, once somebody has vouched for the host.
func TestDeployKey(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	s, server := r.SSHService("web")
	operator := r.Key("operator")
	commit := s.Push("first", r.Idle())
	pgod := r.Pgod(s)
	pgod.Operators(operator)
	pgod.Start()
	secret := strings.Split(string(server.Key), "\n")[1]
	hunt := pgod.Hunt(secret)

	address := strings.SplitN(server.URL, "@", 2)[1]
	line := knownhosts.Line([]string{address}, server.HostKey)
	known := filepath.Join(s.User.Home, ".ssh/known_hosts")
	showsTo(t, pgod, operator, s, "the host key of "+address+" is not known", "add this line to", known, line)
	put(t, known, line+"\n", 0o644)
	deployed(t, pgod, s, commit)
	deployed(t, pgod, s, s.Push("second", rig.Files{"README.md": "more\n"}))

	hunt.Ends()
	if files := holds(t, pgod, s, []string{secret}); len(files) > 0 {
		t.Errorf("the deploy key is on disk: %v", files)
	}
}

// A private registry's password is where compose needs it, and nowhere else.
func TestPrivateRegistry(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	s, registry := r.Service("web"), r.PrivateRegistry("robot", token)
	image := registry.Push(r.Busybox(), "tool:1")
	files := rig.Files{"compose.yaml": "services:\n  tool:\n    image: " + image + "\n    init: true\n    command: [sleep, '86400']\n"}
	commit := s.Push("first", files)
	pgod := r.Start(s)
	shows(t, pgod, s, "error:", "cannot pull the images of "+commit[:7], "no basic auth credentials")

	s.Set("registries", []string{"robot:" + token + "@" + registry.Address})
	pgod.Configure()
	hunt := pgod.Hunt(spellings("robot", token)...)
	deployed(t, pgod, s, commit)
	if found := rig.Containers(t, s.Name); len(found) != 1 || found[0].Config.Image != image {
		t.Errorf("what runs is not the private image: %+v", found)
	}
	pgod.SSH(s.Key, s.Op("pull")).Exits(t, 0)

	hunt.Ends()
	config := filepath.Join(serviceDir(pgod, s), "docker/config.json")
	if files := holds(t, pgod, s, spellings("robot", token)); len(files) != 1 || files[0] != config {
		t.Errorf("the password is in %v, not in %s alone", files, config)
	}
	if info, err := os.Stat(config); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the password: %v, %v", info, err)
	}
}
