package tomllines

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

// texts has every way to write a value in TOML. Each string and number is the line that it is on.
var texts = map[string]string{
	"plain":             "a = 1\nb = 2\n",
	"no newline at end": "a = 1\n\nb = 3",
	"CRLF":              "a = 1\r\n\r\nb = 3\r\n[t] # comment\r\nc = 5\r\n",
	"comments":          "# a = 0\na = 2 # b = [\n# \"\"\"\nb = 4\n",
	"strings":           "a = '1' # '\nb = \"2\" # \"\nc = \"\"\"3\"\"\"\nd = '''4'''\n",
	"escaped quotes":    "a = [\"\\\"]\\n\\\\\",\n2]\nb = 3\n",
	"raw backslash":     "a = ['\\',\n2]\nb = 3\n",
	"multi-line":        "s = \"\"\"\nb = 9\n[[x]]\n\\\"\"\" \\\n\"\"\"\nb = 6\n",
	"multi-line raw":    "s = '''\nb = 9\n\\'''\nb = 4\n",
	"quotes at the end": "s = \"\"\"a\"\"\"\"\"\nb = 2\nr = '''a'''''\nc = 4\ne = [\"\",\"\",'']\nd = 6",
	"tables":            "[a]\nb = 2\n[a.c]\nb = 4\n[ \"x.y\" . 'z' ]\nb = 6\n",
	"array of tables":   "[[a]]\nb = 2\n[[a]]\nb = 4\n[a.c]\nb = 6\n[[a.d]]\nb = 8\n[[a.d]]\nb = 10\n[a.d.e]\nb = 12\n[[a]]\nb = 14\n[[a.d]]\nb = 16\n",
	"dotted keys":       "a.b = 1\na . \"c.d\" = 2\n[t]\na.'e' = 4\n",
	"escaped key":       "\"a\\u0062\" = 1\n\"\\\"\" = 2\n'\\' . x = 3\n\"\" = 4\n",
	"lists":             "a = [\n  2, # two ]\n  [ 3,\n\n5 ],\n  6,\n]\nb = 8\n",
	"inline tables":     "a = { b = 1, c = { d = 1 }, e.f = [1, { g = 1 }] }\nb = 2\n",
	"long inline table": "a = {\n  b = 2, # }\n  c = [\n  4 ],\n}\nb = 6\n",
	"list of tables":    "a = [ { b = 1 },\n { b = 2,\n   c = 3 },\n]\nb = 5\n",
	"other values":      "t = true\nd = 2020-01-02T03:04:05Z\ne = [ 1.5, inf ]\nb = 4\n",
	"key like a value":  "1.2 = 1\ntrue = 2\n3 = 3\n",
	"unicode":           "a = \"é😀\"\n\"é\" = 2\n",
}

func TestLocate(t *testing.T) {
	for name, text := range texts {
		t.Run(name, func(t *testing.T) {
			var table map[string]any
			if _, err := toml.Decode(text, &table); err != nil {
				t.Fatal(err)
			}
			lines := locate(t, text)
			checkLines(t, table, lines)
			if slices.Max(slices.Collect(maps.Values(lines))) > strings.Count(text, "\n")+1 {
				t.Errorf("a line after the last: %v", lines)
			}
		})
	}
}

// checkLines checks that everything in the table has a line, which for a number is that number.
func checkLines(t *testing.T, table map[string]any, lines map[string]int) {
	t.Helper()
	walk(table, "", func(path string, raw any) {
		n, isNumber := raw.(int64)
		if text, ok := raw.(string); ok {
			n, _ = strconv.ParseInt(text, 10, 64)
			isNumber = n > 0
		}
		switch line, found := lines[path]; {
		case !found:
			t.Errorf("%s has no line; there are %v", path, slices.Sorted(maps.Keys(lines)))
		case isNumber && line != int(n):
			t.Errorf("%s is on line %d, found it on %d", path, n, line)
		}
	})
}

// walk visits everything in raw, with its path.
func walk(raw any, path string, visit func(path string, raw any)) {
	if path != "" {
		visit(path, raw)
	}
	list, _ := raw.([]any)
	for i := range list {
		walk(list[i], Element(path, i), visit)
	}
	tables, _ := raw.([]map[string]any) // the toml package has two types for lists
	for i := range tables {
		walk(tables[i], Element(path, i), visit)
	}
	table, _ := raw.(map[string]any)
	for key := range table {
		walk(table[key], Member(path, key), visit)
	}
}

// TestHeaderLines checks the lines of tables, which are not values.
func TestHeaderLines(t *testing.T) {
	lines := locate(t, "\n[[services]]\nname = \"a\"\n\n[[services]]\n[services.urls]\n\"a.b\" = \"c\"\n[pgod]\n")
	for path, want := range map[string]int{
		"services": 2, "services[0]": 2, "services[0].name": 3, "services[1]": 5,
		"services[1].urls": 6, `services[1].urls."a.b"`: 7, "pgod": 8,
	} {
		if lines[path] != want {
			t.Errorf("%s is on line %d, found it on %d", path, want, lines[path])
		}
	}
}

