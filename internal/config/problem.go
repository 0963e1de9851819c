package config

import (
	"errors"
	"fmt"
	"strings"

	"pgo/internal/printable"
)

// Problem is one mistake in a file. It never holds a secret.
type Problem struct {
	File    string
	Line    int    // 0: the file as a whole
	Key     string // such as services[2] "web": ports[0]; may be empty
	Message string // what is wrong
	Hint    string // what to do instead; may be empty
}

// String returns the problem on one line, beginning with file and line as compilers do.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	for _, part := range []string{p.Key, p.Message} {
		if part != "" {
			b.WriteString(": " + part)
		}
	}
	if p.Hint != "" {
		b.WriteString("; " + p.Hint)
	}
	return b.String()
}

// Problems is every mistake, sorted by file and line.
type Problems []Problem

// Error lists the problems, one per line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// A mistake is what is wrong with a value, from a function that does not know where the
// value is.
type mistake struct{ message, hint string }

func (m *mistake) Error() string { return m.message }

// wrong returns a mistake; the hint is what to do instead.
func wrong(hint, format string, args ...any) error {
	return &mistake{fmt.Sprintf(format, args...), hint}
}

// problemOf returns err as the problem of a line of a file.
func problemOf(file string, line int, err error) Problem {
	p := Problem{File: file, Line: line, Message: err.Error()}
	if m := (*mistake)(nil); errors.As(err, &m) {
		p.Hint = m.hint
	}
	return p
}

// quote shows a value in a message.
func quote(s string) string { return printable.Quote(s) }
