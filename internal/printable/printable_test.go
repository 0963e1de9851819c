package printable

import (
	"strings"
	"testing"
)

func TestLine(t *testing.T) {
	for in, want := range map[string]string{
		"":                        "",
		`plain "text" with \ and`: `plain "text" with \ and`,
		"größe ✓":                 "größe ✓",
		"a\nb\tc\r":               `a\nb\tc\r`,
		"\x1b[31mred":             `\x1b[31mred`,
		"\xff\x00":                `\xff\x00`,
		"\u202eright to left":     `\u202eright to left`,
	} {
		if got := Line(in); got != want {
			t.Errorf("Line(%q) = %q, want %q", in, got, want)
		}
	}
	if got := Line(strings.Repeat("x", 3*maxLine)); len(got) > maxLine+len("…") {
		t.Errorf("a long line has %d bytes", len(got))
	}
}

func TestTextKeepsLines(t *testing.T) {
	if got := Text("a\n\tb\x07"); got != "a\n\tb\\a" {
		t.Errorf("got %q", got)
	}
}

func TestCut(t *testing.T) {
	for _, test := range []struct {
		text string
		most int
		want string
	}{{"short", 5, "short"}, {"longer", 4, "long…"}, {"äöü", 3, "ä…"}, {"\xff\xff", 1, "\xff…"}, {"", 0, ""}} {
		if got := Cut(test.text, test.most); got != test.want {
			t.Errorf("%q to %d: %q, want %q", test.text, test.most, got, test.want)
		}
	}
}

func TestQuote(t *testing.T) {
	long := strings.Repeat("x", 64)
	for in, want := range map[string]string{
		"":                            `""`,
		"größe\n":                     `"größe\n"`,
		long:                          `"` + long + `"`,
		long + "y":                    `"` + long + `"…`,
		strings.Repeat("x", 63) + "ä": `"` + strings.Repeat("x", 63) + `\xc3"…`,
	} {
		if got := Quote(in); got != want {
			t.Errorf("Quote(%q) = %s, want %s", in, got, want)
		}
	}
}