func locate(t *testing.T, text string) map[string]int {
	t.Helper()
	_, lines, mistake := Decode(text, func(string) bool { return true })
	if mistake != nil {
		t.Fatal(mistake)
	}
	return lines
}

// FuzzDecode compares the two parsers: whatever is decoded has a line, and every mistake is on a
// line that exists.
func FuzzDecode(f *testing.F) {
	for _, text := range texts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4<<10 || strings.Count(text, "{")+strings.Count(text, ".") > 200 {
			return // nested tables could cost the toml package gigabytes
		}
		last := strings.Count(text, "\n") + 1
		table, lines, mistake := Decode(text, func(name string) bool { return name == "a" })
		if mistake != nil {
			if mistake.Line < 1 || mistake.Line > last || strings.Trim(mistake.Key, "a.") != "" {
				t.Errorf("%v: the text has %d lines", mistake, last)
			}
			return
		}
		for path, line := range lines {
			if line < 1 || line > last {
				t.Errorf("%s is on line %d of a text with fewer lines", path, line)
			}
		}
		walk(table, "", func(path string, _ any) {
			if lines[path] == 0 {
				t.Errorf("%s has no line", path)
			}
		})
	})
}

// TestMistakes has each kind of mistake with its line. A comment names the decoder's own line if
// that differs.
func TestMistakes(t *testing.T) {
	known := func(name string) bool {
		return slices.Contains([]string{"services", "name", "ports", "urls", "pgod"}, name)
	}
	for text, want := range map[string]string{
		// A key or a table that is defined twice.
		"name = 1\n\nname = 2\n":                                          "3: name: this key",
		"name = 1\n\n\"name\" = \"\"\"\n\n\"\"\"\n":                       "3: name: this key",
		"name = 1\n\nname . ports = [\n1,\n2,\n]\n":                       "3: name: this key",
		"[[services]]\nurls = {\n  a = 1,\n  b = 2,\n  a = 3,\n}\n":       "5: services.urls: this key",
		"ports = [\n  { name = 1 },\n  { urls = 1,\n    urls = 2 },\n]\n": "4: ports: this key",
		"[pgod]\nname = 1\n\n[pgod]\n":                                    "4: pgod: this key",
		"services = []\n\n[[services]]\n":                                 "3: services: services is already defined",
		"[[services]]\n\n[services]\n":                                    "3: services: services is already defined",
		"[[unknown]]\n\n[unknown]\n":                                      "3: this key or table is already defined",
		// A number or a date.
		"name = [\n  1,\n  99999999999999999999,\n]\n":       "3: name: not a TOML number",
		"name = 1\nports = [\n  8080,\n  8080-8090,\n]\n":    "4: ports: not a TOML number",
		"urls = {\n  \"a\" = 1,\n\n  \"b\" = 2026-13-45 }\n": "4: urls: not a TOML number",
		"a" + strings.Repeat("b", maxPath) + " = 1":          "1: a key of more than 1024 bytes",
		// The syntax.
		"name = \"\"\"\na\n\"\"\"\nports = oops\n":         "4: ports: not a TOML value",
		"ports = [\n  \"a\",\n  oops,\n]\n":                "3: ports: not a TOML value",
		"ports = [\n  \"a\" # ]\n  \"b\"\n]\n":             "2: ports: a comma or ] is missing",
		"ports = [\n  \"a\",\n\nname = 1\n":                "2: ports: a ] is missing",
		"ports = [\n  \"a\",\n  # b\n\n":                   "2: ports: a ] is missing",
		"urls = {\n  a = 1,\n\n":                           "2: urls: a } is missing", // the decoder: 4
		"urls = {\n  a = 1\n  b = 2\n}\n":                  "2: urls: a comma or } is missing",
		"[[services]]\nname = \"\"\"\n\na\n\nports = []\n": "2: services.name: the quotes are not closed",
		"name = \"\"\"\n\n\\d\n\"\"\"\n":                   "3: name: a \\ that begins",
		"name = '''\n\n\x01'''\n":                          "3: name: a control character", // the decoder: 2
		"name = \"\"\"\n\n\xff\n\"\"\"\n":                  "3: name: a byte that is not UTF-8",
		"name = 1\n\n# \xff\n":                             "3: a byte that is not UTF-8",
		"name = 'a\nports = 1\n":                           "1: name: the quote is not closed",
		"[[services]\nname = 1\n":                          "1: ]] is missing",
		"[pgod]\n\n[services.\n":                           "3: pgod: ] is missing",
		"name = 1\r\n\r\nports = oops\r\n":                 "3: ports: not a TOML value",
		"name = 1\n\nports = {urls.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a = 1}": "3: nested more than 32 deep",
	} {
		_, _, mistake := Decode(text, known)
		if mistake == nil || !strings.HasPrefix(mistake.Error(), want) {
			t.Errorf("%q: %v, want %s", text, mistake, want)
		}
	}
}
