package config

import (
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"pgo/internal/tomllines"
)

// What the toml package says of a mistake shows parts of the text, and any of them may be a
// secret whose quotes were forgotten. So it is only recognized here, and said in other words:
// none of the text, and what to do.

const (
	noValue   = "no value that TOML knows"
	inQuotes  = "a text stands in quotes"
	betweenIn = "between the values stands a comma, around each text a pair of quotes, and behind the last value a "
)

// syntaxProblem is what the toml package has found in a file.
func (s source) syntaxProblem(found toml.ParseError) Problem {
	p := place{text: s.text, at: min(max(found.Position.Start, 0), len(s.text))}
	p.line = 1 + strings.Count(s.text[:p.at], "\n") // found.Position.Line is another one behind a newline
	if strings.HasPrefix(found.Message, "unexpected EOF;") || strings.HasSuffix(found.Message, "got end of file") || strings.HasSuffix(found.Message, "got end of file instead") {
		p.at = len(s.text)
		p.line, _ = p.back()
	}
	line, err := p.mistake(found.Message, max(found.Position.Line, 1))
	problem := problemOf(s.path, line, err)
	path, again := strings.CutPrefix(found.Message, "Key '")
	if path, _, _ = strings.Cut(path, "'"); !again {
		path = found.LastKey
		// Behind a value it is the table of the key.
		if name, _, _ := strings.Cut(p.before(), "="); !strings.HasSuffix(path, strings.TrimSpace(name)) {
			path = strings.TrimPrefix(path+"."+strings.TrimSpace(name), ".")
		}
	}
	problem.Key = knownKey(path)
	return problem
}

// mistake puts what the toml package says into other words. Where it is in a string of more
// lines, the place is where that one begins, and inside is the line.
func (p place) mistake(message string, inside int) (line int, err error) {
	says := func(beginnings ...string) bool {
		return slices.ContainsFunc(beginnings, func(s string) bool { return strings.HasPrefix(message, s) })
	}
	switch {
	case says("unexpected EOF; expected value", "expected value"):
		return p.value(p.at == len(p.text))
	case says("expected '.' or '='", "unexpected EOF; expected key separator"):
		return p.key()
	case says("unexpected '='"):
		return p.line, wrong("write key = value", "no key before the =")
	case says("unexpected '.'"):
		return p.line, wrong("leave the . out, or write the part that is missing", "a . in a key without a name on each side")
	case says("expected a top-level item to end"):
		return p.line, p.end()
	case says("expected a comma (',')"):
		return p.list("]")
	case says("expected a comma or an inline table"):
		return p.list("}")
	case says("unexpected comma"):
		return p.line, wrong("leave it out", "a comma without a value before it")
	case says("strings cannot contain newlines", `unexpected EOF; expected '"'`, `unexpected EOF; expected "'"`):
		return p.line, wrong("end the text on its line, with the quote that it begins with", "the quote is not closed")
	case says(`unexpected EOF; expected '"""'`, `unexpected EOF; expected "'''"`):
		return tomllines.LastString(p.text), wrong("end the text with the three quotes that it begins with", "the quotes are not closed")
	case says(`unexpected '"""`, `unexpected "'''`):
		return p.line, wrong("end the text with three quotes", "too many quotes")
	case says("invalid escape in string '\\\n"):
		return p.line, wrong("end the text with the quote that it begins with", `a \ at the end of a line in "…"`)
	case says("invalid escape", "expected two hex", "expected four hex", "expected eight hex", "Escaped character"):
		return inside, wrong(`write \\ for a \, or put the text into '…'`, `a \ with which no escape begins`)
	case says("invalid UTF-8", "files cannot contain NULL"):
		return inside, wrong("save the file as UTF-8", "a byte that is not UTF-8")
	case says("TOML files cannot contain control"):
		return p.line, wrong(`leave it out, or write \u and its four hexadecimal digits in "…"`, "a control character")
	case says("expected end of table array name"), says("expected '.' or ']'") && strings.HasPrefix(p.before(), "[["):
		return p.line, wrong("write it as in [[services]]", "]] is missing")
	case says("expected '.' or ']'"):
		return p.line, wrong("write it as in [pgod] or [[services]]", "] is missing")
	case says("unexpected end of table name", "unexpected table separator"):
		return p.line, wrong("write it as in [pgod] or [[services]]", "a part of the name between the brackets is missing")
	case says("Key 'services'"):
		return p.line, wrong("begin each service with [[services]], and write it in no other way", "services is there already")
	case says("Key '"):
		return p.line, wrong("leave it out of one place", "this key or table is there already")
	case strings.HasSuffix(message, "is not a table"):
		return p.line, wrong("leave out one of them", "a key that has a value, and is a table too")
	case says("floats", "invalid float", "cannot use sign", "expected a digit", "not a", "Invalid", "invalid datetime"), strings.Contains(message, "is out of range"):
		return p.line, wrong(inQuotes, "no number that TOML knows")
	}
	return p.line, wrong("", "no valid TOML")
}

// place is where in a text the toml package has stopped.
type place struct {
	text string
	at   int
	line int
}

