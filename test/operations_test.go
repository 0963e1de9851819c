package test

import (
	"bufio"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgo/test/rig"
)

// talker prints nine lines, and then what others write to its standard output.
func talker(r *rig.Rig) rig.Files {
	return rig.Files{"compose.yaml": `services:
  talker:
    image: ` + r.Busybox() + `
    init: true
    network_mode: none
    command: [sh, -c, "for n in 1 2 3 4 5 6 7 8 9; do echo line $$n; done; exec sleep 86400"]
    volumes: [data:/data]
volumes: {data: {}}
`}
}

func runningTalker(t *testing.T) (*rig.Rig, *rig.Pgod, *rig.Service) {
	t.Helper()
	r := rig.New(t)
	web := r.Service("web")
	commit := web.Push("first", talker(r))
	pgod := r.Start(web)
	deployed(t, pgod, web, commit)
	return r, pgod, web
}

// A table has what an operation takes, and nothing else reaches compose. The exit status is
// compose's own.
func TestFlagsAndStatuses(t *testing.T) {
	t.Parallel()
	r, pgod, web := runningTalker(t)
	id := rig.Containers(t, web.Name)[0].ID
	rig.Until(t, "the container to have spoken", func() error {
		return has(pgod.SSH(web.Key, web.Op("logs")).Stdout, "line 9")
	})

	for _, c := range []struct {
		words  []string
		code   int // as a stock client sees it
		ctl    int // as pgoctl exits
		stdout string
		stderr string
	}{
		{[]string{"ps", "-a"}, 0, 0, "talker", ""},
		{[]string{"ps", "-q"}, 0, 0, id + "\n", ""},
		{[]string{"ps", "--services", "--status=running"}, 0, 0, "talker\n", ""},
		{[]string{"ps", "--format", "json"}, 0, 0, `"Service":"talker"`, ""},
		{[]string{"logs", "-n", "2", "--no-log-prefix"}, 0, 0, "line 8\nline 9\n", ""},
		{[]string{"logs", "-n2", "--no-log-prefix", "talker"}, 0, 0, "line 8\nline 9\n", ""},
		{[]string{"logs", "--tail=1", "--no-log-prefix"}, 0, 0, "line 9\n", ""},
		{[]string{"logs", "--tail", "0"}, 0, 0, "", ""},
		{[]string{"logs", "nobody"}, 400 % 256, 64, "", "no such service: nobody; there is only talker"},
		{[]string{"logs", "-f", "nobody"}, 400 % 256, 64, "", "no such service: nobody"},
		{[]string{"stats", "nobody"}, 400 % 256, 64, "", "no such service: nobody"},
		{[]string{"stats", "--no-stream", "talker", "nobody"}, 400 % 256, 64, "", "no such service: nobody"},
		{[]string{"top", "nobody"}, 400 % 256, 64, "", "no such service: nobody"},
		{[]string{"images", "nobody"}, 400 % 256, 64, "", "no such service: nobody"},
		{[]string{"port", "nobody", "80"}, 400 % 256, 64, "", "no such service: nobody"},
		{[]string{"exec", "nobody", "true"}, 400 % 256, 64, "", "no such service: nobody"},
		{[]string{"exec", "talke", "true"}, 400 % 256, 64, "", "no such service: talke (did you mean talker?)"},
		{[]string{"ps", "--format", "{{.Asleep}}"}, 1, 1, "", "Asleep"},
		{[]string{"ps", "--file", "/etc/passwd"}, 400 % 256, 64, "", `ps does not take "--file"`},
		{[]string{"up", "--project-directory=/"}, 400 % 256, 64, "", `up does not take "--project-directory"`},
		{[]string{"logs", "--folow"}, 400 % 256, 64, "", "did you mean --follow?"},
		{[]string{"down", "--volumes"}, 400 % 256, 64, "", "down takes --volumes from operators only"},
		{[]string{"ping", "loudly"}, 400 % 256, 64, "", "ping takes no argument"},
		{[]string{"attach", "talker", "sh"}, 400 % 256, 64, "", "no operation"},
		{[]string{"top"}, 0, 0, "sleep 86400", ""},
		{[]string{"images", "-q"}, 0, 0, "\n", ""},
		{[]string{"images", "--format=json"}, 0, 0, `"Repository"`, ""},
		{[]string{"port", "talker", "80"}, 1, 1, "", "no port 80/tcp"},
		{[]string{"port", "talker", "http"}, 400 % 256, 64, "", "is not a port"},
		{[]string{"stats", "--no-stream", "--format", "{{.Name}}"}, 0, 0, "talker", ""},
		{[]string{"up", "; touch /tmp/x"}, 400 % 256, 64, "", "is not the name of a compose service"},
		{[]string{"git", "push"}, 400 % 256, 64, "", "no operation"},
	} {
		operation, args := web.Op(c.words[0]), c.words[1:]
		for client, result := range map[string]rig.Result{
			"ssh":    pgod.SSH(web.Key, append([]string{operation}, quoted(args)...)...),
			"pgoctl": pgod.Pgoctl(web.Key, append([]string{operation}, args...)...),
		} {
			code := map[string]int{"ssh": c.code, "pgoctl": c.ctl}[client]
			if result.Code != code || !fits(result.Stdout, c.stdout) || !fits(result.Stderr, c.stderr) {
				t.Errorf("%s %q: %+v\nexpected %d, stdout with %q, stderr with %q", client, c.words, result, code, c.stdout, c.stderr)
			}
		}
	}

	// An operator's key may do what a service's may not.
	volume := func() string { return docker(t, "volume", "ls", "--quiet", "--filter", "name="+web.Name+"_data") }
	pgod.SSH(web.Key, web.Op("down"), "--timeout", "5").Exits(t, 0)
	if volume() == "" {
		t.Error("down removed the volume")
	}
	operator := r.Key("operator")
	pgod.Operators(operator)
	rig.Until(t, "the operator to be known", func() error { return ping(pgod, web, operator) })
	pgod.SSH(operator, web.Op("down"), "--volumes").Exits(t, 0)
	if found := volume(); found != "" {
		t.Errorf("down --volumes left %s", found)
	}
}

