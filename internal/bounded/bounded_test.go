package bounded_test

import (
	"io"
	"testing"

	"pgo/internal/bounded"
)

func TestBufferKeepsTheBeginning(t *testing.T) {
	b := &bounded.Buffer{Most: 5}
	for _, test := range []struct {
		text, kept string
		cut        bool
	}{{"abc", "abc", false}, {"de", "abcde", false}, {"", "abcde", false}, {"f", "abcde", true}, {"", "abcde", true}} {
		if n, err := io.WriteString(b, test.text); n != len(test.text) || err != nil {
			t.Errorf("writing %q: %d, %v", test.text, n, err)
		}
		if b.String() != test.kept || string(b.Bytes()) != test.kept || b.Cut != test.cut {
			t.Errorf("after %q: kept %q, cut %v", test.text, b, b.Cut)
		}
	}
}
