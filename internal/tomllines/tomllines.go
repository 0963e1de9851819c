// Package tomllines decodes TOML, and reports the line of each key and what is wrong with a text
// that is not valid. It does not know what keys mean. Of a text it shows only the names that its
// caller knows: any other part may be a secret whose quotes were forgotten.
//
// BurntSushi's package decodes, and decides what is valid. It reports neither positions in valid
// text nor kinds of mistakes; so another parser reads the text first, and returns a tree with
// positions, or the place where it stopped. A text that only one of the two accepts is refused.
package tomllines

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/pelletier/go-toml/v2/unstable"
)

// maxDepth is how deeply a text may nest: BurntSushi's package takes unbounded time and memory
// for deeper nesting.
const maxDepth = 32

// maxPath bounds the path of a key, which each element of a list below it repeats.
const maxPath = 1024

// A Mistake is why a text is not valid TOML.
type Mistake struct {
	Line int
	Key  string // where it is, up to the first name that is not known
	Text string // what is wrong
	Hint string // what to do instead; may be empty
}

// Error returns the mistake on one line, beginning with its line number.
func (m *Mistake) Error() string {
	text := m.Text
	if m.Key != "" {
		text = m.Key + ": " + text
	}
	if m.Hint != "" {
		text += "; " + m.Hint
	}
	return fmt.Sprintf("%d: %s", m.Line, text)
}

// Decode returns the content of a text, and the line of every key, table and array element by its
// path. A Mistake shows only names for which known is true.
func Decode(text string, known func(name string) bool) (map[string]any, map[string]int, *Mistake) {
	text = strings.TrimPrefix(text, "\ufeff") // a byte order mark
	d := document{text: text, known: known, line: 1, lines: map[string]int{}, tables: map[string]int{}}
	if mistake := d.parse(); mistake != nil {
		return nil, nil, mistake
	}
	var table map[string]any
	if _, err := toml.Decode(text, &table); err != nil {
		return nil, nil, d.refused(err)
	}
	return table, d.lines, nil
}

var bareKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// Member returns the path of a table's key.
func Member(table, key string) string {
	if !bareKey.MatchString(key) {
		key = strconv.Quote(key)
	}
	if table == "" {
		return key
	}
	return table + "." + key
}

// Element returns the path of an array's element.
func Element(array string, i int) string { return fmt.Sprintf("%s[%d]", array, i) }

// document is a text and the state of its parsing.
type document struct {
	text  string
	known func(name string) bool
	unstable.Parser

	line, counted int // line is that of the byte at counted
	at            int // the end of what was visited last
	lines         map[string]int
	tables        map[string]int // how many [[headers]] each path has had
	header        position       // the last one
	keys          []position
	numbers       []number
	bound         *Mistake // of the first thing that is beyond a bound
}

// position is where something begins, and its path.
type position struct {
	at    int
	path  string
	names []string
}

// number is a number or a date.
type number struct {
	position
	raw string
}

// parse finds the position of everything, or the first syntax error.
func (d *document) parse() *Mistake {
	d.Reset([]byte(d.text + "\n"))
	for d.NextExpression() && d.bound == nil {
		switch e := d.Expression(); e.Kind {
		case unstable.KeyValue:
			d.pair(e, d.header)
			d.at = int(e.Raw.Offset + e.Raw.Length)
		default:
			d.open(e)
		}
	}
	if stopped := (*unstable.ParserError)(nil); d.bound == nil && errors.As(d.Error(), &stopped) {
		return d.stop(int(d.Range(stopped.Highlight).Offset))
	}
	return d.bound
}

// open visits a [table] or [[table]].
func (d *document) open(e *unstable.Node) {
	in, keys := position{}, e.Key()
	for keys.Next() && d.bound == nil {
		in = d.key(in, keys.Node())
		if e.Kind == unstable.ArrayTable && keys.IsLast() {
			d.tables[in.path]++
		}
		if n := d.tables[in.path]; n > 0 {
			in.path = Element(in.path, n-1)
			d.mark(in)
		}
	}
	d.header = in
}

