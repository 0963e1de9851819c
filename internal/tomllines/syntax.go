package tomllines

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

const (
	noValue   = "not a TOML value"
	noNumber  = "not a TOML number"
	inQuotes  = "put text in quotes"
	betweenIn = "separate the values with commas, put each text in quotes, and close with a "
	invalid   = "not valid TOML"
)

// place is where the parser has stopped in a text, and what it was reading.
type place struct {
	text  string
	at    int
	known func(name string) bool

	start int    // where the key and value, or the header, begins
	table bool   // it is a header
	open  []byte // the brackets that are open
	key   bool   // no = was read yet
	last  byte   // the last byte of the last token; 0: there is none
	quote int    // where the string around the place begins; -1: there is none
}

// stop returns the mistake at the byte where the parser has stopped.
func (d *document) stop(at int) *Mistake {
	p := place{text: d.text, at: min(at, len(d.text)), known: d.known, start: d.at}
	if len(d.keys) > 0 { // what was read last ends on that line
		p.start += strings.IndexByte(p.text[p.start:]+"\n", '\n') + 1
	}
	p.read()
	line, text, hint := p.mistake()
	names := strings.Split(strings.Join(strings.Fields(keyAhead.FindString(strings.TrimLeft(p.text[p.start:], "["))), ""), ".")
	switch {
	case p.table && len(p.open) > 0:
		names = d.header.names
	case !p.table:
		names = append(d.header.names[:len(d.header.names):len(d.header.names)], names...)
	}
	return &Mistake{line, d.shown(names), text, hint}
}

// keyAhead matches a key whose parts have no quotes.
var keyAhead = regexp.MustCompile(`^\s*[A-Za-z0-9_-]+([ \t]*\.[ \t]*[A-Za-z0-9_-]+)*`)

// read reads up to the place to find what surrounds it.
func (p *place) read() {
	p.quote, p.key = -1, true
	for i := p.start; i < p.at; i++ {
		c := p.text[i]
		switch c {
		case ' ', '\t', '\r', '\n':
			continue
		case '#':
			rest := p.text[i:p.at]
			if end := strings.IndexByte(rest, '\n'); end >= 0 {
				rest = rest[:end]
			}
			i += len(rest)
			continue
		case '"', '\'':
			n, closed := stringLength(p.text[i:])
			if i+n > p.at || !closed {
				p.quote = i
				return
			}
			i += n - 1
		case '[', '{':
			if p.last == 0 {
				p.table, p.start = true, i
			}
			p.open = append(p.open, c)
			p.key = p.table || c == '{'
		case ']', '}':
			p.open = p.open[:max(len(p.open)-1, 0)]
			p.key = false
		case '=':
			p.key = false
		case ',':
			p.key = p.within('{')
		}
		if p.last == 0 {
			p.start = i
		}
		p.last = c
	}
	if p.last == 0 {
		p.start = p.at
	}
}

// within reports whether the innermost open bracket is this one.
func (p place) within(bracket byte) bool {
	return len(p.open) > 0 && p.open[len(p.open)-1] == bracket
}

// stringLength returns the length of the string that the text begins with, and whether it is
// closed. A single-line string that is not closed ends with its line.
func stringLength(text string) (n int, closed bool) {
	quote := text[:1]
	if strings.HasPrefix(text, strings.Repeat(quote, 3)) {
		quote = text[:3]
	}
	// The end of the line is not looked up first: a line may contain very many strings.
	for i := len(quote); i < len(text); i++ {
		switch {
		case text[i] == '\n' && len(quote) == 1:
			return i, false
		case strings.HasPrefix(text[i:], quote):
			end := i + len(quote)
			for len(quote) == 3 && end < min(i+5, len(text)) && text[end] == quote[0] {
				end++ // two quotes may precede the three that close
			}
			return end, true
		case text[i] == '\\' && quote[0] == '"' && !strings.HasPrefix(text[i+1:], "\n"):
			i++
		}
	}
	return len(text), false
}

