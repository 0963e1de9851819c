package tomllines

import (
	"strings"
	"testing"
)

func TestDepth(t *testing.T) {
	for text, want := range map[string][2]int{
		"":                                     {1, 0},
		"a = 1\n":                              {1, 1},
		"a.b.c = 1\n":                          {3, 1},
		"[a.b]\nc = [[1, 2], {x = 1}]\n":       {2, 1},
		"\n\na = [\n[\n[\n]]]":                 {3, 5},
		"a = \"[[[[.....\" # [[[[ .....\nb=[]": {1, 1},
		"a = \"\\\"[[[\"\nb.c.d=1":             {3, 2},
		"a = '\\'\nb.c.d=1":                    {3, 2},
		"a = \"\"\"\n[[[\n\"\"\"\nb.c.d = 1":   {3, 4},
		"a = '''\n[[[":                         {1, 1},
		"a = \"[[[\n[[\n":                      {2, 2},
		"a = ''\nb.c = 1":                      {2, 2},
		"a = [1.5, 2.5, 3.5]":                  {2, 1},
		"]]]]a.b":                              {2, 1},
		"a = \"b\\\nc.d.e = 1":                 {3, 2},
		"a = \"b\\":                            {1, 1},
	} {
		deepest, line := Depth(text)
		if text == "" {
			want = [2]int{0, 0}
		}
		if deepest != want[0] || line != want[1] {
			t.Errorf("%q: depth %d in line %d, want %v", text, deepest, line, want)
		}
	}
	const many = 1 << 20
	for _, text := range []string{
		strings.Repeat("[", many), "a = " + strings.Repeat("{a=", many), strings.Repeat("a.", many), "[" + strings.Repeat("a.", many),
	} {
		if deepest, _ := Depth(text); deepest < many {
			t.Errorf("%.10s…: depth %d", text, deepest)
		}
	}
	for _, element := range []string{`'',`, `"",`} { // minutes, if each string cost what is left of the line
		if deepest, _ := Depth("a = [" + strings.Repeat(element, many) + "]"); deepest != 1 {
			t.Errorf("depth %d", deepest)
		}
	}
}

func TestLastString(t *testing.T) {
	for text, want := range map[string]int{
		"":                                    1,
		"a = 'b'\nc = 1":                      1,
		"a = \"\"\"b\n\n'c'\n# \"":            1,
		"a = 'b'\nc = \"\\\"\" # '\nd = 'x\n": 3,
		"a = \"b\nc = 'd'\n\n":                2,
	} {
		if line := LastString(text); line != want {
			t.Errorf("%q: line %d, want %d", text, line, want)
		}
	}
	if line := LastString(strings.Repeat("''\n", 1<<20)); line != 1<<20 {
		t.Errorf("line %d", line)
	}
}