// quoted quotes words for a client that joins them with blanks.
func quoted(words []string) []string {
	var all []string
	for _, word := range words {
		all = append(all, "'"+strings.ReplaceAll(word, "'", `'\''`)+"'")
	}
	return all
}

// fits reports whether a text has what it should, or is as empty as it should be.
func fits(text, want string) bool {
	return strings.Contains(text, want) && (text == "") == (want == "")
}

// Arguments arrive exactly as they were typed.
func TestArgumentsArriveAsTyped(t *testing.T) {
	t.Parallel()
	_, pgod, web := runningTalker(t)
	for _, text := range []string{`two words`, `it's`, `a "quoted" one`, `$HOME`, "`id`", `back\slash`, `*`, `a;b&c|d>e`, `--not a flag`, `é☃`, " ", `''`} {
		format, want := "{{.Service}} ("+text+")", "talker ("+text+")\n"
		if got := pgod.Pgoctl(web.Key, web.Op("ps"), "--format", format).Exits(t, 0).Stdout; got != want {
			t.Errorf("pgoctl: %q arrived as %q", want, got)
		}
		if got := pgod.SSH(web.Key, append([]string{web.Op("ps"), "--format"}, quoted([]string{format})...)...).Exits(t, 0).Stdout; got != want {
			t.Errorf("ssh: %q arrived as %q", want, got)
		}
	}
}

// Output arrives as it is produced, and a client that disconnects ends the command on the host.
func TestOutputIsLive(t *testing.T) {
	t.Parallel()
	_, pgod, web := runningTalker(t)
	container := rig.Containers(t, web.Name)[0].ID
	for client, follow := range map[string]*exec.Cmd{
		"ssh":    pgod.SSHCommand(web.Key, web.Op("logs"), "-f", "--no-log-prefix"),
		"pgoctl": pgod.PgoctlCommand(web.Key, web.Op("logs"), "-f", "--no-log-prefix"),
	} {
		pipe, err := follow.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := follow.Start(); err != nil {
			t.Fatal(err)
		}
		compose := composing(t, web, "logs")
		lines := bufio.NewScanner(pipe)
		for n := range 3 {
			line := fmt.Sprintf("%s hears %d", client, n)
			docker(t, "exec", container, "sh", "-c", "echo '"+line+"' >/proc/1/fd/1")
			hears(t, lines, line)
		}
		if err := follow.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := follow.Wait(); err == nil {
			t.Errorf("%s was interrupted and exited with 0", client)
		}
		rig.Until(t, "compose to end after "+client+" has left", gone(compose))
	}
	shows(t, pgod, web, "worker:    ready", "restarts: 0")
}

// hears waits for the line.
func hears(t *testing.T, lines *bufio.Scanner, line string) {
	t.Helper()
	hearsLine(t, lines, line, func(heard string) bool { return heard == line })
}

// hearsPart waits for a line that has the words.
func hearsPart(t *testing.T, lines *bufio.Scanner, words string) {
	t.Helper()
	hearsLine(t, lines, words, func(heard string) bool { return strings.Contains(heard, words) })
}

func hearsLine(t *testing.T, lines *bufio.Scanner, line string, is func(string) bool) {
	t.Helper()
	heard := make(chan bool, 1)
	go func() {
		for lines.Scan() && !is(lines.Text()) {
		}
		heard <- is(lines.Text())
	}()
	select {
	case yes := <-heard:
		if !yes {
			t.Fatalf("the output ended before %q", line)
		}
	case <-time.After(60 * time.Second):
		t.Fatalf("%q has not come within 60s", line)
	}
}

// Results are on stdout; errors, and all that only shows progress, are on stderr.
func TestStreamsAreApart(t *testing.T) {
	t.Parallel()
	_, pgod, web := runningTalker(t)
	for client, run := range map[string]func(*rig.Key, ...string) rig.Result{"ssh": pgod.SSH, "pgoctl": pgod.Pgoctl} {
		for _, c := range []struct{ operation, stdout, stderr string }{
			{"ps", "talker", ""},
			{"down", "", "Removed"},
			{"up", "", "Started"},
		} {
			if result := run(web.Key, web.Op(c.operation)).Exits(t, 0); !fits(result.Stdout, c.stdout) || !fits(result.Stderr, c.stderr) {
				t.Errorf("%s %s: %+v", client, c.operation, result)
			}
		}
	}
}
