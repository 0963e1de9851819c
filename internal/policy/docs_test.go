package policy

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

const docs = "../../docs/policy.md"

// begin is the line in docs/policy.md that the table follows.
const begin = "<!-- From here on the file is written by `go test ./internal/policy -update`. -->\n"

func TestDocs(t *testing.T) {
	content, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	prose, got, found := strings.Cut(string(content), begin)
	if !found {
		t.Fatalf("%s has no line %s", docs, begin)
	}
	if want := table() + boundsTable(); got == want {
		return
	} else if !*update {
		t.Errorf("the table in %s is not the one of schema.go: run `go test ./internal/policy -update`", docs)
	} else if err := os.WriteFile(docs, []byte(prose+begin+want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// table returns the table of schema.go as Markdown.
func table() string {
	var b strings.Builder
	for _, s := range sections {
		fmt.Fprintf(&b, "\n### %s\n\n| key | allowed | lifted by |\n| --- | --- | --- |\n", s.title)
		for _, row := range s.rows {
			patterns := s.patterns(row)
			for i, pattern := range patterns {
				patterns[i] = "`" + strings.TrimPrefix(pattern, "services.*.") + "`"
			}
			keys := strings.Join(patterns, " ")
			fmt.Fprintf(&b, "| %s | %s | %s |\n", keys, allowed(row.rule), lifted(row.rule))
		}
	}
	return b.String()
}

// boundsTable has all bounds, each once, in the order of schema.go.
func boundsTable() string {
	var b strings.Builder
	b.WriteString("\n## Bounds\n\nA number beyond its bound is refused. An entry of `allow` moves the bound to the number after its\ncolon: `\"shm_size:8g\"`. These bounds do not apply to services of root.\n\n| of | allowed | lifted by |\n| --- | --- | --- |\n")
	rows, keys := []string{}, map[string][]string{}
	for _, s := range sections {
		for _, row := range s.rows {
			for _, bound := range row.rule.bounds {
				rest := fmt.Sprintf("%s | `%s…` |\n", bound, bound.lift())
				if _, known := keys[rest]; !known {
					rows = append(rows, rest)
				}
				of := bound.of
				if of == "" {
					of = "`" + strings.TrimPrefix(strings.Join(s.patterns(row), " "), "services.*.") + "`"
				}
				keys[rest] = append(keys[rest], of)
			}
		}
	}
	for _, rest := range rows {
		fmt.Fprintf(&b, "| %s | %s", strings.Join(keys[rest], " "), rest)
	}
	return b.String()
}

func allowed(r rule) string {
	text := r.allowed
	switch {
	case r.check == nil && text == "" && r.text:
		text = "any text"
	case r.check == nil && text == "":
		text = "anything: harmless"
	case text == "":
		text = "nothing"
	}
	if r.exempt {
		text += " \\*"
	}
	return text
}

func lifted(r rule) string {
	entries := strings.Fields(r.lift)
	for i, entry := range entries {
		if strings.HasSuffix(entry, ":") {
			entry += "…"
		}
		entries[i] = "`" + entry + "`"
	}
	return strings.Join(entries, " ")
}

// TestSpecification compares the table with the compose specification: it has every key there, in
// the form of a resolved model.
func TestSpecification(t *testing.T) {
	content, err := os.ReadFile("testdata/specification.txt")
	if err != nil {
		t.Fatal(err)
	}
	for pattern := range strings.Lines(string(content)) {
		pattern = strings.TrimSpace(pattern)
		if pattern == "" || strings.HasPrefix(pattern, "#") {
			continue
		}
		n := schema()
		for step := range strings.SplitSeq(strings.ReplaceAll(pattern, "[]", ".[]"), ".") {
			switch {
			case n.rule != nil && n.rule.whole: // it covers what is below
			case step == "[]":
				n = n.items
			case step == "*":
				n = n.names
			default:
				n = n.keys[step]
			}
			if n == nil {
				t.Errorf("%s is not in the table", pattern)
				break
			}
		}
	}
}
