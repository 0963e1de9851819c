package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// The manual has each option, and no other.
func TestManualIsComplete(t *testing.T) {
	text, err := os.ReadFile("pgod.8.md")
	if err != nil {
		t.Fatal(err)
	}
	_, options, found := strings.Cut(string(text), "\n# OPTIONS\n")
	if !found {
		t.Fatal("the manual has no options")
	}
	options, _, _ = strings.Cut(options, "\n# ")
	explained := map[string]string{}
	for _, entry := range regexp.MustCompile(`(?m)^(?:\*\*-(\w)\*\*, )?\*\*--([a-z-]+)\*\*`).FindAllStringSubmatch(options, -1) {
		explained[entry[2]] = entry[1]
	}
	c := command()
	c.InitDefaultHelpFlag()
	c.Flags().VisitAll(func(f *pflag.Flag) {
		short, found := explained[f.Name]
		if !found || short != f.Shorthand {
			t.Errorf("the manual does not explain -%s, --%s", f.Shorthand, f.Name)
		}
		delete(explained, f.Name)
	})
	for name := range explained {
		t.Errorf("the manual explains --%s, which does not exist", name)
	}
}