// before is what the line has before the place, and after what it has from there.
func (p place) before() string {
	return strings.TrimSpace(p.text[strings.LastIndexByte(p.text[:p.at], '\n')+1 : p.at])
}

func (p place) after() string {
	after, _, _ := strings.Cut(p.text[p.at:], "\n")
	return strings.TrimSpace(after)
}

// back is the line where the text before the place ends: a line that is empty or has a
// comment alone is none.
func (p place) back() (line int, text string) {
	lines := strings.Split(p.text[:p.at], "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if text = strings.TrimSpace(lines[i]); text != "" && text[0] != '#' {
			return i + 1, text
		}
	}
	return p.line, ""
}

var (
	// A key or a header at the begin of a line, where a list should have ended before.
	next = regexp.MustCompile(`^([A-Za-z0-9_-]+\s*=|\[+\s*(pgod|upstream|services)\b)`)

	boolean = regexp.MustCompile(`^(?i:true|false|yes|no|on|off)\b`)
)

func (p place) value(end bool) (line int, err error) {
	before, after := p.before(), p.after()
	_, last := p.back()
	switch {
	case strings.Trim(before, "[") == "" && next.MatchString(before+after):
		p.at -= len(before)
		p.line, _ = p.back()
		fallthrough
	case end && !strings.HasSuffix(last, "="):
		return p.line, wrong(betweenIn+"]", "a ] is missing")
	case end, after == "", strings.ContainsRune("#,]}", rune(after[0])):
		return p.line, wrong("write one, or leave the key out", "no value")
	case boolean.MatchString(after):
		return p.line, wrong("write true or false, in lower case, or a text in quotes", noValue)
	case strings.ContainsRune("“”„‟‘’‚«»`´", []rune(after)[0]):
		return p.line, wrong(`write " in front of the text and behind it`, "not a quote that TOML knows")
	case after[0] == '=':
		return p.line, wrong("write key = value", "an = too many")
	}
	return p.line, wrong(inQuotes+", and true and false are in lower case", noValue)
}

func (p place) key() (line int, err error) {
	after := p.after() + " "
	switch first := p.before() == ""; {
	case first && after[0] == '[':
		line, _ = p.back()
		return line, wrong(betweenIn+"}", "a } is missing")
	case first && (after[0] == ']' || after[0] == '}'):
		return p.line, wrong("leave it out", "a %c that closes nothing", after[0])
	case after[0] == ':':
		return p.line, wrong("write key = value, and a key that has a : in it in quotes", "a : behind the key")
	}
	return p.line, wrong("write key = value; a key of more than letters, digits, _ and - stands in quotes, one in front and one behind", "= is missing behind the key")
}

// end is about what follows a value, or a header.
func (p place) end() error {
	before, after := p.before(), p.after()+" "
	switch last := before[max(len(before)-1, 0):]; {
	case after[0] == ']' || after[0] == '}':
		return wrong("close as many as are open", "a %c too many", after[0])
	case after[0] == ';':
		return wrong("leave it out", "a ; behind the value")
	case after[0] == ',':
		return wrong("put several values into brackets, and each key on a line of its own", "a comma behind the value")
	case strings.HasPrefix(before, "[") && last == "]":
		return wrong("write it on the next line", "text behind the name of a table")
	case p.touches() && last == "'":
		return wrong(`put a text with ' in it into "…"`, "text behind the closing quote")
	case p.touches() && last == `"`:
		return wrong(`a " in a text in "…" is written \"`, "text behind the closing quote")
	case p.touches():
		return wrong(inQuotes, noValue)
	}
	return wrong("put each key on a line of its own, each text in quotes, and # before a comment", "text behind the value")
}

// list is about what follows a value in brackets, which are to end with closing.
func (p place) list(closing string) (line int, err error) {
	last, text := p.back()
	switch before := p.before(); {
	case before == "":
		return last, wrong(betweenIn+closing, "a comma or %s is missing", closing)
	case p.touches() && !strings.HasSuffix(text, `"`) && !strings.HasSuffix(text, "'"):
		return p.line, wrong(inQuotes, noValue)
	}
	return p.line, wrong(betweenIn+closing, "a comma or %s is missing", closing)
}

// touches tells that nothing is between the place and what stands before it.
func (p place) touches() bool {
	return p.at > 0 && p.at < len(p.text) && !strings.ContainsRune(" \t\r\n,[{", rune(p.text[p.at-1])) && !strings.ContainsRune(" \t\r\n", rune(p.text[p.at]))
}

// knownKey is as much of a key's path as the configuration has names for: a part with
// another name may be anything.
func knownKey(path string) string {
	parts := strings.Split(path, ".")
	for i, part := range parts {
		if !isKeyOf(rootKeys, part) && !isKeyOf(pgodKeys, part) && !isKeyOf(upstreamKeys, part) && !isKeyOf(serviceKeys, part) {
			return strings.Join(parts[:i], ".")
		}
	}
	return path
}

func isKeyOf[T any](keys []key[T], name string) bool {
	return slices.ContainsFunc(keys, func(k key[T]) bool { return k.name == name })
}
