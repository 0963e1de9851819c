package pgo_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// phrase is a turn of phrase that readers of English stumble over. Spaces in its patterns
// stand for any white space.
type phrase struct {
	pattern string
	except  string // matches that are fine all the same; empty: none
	better  string
	bad     string // an example; the checker's own test looks for it
	good    string // one that must pass
}

var phrases = []phrase{
	{
		pattern: `(?:\w+ )?\b(?:is|was) no \w+`, except: `(?i)^there |no (?:longer|more|less|better|different|worse|good|use|doubt)$`, better: "is not a",
		bad: "it is no public key", good: "there is no key, and it is no longer used",
	},
	{
		pattern: `(?:\w+ )?\b(?:are|were) no \w+`, except: `(?i)^there |no (?:longer|more|less|better|different|worse)$`, better: "are not",
		bad: "these are no names", good: "there are no names",
	},
	{
		pattern: `\bthere (?:is|are|was|were) not(?:[.,;:)"]|$)`, better: "does not exist",
		bad: "explains a flag, which there is not", good: "there is not enough memory",
	},
	{pattern: `\b[Ww]hat there (?:is|are) not\b`, better: "absent values", bad: "What there is not is left out", good: "what there is"},
	{
		pattern: `\b(?:to|by|for|from|with|of|so|since|because|where|than|like|sends|lets|gives) who\b`, better: "whoever, or anyone who",
		bad: "sends who comes with HTTP on to HTTPS", good: "sends whoever comes; says who it was",
	},
	{
		pattern: `(?:^|[.;:] )Who [a-z]+s\b[^.?!]*[.?!]?`, except: `Who (?:is|was|has|does)\b|\?$`, better: "Whoever, or the verb without a person",
		bad: "Who says `up` does not wait.", good: "Who says so? Who may do what. Who is known.",
	},
	{pattern: `(?:^|[.;:] )Whom\b`, better: "the user that", bad: "Whom a worker runs as may start it", good: "by whom it was started"},
	{pattern: `\btells (?:whether|if)\b`, better: "reports whether", bad: "open tells whether it is open", good: "nobody can tell whether it is"},
	{pattern: `\b(?:is|are|be|been|was|were) gone back\b`, better: "pgo goes back", bad: "Data is not gone back with: it is gone back to", good: "pgo has gone back"},
	{
		pattern: `\bstands? (?:in|on|at|there|behind|below|above|before)\b(?: for\b)?`, except: ` in for$`, better: "is in",
		bad: "the key stands in the file", good: "a name that stands in for it",
	},
	{pattern: `\b[Bb]eside\b`, better: "next to, or in addition to", bad: "Beside the main file", good: "besides"},
	{
		pattern: `\bheld against\b|\b[Hh]olds? (?:\S+ ){1,4}against\b`, better: "checked against, or compared with",
		bad: "the model is held against the policy", good: "the model is checked against the policy",
	},
	{pattern: `\b(?:ran|runs|rest|others|they|containers?|commands?|services?|and) runs? on(?:[.,;:]|$)`, better: "keeps running", bad: "What ran runs on.", good: "the host that it runs on has none"},
	{pattern: `\bgoes? away of\b`, better: "disappears", bad: "what goes away of it", good: "it goes away"},
	{pattern: `\bsmall again\b`, better: "compact", bad: "make the repository small again", good: "a small repository"},
	{pattern: `\bfor want of\b`, better: "for lack of", bad: "for want of memory", good: "for lack of memory"},
	{pattern: `(?:^|[.;:] )[A-Z][a-z]+ed (?:is|are|was|were)\b`, better: "subject, verb, object", bad: "Removed are these names.", good: "These names are removed."},
	{pattern: `\bsa(?:ys?|id) of\b`, better: "about", bad: "what is said of a container", good: "what the log says about it"},
	{pattern: `\b[Bb]ehind (?:it|that|them) (?:is|are)\b`, better: "follows", bad: "Behind it is why.", good: "the reason follows"},
}

// finding is a phrase in a text, on one of its lines.
type finding struct {
	line         int
	text, better string
}

type checker []struct {
	phrase
	found, passes *regexp.Regexp
}

