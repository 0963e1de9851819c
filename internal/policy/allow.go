package policy

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"pgo/internal/gitserver"
	"pgo/internal/nearest"
	"pgo/internal/ports"
	"pgo/internal/printable"
)

// Complaints returns what is wrong with entries of Limits.Allow that lift nothing,
// whatever a repository asks for.
func Complaints(allow []string) []string {
	var complaints []string
	for _, entry := range allow {
		if why, _ := Complaint(entry); why != "" {
			complaints = append(complaints, why)
		}
	}
	return complaints
}

// Complaint returns what is wrong with an entry of Limits.Allow that lifts nothing, or an empty
// text. A needless entry is well-formed, but what it names is allowed without it.
func Complaint(entry string) (text string, needless bool) {
	why := mistake(entry)
	if why == "" {
		why, needless = needlessly(entry), true
	}
	if why == "" {
		return "", false
	}
	return strconv.Quote(printable.Cut(masked(gitserver.WithoutUser(entry)), maxShown)) + " " + why, needless
}

// Normal returns an entry as the policy compares it.
func Normal(entry string) string {
	if dir, bind := strings.CutPrefix(entry, liftBind); bind && filepath.IsAbs(dir) {
		return liftBind + filepath.Clean(dir)
	}
	return entry
}

// HandsOverEngine reports whether an entry hands over the engine that runs the service's
// containers: by its socket, or by a container that may do everything.
func HandsOverEngine(entry string) bool {
	dir, bind := strings.CutPrefix(entry, liftBind)
	return entry == liftPrivileged || entry == liftEngine || bind && reachesEngine(dir)
}

// reachesEngine reports whether a path is an engine's socket, or a directory that holds one.
func reachesEngine(path string) bool {
	switch filepath.Base(path) {
	case "docker.sock", "containerd.sock":
		return true
	}
	return slices.ContainsFunc([]string{"/run/docker.sock", "/var/run/docker.sock", "/run/containerd/containerd.sock"},
		func(socket string) bool { return below(path, socket) })
}

// lifts has the forms that an entry of allow may have, by what is before its colon. A form that
// ends with the colon takes any value.
var lifts = sync.OnceValue(func() map[string][]string {
	all := map[string][]string{
		"key":       {"key:"},          // see checker.visitKey
		"submodule": {gitserver.Entry}, // lifts no refusal of the policy: see gitrepo.Remote
	}
	for _, s := range sections {
		for _, row := range s.rows {
			for _, lift := range strings.Fields(row.rule.lift) {
				if name, _, _ := strings.Cut(lift, ":"); !slices.Contains(all[name], lift) {
					all[name] = append(all[name], lift)
				}
			}
		}
	}
	return all
})

// mistake returns why no refusal can name an entry.
func mistake(entry string) string {
	name, value, _ := strings.Cut(entry, ":")
	forms := lifts()[name]
	takesAny := slices.Contains(forms, name+":")
	switch {
	case len(entry) > maxEntry:
		return fmt.Sprintf("lifts nothing: it is longer than %d bytes", maxEntry)
	case forms == nil:
		hint := "a refusal names the entry that lifts it"
		if near, found := nearest.Word(name, slices.Sorted(maps.Keys(lifts()))); found {
			hint = "did you mean " + near + "?"
		}
		return "is not a rule of the policy; " + hint
	case takesAny && value == "":
		return fmt.Sprintf("lifts nothing: write %s:… as a refusal names it", name)
	case !takesAny && !slices.Contains(forms, entry):
		return "lifts nothing: write " + strings.Join(forms, " or ")
	case boundsOf()[name] != nil:
		return boundMistake(boundsOf()[name], entry)
	case !writable(entry):
		return "lifts nothing: write it without control characters, and without the colon at the end"
	}
	if why := valueMistake(name, value); why != "" {
		return "lifts nothing: " + why
	}
	return ""
}

// valueMistake returns why no refusal can name a value of a rule.
func valueMistake(name, value string) string {
	switch name {
	case "bind":
		return bindMistake(value)
	case "port":
		if !isPort(value) {
			return "write port: and a port, a range such as 9000-9002, or any"
		}
	case "submodule":
		_, why := gitserver.Parse(value)
		return why
	case "cap_add":
		if value != capability(value) {
			return "write cap_add:" + capability(value)
		}
	case "network", "volume", "config", "secret":
		if !plainName.MatchString(value) {
			return "write " + name + ": and a name of letters, digits and _.-"
		}
		if name == "network" && slices.Contains(engineNetworks, value) {
			return "it is the engine's own and never joined"
		}
	}
	if all(name, func(r rule) bool { return r.paired }) && !strings.Contains(value, "=") {
		return "write " + name + ": and name=value"
	}
	return ""
}

func bindMistake(dir string) string {
	switch path := filepath.Clean(dir); {
	case !filepath.IsAbs(dir):
		return "write the whole path, from /"
	case path == "/" || within("/proc", path):
		return path + " is never mounted; name the directory that is needed"
	}
	return ""
}

// rulesOf has the rules that entries with a value lift, by what is before the entry's colon.
var rulesOf = sync.OnceValue(func() map[string][]rule {
	all := map[string][]rule{}
	for _, s := range sections {
		for _, row := range s.rows {
			for _, lift := range strings.Fields(row.rule.lift) {
				if name, any := strings.CutSuffix(lift, ":"); any {
					all[name] = append(all[name], row.rule)
				}
			}
		}
	}
	return all
})

// all reports whether is holds for all rules that entries of a name lift; false if there are
// none.
func all(name string, is func(rule) bool) bool {
	rules := rulesOf()[name]
	return len(rules) > 0 && !slices.ContainsFunc(rules, func(r rule) bool { return !is(r) })
}

// needlessly returns why an entry is not needed.
func needlessly(entry string) string {
	name, value, _ := strings.Cut(entry, ":")
	if bounds := boundsOf()[name]; bounds != nil {
		return boundNeedless(bounds, entry)
	}
	if !strings.Contains(value, hidden) && all(name, func(r rule) bool { return r.fine != nil && r.fine(value) }) {
		return "lifts nothing: it is allowed without it"
	}
	return ""
}

// isPort reports whether a refusal of the rule for ports could name this value.
func isPort(value string) bool {
	asked, ok := ports.Parse(value)
	return value == "any" || ok && asked.String() == value
}

// boundsOf has the bounds that entries of allow move, by the entry's name.
var boundsOf = sync.OnceValue(func() map[string][]bound {
	all := map[string][]bound{}
	for _, s := range sections {
		for _, row := range s.rows {
			for _, b := range row.rule.bounds {
				all[b.entry] = append(all[b.entry], b)
			}
		}
	}
	return all
})

// boundNeedless returns why an entry moves none of the bounds.
func boundNeedless(bounds []bound, entry string) string {
	why := ""
	for _, b := range bounds {
		n, ok := b.granted(entry)
		switch {
		case ok && (n > b.most || n < b.least):
			return ""
		case ok:
			why = "lifts nothing: " + b.String() + " is allowed without it"
		}
	}
	return why
}

// boundMistake returns why an entry fits none of the bounds.
func boundMistake(bounds []bound, entry string) string {
	if slices.ContainsFunc(bounds, func(b bound) bool { _, ok := b.granted(entry); return ok }) {
		return ""
	}
	return "lifts nothing: write " + bounds[0].lift() + " and " + bounds[0].kind
}
