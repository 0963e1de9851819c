package supervisor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// nameService replaces getent and id with programs that know only the given entries, written
// "passwd alice:…" and "group docker:…".
func nameService(t *testing.T, groups string, entries ...string) {
	t.Helper()
	dir := t.TempDir()
	var lookup strings.Builder
	for _, entry := range entries {
		database, line, _ := strings.Cut(entry, " ")
		name, _, _ := strings.Cut(line, ":")
		lookup.WriteString(`[ "$2 $3" = "` + database + " " + name + `" ] && echo "` + line + "\" && exit\n")
	}
	for name, text := range map[string]string{"getent": lookup.String() + "exit 2\n", "id": "echo " + groups + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
}

const (
	alice  = "passwd alice:x:1001:1002::/home/alice:/bin/sh"
	docker = "group docker:x:999:"
)

func TestGroupDockerIsForTheHostsEngine(t *testing.T) {
	for _, test := range []struct {
		name      string
		entries   []string
		ownEngine bool
		groups    []uint32
		err       string
	}{
		{"the host's engine", []string{alice, docker}, true, []uint32{50, 999, 1002}, ""},
		{"another engine", []string{alice, docker}, false, []uint32{50, 1002}, ""},
		{"another engine on a host without one", []string{alice}, false, []uint32{50, 1002}, ""},
		{"no engine", []string{alice}, true, nil, `group "docker": does not exist on this host`},
		{"no user", []string{docker}, true, nil, `user "alice": does not exist on this host`},
	} {
		t.Run(test.name, func(t *testing.T) {
			nameService(t, "1002 50", test.entries...)
			got, err := lookupAccount(t.Context(), "alice", test.ownEngine)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, want %s", err, test.err)
				}
				return
			}
			if err != nil || got.uid != 1001 || got.gid != 1002 || !slices.Equal(got.groups, test.groups) {
				t.Errorf("got %v, %v; want the groups %d", got, err, test.groups)
			}
		})
	}
}

// A name service that does not answer says nothing about the user.
func TestSlowNameService(t *testing.T) {
	slow := errors.New("the name service has not answered")
	for _, name := range []string{"getent", "id"} {
		nameService(t, "1002 50", alice, docker)
		if err := os.WriteFile(filepath.Join(os.Getenv("PATH"), name), []byte("#!/bin/sh\nexec /bin/sleep 60\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, slow)
		_, err := lookupAccount(ctx, "alice", true)
		cancel()
		if !errors.Is(err, slow) || strings.Contains(err.Error(), "create it") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Services that start at once share what they ask the name service, and no memory.
func TestLookupsAreShared(t *testing.T) {
	nameService(t, "1002 50", alice, docker)
	dir := os.Getenv("PATH")
	script, err := os.ReadFile(filepath.Join(dir, "getent"))
	if err != nil {
		t.Fatal(err)
	}
	script = slices.Concat([]byte("#!/bin/sh\necho $3 >>"+dir+"/asked\n"), script)
	if err := os.WriteFile(filepath.Join(dir, "getent"), script, 0o755); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var all accounts
		othersHaveAsked := make(chan struct{})
		go func() {
			_, _ = all.users.ask(t.Context(), "alice", func(context.Context) (account, error) {
				<-othersHaveAsked
				return account{uid: 1}, nil
			})
		}()
		synctest.Wait()
		results := make(chan account)
		for own := range 10 {
			go func() {
				who, err := all.lookup(t.Context(), "alice", own > 0)
				if err != nil {
					t.Error(err)
				}
				results <- who
			}()
		}
		synctest.Wait()
		close(othersHaveAsked)
		lengths := map[int]int{}
		for range 10 {
			who := <-results
			if who.uid != 1001 {
				t.Errorf("got %v, which was looked up before", who)
			}
			lengths[len(who.groups)]++
			clear(who.groups)
		}
		if lengths[2] != 1 || lengths[3] != 9 {
			t.Errorf("numbers of groups %v, want one of 2 and nine of 3", lengths)
		}
	})
	asked, err := os.ReadFile(filepath.Join(dir, "asked"))
	if n := strings.Count(string(asked), "alice"); err != nil || n != 1 {
		t.Errorf("asked %d times for alice, want once: %v", n, err)
	}
}
