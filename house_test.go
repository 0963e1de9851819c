// Package pgo_test holds the rules of the house: which package may import which, and how
// wide a type may be.
package pgo_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// layers is internal/* ← proto ← {supervisor, worker} ← cmd/*: what each part of the house may
// import from the others. Tests may use test/ as well.
var layers = map[string][]string{
	"internal":       {"internal"},
	"proto":          {"internal", "proto"},
	"supervisor":     {"internal", "proto", "supervisor"},
	"worker":         {"internal", "proto", "worker"},
	"cmd/pgod":       {"internal", "proto", "supervisor", "cmd/pgod"},
	"cmd/pgo-worker": {"internal", "proto", "worker", "cmd/pgo-worker"},
	"cmd/pgoctl":     {"internal", "cmd/pgoctl"},
}

// rootsReach is what must not be linked into the process that runs as root and listens,
// directly or not: it never opens a repository and never talks to Docker.
var rootsReach = []string{"pgo/worker", "github.com/go-git", "github.com/docker", "github.com/moby", "github.com/compose-spec"}

// keepers are the only packages that may import a library: what they know about git or the
// engine, the others learn in types of this module.
var keepers = map[string]string{
	"github.com/go-git":    "pgo/worker/gitrepo",
	"github.com/docker":    "pgo/worker/compose",
	"github.com/moby/moby": "pgo/worker/compose",
}

var rootsPackages = []string{"pgo/supervisor", "pgo/internal/sshd", "pgo/cmd/pgod"}

// mostMethods is the most methods that a type may have: with more it is several things.
const mostMethods = 40

type goPackage struct {
	Dir, ImportPath, Name, Doc         string
	Imports, TestImports, XTestImports []string
	Deps, GoFiles                      []string
}

func TestImportsPointOneWay(t *testing.T) {
	for _, p := range listPackages(t) {
		own := part(p.ImportPath)
		if own == "" || own == "test" {
			continue // this package, and the end-to-end tests: they may import anything
		}
		allowed, ruled := layers[own]
		if !ruled {
			t.Errorf("%s is in no layer: say here what %s may import", p.ImportPath, own)
		}
		for _, path := range p.Imports {
			if into := part(path); into != "" && !slices.Contains(allowed, into) {
				t.Errorf("%s imports %s: %s may import only %s", p.ImportPath, path, own, strings.Join(allowed, ", "))
			}
		}
		for _, path := range slices.Concat(p.TestImports, p.XTestImports) {
			if into := part(path); into != "" && into != "test" && !slices.Contains(allowed, into) {
				t.Errorf("a test of %s imports %s: %s may import only %s", p.ImportPath, path, own, strings.Join(allowed, ", "))
			}
		}
	}
}

func TestRootLinksNeitherGitNorDocker(t *testing.T) {
	packages := listPackages(t)
	for _, path := range rootsPackages {
		i := slices.IndexFunc(packages, func(p goPackage) bool { return p.ImportPath == path })
		if i < 0 {
			t.Errorf("there is no %s: this rule protects nothing", path)
			continue
		}
		for _, dep := range packages[i].Deps {
			for _, forbidden := range rootsReach {
				if dep == forbidden || strings.HasPrefix(dep, forbidden+"/") {
					t.Errorf("%s depends on %s", path, dep)
				}
			}
		}
	}
}

func TestLibrariesHaveOneKeeper(t *testing.T) {
	imported := map[string]bool{}
	for _, p := range listPackages(t) {
		for _, path := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			for library, keeper := range keepers {
				if path != library && !strings.HasPrefix(path, library+"/") {
					continue
				}
				imported[keeper] = true
				if p.ImportPath != keeper && part(p.ImportPath) != "test" {
					t.Errorf("%s imports %s: only %s may", p.ImportPath, path, keeper)
				}
			}
		}
	}
	for _, keeper := range keepers {
		if !imported[keeper] {
			t.Errorf("%s imports nothing of what it keeps: this rule protects nothing", keeper)
		}
	}
}

// Each service has a worker, and what a worker sets up at its start it has to set up again in each
// of them.
func TestWorkersCompileRegexpsLate(t *testing.T) {
	packages := listPackages(t)
	worker := slices.IndexFunc(packages, func(p goPackage) bool { return p.ImportPath == "pgo/cmd/pgo-worker" })
	if worker < 0 {
		t.Fatal("there is no pgo/cmd/pgo-worker: this rule protects nothing")
	}
	used := false
	for _, p := range packages {
		if !slices.Contains(packages[worker].Deps, p.ImportPath) {
			continue
		}
		used = used || slices.Contains(p.Imports, "pgo/internal/lazyregexp")
		for _, at := range compiledAtStart(t, p) {
			t.Errorf("%s: each worker compiles this regular expression at its start: use lazyregexp.New", at)
		}
	}
	if !used {
		t.Error("no package of the worker imports pgo/internal/lazyregexp: this rule protects nothing")
	}
}

