package worker

import (
	"strings"
	"testing"
)

func TestPlain(t *testing.T) {
	for text, want := range map[string]string{
		"a\nb":                          "a\nb",
		"\x1b[2J\x1b[Hname\x1b[K\nx":    "name\nx",
		"\x1b[1;31mred\x1b[0m \x1b7end": "red end",
		"cut \x1b[":                     "cut ",
	} {
		for size := 1; size <= len(text); size++ { // however it is cut into pieces
			var out strings.Builder
			p := &plain{out: &out}
			for rest := text; rest != ""; {
				n := min(size, len(rest))
				if _, err := p.Write([]byte(rest[:n])); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if out.String() != want {
				t.Errorf("%q in pieces of %d became %q, not %q", text, size, out.String(), want)
			}
		}
	}
}
