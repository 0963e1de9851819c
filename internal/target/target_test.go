package target

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestParseTarget(t *testing.T) {
	for _, c := range []struct {
		words []string
		want  Target
	}{
		{[]string{"localhost:pgo//ps"}, Target{[]string{"localhost"}, Command{"pgo", "ps", nil}}},
		{[]string{"h.example.org:pgo-2//logs", "-f", "--tail", "5"}, Target{[]string{"h.example.org"}, Command{"pgo-2", "logs", []string{"-f", "--tail", "5"}}}},
		{[]string{"[::1]:pgo//up"}, Target{[]string{"::1"}, Command{"pgo", "up", nil}}},
		{[]string{"[fe80::1%eth0]:pgo//up"}, Target{[]string{"fe80::1%eth0"}, Command{"pgo", "up", nil}}},
		{[]string{"10.0.0.1:pgo//git pull"}, Target{[]string{"10.0.0.1"}, Command{"pgo", "git pull", nil}}},
		{[]string{"host:pgo//git", "pull"}, Target{[]string{"host"}, Command{"pgo", "git pull", nil}}},
		{[]string{"host:pgo//worker", "restart"}, Target{[]string{"host"}, Command{"pgo", "worker restart", nil}}},
		{[]string{"host://version"}, Target{[]string{"host"}, Command{"", "version", nil}}},
		{[]string{"web1,10.0.0.1,[::1],web1:pgo//ps"}, Target{[]string{"web1", "10.0.0.1", "::1"}, Command{"pgo", "ps", nil}}},
		{[]string{"[::1],web1://version"}, Target{[]string{"::1", "web1"}, Command{"", "version", nil}}},
		{[]string{"host:pgo//up", "with space", ""}, Target{[]string{"host"}, Command{"pgo", "up", []string{"with space", ""}}}},
	} {
		got, err := ParseTarget(c.words)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("ParseTarget(%q) = %+v, %v; want %+v", c.words, got, err, c.want)
		}
	}
}

func TestParseTargetSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ typed, says string }{
		{"", "is not a target: write host:service//operation"},
		{"localhost:pgo/ps", "write host:service//operation; did you mean localhost:pgo//ps?"},
		{"localhost:/version", "did you mean localhost://version?"},
		{"localhost:pgo/x", "for example localhost:pgo//ps"},
		{"web1:pgo", "names no operation: write host:service//operation, for example web1:pgo//ps"},
		{"web1:", "is not a target"},
		{"web1//ps", "; did you mean host:web1//ps or web1:service//ps?"},
		{"web1//version", "; for a host itself, write web1://version"},
		{"web1//status", "; for a service, write host:web1//status; for a host itself, write web1://status"},
		{"web1,,web2:pgo//ps", "one comma too many"},
		{"web1,:pgo//ps", "one comma too many"},
		{",web1:pgo//ps", "one comma too many"},
		{"web1, web2:pgo//ps", "neither the name of a host nor its address"},
		{"pgo//ps", "does not name a host"},
		{":pgo//ps", "does not name a host"},
		{"//ps", "does not name a host"},
		{"miek@host:pgo//ps", `give the login name as -l "miek"`},
		{"host:2222:pgo//ps", "give the port as -p"},
		{"-oProxyCommand=x:pgo//ps", "neither the name of a host nor its address"},
		{"[::1:pgo//ps", "neither the name of a host nor its address"},
		{"[127.0.0.1]:pgo//ps", "neither the name of a host nor its address"},
		{"::1:pgo//ps", "does not name a host"},
		{"host:Pgo//ps", "is not the name of a service"},
		{"host:a_b//ps", "is not the name of a service"},
		{"host:" + strings.Repeat("a", 64) + "//ps", "is not the name of a service"},
		{"host:pgo//pss", "did you mean ps?"},
		{"host:pgo//lgos", "did you mean logs?"},
		{"host:pgo//run", "there are ping, up, down"},
		{"host:pgo//", "no operation is given"},
		{"host:pgo///ps", "no operation"},
		{"host://ps", "about the host"},
		{"host:pgo//version", "no operation"},
		{"host:pgo//\x1b[2J", `no operation "\x1b[2J"`},
	} {
		_, err := ParseTarget([]string{c.typed})
		mustSay(t, c.typed, err, c.says)
	}
	_, err := ParseTarget(nil)
	mustSay(t, "nothing", err, "no target")
	_, err = ParseTarget([]string{"host:pgo//git", "pul"})
	mustSay(t, "git pul", err, "did you mean git pull?")
}