// A lock that is released by closing its file alone may still be held for a moment.
func TestLocksAreReleased(t *testing.T) {
	const keeper = "pgo/internal/filelock"
	kept := false
	for _, p := range listPackages(t) {
		for _, name := range p.GoFiles {
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if called, ok := n.(*ast.SelectorExpr); ok && called.Sel.Name == "Flock" {
					kept = kept || p.ImportPath == keeper
					if p.ImportPath != keeper {
						t.Errorf("%s: only %s locks files", files.Position(n.Pos()), keeper)
					}
				}
				return true
			})
		}
	}
	if !kept {
		t.Errorf("%s locks nothing: this rule protects nothing", keeper)
	}
}

// compiledAtStart returns where a package's variables are set by regexp.MustCompile, outside of
// functions.
func compiledAtStart(t *testing.T, p goPackage) []token.Position {
	t.Helper()
	var found []token.Position
	for _, name := range p.GoFiles {
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if _, ok := d.(*ast.GenDecl); !ok {
				continue
			}
			ast.Inspect(d, func(n ast.Node) bool {
				if called, ok := n.(*ast.SelectorExpr); ok && called.Sel.Name == "MustCompile" {
					found = append(found, files.Position(n.Pos()))
				}
				_, function := n.(*ast.FuncLit)
				return !function
			})
		}
	}
	return found
}

func TestNoTypeIsEverything(t *testing.T) {
	for _, p := range listPackages(t) {
		for name, n := range methods(t, p) {
			if n > mostMethods {
				t.Errorf("%s.%s has %d methods: more than %d are several things in one type", p.ImportPath, name, n, mostMethods)
			}
		}
	}
}

// methods counts the methods of each type of a package, except those of generated code.
func methods(t *testing.T, p goPackage) map[string]int {
	t.Helper()
	counts := map[string]int{}
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if ast.IsGenerated(file) {
			continue
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil {
				counts[receiver(f.Recv.List[0].Type)]++
			}
		}
	}
	return counts
}

// receiver names the type of a receiver, whether it is a pointer or has parameters.
func receiver(of ast.Expr) string {
	switch e := of.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// part names the part of the house that a package of this module belongs to; "" means other
// modules' packages.
func part(importPath string) string {
	path, own := strings.CutPrefix(importPath, "pgo/")
	if !own {
		return ""
	}
	first, rest, _ := strings.Cut(path, "/")
	if first == "cmd" {
		command, _, _ := strings.Cut(rest, "/")
		return "cmd/" + command
	}
	return first
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	command := exec.Command("go", "list", "-json=Dir,ImportPath,Name,Doc,GoFiles,Imports,TestImports,XTestImports,Deps", "./...")
	output, err := command.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("%s: %v\n%s", command, err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var packages []goPackage
	decoder := json.NewDecoder(strings.NewReader(string(output)))
	for {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// Each package says what it is for. Whether it also says what it must not know is for the
// reviewer to check.
func TestPackagesHaveADocComment(t *testing.T) {
	for _, p := range listPackages(t) {
		if len(p.GoFiles) == 0 {
			continue // tests alone
		}
		begin := "Package " + p.Name + " "
		if p.Name == "main" {
			begin = "Command " + p.ImportPath[strings.LastIndexByte(p.ImportPath, '/')+1:] + " "
		}
		if !strings.HasPrefix(p.Doc, begin) || !strings.HasSuffix(p.Doc, ".") {
			t.Errorf("%s has no doc comment that begins with %q and is a sentence: it has %q", p.ImportPath, begin, p.Doc)
		}
	}
}

// The list of tests for today's Docker names tests that there are, each once: a test that was
// renamed would silently be run no more.
func TestListOfTodayNamesTests(t *testing.T) {
	files, err := filepath.Glob("test/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for line := range strings.Lines(read(t, "test/today.txt")) {
		name, _, _ := strings.Cut(line, "#")
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		if listed[name] {
			t.Errorf("test/today.txt names %s twice", name)
		}
		listed[name] = true
		begin := "\nfunc " + name + "(t *testing.T) {"
		if !slices.ContainsFunc(files, func(file string) bool { return strings.Contains(read(t, file), begin) }) {
			t.Errorf("test/today.txt names %s, and test/ has no test of that name", name)
		}
	}
	if len(listed) == 0 {
		t.Error("test/today.txt names no test")
	}
}
