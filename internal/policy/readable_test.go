package policy

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

// free matches the places where text may hold any character, written down independently of
// schema.go.
var free = regexp.MustCompile(`^(services\.\*\.(command\[\]|entrypoint\[\]|environment\.\*|healthcheck\.test\[\]|(labels|annotations)\.\*` +
	`|(post_start|pre_start|pre_stop)\[\]\.(command\[\]|environment\.\*)|deploy\.labels\.\*|volumes\[\]\.volume\.labels\.\*` +
	`|build\.(args\.\*|labels\.\*|dockerfile_inline)|develop\.watch\[\]\..*)` +
	`|(networks|volumes|configs|secrets)\.\*\.labels\.\*|configs\.\*\.content)$`)

// TestFreeText compares the flags in the table with that list.
func TestFreeText(t *testing.T) {
	var look func(n *node)
	look = func(n *node) {
		if n == nil {
			return
		}
		if n.rule != nil && n.rule.text != free.MatchString(n.pattern) {
			t.Errorf("%s: free text is %v", n.pattern, n.rule.text)
		}
		for _, child := range n.keys {
			look(child)
		}
		look(n.names)
		look(n.items)
	}
	look(schema())
}

// At each key of the table and below, a character is refused unless it is in free text.
func TestUnreadable(t *testing.T) {
	for _, s := range sections {
		for _, row := range s.rows {
			for _, pattern := range s.patterns(row) {
				for _, root := range []bool{false, true} {
					for _, value := range []any{"a\u0085b", []any{"a\u0085b"}, map[string]any{"x-a": "a\u0085b"}} {
						limits := home
						limits.Root = root
						got := holds(Check(limits, modelOf(pattern, value), tree{}))
						_, extension := value.(map[string]any)
						want := !free.MatchString(pattern)
						if n := nodeOf(pattern); extension && n.keys != nil && n.names == nil {
							want = false // ignored
						} else if extension && n.names != nil {
							want = !free.MatchString(n.names.pattern)
						} else if _, isList := value.([]any); isList && n.items != nil {
							want = !free.MatchString(n.items.pattern)
						}
						if got != want {
							t.Errorf("%s: %v is refused: %v", pattern, value, got)
						}
					}
					if !holds(Check(home, modelOf(pattern, map[string]any{"a\tb": 1}), tree{})) {
						t.Errorf("%s: a key with a tab passes", pattern)
					}
				}
			}
		}
	}
}

func TestUnreadableRunes(t *testing.T) {
	for _, bad := range []string{"\x00", "\t", "\n", "\r", "\x1b", "\x7f", "\u0080", "\u0085", "\u2028", "\u2029", "\ufeff", "\ufdd0", "\ufdef", "\ufffe", "\uffff", "\U0001fffe", "\U0010ffff", "\ufffd", "\xff", "\xed\xa0\x80"} {
		if _, found := unreadableRune("a" + bad + "b"); !found {
			t.Errorf("%q passes", bad)
		}
	}
	for _, good := range []string{"", "größe ✓ 日本", "a b", "\u00a0", "\u200d", "😀", "~"} {
		if r, found := unreadableRune(good); found {
			t.Errorf("%q: %q", good, r)
		}
	}
}

func TestLongKeys(t *testing.T) {
	for key, want := range map[string]bool{
		strings.Repeat("x", 1000): false, strings.Repeat("x", 1001): true,
		strings.Repeat("é", 166): false, strings.Repeat("é", 167): true,
		strings.Repeat("😀", 83): false, strings.Repeat("😀", 84): true,
		strings.Repeat(`"`, 500): false, strings.Repeat(`"`, 501): true,
	} {
		for _, model := range []map[string]any{
			{"services": map[string]any{"web": map[string]any{"environment": map[string]any{key: "x"}}}},
			{"services": map[string]any{"web": map[string]any{"labels": map[string]any{key: "x"}}}},
			{"x-a": map[string]any{key: 1}},
		} {
			refusals := Check(home, model, tree{})
			if got := len(refusals) > 0; got != want {
				t.Errorf("%d bytes: %v", len(key), refusals)
			}
		}
	}
	long := map[string]any{"services": map[string]any{"web": map[string]any{"working_dir": strings.Repeat("x", maxText+1), "command": []any{strings.Repeat("x", maxText+1)}}}}
	if refusals := Check(home, long, tree{}); len(refusals) != 1 {
		t.Errorf("%v", refusals)
	}
}

