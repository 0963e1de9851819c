package supervisor

import (
	"bytes"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// copied returns what a worker's output becomes in pgod's log.
func copied(written string) string {
	var out bytes.Buffer
	copyLog(strings.NewReader(written), hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Debug, DisableTime: true}))
	return out.String()
}

func TestCopyLog(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"log line": {`{"@level":"info","@message":"deployed","@timestamp":"x","commit":"abc","n":3}` + "\n", "[INFO]  deployed: commit=abc n=3\n"},
		"text":     {"panic: oh\n", "[WARN]  the worker printed: text=\"panic: oh\"\n"},
		"no end":   {"panic: oh", "[WARN]  the worker printed: text=\"panic: oh\"\n"},
		"empty":    {"\n\n", ""},
		// This one panics go-plugin's own reader.
		"odd JSON":      {`{"@level":5,"@message":"m","@timestamp":7}` + "\n", "[WARN]  m\n"},
		"no message":    {`{"a":1}` + "\n", `[WARN]  the worker printed: text="{\"a\":1}"` + "\n"},
		"JSON array":    {"[1]\n", "[WARN]  the worker printed: text=[1]\n"},
		"level off":     {`{"@level":"off","@message":"m"}` + "\n", "[WARN]  m\n"},
		"forged line":   {`{"@level":"info","@message":"a\nb","k\n":"c\nd"}` + "\n", `[INFO]  a\nb: k\n=c\nd` + "\n"},
		"control bytes": {"\x1b[2Jx\xff\n", `[WARN]  the worker printed: text=\x1b[2Jx\xff` + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := copied(c.in); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestCopyLogCutsLongLines(t *testing.T) {
	got := copied(strings.Repeat("x", 10*maxLogLine) + "\nnext\n")
	if len(got) > 2*maxLogLine || !strings.Contains(got, "next") {
		t.Errorf("%d bytes, ending in %q", len(got), got[max(0, len(got)-80):])
	}
}

func FuzzCopyLog(f *testing.F) {
	f.Add([]byte(`{"@level":"info","@message":"m","a":{"b":[1,null]}}`))
	f.Add([]byte("text\n\xff\x00"))
	f.Fuzz(func(t *testing.T, written []byte) {
		for _, c := range strings.TrimSuffix(copied(string(written)), "\n") {
			if c < ' ' && c != '\n' {
				t.Fatalf("control character %q in the log", c)
			}
		}
	})
}
