package main

import (
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdOffers checks that a shell is offered these words, in this order, after pgoctl with the
// others. pgoctl may print nothing else, except what tells the shell how to continue.
func cmdOffers(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(ts.Exec("pgoctl", append([]string{"__complete"}, args[1:]...)...))
	lines := strings.Split(strings.TrimSpace(ts.ReadFile("stdout")), "\n")
	var offered []string
	for _, line := range lines[:len(lines)-1] {
		word, _, _ := strings.Cut(line, "\t")
		offered = append(offered, word)
	}
	if got := strings.Join(offered, " "); got != args[0] {
		ts.Fatalf("it offers %q", got)
	}
	if said := ts.ReadFile("stderr"); !strings.HasPrefix(said, "Completion ended with directive: ") || strings.Count(said, "\n") != 1 {
		ts.Fatalf("it says %q", said)
	}
}
