package pgo_test

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pgo/internal/target"
)

// The README's table has each operation with its flags, and no other.
func TestReadmeHasAllOperations(t *testing.T) {
	_, table, found := strings.Cut(read(t, "README.md"), "\n## Operations\n")
	if !found {
		t.Fatal("the README has no section about operations")
	}
	table, _, _ = strings.Cut(table, "\n## ")
	rows := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|(.*)$").FindAllStringSubmatch(table, -1) {
		rows[row[1]] = row[2]
	}
	for _, o := range target.Operations() {
		name := o.Name
		if o.Scope == target.Host {
			name = "//" + name
		}
		row, found := rows[name]
		if !found {
			t.Errorf("the README's table has no %s", name)
		}
		delete(rows, name)
		for _, flag := range o.Flags {
			if !strings.Contains(row, "`"+flag.Long) || !strings.Contains(row, flag.Short) {
				t.Errorf("the README's row for %s has no %s %s", name, flag.Short, flag.Long)
			}
		}
		cells := strings.Split(strings.TrimSuffix(row, " |"), " | ")
		if o.OperatorOnly != strings.HasPrefix(strings.TrimSpace(cells[len(cells)-1]), "operators") {
			t.Errorf("the README's row for %s is wrong about operators", name)
		}
	}
	for name := range rows {
		t.Errorf("the README's table has %s, which is no operation", name)
	}
}

// What the guide explains as a message is one: its parts are in the code.
func TestGuideExplainsRealMessages(t *testing.T) {
	_, tables, found := strings.Cut(read(t, "docs/guide.md"), "\n## What a message means\n")
	if !found {
		t.Fatal("the guide has no section about messages")
	}
	var code strings.Builder
	for _, file := range files(t, ".go") {
		if !strings.HasSuffix(file, "_test.go") && !strings.HasPrefix(file, "test/") {
			code.WriteString(read(t, file))
		}
	}
	quoted := regexp.MustCompile("`([^`]+)`")
	for _, row := range regexp.MustCompile("(?m)^\\| ([^|]*`[^|]*) \\|").FindAllStringSubmatch(tables, -1) {
		for _, part := range quoted.FindAllStringSubmatch(row[1], -1) {
			// Steps of a deploy are named in the code without what they begin with.
			text := strings.TrimPrefix(part[1], "cannot ")
			if !strings.Contains(code.String(), text) {
				t.Errorf("the guide explains %q, which no message says", part[1])
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
				t.Errorf("%s links to %s: there is no such heading", file, match[1])
			}
		}
	}
}

// anchors are the names that headings of a page are linked by.
func anchors(page string) map[string]bool {
	noLetter := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	found := map[string]bool{}
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		name := noLetter.ReplaceAllString(strings.ToLower(heading[1]), "")
		found[strings.ReplaceAll(name, " ", "-")] = true
	}
	return found
}

// files are those of the project whose names end so.
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
