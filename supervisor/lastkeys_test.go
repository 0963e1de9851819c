package supervisor

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"

	"pgo/internal/config"
	"pgo/internal/sshd"
	"pgo/internal/target"
	"pgo/proto"
)

// After a restart of pgod, whoever had a key of a service whose worker cannot be started hears that
// and why, and not that the key is unknown. The key permits nothing, and a stranger's is unknown.
func TestDevelopersHearWhyThereIsNoWorker(t *testing.T) {
	developer, stranger, others := newKey(t), newKey(t), newKey(t)
	web, db := from(t, "https://git.example.org/web.git", "main"), config.Service{Name: "db", User: "nobody-has-this-name"}
	first := newSupervisor(t)
	first.lastKeys.note(web, [][]byte{developer.Marshal()})
	first.lastKeys.note(config.Service{Name: "gone"}, [][]byte{stranger.Marshal()})
	first.Close(t.Context())

	s, err := New(first.opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	web.User = "nobody-has-this-name"
	s.Apply([]config.Service{web, db}, nil, 0)
	<-s.instance("web").view.judged
	<-s.instance("db").view.judged
	s.reports("db", others)

	if party, known := s.Knows(t.Context(), developer); !known || len(party.Services) != 1 || party.Services[0] != web.Name || party.Operator {
		t.Errorf("the developer is %+v, %v", party, known)
	}
	if party, known := s.Knows(t.Context(), stranger); known {
		t.Errorf("a stranger is %+v", party)
	}
	ask := func(key ssh.PublicKey, service string) sshd.Exit {
		operation, _ := target.Lookup(target.Service, "ps")
		_, exit := s.authorize(sshd.Command{Command: target.Command{Service: service, Operation: "ps"}, Identity: sshd.Identity{Key: key}}, operation, false)
		return exit
	}
	if exit := ask(developer, web.Name); exit.Status != target.StatusUnavailable || !strings.Contains(exit.Message, `"nobody-has-this-name": does not exist on this host`) {
		t.Errorf("the developer hears %+v", exit)
	}
	if exit := ask(developer, "db"); exit.Status != target.StatusUnauthorized {
		t.Errorf("of another service the developer hears %+v", exit)
	}
	if exit := ask(others, web.Name); exit.Status != target.StatusUnavailable || strings.Contains(exit.Message, "nobody-has-this-name") || strings.Contains(exit.Message, "try again") {
		t.Errorf("another's developer hears %+v", exit)
	}

	// What a worker reports counts at once, and alone.
	s.reports("web", others)
	if _, known := s.Knows(t.Context(), developer); known {
		t.Error("a key that was removed since is known")
	}
	if exit := ask(developer, web.Name); exit.Status != target.StatusUnauthorized {
		t.Errorf("a key that was removed since: %+v", exit)
	}
}

// A fault that waiting does not mend is never called a matter of a moment.
func TestPermanentFaultsAreTold(t *testing.T) {
	web := config.Service{Name: "web"}
	const fault = `there is no branch "mian", only main`
	for name, test := range map[string]struct {
		put  func(v *view)
		says string
	}{
		"nothing known": {func(*view) {}, "try again in a moment"},
		"ready":         {func(v *view) { v.enter(ready, nil, restartCount{}) }, "try again in a moment"},
		"no branch": {func(v *view) {
			v.enter(ready, nil, restartCount{})
			v.reported(&proto.ReportReply{State: &proto.State{Error: fault}})
		}, fault},
		"no user": {func(v *view) {
			v.down(errors.New(fault), time.Now().Add(time.Minute))
			v.enter(backoff, nil, restartCount{})
		}, fault},
		"no user, again": {func(v *view) {
			v.down(errors.New(fault), time.Now())
			v.enter(starting, nil, restartCount{})
		}, fault},
	} {
		i := newInstance(&launcher{opts: Options{Logger: hclog.NewNullLogger()}}, web, nil)
		test.put(i.view)
		told := unavailable(i)
		if !strings.Contains(told.Message, test.says) || test.says == fault && strings.Contains(told.Message, "moment") {
			t.Errorf("%s: an operator hears %q", name, told.Message)
		}
		hint := i.notFetched(newKey(t))
		if strings.Contains(hint.Message, fault) || strings.Contains(hint.Message, "moment") != (test.says != fault) {
			t.Errorf("%s: a developer of another service hears %q", name, hint.Message)
		}
	}
}

func TestLastKeys(t *testing.T) {
	dir := t.TempDir()
	web := from(t, "https://git.example.org/web.git", "main")
	k := openLastKeys(dir, hclog.NewNullLogger())
	k.delay = time.Hour
	k.note(web, [][]byte{[]byte("a"), []byte("b")})
	k.note(config.Service{Name: "gone"}, [][]byte{[]byte("c")})
	k.forget("gone")
	k.note(config.Service{Name: "many"}, [][]byte{make([]byte, maxLastKeys-keyOverhead), []byte("one more")})
	path := filepath.Join(dir, keysFile)
	if _, err := os.Stat(path); err == nil {
		t.Error("each change is written at once")
	}
	k.write()
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	next := openLastKeys(dir, hclog.NewNullLogger())
	if keys := next.of(web); len(keys) != 2 || !keys["a"] || !keys["b"] {
		t.Errorf("read: %v", keys)
	}
	if n := len(next.of(config.Service{Name: "gone"})); n != 0 {
		t.Errorf("a removed service has %d", n)
	}
	if n := len(next.of(config.Service{Name: "many"})); n != 1 {
		t.Errorf("%d of very many are kept", n)
	}
	other := from(t, "https://git.example.org/web.git", "another")
	if n := len(next.of(other)); n != 0 {
		t.Errorf("another branch has %d", n)
	}
	for _, broken := range []string{"", "{", "null", `{"web": 1}`} {
		if err := os.WriteFile(path, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		k := openLastKeys(dir, hclog.NewNullLogger())
		k.note(web, nil)
		if len(k.of(web)) != 0 {
			t.Errorf("%q: %v", broken, k.of(web))
		}
	}
	k.delay = time.Millisecond
	k.note(web, [][]byte{[]byte("later")})
	await(t, "a change to be written", func() bool { return openLastKeys(dir, hclog.NewNullLogger()).of(web)["later"] })
}

// Keys cost pgod memory and disk also where they are empty or tiny, and a file that somebody has
// blown up is not read.
func TestLastKeysAreFewAndSmall(t *testing.T) {
	dir := t.TempDir()
	k := openLastKeys(dir, hclog.NewNullLogger())
	k.delay = time.Hour
	tiny := make([][]byte, 100_000)
	for n := range tiny {
		tiny[n] = []byte{byte(n), byte(n >> 8), byte(n >> 16)}
	}
	web := config.Service{Name: "web"}
	for name, keys := range map[string][][]byte{"empty": make([][]byte, 2_000_000), "tiny": tiny} {
		k.note(web, keys)
		if n := len(k.all[web.Name].Keys); n > maxLastKeys/keyOverhead || cap(k.all[web.Name].Keys) > 2*maxKeys || n > 0 != (name == "tiny") {
			t.Errorf("%s: %d are kept", name, n)
		}
	}
	key := []byte("a key")
	k.note(web, [][]byte{nil, key})
	key[0] = 'X'
	if keys := k.of(web); len(keys) != 1 || !keys["a key"] {
		t.Errorf("kept: %v", keys)
	}
	k.write()
	path := filepath.Join(dir, keysFile)
	if _, err := readBounded(path, 10); err == nil {
		t.Error("a large file is read")
	}
	if err := os.WriteFile(path, []byte(`{"web": {"source": "`+source(web)+`", "keys": [`+strings.Repeat(`"",`, maxKeys)+`"YQ=="]}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if keys := openLastKeys(dir, hclog.NewNullLogger()).of(web); len(keys) != 1 || !keys["a"] {
		t.Errorf("read: %v", keys)
	}
	if err := os.Truncate(path, maxKeysFile+1); err != nil {
		t.Fatal(err)
	}
	if keys := openLastKeys(dir, hclog.NewNullLogger()).of(web); len(keys) != 0 {
		t.Errorf("of a large file: %v", keys)
	}
}
