package target

import (
	"fmt"
)

// UsageError is a mistake in what was typed. Its text shows the right form, and is safe to print:
// what was typed is quoted and shortened in it.
type UsageError struct{ text string }

func (e *UsageError) Error() string { return e.text }

// Usagef returns a *UsageError.
func Usagef(format string, args ...any) error {
	return &UsageError{fmt.Sprintf(format, args...)}
}
