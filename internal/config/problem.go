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

// String is the problem on one line, file and line first as compilers write them.
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

// Problems is every mistake at once: by file, and by line in each.
type Problems []Problem

// Error lists the problems, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// A mistake is what is wrong with a value, told by a function that does not know where
// the value stands.
type mistake struct{ message, hint string }

func (m *mistake) Error() string { return m.message }

// wrong is a mistake and what to do instead.
func wrong(hint, format string, args ...any) error {
	return &mistake{fmt.Sprintf(format, args...), hint}
}

// problemOf is err at a line of a file.
func problemOf(file string, line int, err error) Problem {
	p := Problem{File: file, Line: line, Message: err.Error()}
	if m := (*mistake)(nil); errors.As(err, &m) {
		p.Hint = m.hint
	}
	return p
}

// quote shows a value in a message.
func quote(s string) string { return printable.Quote(s) }
