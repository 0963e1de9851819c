package target

import (
	"reflect"
	"strings"
	"testing"
)

func TestArgsReachComposeInOneForm(t *testing.T) {
	for _, c := range []struct{ operation, args, want string }{
		{"ps", "", ""},
		{"ps", "-aq web", "--all --quiet web"},
		{"ps", "web --all db -q", "--all --quiet web db"},
		{"ps", "--format json --status=running --status exited", "--format=json --status=running --status=exited"},
		{"logs", "-n5", "--tail=5"},
		{"logs", "-n 5", "--tail=5"},
		{"logs", "-n=5", "--tail=5"},
		{"logs", "--tail 5", "--tail=5"},
		{"logs", "--tail=all -ft", "--tail=all --follow --timestamps"},
		{"logs", "-fn5 web", "--follow --tail=5 web"},
		{"logs", "-fn 5 web", "--follow --tail=5 web"},
		{"logs", "--since -5m -- web", "--since=-5m web"},
		{"logs", "--no-color --no-log-prefix --until 2024-01-01", "--no-color --no-log-prefix --until=2024-01-01"},
		{"up", "--force-recreate --pull always --build web.1 d_b", "--force-recreate --pull=always --build web.1 d_b"},
		{"down", "--timeout 5", "--timeout=5"},
		{"pull", "-q --ignore-pull-failures", "--quiet --ignore-pull-failures"},
		{"build", "--no-cache --pull", "--no-cache --pull"},
	} {
		o, _ := Lookup(Service, c.operation)
		args, err := o.ParseArgs(strings.Fields(c.args), false)
		if got := strings.Join(args.Words(), " "); err != nil || got != c.want {
			t.Errorf("%s %s: got %q, %v; want %q", c.operation, c.args, got, err, c.want)
		}
	}
}

func TestArgsThatAreRefused(t *testing.T) {
	for _, c := range []struct{ operation, args, says string }{
		{"ping", "x", `takes no argument "x"; it takes no arguments at all`},
		{"ping", "-v", "it takes no arguments at all"},
		{"ps", "--al", `ps does not take "--al" (did you mean --all?); its flags are -a, --all, -q, --quiet, --format`},
		{"ps", "--filter x=y", "ps does not take"},
		{"ps", "-aqx", `ps does not take "-aqx"`},
		{"ps", "-a=true", "ps -a takes no value"},
		{"ps", "--all=true", "ps --all takes no value"},
		{"ps", "--format", "ps --format needs a value"},
		{"ps", "--format=", "ps --format needs a value"},
		{"ps", "a/b", "is not the name of a compose service"},
		{"ps", "-", "is not the name of a compose service"},
		{"ps", "-- -a", `"-a" is not the name of a compose service`},
		{"logs", "-n", "logs -n needs a value: --tail number|all"},
		{"logs", "-n x", `"x" is not a value for logs -n: --tail number|all`},
		{"logs", "-n -5", `"-5" is not a value for logs -n`},
		{"logs", "--tail=1e3", "is not a value for logs --tail"},
		{"logs", "-f5", `logs does not take "-f5"`},
		{"up", "-d", "up does not take"},
		{"up", "--pull", "up --pull needs a value: --pull always|missing|never"},
		{"up", "--pull web", "is not a value for up --pull"},
		{"up", "-f compose.yaml", "up does not take"},
		{"down", "--volumes", "down takes --volumes from operators only; its flags are --timeout"},
		{"down", "--timeout 1m", `"1m" is not a value for down --timeout: --timeout seconds`},
		{"down", "web", "down takes no argument"},
		{"pull", "web", "pull takes no argument"},
		{"build", "--build-arg x=y", "build does not take"},
	} {
		o, _ := Lookup(Service, c.operation)
		mustSay(t, c.operation+" "+c.args, o.CheckArgs(strings.Fields(c.args), false), c.says)
	}
}

func TestArgsOfOperators(t *testing.T) {
	down, _ := Lookup(Service, "down")
	args, err := down.ParseArgs([]string{"--volumes", "--timeout=3", "--timeout=5"}, true)
	if err != nil || !args.Has("--volumes") || args.Has("--build") || args.Value("--timeout") != "5" || args.Value("--volumes") != "" {
		t.Errorf("down --volumes --timeout=3 --timeout=5: got %+v, %v", args, err)
	}
}

func TestTable(t *testing.T) {
	for _, o := range Operations() {
		found, ok := Lookup(o.Scope, o.Name)
		if !ok || !reflect.DeepEqual(found.Summary, o.Summary) {
			t.Errorf("%s is not found by its name", o.Name)
		}
		if o.Summary == "" {
			t.Errorf("%s has no summary", o.Name)
		}
		if o.Scope == Host && !o.OperatorOnly && o.Name != "services" {
			t.Errorf("host operation %s is not for operators only", o.Name)
		}
		for _, f := range o.Flags {
			if !strings.HasPrefix(f.Long, "--") || (f.Short != "" && (len(f.Short) != 2 || f.Short[0] != '-')) {
				t.Errorf("%s: %s %s is not how flags are written", o.Name, f.Long, f.Short)
			}
		}
	}
}

func FuzzParseArgs(f *testing.F) {
	f.Add("logs", "-fn5", "--", "web")
	f.Add("ps", "--format={{.ID}}", "-aq", "-x")
	f.Add("down", "--timeout", "5", "--volumes")
	f.Fuzz(func(t *testing.T, operation, a, b, c string) {
		o, ok := Lookup(Service, operation)
		if !ok {
			return
		}
		args, err := o.ParseArgs([]string{a, b, c}, false)
		if err != nil {
			mustSay(t, operation, err, "")
			return
		}
		again, err := o.ParseArgs(args.Words(), false)
		if err != nil || !reflect.DeepEqual(again, args) {
			t.Fatalf("%q became %q, which is parsed as %+v, %v", []string{a, b, c}, args.Words(), again, err)
		}
	})
}

func TestFormat(t *testing.T) {
	for value, want := range map[string]bool{
		"json": true, "table": true, "{{.Name}}": true, "table {{.Name}}\t{{ json .Labels }}": true, "{{.}}": true,
		"{{$x := pad \"x\" 1 100000}}": false, "{{define \"a\"}}": false, "{{range .Ports}}": false, "{{.Name | printf \"%s\"}}": false,
		"{{.Label \"x\"}}": false, "{{- .Name}}": false, strings.Repeat("x", 501): false,
	} {
		if got := isFormat(value); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
}
