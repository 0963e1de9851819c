package nearest

import "testing"

func TestWord(t *testing.T) {
	operations := []string{"ping", "up", "down", "pull", "build", "ps", "logs", "git pull"}
	for word, want := range map[string]string{
		"lgos":     "logs",
		"log":      "logs",
		"pulll":    "pull",
		"ups":      "up",
		"git  pul": "git pull",
		"dwn":      "down",
		"":         "",
		"restart":  "",
		"x":        "",
	} {
		got, ok := Word(word, operations)
		if got != want || ok != (want != "") {
			t.Errorf("Word(%q) = %q, %v; want %q", word, got, ok, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"ps", "ps", 0},
	} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