func TestParseCommand(t *testing.T) {
	for _, c := range []struct {
		line string
		want Command
	}{
		{"pgo//ps", Command{"pgo", "ps", nil}},
		{"  pgo//ps\t-a  ", Command{"pgo", "ps", []string{"-a"}}},
		{"pgo//git pull", Command{"pgo", "git pull", nil}},
		{"'pgo//git pull'", Command{"pgo", "git pull", nil}},
		{"//ping", Command{"", "ping", nil}},
		{`pgo//ps --format '{{json .}}' ""`, Command{"pgo", "ps", []string{"--format", "{{json .}}", ""}}},
		{`pgo//ps a\ b "c d"e'f g'`, Command{"pgo", "ps", []string{"a b", "c def g"}}},
		{`pgo//ps "\$\x\"\\"`, Command{"pgo", "ps", []string{`$\x"\`}}},
		{"pgo//ps a\\\nb \"c\\\nd\"", Command{"pgo", "ps", []string{"ab", "cd"}}},
		{"pgo//ps '\\n'", Command{"pgo", "ps", []string{`\n`}}},
		{"pgo//ps $HOME `id` *;& | > # ~", Command{"pgo", "ps", []string{"$HOME", "`id`", "*;&", "|", ">", "#", "~"}}},
	} {
		got, err := ParseCommand(c.line)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("ParseCommand(%q) = %q, %v; want %q", c.line, got, err, c.want)
		}
	}
}

func TestParseCommandSaysWhatIsWrong(t *testing.T) {
	for line, says := range map[string]string{
		"":                         "no command",
		" \n ":                     "no command",
		"uptime":                   "write service//operation",
		"localhost:pgo//ps":        "names a host",
		"pgo//ps 'a":               "(') is opened and never closed",
		`pgo//ps "a`:               `(") is opened and never closed`,
		`pgo//ps "a\"`:             "never closed",
		`pgo//ps \`:                "backslash at the end",
		"pgo//ps \xff":             "is not text",
		"pgo//ps a\x00b":           "is not text",
		"-x//ps":                   "is not the name of a service",
		"pgo//git":                 `no operation "git"; there are git pull, git hash`,
		"pgo//git log":             `no operation "git log"; there are git pull, git hash`,
		"pgo//git push":            `no operation "git push"; did you mean git pull?`,
		"pgo//attach web sh":       "no operation",
		strings.Repeat("x", 1<<16): "…",
	} {
		_, err := ParseCommand(line)
		mustSay(t, line, err, says)
	}
}

func TestLineQuotesForAShell(t *testing.T) {
	for want, c := range map[string]Command{
		"pgo//ps":                         {"pgo", "ps", nil},
		"//version":                       {"", "version", nil},
		"pgo//git hash":                   {"pgo", "git hash", nil},
		"pgo//logs -f --tail=5 a/b":       {"pgo", "logs", []string{"-f", "--tail=5", "a/b"}},
		`pgo//ps '' 'a b' 'it'\''s' '$x'`: {"pgo", "ps", []string{"", "a b", "it's", "$x"}},
	} {
		if got := c.Line(); got != want {
			t.Errorf("Line of %q is %s, want %s", c, got, want)
		}
	}
}

func TestExitCode(t *testing.T) {
	for status, want := range map[int]int{
		0: 0, 1: 1, 17: 17, 255: 255,
		400: 64, 401: 77, 403: 78, 404: 68, 409: 75, 500: 70, 502: 76, 503: 69, 504: 74,
		256: 70, 399: 70, 1 << 31: 70, -1: 70,
	} {
		if got := ExitCode(status); got != want {
			t.Errorf("ExitCode(%d) = %d, want %d", status, got, want)
		}
	}
}

func TestUnauthorized(t *testing.T) {
	for _, c := range []struct{ user, service, want string }{
		{"miek", "pgo", `Unauthorized: Key for user "miek" does not match any for name pgo`},
		{"a\x1b]0;b", "pgo", `Unauthorized: Key for user "a\x1b]0;b" does not match any for name pgo`},
		{"miek", "", `Unauthorized: Key for user "miek" is not an operator's`},
	} {
		if got := Unauthorized(c.user, c.service); got != c.want {
			t.Errorf("Unauthorized(%q, %q) = %s", c.user, c.service, got)
		}
	}
}

// mustSay checks that err is a *UsageError, contains the right text, and is safe to print.
func mustSay(t *testing.T, typed string, err error, says string) {
	t.Helper()
	if usage := new(UsageError); !errors.As(err, &usage) {
		t.Errorf("%.80q: %v is not a usage error", typed, err)
		return
	}
	if !strings.Contains(err.Error(), says) {
		t.Errorf("%.80q: %v; it should contain: %s", typed, err, says)
	}
	if len(err.Error()) > 600 || strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
		t.Errorf("%.80q: the message is not safe to print: %q", typed, err)
	}
}

func FuzzParseCommand(f *testing.F) {
	for _, line := range []string{
		"pgo//ps", "//version", "pgo//git pull", `pgo//logs -f 'a b' "c\"d" e\ f`, "pgo//ps 'x", "pgo//ps \\", "a:b//ps", "'pgo//git' hash",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		c, err := ParseCommand(line)
		if err != nil {
			mustSay(t, line, err, "")
			return
		}
		again, err := ParseCommand(c.Line())
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Fatalf("%q is %q, printed as %q, and parsed again %q, %v", line, c, c.Line(), again, err)
		}
	})
}

func FuzzLine(f *testing.F) {
	f.Add("", "it's")
	f.Add("$(id)", "a\nb")
	f.Add(`\`, `"`)
	f.Fuzz(func(t *testing.T, first, second string) {
		c := Command{"pgo", "ps", []string{first, second}}
		got, err := ParseCommand(c.Line())
		if err != nil {
			mustSay(t, first+second, err, "is not text")
			return
		}
		if !reflect.DeepEqual(got, c) {
			t.Fatalf("%q arrived as %q", c, got)
		}
	})
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"localhost:pgo//ps", "[::1]:pgo//git pull", "a,b:pgo//ps", "a:b/ps", "a//status", "host://version", "a@b:c//ps", ":::://", "]:pgo//ps"} {
		f.Add(s, "-f")
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		target, err := ParseTarget([]string{first, second})
		if err != nil {
			mustSay(t, first, err, "")
			return
		}
		for _, host := range target.Hosts {
			if host == "" || strings.HasPrefix(host, "-") || strings.ContainsAny(host, "@/ [],") {
				t.Fatalf("%q names the host %q", first, host)
			}
		}
	})
}
