package compose

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"pgo/internal/lazyregexp"
	"pgo/internal/printable"
)

const (
	maxWarnings = 50
	maxWarning  = 300 // runes of one
)

// warning matches a warning in compose's output.
var warning = lazyregexp.New(`(?m)^time="[^"]*" level=warning msg=("(?:[^"\\]|\\.)*"|\S+)`)

// Warnings returns what compose warned of when it resolved the model, and what it would have read
// without pgo, each once and on one line.
func (m *Model) Warnings() []string { return m.warnings }

// warn collects the warnings in compose's output.
func (r *reading) warn(words string) {
	for _, found := range warning.FindAllStringSubmatch(words, -1) {
		text, err := strconv.Unquote(found[1])
		if err != nil {
			text = found[1]
		}
		if found := notSet.FindStringSubmatch(text); found != nil {
			if file := r.refersTo(found[1]); file != "" {
				text = file + " has a $ before something that is not a variable: write $$, or put the value in single quotes"
			}
		}
		r.addWarning(strings.ReplaceAll(text, r.stage+"/", ""))
	}
}

// notSet matches compose's warning about a variable without a value.
var notSet = lazyregexp.New(`^The \\?"([A-Za-z0-9_]+)\\?" variable is not set`)

// refersTo returns which of the files with settings refers to a variable. There, its name may be
// a part of a password that has a dollar in it.
func (r *reading) refersTo(variable string) string {
	reference := regexp.MustCompile(`\$\{?` + variable + `\b`)
	if reference.MatchString(r.envText()) {
		return ".env"
	}
	for _, name := range r.placed {
		if reference.MatchString(r.text(name)) {
			return name
		}
	}
	for _, file := range r.given {
		if reference.MatchString(textOf(file)) {
			return file.Name()
		}
	}
	return ""
}

// textOf returns what is in an open file.
func textOf(file *os.File) string {
	text := make([]byte, maxByHand)
	n, _ := file.ReadAt(text, 0) // it ends before, as a rule
	return string(text[:n])
}

func (r *reading) addWarning(text string) {
	text = printable.Cut(printable.Line(r.Redact(text)), maxWarning)
	if text != "" && len(r.warnings) < maxWarnings && !slices.Contains(r.warnings, text) {
		r.warnings = append(r.warnings, text)
	}
}

// overrideNames are the files that docker compose merges by itself, in its order.
var overrideNames = []string{"compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"}

// setsVariable matches the line of a .env that sets one of compose's own variables.
var setsVariable = lazyregexp.New(`(?m)^[ \t]*(?:export[ \t]+)?(COMPOSE_FILE|COMPOSE_PROFILES)[ \t]*=[ \t]*["']?([^"'#\r\n]*)`)

// warnOfUnread warns of what docker compose would use in the same directory, and pgo does not:
// what runs on a host does not depend on which files happen to be there.
func (r *reading) warnOfUnread(asked []string) {
	if len(asked) == 0 {
		for _, name := range overrideNames {
			setting := "have an operator set compose = " + quoted([]string{r.files[0], name})
			if isFile(r.stage, name) {
				r.addWarning(name + " is not used, although docker compose would merge it: " + setting + ", or rename it")
				break // compose uses one as well
			}
			if isFile(r.Checkout, name) && (r.Tracked == nil || !r.Tracked(name)) {
				r.addWarning(name + " in the checkout is not used, although docker compose would merge it: commit it, and " + setting)
				break
			}
		}
	}
	for _, found := range setsVariable.FindAllStringSubmatch(r.envText(), -1) {
		name, value := found[1], strings.TrimSpace(found[2])
		switch {
		case value == "":
		case name == "COMPOSE_PROFILES" && !slices.Equal(listed(value, ","), r.Profiles):
			r.addWarning("COMPOSE_PROFILES in .env is not used: have an operator set profiles = " + quoted(listed(value, ",")))
		case name == "COMPOSE_FILE" && !slices.Equal(r.inStage(listed(value, ":")), r.files):
			r.addWarning("COMPOSE_FILE in .env is not used: have an operator set compose = " + quoted(r.inStage(listed(value, ":"))))
		}
	}
}

// envText returns the .env.
func (r *reading) envText() string {
	if name, own := below(r.stage, r.env); own {
		return r.text(name)
	}
	if len(r.given) == 0 || r.env != filepath.Join(r.Checkout, r.dir(), ".env") {
		return ""
	}
	return textOf(r.given[0])
}

// inStage returns paths next to the .env as paths in the repository.
func (r *reading) inStage(files []string) []string {
	for i, file := range files {
		files[i] = filepath.Join(r.dir(), file)
	}
	return files
}

func listed(text, separator string) []string {
	var items []string
	for item := range strings.SplitSeq(text, separator) {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// quoted writes a list as the configuration has it.
func quoted(items []string) string {
	var all []string
	for _, item := range items {
		all = append(all, strconv.Quote(item))
	}
	return "[" + strings.Join(all, ", ") + "]"
}