func newChecker() checker {
	c := make(checker, len(phrases))
	for i, p := range phrases {
		c[i].phrase = p
		c[i].found = regexp.MustCompile(strings.ReplaceAll(p.pattern, " ", `\s+`))
		if p.except != "" {
			c[i].passes = regexp.MustCompile(strings.ReplaceAll(p.except, " ", `\s+`))
		}
	}
	return c
}

func (c checker) check(text string, line int) []finding {
	var found []finding
	for _, p := range c {
		for _, at := range p.found.FindAllStringIndex(text, -1) {
			match := text[at[0]:at[1]]
			if p.passes != nil && p.passes.MatchString(match) {
				continue
			}
			found = append(found, finding{line + strings.Count(text[:at[0]], "\n"), strings.Join(strings.Fields(match), " "), p.better})
		}
	}
	return found
}

// document checks the prose of a page: code is quoted from elsewhere.
func (c checker) document(page string) []finding {
	lines := strings.Split(page, "\n")
	inCode := false
	for i, line := range lines {
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		if fence || inCode || strings.HasPrefix(line, "    ") {
			lines[i] = ""
		}
		if fence {
			inCode = !inCode
		}
	}
	code := regexp.MustCompile("`[^`]*`")
	prose := code.ReplaceAllStringFunc(strings.Join(lines, "\n"), func(quoted string) string {
		return "CODE" + strings.Repeat("\n", strings.Count(quoted, "\n"))
	})
	return c.check(prose, 1)
}

// program checks the comments and the literals of a Go file, other than generated ones.
func (c checker) program(name, source string) ([]finding, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, source, parser.ParseComments)
	if err != nil || ast.IsGenerated(file) {
		return nil, err
	}
	var found []finding
	for _, group := range file.Comments {
		found = append(found, c.check(group.Text(), set.Position(group.Pos()).Line)...)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if literal, is := n.(*ast.BasicLit); is && literal.Kind == token.STRING {
			if text, err := strconv.Unquote(literal.Value); err == nil {
				found = append(found, c.check(text, set.Position(literal.Pos()).Line)...)
			}
		}
		return true
	})
	return found, nil
}

func TestDocumentsAreInPlainEnglish(t *testing.T) {
	c := newChecker()
	for _, name := range files(t, ".md") {
		for _, f := range c.document(read(t, name)) {
			t.Errorf("%s:%d: %q; better: %s", name, f.line, f.text, f.better)
		}
	}
}

func TestCodeIsInPlainEnglish(t *testing.T) {
	c := newChecker()
	for _, name := range files(t, ".go") {
		if name == "language_test.go" {
			continue // it quotes them
		}
		found, err := c.program(name, read(t, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			t.Errorf("%s:%d: %q; better: %s", name, f.line, f.text, f.better)
		}
	}
}

func TestCheckerFindsPhrases(t *testing.T) {
	c := newChecker()
	for _, p := range phrases {
		finds := func(text string) bool {
			return slices.ContainsFunc(c.check(text, 1), func(f finding) bool { return f.better == p.better })
		}
		if !finds(p.bad) {
			t.Errorf("%s does not find %q", p.pattern, p.bad)
		}
		if finds(p.good) {
			t.Errorf("%s finds %q", p.pattern, p.good)
		}
	}
}

func TestCheckerReadsDocumentsAndPrograms(t *testing.T) {
	c := newChecker()
	page := "# Page\n\nIt is no\nproblem.\n\n```\nit is no problem\n```\n\n    it is no problem\n\nThe flag `x is no y` is no\nflag.\n"
	if found := c.document(page); len(found) != 2 || found[0].line != 3 || found[1].line != 12 {
		t.Errorf("in a document: %v", found)
	}
	program := "package p\n\n// It is no\n// problem.\nvar a, b = \"it is no problem\", `\nit is no problem`\n\nvar there, is, no = 1, 2, 3\n"
	found, err := c.program("p.go", program)
	if err != nil || len(found) != 3 || found[0].line != 3 || found[1].line != 5 || found[2].line != 6 {
		t.Errorf("in a program: %v, %v", found, err)
	}
	if found, err := c.program("p.go", "// Code generated by hand. DO NOT EDIT.\n\n"+program); err != nil || found != nil {
		t.Errorf("in a generated program: %v, %v", found, err)
	}
}