// mistake returns what is wrong at the place.
func (p place) mistake() (line int, text, hint string) {
	line = p.line(p.at)
	next := (p.text[p.at:] + "\n")[0]
	switch r, size := utf8.DecodeRuneInString(p.text[p.at:] + "\n"); {
	case r == utf8.RuneError && size == 1, r == 0:
		return line, "a byte that is not UTF-8", "save the file as UTF-8"
	case len(p.open) > maxDepth:
		return line, tooDeep, ""
	case p.quote >= 0:
		return p.inString(line, next)
	case r < ' ' && r != '\t' && r != '\n', r == 0x7f:
		return line, "a control character", `leave it out, or write \u and its four hexadecimal digits in "…"`
	case p.table && len(p.open) > 0:
		return p.inHeader(line, next)
	case p.key && strings.IndexByte("\x00{,.", p.last) >= 0:
		return p.beforeKey(line, next)
	case p.key:
		return p.behindKey(line)
	case p.last == '=', p.within('[') && (p.last == '[' || p.last == ','):
		return p.value(line, next)
	case p.within('['):
		return p.list(line, "]")
	case p.within('{'):
		return p.list(line, "}")
	}
	text, hint = p.end()
	return line, text, hint
}

func (p place) inString(line int, next byte) (_ int, text, hint string) {
	triple := strings.HasPrefix(p.text[p.quote:], strings.Repeat(p.text[p.quote:p.quote+1], 3))
	switch {
	case strings.HasPrefix(p.text[p.at:]+"\n", "\\\n"), strings.HasPrefix(p.text[p.at:], "\\\r\n"):
		return line, `a \ at the end of a line in "…"`, "end the text with the quote that it begins with"
	case triple && (next == '"' || next == '\'') && p.at > p.quote:
		return line, "too many quotes", "end the text with three quotes"
	case triple && p.at >= len(strings.TrimSpace(p.text)):
		return p.line(p.quote), "the quotes are not closed", "end the text with the three quotes that it begins with"
	case next == '\n', next == '\r' && !triple:
		return line, "the quote is not closed", "end the text on its line, with the quote that it begins with"
	case next < ' ', next == 0x7f:
		return line, "a control character", `leave it out, or write \u and its four hexadecimal digits in "…"`
	}
	return line, `a \ that begins no escape sequence`, `write \\ for a \, or put the text in '…'`
}

func (p place) inHeader(line int, next byte) (_ int, text, hint string) {
	double := strings.HasPrefix(p.text[p.start:], "[[")
	switch {
	case (p.last == '[' || p.last == '.') && (next == ']' || next == '.'):
		return line, "a part of the name between the brackets is missing", "write it as in [name] or [[name]]"
	case double:
		return line, "]] is missing", "write it as in [[name]]"
	}
	return line, "] is missing", "write it as in [name] or [[name]]"
}

func (p place) beforeKey(line int, next byte) (_ int, text, hint string) {
	switch next {
	case '=':
		return line, "no key before the =", "write key = value"
	case '.':
		return line, "a . in a key without a name on each side", "leave the . out, or write the part that is missing"
	case ',':
		return line, "a comma without a value before it", "leave it out"
	}
	return p.behindKey(line)
}

func (p place) behindKey(line int) (_ int, text, hint string) {
	after := p.after() + " "
	switch {
	case len(p.open) > 0 && p.before() == "" && after[0] == '[', p.at >= len(strings.TrimSpace(p.text)) && len(p.open) > 0:
		line, _ = p.back()
		return line, "a } is missing", betweenIn + "}"
	case p.last == 0 && (after[0] == ']' || after[0] == '}'):
		return line, "a " + after[:1] + " that closes nothing", "leave it out"
	case after[0] == ':':
		return line, "a : after the key", "write key = value, and put a key that contains a : in quotes"
	}
	return line, "= is missing after the key", "write key = value; put a key that has more than letters, digits, _ and - in quotes, on both sides"
}

// before returns the line's text before the place, and after the text from there.
func (p place) before() string {
	return strings.TrimSpace(p.text[strings.LastIndexByte(p.text[:p.at], '\n')+1 : p.at])
}

func (p place) after() string {
	after, _, _ := strings.Cut(p.text[p.at:], "\n")
	return strings.TrimSpace(after)
}

