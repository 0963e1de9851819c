package test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"pgo/internal/gittest"
	"pgo/test/rig"
)

// upstream is a repository with a configuration, on a git server that requires a token and can
// be away.
type upstream struct {
	*gittest.Repo
	user *rig.User
	url  string // with the token
	away atomic.Bool
}

func newUpstream(t *testing.T, r *rig.Rig, token string) *upstream {
	t.Helper()
	root := filepath.Join(r.Dir, "git-upstream")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	u := &upstream{Repo: gittest.NewRepo(t, filepath.Join(root, "conf")), user: r.User("conf")}
	git := gittest.Handler(root, token, t.Output())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if u.away.Load() {
			http.Error(w, "away", http.StatusBadGateway)
			return
		}
		git.ServeHTTP(w, request)
	}))
	t.Cleanup(server.Close)
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		address.User = url.UserPassword("oauth2", token)
	}
	u.url = address.JoinPath("conf").String()
	return u
}

// entry is a service as a file of the configuration has it.
func entry(s *rig.Service, more ...string) string {
	return fmt.Sprintf("[[services]]\nname = %q\nuser = %q\nrepository = %q\n%s\n", s.Name, s.User.Name, s.Setting("repository"), strings.Join(more, "\n"))
}

// local writes a main file by which the rest of the configuration is fetched.
func (u *upstream) local(t *testing.T, r *rig.Rig, pgod *rig.Pgod, operator *rig.Key, interval string) {
	t.Helper()
	dir := filepath.Dir(pgod.ConfigFile)
	put(t, filepath.Join(dir, "token"), u.url+"\n", 0o600)
	put(t, filepath.Join(dir, "operators"), operator.Public, 0o600)
	put(t, pgod.ConfigFile, fmt.Sprintf("[pgod]\noperator_keys = %q\n\n[upstream]\nrepository = \"file:%s/token\"\nuser = %q\ninterval = %q\n",
		filepath.Join(dir, "operators"), dir, u.user.Name, interval), 0o644)
}

// TestConfigurationFromGit is the life of a configuration that is in git: adding a service is a
// commit, a bad one changes nothing, and without a network the last good one stays in force.
func TestConfigurationFromGit(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	operator := r.Key("operator")
	const token = "glpat-0upstream0token0"
	u := newUpstream(t, r, token)
	web, shop, late := r.Service("web"), r.Service("shop"), r.Service("late")
	commits := map[*rig.Service]string{}
	for _, s := range []*rig.Service{web, shop, late} {
		commits[s] = s.Push("first", r.Idle())
	}
	u.Write("pgo.toml", entry(web)+entry(late, `machine = ["another-host"]`))
	u.Write("pgo.d/team.toml", entry(shop))
	u.Write("pgo.d/.hidden.toml", "this is not TOML")
	first := u.Commit("two services")

	pgod := r.Pgod()
	u.local(t, r, pgod, operator, "1s")
	pgod.Start()
	hunt := pgod.Hunt(token)
	deployed(t, pgod, web, commits[web])
	deployed(t, pgod, shop, commits[shop])
	status := func() string { return pgod.SSH(operator, "//status").Exits(t, 0).Stdout }
	says(t, status(), "Configuration: ", first[:7]+` "two services"`, "conf//pgo.toml, branch main")
	withoutRights(t, pgod, u.user)

	// A commit adds a service. Those that are there already are left alone.
	worker, containers := pgod.WorkerPID(web), startedAt(t, web)
	u.Write("pgo.toml", entry(web)+entry(late))
	second := u.Commit("late comes on board")
	deployed(t, pgod, late, commits[late])
	says(t, status(), second[:7]+` "late comes on board"`)
	unchanged := func() {
		t.Helper()
		if pgod.WorkerPID(web) != worker || startedAt(t, web) != containers {
			t.Error("a service that did not change was touched")
		}
	}
	unchanged()

	// A bad commit changes nothing, and is shown with its place.
	u.Write("pgo.toml", entry(web, `brnch = "main"`))
	bad := u.Commit("a mistake")
	rig.Until(t, "the mistake to be shown", func() error {
		return contains(status(), "conf//pgo.toml:", "unknown key", `did you mean "branch"?`, bad[:7], second[:7])
	})
	unchanged()
	pgod.SSH(late.Key, late.Op("ping")).Exits(t, 0)

	// Restarted with a bad head, and then without the git server.
	pgod.Restart()
	pgod.SSH(late.Key, late.Op("ping")).Exits(t, 0)
	u.away.Store(true)
	pgod.Restart()
	pgod.SSH(late.Key, late.Op("ping")).Exits(t, 0)
	pgod.SSH(shop.Key, shop.Op("ping")).Exits(t, 0)
	rig.Until(t, "the server to be missed", func() error { return contains(status(), "cannot fetch the configuration", second[:7]) })
	if startedAt(t, web) != containers {
		t.Error("a restart touched containers")
	}
	told := read[struct {
		Upstream struct {
			From, Commit, Subject string
			Error                 struct{ Text string }
		}
	}](t, pgod.SSH(operator, "//status", "--json").Exits(t, 0).Stdout)
	if told.Upstream.Commit != second || told.Upstream.Subject != "late comes on board" || !strings.Contains(told.Upstream.Error.Text, "cannot fetch") {
		t.Errorf("//status --json: %+v", told.Upstream)
	}

	// It is back, and the mistake is mended: shop leaves.
	u.away.Store(false)
	u.Write("pgo.toml", entry(web)+entry(late))
	u.Git("rm", "--quiet", "pgo.d/team.toml")
	u.Commit("shop leaves")
	rig.Until(t, "shop to be taken down", rig.Running(shop.Name, 0))
	rig.Until(t, "no mistake to be shown", func() error {
		if text := status(); strings.Contains(text, "unknown key") || strings.Contains(text, "cannot fetch") {
			return fmt.Errorf("%s", text)
		}
		return nil
	})

	// Nobody meant to remove everything: until an operator says so, it stays, also for the next pgod.
	u.Write("pgo.toml", "services = []\n")
	emptied := u.Commit("oops")
	waits := func() error {
		return contains(status(), "waits for an operator", "the old one stays in force", "it would remove", late.Name, web.Name, "//reload --remove", "shop leaves", emptied[:7]+` "oops"`)
	}
	rig.Until(t, "the empty one to wait", waits)
	pgod.Restart()
	rig.Until(t, "it to wait again", waits)
	pgod.SSH(late.Key, late.Op("ping")).Exits(t, 0)
	if startedAt(t, web) != containers {
		t.Error("nobody confirmed it, and containers were touched")
	}
	says(t, pgod.SSH(operator, "//reload", "--remove").Exits(t, 0).Stdout, "removed:   "+late.Name+", "+web.Name)
	rig.Until(t, "all to be taken down", rig.Running(web.Name, 0))
	hunt.Ends()
}

