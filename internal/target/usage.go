package target

import (
	"fmt"
	"strconv"
)

// UsageError is a mistake in what somebody typed. Its text says what it should look like,
// and is fit to be printed: what was typed is quoted in it and cut to size.
type UsageError struct{ text string }

func (e *UsageError) Error() string { return e.text }

// Usagef returns a *UsageError.
func Usagef(format string, args ...any) error {
	return &UsageError{fmt.Sprintf(format, args...)}
}

// quote shows typed text in a message: on one line, and never more of it than one can read.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "…"
	}
	return strconv.Quote(s)
}
