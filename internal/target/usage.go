package target

import (
	"fmt"
)

// UsageError is a mistake in what somebody typed. Its text says what it should look like,
// and is fit to be printed: what was typed is quoted in it and cut to size.
type UsageError struct{ text string }

func (e *UsageError) Error() string { return e.text }

// Usagef returns a *UsageError.
func Usagef(format string, args ...any) error {
	return &UsageError{fmt.Sprintf(format, args...)}
}