// holds reports whether a refusal is for a character.
func holds(refusals []Refusal) bool {
	for _, r := range refusals {
		if strings.Contains(r.Rule, "holds a control character") && r.Allow == "" {
			return true
		}
	}
	return false
}

// modelOf has a value at the place of a pattern, and nodeOf that place.
func modelOf(pattern string, value any) map[string]any {
	steps := strings.Split(strings.ReplaceAll(pattern, "[]", ".[]"), ".")
	for i := len(steps) - 1; i >= 0; i-- {
		switch steps[i] {
		case "[]":
			value = []any{value}
		case "*":
			value = map[string]any{"a": value}
		default:
			value = map[string]any{steps[i]: value}
		}
	}
	return value.(map[string]any)
}

func nodeOf(pattern string) *node {
	n := schema()
	for step := range strings.SplitSeq(strings.ReplaceAll(pattern, "[]", ".[]"), ".") {
		switch step {
		case "[]":
			n = n.items
		case "*":
			n = n.names
		default:
			n = n.keys[step]
		}
	}
	return n
}

// FuzzReadable tries models of all forms: a control character in one is refused wherever it is,
// except in free text.
func FuzzReadable(f *testing.F) {
	f.Add(`{"services": {"web": {"image": "a\u0085b", "command": ["a\nb"], "gpus": [{"x-a": "a\nb"}], "x-b": {"c": "a\nb"}}}, "x-a": ["\n"]}`)
	f.Add(`{"services": {"web": {"build": {"args": {"A": "\n"}, "context": "\u2028"}, "labels": {"a\tb": "c"}}}, "configs": {"a": {"content": "\n", "x-": "\n"}}}`)
	f.Fuzz(func(t *testing.T, document string) {
		d := json.NewDecoder(strings.NewReader(document))
		d.UseNumber()
		var model map[string]any
		if d.Decode(&model) != nil {
			return
		}
		want := unreadableIn(schema(), "", model)
		got := false
		for _, r := range Check(home, model, tree{}) {
			got = got || strings.HasPrefix(r.Rule, "it holds ") || strings.HasPrefix(r.Rule, "the key holds ")
		}
		if got != want {
			t.Errorf("refused for a character: %v, want %v", got, want)
		}
	})
}

// unreadableIn reports in another way whether a model holds what is refused.
func unreadableIn(n *node, pattern string, v any) bool {
	bad := func(text string) bool { _, found := unreadableRune(text); return found }
	switch v := v.(type) {
	case string:
		return bad(v) && !free.MatchString(pattern)
	case []any:
		for _, e := range v {
			var items *node
			below := pattern + "[]"
			if n != nil && n.items != nil {
				items = n.items
			}
			if free.MatchString(pattern) {
				below = pattern
			}
			if unreadableIn(items, below, e) {
				return true
			}
		}
	case map[string]any:
		for key, e := range v {
			var child *node
			step := "?"
			if n != nil && n.keys[key] != nil {
				child, step = n.keys[key], key
			} else if n != nil && n.names != nil {
				child, step = n.names, "*"
			}
			below := strings.TrimPrefix(pattern+"."+step, ".")
			if free.MatchString(pattern) || child == nil && n != nil && n.keys != nil && strings.HasPrefix(key, "x-") {
				below = "configs.*.content" // free from here on
			}
			if bad(key) || unreadableIn(child, below, e) {
				return true
			}
		}
	}
	return false
}
