package tomllines

import "strings"

// Depth returns how deeply a text nests: the most brackets that are open at one place, or
// the most parts that a key has, and the line where that is. It takes any text, and little
// time for it, so that it can be asked before a parser is that would not.
func Depth(text string) (deepest, line int) {
	open, parts, at := 0, 1, 1
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '\n':
			at++
			parts = 1
		case '#':
			i += rest(text[i:], "\n") - 1
		case '"', '\'':
			n := stringLength(text[i:])
			at += strings.Count(text[i:i+n], "\n")
			i += n - 1
		case '[', '{':
			open++
			parts = 1
		case ']', '}':
			open = max(open-1, 0)
			parts = 1
		case '=', ',':
			parts = 1
		case '.':
			parts++
		}
		if n := max(open, parts); n > deepest {
			deepest, line = n, at
		}
	}
	return deepest, line
}

// LastString returns the line where the last string of a text begins; it takes any text.
func LastString(text string) (line int) {
	last := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '#':
			i += rest(text[i:], "\n") - 1
		case '"', '\'':
			last = i
			i += stringLength(text[i:]) - 1
		}
	}
	return 1 + strings.Count(text[:last], "\n")
}

// stringLength is how long the string is that the text begins with. One on a single line
// that is not closed ends with its line.
func stringLength(text string) int {
	quote := text[:1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(text, triple) {
		return 3 + closing(text[3:], triple, quote == `"`)
	}
	// Without a look for the line's end first: a line may hold very many strings.
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '\n':
			return i
		case text[i] == quote[0]:
			return i + 1
		case text[i] == '\\' && quote == `"` && !strings.HasPrefix(text[i+1:], "\n"):
			i++
		}
	}
	return len(text)
}

// closing is how much of the text there is up to the quote, and with it.
func closing(text, quote string, escapes bool) int {
	for i := 0; i < len(text); i++ {
		switch {
		case strings.HasPrefix(text[i:], quote):
			return i + len(quote)
		case escapes && text[i] == '\\':
			i++
		}
	}
	return len(text)
}

// rest is how much of the text there is before the stop.
func rest(text, stop string) int {
	if n := strings.Index(text, stop); n >= 0 {
		return n
	}
	return len(text)
}
