package hoststat

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// The document has a row for each key, in the order in which the keys are printed.
func TestKeysAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/status-json.md")
	if err != nil {
		t.Fatal(err)
	}
	service, host, found := strings.Cut(string(page), "\n## A host\n")
	if !found {
		t.Fatal("the document has no section about a host")
	}
	for _, part := range []struct {
		text string
		of   any
	}{{service, Service{}}, {host, Snapshot{}}} {
		rows := regexp.MustCompile("(?m)^(\\| `[^|]*\\|[^|]*\\|[^|]*\\|)").FindAllString(part.text, -1)
		want := keys("", reflect.TypeOf(part.of))
		if !slices.Equal(rows, want) {
			t.Errorf("the document has the rows\n%s\nwant\n%s", strings.Join(rows, "\n"), strings.Join(want, "\n"))
		}
	}
	for _, words := range [][]string{texts(States()), texts(WorkerStates()), texts(Outcomes()), texts([]Wanted{WantedUp, WantedDown})} {
		for _, word := range words {
			if !strings.Contains(service, "`"+word+"`") {
				t.Errorf("the document does not mention %s", word)
			}
		}
	}
}

func texts[T ~string](words []T) []string {
	var all []string
	for _, word := range words {
		all = append(all, string(word))
	}
	return all
}

// keys returns the beginning of a table row for each field of the struct.
func keys(prefix string, of reflect.Type) []string {
	var rows []string
	for i := range of.NumField() {
		field := of.Field(i)
		name, absence, _ := strings.Cut(field.Tag.Get("json"), ",")
		path, kind := prefix+name, field.Type
		if kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		list := kind.Kind() == reflect.Slice
		if list {
			kind = kind.Elem()
		}
		word := map[reflect.Kind]string{
			reflect.String: "text", reflect.Int: "number", reflect.Uint64: "number", reflect.Float64: "number", reflect.Bool: "boolean",
		}[kind.Kind()]
		switch {
		case kind == reflect.TypeFor[time.Time]():
			word = "time"
		case kind == reflect.TypeFor[Service](): // it has a table of its own
			word = "service"
		case kind.Kind() == reflect.Struct && list:
			rows = append(rows, keys(path+"[].", kind)...)
			continue
		case kind.Kind() == reflect.Struct:
			rows = append(rows, keys(path+".", kind)...)
			continue
		}
		if list {
			word = "list of " + word + "s"
		}
		always := " yes |"
		if absence != "" {
			always = " |"
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s |%s", path, word, always))
	}
	return rows
}

// pgoctl reads what pgod writes, and all texts in it are safe to show.
func TestPrintable(t *testing.T) {
	cpu := 12.5
	full := Snapshot{
		Time: time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC), Host: Host{Name: "web1\x1b"}, ConfigError: &Error{Text: "a\nb", Details: []string{"\x9b", "ok"}},
		Services: []Service{{
			Name: "b", State: "\r", Frozen: &Freeze{Reason: "\x00"}, Unwell: []string{"\x1b[2J"},
			Usage: &Usage{CPU: &cpu, Containers: []Container{{Name: "b-web-1\t"}}},
		}},
	}
	Printable(&full)
	text := Encode(full)
	for _, part := range []string{`"web1\\x1b"`, `"text":"a\\nb"`, `["\\x9b","ok"]`, `"state":"\\r"`, `"reason":"\\x00"`, `"\\x1b[2J"`, `"b-web-1\\t"`, `"2026-05-04T12:00:00Z"`} {
		if !strings.Contains(text, part) {
			t.Errorf("there is no %s in %s", part, text)
		}
	}
	var back Snapshot
	if err := json.Unmarshal([]byte(text), &back); err != nil || !reflect.DeepEqual(back, full) {
		t.Errorf("read back it is %+v (%v)", back, err)
	}
}

func TestTable(t *testing.T) {
	table := Table{
		{{Text: "NAME"}, {Text: "N", Right: true}, {}},
		{{Text: "é", Level: Bad}, {Text: "12", Right: true}, {}},
		{{}, {Right: true}, {Text: "why", Level: Fine}},
	}
	if got, want := table.Text(false), "NAME   N  \né     12  \n-      -  why\n"; got != want {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	if got, want := table.Text(true), "NAME   N  \n\x1b[31mé\x1b[0m     12  \n-      -  \x1b[32mwhy\x1b[0m\n"; got != want {
		t.Errorf("in colour: got\n%q\nwant\n%q", got, want)
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m01s", 10 * time.Minute: "10m", 59*time.Minute + 59*time.Second: "59m",
		time.Hour + 5*time.Minute: "1h05m", 11*time.Hour + time.Minute: "11h", 47 * time.Hour: "47h", 49 * time.Hour: "2d", 1000 * time.Hour: "41d",
	} {
		if got := Age(d); got != want {
			t.Errorf("%s is shown as %s, not %s", d, got, want)
		}
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0B", 1023: "1023B", 1024: "1.00KiB", 1_040_000: "0.99MiB", 25_000_000: "23.8MiB", 700 << 20: "700MiB", 3 << 30: "3.00GiB", 1 << 50: "1.00PiB", 1<<64 - 1: "16EiB",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("%d is shown as %s, not %s", n, got, want)
		}
	}
}

func TestPercent(t *testing.T) {
	cpu := 123.456
	if got := Percent(&cpu) + " " + Percent(nil); got != "123.5% -" {
		t.Errorf("shown as %s", got)
	}
}

// A colour applies to the text and nothing else; an unknown state has none.
func TestPaint(t *testing.T) {
	for _, c := range []struct {
		level Level
		want  string
	}{
		{Running.Level(), "\x1b[32mx\x1b[0m"},
		{Frozen.Level(), "\x1b[33mx\x1b[0m"},
		{Refused.Level(), "\x1b[31mx\x1b[0m"},
		{State("of a later build").Level(), "x"},
		{Worker{State: "ready"}.Level(), "\x1b[32mx\x1b[0m"},
		{Worker{State: "draining"}.Level(), "\x1b[33mx\x1b[0m"},
		{Worker{State: "backoff"}.Level(), "\x1b[31mx\x1b[0m"},
		{Worker{State: "ready", Crashloop: true}.Level(), "\x1b[31mx\x1b[0m"},
	} {
		if got := c.level.Paint("x"); got != c.want {
			t.Errorf("%d is painted %q, not %q", c.level, got, c.want)
		}
	}
}
