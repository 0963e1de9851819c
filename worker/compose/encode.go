package compose

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Decode reads the output of `docker compose config --format json`, in which every dollar is
// doubled, in keys and in values.
func Decode(raw []byte) (*Model, error) {
	doc, err := parse(raw)
	if err != nil {
		return nil, fmt.Errorf("cannot read the model: %w", err)
	}
	return &Model{root: mapStrings(doc, single, single).(map[string]any)}, nil
}

// Encode writes the model as a compose file. Compose expands values when it
// reads it back, and leaves keys alone.
//
// Compose reads it as YAML, and Load as JSON. To YAML the characters U+0085, U+2028 and U+2029
// end a line, and U+FEFF is not a character at all: so everything that is not printable ASCII is
// escaped. The exception is what is beyond U+FFFF: JSON writes that as two escapes, which YAML
// does not know. Neither reader gives any of those a meaning.
func (m *Model) Encode() []byte {
	return escape(render(mapStrings(m.root, same, double)))
}

// Load reads what Encode wrote.
func Load(raw []byte) (*Model, error) {
	doc, err := parse(raw)
	if err != nil {
		return nil, fmt.Errorf("cannot read the model: %w", err)
	}
	return &Model{root: mapStrings(doc, same, single).(map[string]any)}, nil
}

func same(s string) string   { return s }
func single(s string) string { return strings.ReplaceAll(s, "$$", "$") }
func double(s string) string { return strings.ReplaceAll(s, "$", "$$") }

func parse(raw []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber() // a number is written again as it was read
	var doc map[string]any
	if err := d.Decode(&doc); err != nil {
		return nil, err
	}
	if doc == nil {
		return nil, errors.New("not an object")
	}
	return doc, nil
}

func render(doc any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(doc); err != nil {
		panic(err) // maps, slices and scalars that came from JSON
	}
	return b.Bytes()
}

// escape writes the characters of a JSON text as JSON and YAML both read them.
func escape(text []byte) []byte {
	b := make([]byte, 0, len(text))
	for _, r := range string(text) {
		switch {
		case r == '\n' || ' ' <= r && r <= '~': // the text's own line breaks: those in strings are escaped
			b = append(b, byte(r))
		case r <= 0xffff:
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}

// mapStrings copies a JSON value and applies key to every key and value to every string.
func mapStrings(v any, key, value func(string) string) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[key(k)] = mapStrings(e, key, value)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			l[i] = mapStrings(e, key, value)
		}
		return l
	case string:
		return value(v)
	default:
		return v
	}
}
