package policy

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"pgo/internal/gitserver"
	"pgo/internal/nearest"
	"pgo/internal/ports"
)

// Complaints returns what is wrong with entries of Limits.Allow that lift nothing,
// whatever a repository asks for.
func Complaints(allow []string) []string {
	var complaints []string
	for _, entry := range allow {
		if why := complaint(entry); why != "" {
			complaints = append(complaints, strconv.Quote(masked(gitserver.WithoutUser(entry)))+" "+why)
		}
	}
	return complaints
}

// lifts has what an entry of allow may begin with, and then be: with a colon at its end it
// takes any value.
var lifts = func(sections []section) map[string][]string {
	all := map[string][]string{
		"key":       {"key:"},          // see checker.visitKey
		"submodule": {gitserver.Entry}, // of no refusal of the policy's: see gitrepo.Remote
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
}(sections)

func complaint(entry string) string {
	name, value, _ := strings.Cut(entry, ":")
	forms := lifts[name]
	takesAny := slices.Contains(forms, name+":")
	switch {
	case forms == nil:
		hint := "a refusal names the entry that lifts it"
		if near, found := nearest.Word(name, slices.Sorted(maps.Keys(lifts))); found {
			hint = "did you mean " + near + "?"
		}
		return "is no rule of the policy; " + hint
	case takesAny && value == "":
		return fmt.Sprintf("lifts nothing: write %s:… as a refusal names it", name)
	case !takesAny && !slices.Contains(forms, entry):
		return "lifts nothing: write " + strings.Join(forms, " or ")
	case boundsOf[name] != nil:
		return boundComplaint(boundsOf[name], entry)
	case name == "port" && !isPort(value):
		return "lifts nothing: write port: and a port, a range such as 9000-9002, or any"
	case name == "submodule":
		if _, why := gitserver.Parse(value); why != "" {
			return "lifts nothing: " + why
		}
	case name == "cap_add" && value != capability(value):
		return "lifts nothing: write cap_add:" + capability(value)
	}
	return ""
}

// isPort tells whether a refusal of the rule for ports could name that.
func isPort(value string) bool {
	asked, ok := ports.Parse(value)
	return value == "any" || ok && asked.String() == value
}

// boundsOf has all bounds that entries of a name move.
var boundsOf = func(sections []section) map[string][]bound {
	all := map[string][]bound{}
	for _, s := range sections {
		for _, row := range s.rows {
			for _, b := range row.rule.bounds {
				all[b.entry] = append(all[b.entry], b)
			}
		}
	}
	return all
}(sections)

func boundComplaint(bounds []bound, entry string) string {
	why := ""
	for _, b := range bounds {
		n, ok := b.granted(entry)
		switch {
		case ok && (n > b.most || n < b.least):
			return ""
		case ok:
			why = "lifts nothing: " + b.String() + " is allowed without it"
		case why == "":
			why = "lifts nothing: write " + b.lift() + " and " + b.kind
		}
	}
	return why
}
