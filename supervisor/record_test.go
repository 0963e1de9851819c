package supervisor

import (
	"fmt"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/internal/config"
)

// myself is the user that runs this test.
func myself(t *testing.T) string {
	t.Helper()
	is, err := user.Current()
	if err != nil || is.Uid != fmt.Sprint(os.Geteuid()) {
		t.Fatalf("the user of this test has no name: %v", err)
	}
	return is.Username
}

// from returns a service of a repository as config.Load returns it.
func from(t *testing.T, repository, branch string) config.Service {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pgo.toml")
	text := fmt.Sprintf("[[services]]\nname = \"web\"\nuser = \"web\"\nrepository = %q\nbranch = %q\n", repository, branch)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file, config.Options{})
	if err != nil || len(c.Services) != 1 {
		t.Fatal(err, c)
	}
	return c.Services[0]
}

const rootless = "unix:///run/user/1/docker.sock"

// A record is about the user that worked in the directory, whatever the entry says by now. It
// outlives pgod, until the service is removed.
func TestServicesAreNoted(t *testing.T) {
	s, name := newSupervisorWith(t, hclog.NewNullLogger(), "/etc/pgo.toml"), myself(t)
	who, err := lookupAccount(t.Context(), name, false)
	if err != nil {
		t.Fatal(err)
	}
	web := config.Service{Name: "web", User: name, DockerHost: rootless}
	want := record{User: name, UID: who.uid, GID: who.gid, DockerHost: rootless, Source: source(web), Configuration: "/etc/pgo.toml"}
	isNoted := func(when string) {
		t.Helper()
		if got := s.records.get("web"); got != want {
			t.Errorf("the record %s is %+v", when, got)
		}
	}
	s.Apply([]config.Service{web, {Name: "db", User: "nobody-has-this-name"}}, nil, 0)
	await(t, "a worker to be launched", func() bool { return s.records.get("web").known() })
	isNoted("at first")
	mark(t, s.data.service("web"), "what it did there")
	s.Apply([]config.Service{{Name: "web", User: "nobody-has-this-name"}}, nil, 0)
	<-s.instance("web").view.judged
	isNoted("when its next user does not exist")
	another := config.Service{Name: "web", User: "another"}
	if dir, err := s.launcher.errand(another, nil, s.opts.Logger, func() {}).dir(account{uid: me().uid + 1}); err == nil {
		t.Errorf("another user gets the directory %s", dir)
	}
	isNoted("when its next user did not get the directory")
	s.Apply(nil, nil, 0)
	await(t, "an attempt to remove it", func() bool { return len(s.removing()) == 1 && s.removing()[0].Error != "" })
	s.Close(t.Context())

	want.Leaving = true
	after, err := loadRecords(s.opts.Dir)
	if err != nil || !maps.Equal(after, map[string]record{"web": want}) {
		t.Errorf("the records are %v: %v", after, err)
	}
	if info, err := os.Stat(filepath.Join(s.opts.Dir, recordsFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the records are in %v: %v", info, err)
	}
	s.records.forget("web")
	s.records.write()
	if after, err := loadRecords(s.opts.Dir); err != nil || len(after) != 0 {
		t.Errorf("the records are %v: %v", after, err)
	}
}

// A user without access to the host's engine does not get it for the removal, and neither does
// one that pgod has no record of.
func TestRemovalGivesNoRights(t *testing.T) {
	docker, err := dockerGID(t.Context())
	if err != nil {
		t.Fatalf("make machine sets up the group: %v", err)
	}
	s, name := newSupervisor(t), myself(t)
	defer s.Close(t.Context())
	mkdir(t, s.data.service("web"))
	n := record{User: name, UID: me().uid, GID: me().gid, Source: "x"}
	with := func(change func(n *record)) record {
		n := n
		change(&n)
		return n
	}
	already, err := lookupAccount(t.Context(), name, false)
	if err != nil {
		t.Fatal(err)
	}
	daemon, err := uidOf(t.Context(), "daemon")
	if err != nil {
		t.Fatal(err)
	}
	member := slices.Contains(already.groups, docker)
	for what, test := range map[string]struct {
		noted       record
		known, gets bool
	}{
		"its last user":                         {n, true, true},
		"without a record":                      {record{}, false, false},
		"by an older pgod":                      {with(func(n *record) { n.Source = "" }), false, false},
		"it had another engine":                 {with(func(n *record) { n.DockerHost = rootless }), true, member},
		"somebody else worked in the directory": {record{User: "daemon", UID: daemon, Source: "x"}, false, false},
		"somebody else has the uid now":         {with(func(n *record) { n.User = "nobody-has-this-name" }), false, false},
	} {
		s.records.change(func(all map[string]record) { all["web"] = test.noted })
		owner, is, err := s.launcher.owner(t.Context(), "web")
		if err != nil || owner != me().uid || is.known() != test.known {
			t.Errorf("%s: %d owns it, with the record %+v: %v", what, owner, is, err)
			continue
		}
		got, err := is.account(t.Context(), owner)
		if err != nil || got.uid != me().uid || slices.Contains(got.groups, docker) != test.gets || !test.known && got.gid != nogroup {
			t.Errorf("%s: %+v %v", what, got, err)
		}
	}
	const free = 2_000_000_011 // of a user that was removed from the host
	gone := record{User: "nobody-has-this-name", UID: free, GID: 7, Source: "x"}
	if same, err := sameUser(t.Context(), gone.User, free); err != nil || !same {
		t.Errorf("somebody has uid %d: %v", free, err)
	}
	if got, err := gone.account(t.Context(), free); err != nil || got.uid != free || got.gid != 7 || !slices.Equal(got.groups, []uint32{docker}) {
		t.Errorf("a user that was removed: %+v %v", got, err)
	}
	if err := os.Symlink(s.data.service("web"), s.data.service("link")); err != nil {
		t.Fatal(err)
	}
	if owner, _, err := s.launcher.owner(t.Context(), "link"); err == nil {
		t.Errorf("the owner of a symlink's target is used: %d", owner)
	}
}

// A removal for which nobody got an engine says what to do.
func TestRemovalByNobodyKnownTellsWhatToDo(t *testing.T) {
	err := cannotRemove(fmt.Errorf("permission denied"), 1007, record{})
	if !strings.Contains(err.Error(), "permission denied; ") || !strings.Contains(err.Error(), "uid 1007") || !strings.Contains(err.Error(), "configure the service again") {
		t.Error(err)
	}
	if err := cannotRemove(fmt.Errorf("permission denied"), 1007, record{Source: "x"}); err.Error() != "permission denied" {
		t.Error(err)
	}
}

// A token does not count as part of what a service is made from.
func TestSource(t *testing.T) {
	of := func(repository, branch string) string { return source(from(t, repository, branch)) }
	web := of("https://git.example.org/web.git", "main")
	for _, same := range []string{"https://S3CRET@git.example.org/web.git", "https://oauth2:S3CRET@git.example.org/web.git"} {
		if of(same, "main") != web {
			t.Errorf("%s is another source", same)
		}
	}
	seen := map[string]bool{web: true}
	for _, other := range []string{of("https://git.example.org/web.git", "live"), of("https://git.example.org/web2.git", "main"), of("https://git2.example.org/web.git", "main")} {
		if seen[other] || strings.Contains(other, "example") {
			t.Errorf("%s is the same, or readable", other)
		}
		seen[other] = true
	}
}

// Nothing waits while the disk hangs, and the last state wins.
func TestNotesWaitForNobody(t *testing.T) {
	s := newSupervisor(t)
	s.records.writing.Lock() // held as if by a write that waits for the disk
	web := config.Service{Name: "web", User: "nobody-has-this-name"}
	s.records.launched(web, me(), s.opts.Configuration)
	s.Apply([]config.Service{web}, nil, 0)
	s.Apply(nil, nil, 0) // and there is no directory
	await(t, "it to be removed", func() bool { return len(s.removing()) == 0 })
	var all sync.WaitGroup
	for n := range 20 {
		all.Go(func() { s.records.launched(config.Service{Name: fmt.Sprint("s", n)}, me(), s.opts.Configuration) })
	}
	all.Wait()
	if raw, err := os.ReadFile(filepath.Join(s.opts.Dir, recordsFile)); err == nil {
		t.Errorf("it is written: %s", raw)
	}
	s.records.writing.Unlock()
	s.Close(t.Context())
	if after, err := loadRecords(s.opts.Dir); err != nil || len(after) != 20 || !maps.Equal(after, s.records.all) {
		t.Errorf("the records are %v: %v", after, err)
	}
}

// A record that cannot be written is tried again, until pgod ends.
func TestNotesAreTriedAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not there yet")
	n := openRecords(dir, hclog.NewNullLogger())
	n.again = 10 * time.Millisecond
	n.change(func(all map[string]record) { all["web"] = record{Source: "x"} })
	n.write()
	mkdir(t, dir)
	await(t, "the record to be written", func() bool {
		all, err := loadRecords(dir)
		return err == nil && all["web"].Source == "x"
	})
	n.close()
}
