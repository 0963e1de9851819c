// Package printable makes text of unknown origin fit to be shown: it cannot
// forge a line of a log, and cannot control the terminal that shows it. It must
// not know where the text is from, nor where it is shown.
package printable

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxLine is as much of a text as is shown, in bytes.
const maxLine = 8 << 10

// Line returns s as one line: what is not printable is written as in a Go
// string literal, and what is too long is cut.
func Line(s string) string {
	return escape(s, func(rune) bool { return false })
}

// Text is like Line, but leaves line feeds and tabs as they are.
func Text(s string) string {
	return escape(s, func(r rune) bool { return r == '\n' || r == '\t' })
}

// Cut returns the beginning of s if it is longer than so many bytes.
func Cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}

// Quote returns s as a Go string literal on one line, cut to what one can read at a glance.
func Quote(s string) string {
	const most = 64
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "…"
	}
	return strconv.Quote(s)
}

func escape(s string, also func(rune) bool) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		if b.Len() >= maxLine {
			b.WriteString("…")
			break
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b.WriteString(`\x`)
			b.WriteString(strconv.FormatUint(uint64(s[i])|0x100, 16)[1:])
		case strconv.IsPrint(r) || also(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		i += size
	}
	return b.String()
}
