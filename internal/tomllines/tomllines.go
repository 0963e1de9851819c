// Package tomllines tells on which line of a file a key of it stands.
package tomllines

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// The toml package tells where a syntax error is, but not where a key is. So the text is
// scanned a second time, for positions alone. The scanner may rely on the text being
// valid TOML: the parser has read it before.

// Locate returns the line of every key, table and array element, by its path.
func Locate(text string) map[string]int {
	s := &scanner{text: text, line: 1, lines: map[string]int{}, tables: map[string]int{}}
	table := ""
	for s.space(); s.at < len(s.text); s.space() {
		if s.peek() == '[' {
			table = s.header()
		} else {
			s.pair(table)
		}
	}
	return s.lines
}

var bareKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// Member is the path of a table's key.
func Member(table, key string) string {
	if !bareKey.MatchString(key) {
		key = strconv.Quote(key)
	}
	if table == "" {
		return key
	}
	return table + "." + key
}

// Element is the path of an array's element.
func Element(array string, i int) string { return fmt.Sprintf("%s[%d]", array, i) }

type scanner struct {
	text    string
	at      int
	line    int // the one that counted is on
	counted int
	lines   map[string]int
	tables  map[string]int // how many [[headers]] of each path there were
}

// header reads [table] or [[table]] and returns the path of the table that it opens.
func (s *scanner) header() string {
	line, brackets := s.here(), 1
	if strings.HasPrefix(s.text[s.at:], "[[") {
		brackets = 2
	}
	s.at += brackets
	path, keys := "", s.key()
	for i, key := range keys {
		path = Member(path, key)
		s.mark(path, line)
		if brackets == 2 && i == len(keys)-1 {
			s.tables[path]++
		}
		if n := s.tables[path]; n > 0 {
			path = Element(path, n-1)
			s.mark(path, line)
		}
	}
	s.skip(brackets)
	return path
}

// pair reads key = value.
func (s *scanner) pair(path string) {
	line := s.here()
	for _, key := range s.key() {
		path = Member(path, key)
		s.mark(path, line)
	}
	s.skip(len("="))
	s.value(path)
}

func (s *scanner) value(path string) {
	s.space()
	s.mark(path, s.here())
	switch s.peek() {
	case '"', '\'':
		s.quoted()
	case '[':
		s.skip(1)
		for i := 0; s.more(']'); i++ {
			s.value(Element(path, i))
		}
	case '{':
		s.skip(1)
		for s.more('}') {
			s.pair(path)
		}
	default:
		s.skipTo(",]}#\n")
	}
}

// more reports whether another element follows before the closing bracket, and goes past
// the comma before it or past the bracket.
func (s *scanner) more(closing byte) bool {
	s.space()
	if s.peek() == ',' {
		s.at++
		s.space()
	}
	if s.peek() == closing {
		s.at++
		return false
	}
	return s.at < len(s.text)
}

// key reads a key of one or more parts, and the space after it.
func (s *scanner) key() []string {
	var keys []string
	for {
		s.blank()
		start := s.at
		if c := s.peek(); c == '"' || c == '\'' {
			s.quoted()
		} else {
			s.skipTo(" \t.=]\r\n")
		}
		keys = append(keys, unquoteKey(s.text[start:s.at]))
		s.blank()
		if s.peek() != '.' {
			return keys
		}
		s.at++
	}
}

// quoted skips a string of any of the four kinds.
func (s *scanner) quoted() {
	mark := s.text[s.at : s.at+1]
	if triple := strings.Repeat(mark, 3); strings.HasPrefix(s.text[s.at:], triple) {
		mark = triple
	}
	s.skip(len(mark))
	for s.at < len(s.text) && !strings.HasPrefix(s.text[s.at:], mark) {
		if s.peek() == '\\' && mark[0] == '"' {
			s.skip(1)
		}
		s.skip(1)
	}
	s.skip(len(mark))
	// Up to two quotes may stand before the closing three: the last three close.
	for len(mark) == 3 && s.peek() == mark[0] {
		s.skip(1)
	}
}

// here returns the line of the next byte.
func (s *scanner) here() int {
	s.line += strings.Count(s.text[s.counted:s.at], "\n")
	s.counted = s.at
	return s.line
}

// mark notes the line of path, unless it began on an earlier one.
func (s *scanner) mark(path string, line int) {
	if _, known := s.lines[path]; !known {
		s.lines[path] = line
	}
}

// skip goes n bytes on, at most to the end.
func (s *scanner) skip(n int) { s.at = min(s.at+n, len(s.text)) }

// peek returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

// blank skips blanks.
func (s *scanner) blank() {
	for s.peek() == ' ' || s.peek() == '\t' {
		s.at++
	}
}

// space skips blanks, newlines and comments.
func (s *scanner) space() {
	for s.at < len(s.text) {
		switch s.peek() {
		case ' ', '\t', '\r', '\n':
			s.at++
		case '#':
			s.skipTo("\n")
		default:
			return
		}
	}
}

// skipTo goes to the next of these characters, and always gets on.
func (s *scanner) skipTo(stops string) {
	n := strings.IndexAny(s.text[s.at:], stops)
	if n < 0 {
		n = len(s.text)
	}
	s.skip(max(n, 1))
}

// unquoteKey returns what a key's part means. A quoted key follows the same rules as a
// string does.
func unquoteKey(raw string) string {
	var parsed struct{ Key string }
	if raw == "" || raw[0] != '"' && raw[0] != '\'' {
		return raw
	}
	if _, err := toml.Decode("key = "+raw, &parsed); err != nil {
		return raw
	}
	return parsed.Key
}