// pair visits key = value.
func (d *document) pair(e *unstable.Node, in position) {
	for keys := e.Key(); keys.Next() && d.bound == nil; {
		in = d.key(in, keys.Node())
	}
	d.value(e.Value(), in)
}

// key visits a part of a key.
func (d *document) key(in position, part *unstable.Node) position {
	name := string(part.Data)
	key := position{int(part.Raw.Offset), Member(in.path, name), append(slices.Clip(in.names), name)}
	d.at = key.at + int(part.Raw.Length)
	d.keys = append(d.keys, key)
	d.mark(key)
	return key
}

func (d *document) value(v *unstable.Node, in position) {
	if d.bound != nil {
		return
	}
	in.at = int(v.Raw.Offset)
	switch v.Kind {
	case unstable.Array: // the parser does not report where one begins
		for in.at = d.at; d.text[in.at] != '['; in.at++ {
			if d.text[in.at] == '#' {
				in.at += strings.IndexByte(d.text[in.at:], '\n')
			}
		}
		d.at = in.at + 1
	case unstable.InlineTable, unstable.String, unstable.Bool:
		d.at = in.at + int(v.Raw.Length)
	default:
		d.at = in.at + int(v.Raw.Length)
		d.numbers = append(d.numbers, number{in, string(v.Data)})
	}
	d.mark(in)
	elements := v.Children()
	for i := 0; elements.Next(); i++ {
		element := position{path: Element(in.path, i), names: append(slices.Clip(in.names), "")}
		if v.Kind == unstable.InlineTable {
			d.pair(elements.Node(), in)
		} else {
			d.value(elements.Node(), element)
		}
	}
}

// mark records the line of a path, unless the path began on an earlier one.
func (d *document) mark(p position) {
	line := d.lineOf(p.at)
	if _, marked := d.lines[p.path]; !marked {
		d.lines[p.path] = line
	}
	switch {
	case len(p.names) > maxDepth:
		d.bound = &Mistake{Line: line, Text: tooDeep}
	case len(p.path) > maxPath:
		d.bound = &Mistake{Line: line, Text: fmt.Sprintf("a key of more than %d bytes", maxPath)}
	}
}

// lineOf returns the line of a byte. It is cheap if the byte follows the one of the last call.
func (d *document) lineOf(at int) int {
	if at < d.counted {
		d.line, d.counted = 1, 0
	}
	d.line += strings.Count(d.text[d.counted:at], "\n")
	d.counted = at
	return d.line
}

// plainNumber matches most of the numbers that are valid.
var plainNumber = regexp.MustCompile(`^[0-9]{1,18}$`)

var tooDeep = fmt.Sprintf("nested more than %d deep", maxDepth)

// refused returns what is wrong with a text whose syntax is valid: an invalid number or date, or
// a key that is defined twice.
func (d *document) refused(err error) *Mistake {
	for _, n := range d.numbers {
		if plainNumber.MatchString(n.raw) {
			continue
		}
		if _, err := toml.Decode("x = "+n.raw, &map[string]any{}); err != nil {
			return &Mistake{d.lineOf(n.at), d.shown(n.names), noNumber, inQuotes}
		}
	}
	found := toml.ParseError{}
	if !errors.As(err, &found) || len(d.keys) == 0 {
		return &Mistake{Line: 1, Text: invalid} // a lone carriage return at the end, for example
	}
	next := slices.IndexFunc(d.keys, func(k position) bool { return k.at > found.Position.Start })
	if next < 0 {
		next = len(d.keys)
	}
	key := d.keys[max(next-1, 0)]
	path := d.shown(key.names)
	if path != "" && d.tables[strings.Join(key.names, ".")] > 0 {
		return &Mistake{d.lineOf(key.at), path, path + " is already defined", fmt.Sprintf("begin each one with [[%s]], and write it in no other way", path)}
	}
	return &Mistake{d.lineOf(key.at), path, "this key or table is already defined", "leave one out"}
}

// shown returns a key up to the first name that is not known.
func (d *document) shown(names []string) string {
	end := slices.IndexFunc(names, func(name string) bool { return !d.known(name) })
	if end < 0 {
		end = len(names)
	}
	return strings.Join(names[:end], ".")
}