// TestReloadFetches has //reload fetch at once, without waiting for the next poll. The worker
// that fetches may be killed.
func TestReloadFetches(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	operator := r.Key("operator")
	u := newUpstream(t, r, "")
	web := r.Service("web")
	commit := web.Push("first", r.Idle())
	u.Write("pgo.toml", "services = []\n")
	u.Commit("empty")
	pgod := r.Pgod()
	u.local(t, r, pgod, operator, "1h")
	pgod.Start()
	rig.Until(t, "the configuration to be fetched", func() error {
		return contains(pgod.SSH(operator, "//status").Exits(t, 0).Stdout, `"empty"`)
	})
	u.Write("pgo.toml", entry(web))
	u.Commit("web")
	says(t, pgod.SSH(operator, "//reload").Exits(t, 0).Stdout, "added:", web.Name)
	deployed(t, pgod, web, commit)

	processes, err := u.user.Processes()
	if err != nil || len(processes) != 1 {
		t.Fatalf("the processes that fetch: %v, %v", processes, err)
	}
	if err := syscall.Kill(processes[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	u.Write("pgo.toml", entry(web, "surely = 1"))
	u.Commit("mistake")
	result := pgod.Pgoctl(operator, "//reload").Exits(t, 64)
	says(t, result.Stderr, "conf//pgo.toml:", "unknown key", "the newest configuration is not in force")
	pgod.SSH(web.Key, web.Op("ping")).Exits(t, 0)
}

// TestReloadBringsUpstream has //reload report what a configuration in git brings that the
// local files have just named.
func TestReloadBringsUpstream(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	operator := r.Key("operator")
	u := newUpstream(t, r, "")
	web, late := r.Service("web"), r.Service("late")
	u.Write("pgo.toml", entry(late))
	u.Commit("late")
	pgod := r.Pgod(web)
	pgod.Operators(operator)
	pgod.Flags = []string{"--restart=false"}
	pgod.Start()
	local, err := os.ReadFile(pgod.ConfigFile)
	if err != nil {
		t.Fatal(err)
	}
	put(t, pgod.ConfigFile, string(local)+fmt.Sprintf("\n[upstream]\nrepository = %q\nuser = %q\ninterval = \"1h\"\n", u.url, u.user.Name), 0o600)
	said := pgod.SSH(operator, "//reload").Exits(t, 0).Stdout
	if want := "added:     " + late.Name + "\nchanged:   -\nremoved:   -\nunchanged: " + web.Name + "\n"; said != want {
		t.Errorf("it says %s", said)
	}
	// A mistake in what is on this host is told at once: git cannot mend it.
	u.away.Store(true)
	put(t, pgod.ConfigFile, "surely = 1\n"+string(local), 0o600)
	says(t, pgod.SSH(operator, "//reload").Exits(t, 400%256).Stderr, "unknown key", "the old one stays in force")
	says(t, pgod.Log(), "added="+late.Name)
}

// TestConfigURL has all of the configuration in git: there is no local file.
func TestConfigURL(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	operator := r.Key("operator")
	u := newUpstream(t, r, "")
	web := r.Service("web")
	commit := web.Push("first", r.Idle())
	operators := filepath.Join(r.Dir, "operators")
	put(t, operators, operator.Public, 0o600)
	u.Git("checkout", "--quiet", "-b", "prod")
	u.Write("hosts/pgo.toml", fmt.Sprintf("[pgod]\noperator_keys = %q\n\n", operators)+entry(web, `machine = ["east", "west"]`))
	u.Commit("for two hosts")

	pgod := r.Pgod()
	pgod.Flags = []string{"--config", "git+" + u.url + "//hosts/pgo.toml?ref=prod", "--config-user", u.user.Name, "--machine", "east"}
	pgod.Start()
	deployed(t, pgod, web, commit)
	says(t, pgod.SSH(operator, "//status").Exits(t, 0).Stdout, web.Name, "conf//hosts/pgo.toml, branch prod")

	for _, wrong := range [][]string{
		{"git+https://oauth2:secret0token@git.example.org/conf.git", "user name or token", "[upstream]"},
		{"git+https://git.example.org/conf.git?branch=main", "ref=branch"},
	} {
		second := r.Pgod()
		second.Flags = []string{"--config", wrong[0]}
		ends(t, second, wrong[1:]...)
		if text := rig.Run(t, second.Command()).Stderr; strings.Contains(text, "secret0token") {
			t.Errorf("the token is shown: %s", text)
		}
	}
}

// TestConfigurationOverSSH has the configuration and a service on a git server that speaks SSH,
// each with a deploy key. Until the server's own key is known nothing is fetched, and the line
// that makes it known is shown.
func TestConfigurationOverSSH(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	operator, server := r.Key("operator"), gittest.SSH(t)
	web, conf := r.Service("web"), r.User("conf")
	commit := web.Push("first", r.Idle())
	repository := gittest.NewRepo(t, filepath.Join(r.Dir, "conf"))

	pgod := r.Pgod()
	dir := filepath.Dir(pgod.ConfigFile)
	key, operators := filepath.Join(dir, "deploy-key"), filepath.Join(dir, "operators")
	put(t, key, string(server.Key), 0o600)
	put(t, operators, operator.Public, 0o600)
	web.Set("repository", server.URL+web.Repo.Dir)
	repository.Write("pgo.toml", entry(web, fmt.Sprintf("git_key = %q", key)))
	head := repository.Commit("over SSH")
	put(t, pgod.ConfigFile, fmt.Sprintf("[pgod]\noperator_keys = %q\n\n[upstream]\nrepository = %q\ngit_key = %q\nuser = %q\nbranch = %q\ninterval = \"1s\"\n",
		operators, server.URL+repository.Dir, key, conf.Name, "mian"), 0o644)
	pgod.Start()
	hunt := pgod.Hunt(strings.Split(string(server.Key), "\n")[3])
	status := func() string { return pgod.SSH(operator, "//status").Exits(t, 0).Stdout }

	line, err := os.ReadFile(server.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	rig.Until(t, "the line of known_hosts to be shown", func() error { return contains(status(), "is not known", strings.TrimSpace(string(line))) })
	if all := rig.Containers(t, web.Name); len(all) > 0 {
		t.Errorf("it runs %v, which nobody can have asked for", all)
	}
	for _, user := range []*rig.User{conf, web.User} {
		known := filepath.Join(user.Home, ".ssh", "known_hosts")
		if err := os.Mkdir(filepath.Dir(known), 0o755); err != nil {
			t.Fatal(err)
		}
		put(t, known, string(line), 0o644)
	}
	rig.Until(t, "the branch to be missed", func() error {
		return contains(status(), `there is no branch "mian", only main; set `+"`branch` (the branch is set in [upstream], or by ?ref= in --config)")
	})
	text, err := os.ReadFile(pgod.ConfigFile)
	if err != nil {
		t.Fatal(err)
	}
	put(t, pgod.ConfigFile, strings.Replace(string(text), "mian", "main", 1), 0o644)
	deployed(t, pgod, web, commit)
	says(t, status(), head[:7]+` "over SSH"`)
	deployed(t, pgod, web, web.Push("second", r.Idle()))
	hunt.Ends()
}

// contains returns an error unless the text has all of the words.
func contains(text string, words ...string) error {
	for _, word := range words {
		if !strings.Contains(text, word) {
			return fmt.Errorf("there is no %q in:\n%s", word, text)
		}
	}
	return nil
}

// withoutRights checks that what fetches the configuration runs as its user, and is in no other
// group.
func withoutRights(t *testing.T, pgod *rig.Pgod, user *rig.User) {
	t.Helper()
	processes, err := user.Processes()
	if err != nil || len(processes) != 1 || processes[0].Parent != pgod.PID() || processes[0].Name != "pgo-worker" {
		t.Fatalf("the configuration is fetched by %v, %v", processes, err)
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", processes[0].PID))
	if err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprint(user.UID)
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) > 0 && words[0] == "Uid:" && !slices.Equal(words[1:], []string{id, id, id, id}) {
			t.Errorf("%s", line)
		}
		if len(words) > 0 && words[0] == "Groups:" && len(words) > 2 {
			t.Errorf("it has more groups than its own: %s", line)
		}
	}
}
