package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgo/test/rig"
)

// record is an entry of `history --json`.
type record struct {
	Time                                              time.Time
	Commit, Author, Subject, Trigger, Reason, Outcome string
	Seconds                                           float64
	Error                                             string
	Details                                           []string
	Tries                                             int
	CanGoTo                                           bool `json:"can_roll_back_to"`
}

func history(t *testing.T, pgod *rig.Pgod, s *rig.Service) []record {
	t.Helper()
	var records []record
	text := pgod.Pgoctl(s.Key, s.Op("history"), "--json").Exits(t, 0).Stdout
	if err := json.Unmarshal([]byte(text), &records); err != nil {
		t.Fatalf("history --json says %q: %v", text, err)
	}
	return records
}

// The history shows for each deploy who or what led to it, and its outcome.
func TestHistory(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, port := r.Service("web"), r.Port()
	first := web.Push("say one", page(r, port, "one"))
	pgod := r.Start(web)
	deployed(t, pgod, web, first)
	bad := web.Push("ask for too much", rig.Files{"compose.yaml": page(r, port, "")["compose.yaml"] + "    privileged: true\n    pid: host\n"})
	shows(t, pgod, web, "head:      "+bad[:7], "last:      refused")
	second := web.Push("say two", page(r, port, "two"))
	deployed(t, pgod, web, second)
	readme := web.Push("only words", page(r, port, "two").With("README.md", "words\n"))
	deployed(t, pgod, web, readme)
	pgod.Pgoctl(web.Key, "-l", "ada", web.Op("up"), "--force-recreate").Exits(t, 0)
	pgod.SSH(web.Key, web.Op("rollback"), first).Exits(t, 0)

	var got []string
	records := history(t, pgod, web)
	for _, r := range records {
		got = append(got, fmt.Sprintf("%s %s %q by %s, %s: %s, %t", r.Commit[:7], r.Outcome, r.Subject, r.Author, r.Trigger, r.Reason, r.CanGoTo))
		if r.Time.IsZero() || r.Outcome == "deployed" && (r.Seconds < 3 || r.Error != "") || len(r.Commit) != 40 || r.Tries != 1 {
			t.Errorf("not as it should be: %+v", r)
		}
	}
	want := []string{
		first[:7] + ` deployed "say one" by Ada, rollback by anyone: deployed again, true`,
		readme[:7] + ` deployed "only words" by Ada, up by ada: forced, true`,
		second[:7] + ` deployed "say two" by Ada, poll: index.html changed, true`,
		bad[:7] + ` refused "ask for too much" by Ada, poll: , false`,
		first[:7] + ` deployed "say one" by Ada, poll: first deploy, true`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("history:\n%s\nnot:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if r := records[3]; !strings.Contains(r.Error, "for 2 reasons") || len(r.Details) != 2 {
		t.Errorf("the refused commit: %+v", r)
	}
	table := pgod.SSH(web.Key, web.Op("history")).Exits(t, 0).Stdout
	lines := strings.Split(table, "\n")
	if !strings.HasPrefix(lines[0], "TIME ") || len(lines) != len(want)+3 {
		t.Errorf("history:\n%s", table)
	}
	for i, words := range [][]string{{first[:7], "deployed *", "rollback by anyone"}, {readme[:7], "deployed *", "up by ada"}, {second[:7], "deployed *", "poll"}, {bad[:7], "refused", "for 2 reasons"}, {first[:7], "deployed *"}} {
		says(t, lines[i+1], words...)
	}
	says(t, table, "* rollback COMMIT goes back to it")
}

// `diff` shows what `up` would change, and no secret.
func TestDiff(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, port := r.Service("web").Set("env", []string{"SECRET=open-sesame", "COLOUR=blue"}).Set("ignore", true), r.Port()
	site := func(text, more string) rig.Files {
		f := page(r, port, text)
		return f.With("compose.yaml", f["compose.yaml"]+"    environment:\n      WORD: ${SECRET}\n      URL: https://me:${SECRET}@example.org\n      DB_PASSWORD: in-the-file\n"+more)
	}
	hides := func(diff rig.Result) {
		t.Helper()
		for _, secret := range []string{"open-sesame", "in-the-file"} {
			if strings.Contains(diff.Stdout+diff.Stderr, secret) {
				t.Errorf("the secret is shown: %s", diff.Stdout)
			}
		}
	}
	first := web.Push("first", site("one", ""))
	pgod := r.Start(web)
	shows(t, pgod, web, "last:      held")
	diff := pgod.SSH(web.Key, web.Op("diff")).Exits(t, 0)
	says(t, diff.Stdout, "# first deploy\n", "--- deployed nothing\n+++ fetched "+first[:7]+"\n@@ ", `+        "WORD": "***"`)
	hides(diff)
	pgod.SSH(web.Key, web.Op("up")).Exits(t, 0)
	says(t, pgod.SSH(web.Key, web.Op("diff")).Exits(t, 0).Stdout, first[:7]+": nothing that is used differs from "+first[:7])

	second := web.Push("second", site("two", "      GREETING: hello ${SECRET}!\n    labels: {more: 'yes'}\n"))
	shows(t, pgod, web, "head:      "+second[:7], "last:      held")
	for _, run := range []func(*rig.Key, ...string) rig.Result{pgod.SSH, pgod.Pgoctl} {
		diff := run(web.Key, web.Op("diff")).Exits(t, 0)
		says(t, diff.Stdout, "# services.site.environment.GREETING changed\n", "# index.html changed\n", "# services.site.labels",
			"--- deployed "+first[:7]+"\n+++ fetched "+second[:7]+"\n@@ ", "\n+        \"GREETING\": \"***\"", "\n+", `"more": "yes"`)
		hides(diff)
	}
	// Looking changes nothing.
	r.Answers(port, "one")
	shows(t, pgod, web, "deployed:  "+first[:7], "last:      held")
}

// `watch` shows the last deploy and follows the next ones, until the client
// leaves.
func TestWatch(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, port := r.Service("web"), r.Port()
	first := web.Push("first", page(r, port, "one"))
	pgod := r.Start(web)
	deployed(t, pgod, web, first)
	pgod.Restart() // the last deploy's output outlives the worker
	shows(t, pgod, web, "deployed:  "+first[:7], "worker:    ready")

	clients := map[string]*exec.Cmd{"ssh": pgod.SSHCommand(web.Key, web.Op("watch")), "pgoctl": pgod.PgoctlCommand(web.Key, web.Op("watch"))}
	outputs := map[string]*bufio.Scanner{}
	for client, watch := range clients {
		pipe, err := watch.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := watch.Start(); err != nil {
			t.Fatal(err)
		}
		outputs[client] = bufio.NewScanner(pipe)
		hearsPart(t, outputs[client], "== poll: "+first[:7])
		hears(t, outputs[client], "deploying "+first[:7]+": first deploy")
		hears(t, outputs[client], "== deployed")
	}
	second := web.Push("second", page(r, port, "two"))
	refused := ""
	for client, lines := range outputs {
		hearsPart(t, lines, "== poll: "+second[:7])
		hears(t, lines, "deploying "+second[:7]+": index.html changed")
		started := regexp.MustCompile(regexp.QuoteMeta(web.Name) + "-site-1 +Started") // composes differ in the spaces
		hearsLine(t, lines, started.String(), started.MatchString)
		hears(t, lines, "== deployed")
		if refused == "" {
			refused = web.Push("third", page(r, port, "two").With("compose.yaml", page(r, port, "")["compose.yaml"]+"    privileged: true\n"))
		}
		hearsPart(t, lines, "== refused: the policy refuses "+refused[:7]+": services.site.privileged: true is refused")
		if err := clients[client].Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := clients[client].Wait(); err == nil {
			t.Errorf("%s was interrupted and exited with 0", client)
		}
	}
	shows(t, pgod, web, "worker:    ready", "restarts: 0", "last:      refused")
	r.Answers(port, "two")
}
