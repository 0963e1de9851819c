package policy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"

	"pgo/internal/printable"
)

// node is a place in a model, and the rule for what is found there.
type node struct {
	pattern string // services.*.ports[].published
	rule    *rule
	keys    map[string]*node // of an object
	names   *node            // of an object: keys that the repository chooses
	items   *node            // of an array
}

// compile turns the table into a tree. A key that is looked up by its text
// alone could be mistaken for two, with a dot between them.
func compile(sections []section) *node {
	root := &node{}
	for _, s := range sections {
		for _, row := range s.rows {
			for _, pattern := range s.patterns(row) {
				n := root
				for step := range strings.SplitSeq(strings.ReplaceAll(pattern, "[]", ".[]"), ".") {
					n = n.grow(step)
				}
				if n.rule != nil {
					panic("two rules for " + n.pattern)
				}
				n.rule = &row.rule
			}
		}
	}
	return root
}

// grow returns the node one step further down, made if it is not there.
func (n *node) grow(step string) *node {
	switch step {
	case "*":
		n.names = cmp.Or(n.names, n.below(step))
		return n.names
	case "[]":
		n.items = cmp.Or(n.items, n.below(step))
		return n.items
	}
	if n.keys == nil {
		n.keys = map[string]*node{}
	}
	n.keys[step] = cmp.Or(n.keys[step], n.below(step))
	return n.keys[step]
}

func (n *node) below(step string) *node {
	return &node{pattern: strings.TrimPrefix(strings.ReplaceAll(n.pattern+"."+step, ".[]", "[]"), ".")}
}

func (n *node) child(key string) *node {
	if child := n.keys[key]; child != nil {
		return child
	}
	return n.names
}

// visit checks the value at one place, and all below it. Null is what compose
// writes for something that is not there.
func (c *checker) visit(n *node, at place, v any) {
	if v == nil {
		return
	}
	var r rule
	if n.rule != nil {
		r = *n.rule
	}
	if r.check != nil && !(r.exempt && c.Root) {
		r.check(c, at, v)
	}
	if r.whole {
		return
	}
	switch v := v.(type) {
	case map[string]any:
		if n.keys == nil && n.names == nil {
			c.strange(at, v)
			return
		}
		for key, value := range v {
			c.visitKey(n, at, key, value)
		}
	case []any:
		if n.items == nil {
			c.strange(at, v)
			return
		}
		for i, value := range v {
			c.visit(n.items, at.item(i), value)
		}
	default:
		if n.rule == nil || r.object {
			c.strange(at, v)
		}
	}
}

func (c *checker) visitKey(n *node, at place, key string, value any) {
	if child := n.child(key); child != nil {
		c.visit(child, at.key(key), value)
	} else if !strings.HasPrefix(key, "x-") { // an extension: compose ignores it
		pattern := strings.TrimPrefix(n.pattern+"."+key, ".")
		c.refuse(at.key(key), value, "unknown key", "key:"+pattern)
	}
}

func (c *checker) strange(at place, v any) {
	c.refuse(at, v, "not in a form that compose resolves it to", "")
}

// place is where in the model a value is.
type place struct {
	path string
	name string // the last key
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func (p place) key(key string) place {
	shown := key
	if !plainKey.MatchString(key) {
		shown = strconv.Quote(printable.Line(key))
	}
	return place{path: strings.TrimPrefix(p.path+"."+shown, "."), name: key}
}

func (p place) item(i int) place {
	return place{path: p.path + "[" + strconv.Itoa(i) + "]", name: p.name}
}

// maxShown is as much of a value as a refusal shows, in runes.
const maxShown = 120

// show returns a value as a refusal shows it.
func show(v any) string {
	text, scalar := scalarText(v)
	if !scalar || text == "" {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(v); err != nil {
			return "a value" // of a type that no JSON document holds
		}
		text = strings.TrimSuffix(b.String(), "\n")
	}
	if runes := []rune(text); len(runes) > maxShown {
		text = string(runes[:maxShown]) + "…"
	}
	return printable.Line(text)
}

// scalarText returns a string, number or boolean as text.
func scalarText(v any) (text string, ok bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// object returns v if it is an object; else one without keys.
func object(v any) map[string]any {
	o, _ := v.(map[string]any)
	return o
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

func str(v any) string {
	s, _ := v.(string)
	return s
}
