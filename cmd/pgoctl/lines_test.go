package main

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"
)

func TestLineWriter(t *testing.T) {
	for _, c := range []struct {
		name   string
		writes []string
		want   string
	}{
		{"nothing", nil, ""},
		{"lines", []string{"a\nb\n"}, "> a\n> b\n"},
		{"pieces", []string{"a", "b\nc", "\n", "\n"}, "> ab\n> c\n> \n"},
		{"left open", []string{"a\nb"}, "> a\n> b\n"},
		{"too long", []string{"0123456789", "012\n"}, "> 01234567\n> 89012\n"},
		{"just right", []string{"0123456\nx\n"}, "> 0123456\n> x\n"},
	} {
		var out bytes.Buffer
		w := &lineWriter{output: new(sync.Mutex), out: &out, label: "> ", most: 8}
		for _, text := range c.writes {
			if n, err := io.WriteString(w, text); n != len(text) || err != nil {
				t.Errorf("%s: Write returned %d, %v", c.name, n, err)
			}
		}
		if err := w.flush(); err != nil || out.String() != c.want {
			t.Errorf("%s: it shows %q, %v", c.name, &out, err)
		}
	}
}

func TestValueWriter(t *testing.T) {
	for _, c := range []struct{ written, want, says string }{
		{"", "", ""},
		{"{\"a\": [1]}\r\n", `{"host":"::1","value":{"a":[1]}}` + "\n", ""},
		{"[\n  1,\n  2\n]\n 3", `{"host":"::1","value":[1,2]}` + "\n" + `{"host":"::1","value":3}` + "\n", ""},
		{"1\n{\"a\n", `{"host":"::1","value":1}` + "\n", "invalid character"},
		{"{", "", "unexpected EOF"},
		{"\x1b[2Jclear all\n", "", "invalid character '\\x1b'"},
	} {
		var out bytes.Buffer
		w := newValueWriter("::1", &out)
		for i := range c.written {
			_, _ = io.WriteString(w, c.written[i:i+1]) // flush reports what is wrong
		}
		err := w.flush()
		if out.String() != c.want || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q is shown as %q, %v", c.written, &out, err)
		}
	}
}

// On a terminal hosts have colours, and errors have another one.
func TestLabelsHaveColors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write(".config/pgo/hosts.toml", "[hosts.web1]\nhost = \"127.0.0.1\"\n")
	c := w.command("web1,localhost.invalid:pgo//ping")
	s := sit(t, c)
	s.exits(255)
	for _, want := range []string{
		"\x1b[36mweb1              |\x1b[0m pong!\r\n",
		"\x1b[35mlocalhost.invalid |\x1b[0m \x1b[31mpgoctl: cannot connect to localhost.invalid:" + w.port + ": ",
	} {
		if !strings.Contains(s.all(), want) {
			t.Errorf("%q is not in %q", want, s.all())
		}
	}
}
