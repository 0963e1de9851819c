// Package policy decides what a repository may ask of the host. It checks a resolved compose
// model against a table of all keys that compose knows: each is harmless, or checked by a rule. A
// key that is not in the table is refused.
package policy

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"pgo/internal/ports"
	"pgo/internal/printable"
)

// Limits is what the operator grants to one service.
type Limits struct {
	Service  string        // its name, which is the compose project's
	Others   []string      // the names of all other services
	Root     bool          // its user is root: some rules do not apply to root's services
	Ports    []ports.Range // host ports that it may publish; empty: all but Granted
	Granted  []ports.Range // host ports of other services, and pgod's own
	Networks []string      // networks from outside that it may join; empty: all
	Allow    []string      // refusals to lift, as Refusal.Allow names them

	// Reserved maps the host part of every other service's urls targets to that service.
	Reserved map[string]string

	Checkout  string   // what containers mount
	Writable  []string // what containers that still run can write to
	Stage     string   // where the model's paths are, until the switch
	Forbidden []string // pgo's own files and directories: of these only the checkout may be mounted
	Home      string   `json:"-"` // what compose takes for ~; empty: unknown. It changes no verdict.
}

// Refusal is one thing in a model that the policy does not allow.
type Refusal struct {
	Path  string // of the key: services.web.privileged
	Found string // its value, short
	Rule  string // what is allowed instead, or why this is not; empty: nothing is, and the reason is plain
	Allow string // the entry of Limits.Allow that lifts it; empty: none does
}

func (r Refusal) String() string {
	text := r.Path + ": " + r.Found + " is refused"
	if r.Rule != "" {
		text += ": " + r.Rule
	}
	if r.Allow != "" {
		text += " (allow = [" + strconv.Quote(r.Allow) + "])"
	}
	return text
}

// Check returns all refusals of a model, sorted by path. The model is the decoded output of
// `docker compose config --format json`: numbers are json.Number, a dollar sign is not escaped,
// and paths are in the stage. links sees the checkout as it will be when the model's commit is
// there.
func Check(l Limits, model map[string]any, links Links) []Refusal {
	c := &checker{Limits: l, model: model}
	c.readable(schema(), place{}, model, false)
	c.visit(schema(), place{}, model)
	c.judge(newRoots(l, links, l.Stage), c.sources)
	return c.sorted()
}

// CheckSources repeats Check for a model whose paths were moved into the checkout, right before
// they are mounted: symlinks may have changed since.
func CheckSources(l Limits, model map[string]any, links Links) []Refusal {
	l.Stage = l.Checkout
	return Check(l, model, links)
}

// checker is one check of one model.
type checker struct {
	Limits
	model    map[string]any
	sources  []source // found by the rules, to be judged together
	refusals []Refusal
}

// refuse notes a refusal, unless the operator lifts it. The entry may be one that cannot be
// written in the configuration: then none lifts it. A refusal has no secret of the model in it.
func (c *checker) refuse(at place, found any, rule, entry string) (refused bool) {
	if c.lifted(entry) {
		return false
	}
	if len(c.refusals) >= maxRefusals {
		return true
	}
	hiding, plain := maskEntry(at, found, entry)
	if hiding != entry && plain && c.lifted(hiding) {
		return false
	}
	if !writable(hiding) || hiding != entry && !plain {
		hiding = ""
	}
	if text, _ := scalarText(found); at.secretAt(found) {
		if found = hidden; len(text) > len(hidden) {
			rule = strings.ReplaceAll(rule, text, hidden)
		}
	}
	c.refusals = append(c.refusals, Refusal{
		Path: printable.Cut(masked(printable.Cut(at.path, maxText)), maxPath), Found: show(found), Rule: printable.Line(masked(rule)), Allow: hiding,
	})
	return true
}

// lifted reports whether the operator has lifted a refusal. What an entry for a path grants depends
// on where that leads: roots.complaint alone decides it, and no refusal that it has is lifted.
func (c *checker) lifted(entry string) bool {
	return writable(entry) && !strings.HasPrefix(entry, liftBind) && slices.Contains(c.Allow, entry)
}

// writable reports whether the configuration can hold an entry of allow.
func writable(entry string) bool {
	return entry != "" && len(entry) <= maxEntry && !strings.HasSuffix(entry, ":") && !strings.ContainsFunc(entry, unicode.IsControl)
}

// maxPath bounds the path of a refusal: its keys may be of any length.
const maxPath = 400

// maxRefusals bounds how many are kept: a model could have one for every few bytes.
const maxRefusals = 10_000

// maxEntry is how long an entry of allow may be in the configuration.
const maxEntry = 512

func (c *checker) sorted() []Refusal {
	slices.SortFunc(c.refusals, func(a, b Refusal) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Found, b.Found), cmp.Compare(a.Rule, b.Rule))
	})
	return slices.Compact(c.refusals)
}
