package policy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"pgo/internal/lazyregexp"
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

// compile turns the table into a tree: a lookup by a path's text could mistake a key with a dot
// for two keys.
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

// grow returns the node one step further down, and creates it if necessary.
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

// visit checks the value at one place, and all below it. Compose writes null for what is absent.
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
	c.refuse(at, v, "compose does not resolve it to this form", "")
}

// maxKey is how long a key may be, written in ASCII: readers of YAML accept at most 1024
// characters, and compose has to read the model again.
const maxKey = 1000

// maxText is how long a text may be that not only a container reads: no path is longer, nor are
// the options of a mount.
const maxText = 4096

// readable refuses what two readers of the model could understand differently, at one place and
// all below it, whatever the rules there say. Only free text, which no reader interprets, may
// hold all characters.
func (c *checker) readable(n *node, at place, v any, text bool) {
	text = text || n != nil && n.rule != nil && n.rule.text
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			c.readableKey(at.key(key), key)
			child := n.find(key)
			c.readable(child, at.key(key), value, text || child == nil && n.ignores(key))
		}
	case []any:
		var items *node
		if n != nil {
			items = n.items
		}
		for i, value := range v {
			c.readable(items, at.item(i), value, text)
		}
	case string:
		if text {
			return
		}
		if r, found := unreadableRune(v); found {
			c.refuse(at, v, "it holds "+nameOf(r), "")
		}
		if len(v) > maxText {
			c.refuse(at, v, fmt.Sprintf("it is longer than %d bytes", maxText), "")
		}
	}
}

func (c *checker) readableKey(at place, key string) {
	if r, found := unreadableRune(key); found {
		c.refuse(at, key, "the key holds "+nameOf(r), "")
	}
	if asciiLen(key) > maxKey {
		c.refuse(at, key, fmt.Sprintf("the key is longer than %d characters, written in ASCII", maxKey), "")
	}
}

// find is child for a node that may be nil: a place that is not in the table.
func (n *node) find(key string) *node {
	if n == nil {
		return nil
	}
	return n.child(key)
}

// ignores reports whether a key is an extension, which compose ignores. It is not where keys are
// names, nor below a rule that checks the whole value.
func (n *node) ignores(key string) bool {
	return n != nil && n.keys != nil && strings.HasPrefix(key, "x-")
}

// unreadableRune returns the first character that readers of YAML and JSON take for different
// things, or that is not a valid one.
func unreadableRune(text string) (rune, bool) {
	for _, r := range text {
		if unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp) || r == '\ufeff' || r == utf8.RuneError || unicode.Is(unicode.Noncharacter_Code_Point, r) {
			return r, true
		}
	}
	return 0, false
}

func nameOf(r rune) string {
	switch {
	case unicode.Is(unicode.Cc, r):
		return fmt.Sprintf("a control character (%U)", r)
	case unicode.In(r, unicode.Zl, unicode.Zp):
		return fmt.Sprintf("a line separator (%U)", r)
	case r == utf8.RuneError:
		return fmt.Sprintf("an invalid character (%U)", r)
	}
	return fmt.Sprintf("a character that has no meaning in a text (%U)", r)
}

// asciiLen returns the length of a key with every character that is not ASCII written as \uXXXX.
func asciiLen(key string) int {
	n := 0
	for _, r := range key {
		switch {
		case r > 0xffff:
			n += 12
		case r >= utf8.RuneSelf || r < ' ':
			n += 6
		case r == '"' || r == '\\':
			n += 2
		default:
			n++
		}
	}
	return n
}

// place is where in the model a value is.
type place struct {
	path   string
	name   string // the last key
	chosen bool   // it is a name that the repository chose: of a compose service, a volume
}

var plainKey = lazyregexp.New(`^[A-Za-z0-9_-]+$`)

func (p place) key(key string) place {
	shown := key
	if !plainKey.MatchString(key) {
		shown = strconv.Quote(printable.Line(key))
	}
	chosen := slices.Contains([]string{"services", "networks", "volumes", "configs", "secrets"}, p.path)
	return place{path: strings.TrimPrefix(p.path+"."+shown, "."), name: key, chosen: chosen}
}

func (p place) item(i int) place {
	return place{path: p.path + "[" + strconv.Itoa(i) + "]", name: p.name, chosen: p.chosen}
}

// maxShown is how much of a value a refusal shows, in runes.
const maxShown = 120

// show returns a value as a refusal shows it, without secrets.
func show(v any) string {
	v = maskValue(v)
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
