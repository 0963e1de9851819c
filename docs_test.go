package pgo_test

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"pgo/internal/target"
)

// The README's tables have each operation, and no other. The flags are in the manual.
func TestReadmeHasAllOperations(t *testing.T) {
	_, tables, found := strings.Cut(read(t, "README.md"), "\n## Operations\n")
	if !found {
		t.Fatal("the README has no section about operations")
	}
	tables, _, _ = strings.Cut(tables, "\n## ")
	rows := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.*) \\|$").FindAllStringSubmatch(tables, -1) {
		rows[row[1]] = row[2]
	}
	for _, o := range target.Operations() {
		name := o.Name
		if o.Scope == target.Host {
			name = "//" + name
		}
		row, found := rows[name]
		if !found {
			t.Errorf("the README's tables do not have %s", name)
		}
		delete(rows, name)
		if o.OperatorOnly != strings.HasPrefix(row, "operators: ") {
			t.Errorf("the README's row for %s is wrong about operators", name)
		}
	}
	for name := range rows {
		t.Errorf("the README's tables have %s, which is not an operation", name)
	}
}

// Troubleshooting explains messages that exist: the code contains each quoted part.
func TestTroubleshootingQuotesRealMessages(t *testing.T) {
	var code strings.Builder
	for _, file := range files(t, ".go") {
		if !strings.HasSuffix(file, "_test.go") && !strings.HasPrefix(file, "test/") {
			code.WriteString(read(t, file))
		}
	}
	quoted := regexp.MustCompile("`([^`]+)`")
	rows := regexp.MustCompile("(?m)^\\| ([^|]*`[^|]*) \\|").FindAllStringSubmatch(read(t, "docs/troubleshooting.md"), -1)
	if len(rows) < 50 {
		t.Fatalf("docs/troubleshooting.md quotes only %d messages", len(rows))
	}
	for _, row := range rows {
		for _, part := range quoted.FindAllStringSubmatch(row[1], -1) {
			// In the code, the steps of a deploy do not begin with this word.
			text := strings.TrimPrefix(part[1], "cannot ")
			if !strings.Contains(code.String(), text) {
				t.Errorf("docs/troubleshooting.md explains %q, which no message contains", part[1])
			}
		}
	}
}

// pages are the documents that begin with what a reader can do afterwards.
var pages = []string{
	"docs/concepts.md", "docs/developers.md", "docs/operators.md", "docs/proxy.md", "docs/troubleshooting.md",
}

func TestPagesHaveContents(t *testing.T) {
	for _, page := range pages {
		beginning, sections, _ := strings.Cut(read(t, page), "\n## ")
		if !strings.Contains(beginning, "\n\nAfter reading this page you can ") {
			t.Errorf("%s does not begin with what its reader can do afterwards", page)
		}
		for _, heading := range regexp.MustCompile("(?m)^## (.*)$").FindAllStringSubmatch("## "+sections, -1) {
			if !strings.Contains(beginning, "["+heading[1]+"](#") {
				t.Errorf("the table of contents of %s does not have %q", page, heading[1])
			}
		}
	}
}

// Documents are at most this wide, so that they can be read in a terminal and reviewed as a
// difference. Tables, code, links and the terms of manual pages cannot be wrapped.
const width = 100

// ruler matches the line between the head of a table and its rows.
var ruler = regexp.MustCompile(`^ *\|(?: :?---:? \|)+$`)

func TestDocumentsAreWrapped(t *testing.T) {
	for _, file := range files(t, ".md") {
		inCode := false
		written, _, _ := strings.Cut(read(t, file), "\n<!-- From here on the file is written by ")
		lines := append(strings.Split(written, "\n"), "")
		for i, line := range lines[:len(lines)-1] {
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				inCode = !inCode
			}
			free := inCode || strings.HasPrefix(line, "    ") || strings.HasPrefix(strings.TrimSpace(line), "|") ||
				strings.HasPrefix(lines[i+1], ": ") || !strings.Contains(strings.TrimSpace(line), " ")
			if !inCode && strings.Contains(line, "| --- |") && !ruler.MatchString(line) {
				t.Errorf("%s:%d has a table's ruler within text", file, i+1)
			}
			if !free && utf8.RuneCountInString(line) > width {
				t.Errorf("%s:%d is wider than %d columns", file, i+1, width)
			}
		}
	}
}

// Relative links lead to a file, and those with a # to a heading in it.
func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, file := range files(t, ".md") {
		for _, match := range link.FindAllStringSubmatch(read(t, file), -1) {
			to, err := url.Parse(match[1])
			if err != nil {
				t.Errorf("%s: %v", file, err)
			}
			if err != nil || to.IsAbs() {
				continue
			}
			name := file
			if to.Path != "" {
				name = filepath.Join(filepath.Dir(file), to.Path)
			}
			if _, err := os.Stat(name); err != nil {
				t.Errorf("%s links to %s: %v", file, match[1], err)
			} else if to.Fragment != "" && !anchors(read(t, name))[to.Fragment] {
				t.Errorf("%s links to %s: the page does not have that heading", file, match[1])
			}
		}
	}
}

// anchors returns the names by which headings of a page are linked, as GitHub makes them.
func anchors(page string) map[string]bool {
	noLetter := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	found := map[string]bool{}
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		name := strings.ReplaceAll(noLetter.ReplaceAllString(strings.ToLower(heading[1]), ""), " ", "-")
		anchor := name
		for i := 1; found[anchor]; i++ {
			anchor = fmt.Sprintf("%s-%d", name, i)
		}
		found[anchor] = true
	}
	return found
}

// files returns the project's files whose names end with the suffix.
func files(t *testing.T, suffix string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && path != "." && strings.HasPrefix(entry.Name(), ".") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, suffix) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