func (p place) line(at int) int { return 1 + strings.Count(p.text[:at], "\n") }

// back returns the line on which the text before the place ends, skipping lines that are empty or
// have only a comment.
func (p place) back() (line int, text string) {
	lines := strings.Split(p.text[:p.at], "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if text = strings.TrimSpace(lines[i]); text != "" && text[0] != '#' {
			return i + 1, text
		}
	}
	return p.line(p.at), ""
}

var (
	// A key or a header at the beginning of a line, before which a list should have ended.
	nextKey    = regexp.MustCompile(`^[A-Za-z0-9_-]+\s*=`)
	nextHeader = regexp.MustCompile(`^\[+\s*([A-Za-z0-9_-]+)`)

	boolean = regexp.MustCompile(`^(?i:true|false|yes|no|on|off)\b`)
	numeric = regexp.MustCompile(`^[-+.0-9]`)
)

// begins reports whether another key or table begins on the line of the place.
func (p place) begins() bool {
	whole := p.before() + p.after()
	header := nextHeader.FindStringSubmatch(whole)
	return nextKey.MatchString(whole) || header != nil && p.known(header[1])
}

func (p place) value(line int, next byte) (_ int, text, hint string) {
	after := p.after()
	switch ended := p.at >= len(strings.TrimSpace(p.text)); {
	case p.within('[') && (ended || strings.Trim(p.before(), "[") == "" && p.begins()):
		if !ended {
			p.at -= len(p.before())
		}
		line, _ = p.back()
		return line, "a ] is missing", betweenIn + "]"
	case len(p.open) > 0 && next == ',':
		return line, "a comma without a value before it", "leave it out"
	case after == "", strings.IndexByte("#,]}", next) >= 0:
		return line, "no value", "write one, or leave the key out"
	case boolean.MatchString(after):
		return line, noValue, "write true or false, in lower case, or text in quotes"
	case strings.ContainsRune("“”„‟‘’‚«»`´", []rune(after)[0]):
		return line, "not a TOML quote", `write " before and after the text`
	case next == '=':
		return line, "one = too many", "write key = value"
	case numeric.MatchString(after):
		return line, noNumber, inQuotes
	}
	return line, noValue, inQuotes + ", and write true and false in lower case"
}

// end returns what is wrong after a value or a header.
func (p place) end() (text, hint string) {
	before, after := p.before(), p.after()+" "
	switch last := before[max(len(before)-1, 0):]; {
	case after[0] == ']' || after[0] == '}':
		return "one " + after[:1] + " too many", "close only as many as are open"
	case after[0] == ';':
		return "a ; after the value", "leave it out"
	case after[0] == ',':
		return "a comma after the value", "put several values in brackets, and each key on its own line"
	case p.table:
		return "text after the name of a table", "write it on the next line"
	case p.touches() && last == "'":
		return "text after the closing quote", `put text that contains ' in "…"`
	case p.touches() && last == `"`:
		return "text after the closing quote", `write \" for a " inside "…"`
	case p.touches():
		return p.unquoted(), inQuotes
	}
	return "text after the value", "put each key on its own line, each text in quotes, and # before a comment"
}

// unquoted tells a malformed number, such as 1.5.3, from text that begins with a number, such as
// 90s.
func (p place) unquoted() string {
	if strings.ContainsAny(p.text[p.at-1:p.at+1], "._+-") {
		return noNumber
	}
	return noValue
}

// list returns what is wrong after a value in brackets that end with closing.
func (p place) list(line int, closing string) (_ int, text, hint string) {
	last, before := p.back()
	switch {
	case p.before() == "":
		line = last
	case p.touches() && !strings.HasSuffix(before, `"`) && !strings.HasSuffix(before, "'"):
		return line, p.unquoted(), inQuotes
	}
	return line, "a comma or " + closing + " is missing", betweenIn + closing
}

// touches reports whether the text at the place directly follows other text.
func (p place) touches() bool {
	return p.at > 0 && p.at < len(p.text) && !strings.ContainsRune(" \t\r\n,[{", rune(p.text[p.at-1])) && !strings.ContainsRune(" \t\r\n", rune(p.text[p.at]))
}
