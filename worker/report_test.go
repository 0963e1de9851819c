package worker

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	protobuf "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"pgo/proto"
	"pgo/worker/compose"
	"pgo/worker/deploy"
)

// The contract has each word of the closed sets of values in deploy, and no others.
// Otherwise a value that is added to one of them would be reported as nothing.
func TestContractHasTheWordsOfDeploy(t *testing.T) {
	for name, enum := range map[string]protoreflect.Enum{
		"Wanted": proto.State_WANTED_UNSPECIFIED, "Outcome": proto.State_OUTCOME_UNSPECIFIED, "Reload": proto.ProxyState_RELOAD_UNSPECIFIED,
	} {
		var words []string
		values := enum.Descriptor().Values()
		for i := 1; i < values.Len(); i++ {
			words = append(words, proto.Word(enum.Type().New(values.Get(i).Number())))
		}
		slices.Sort(words)
		if constants := constantsOf(t, "deploy", name); !slices.Equal(words, constants) {
			t.Errorf("the constants of deploy.%s are %q, and worker.proto has %q", name, constants, words)
		}
	}
}

// constantsOf returns the values of a package's string constants of a type, sorted.
func constantsOf(t *testing.T, dir, typeName string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			spec, ok := node.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if of, named := spec.Type.(*ast.Ident); !named || of.Name != typeName {
				return false
			}
			for _, value := range spec.Values {
				literal, isLiteral := value.(*ast.BasicLit)
				if !isLiteral {
					t.Errorf("%s: the value of a %s is not a literal", name, typeName)
					continue
				}
				text, err := strconv.Unquote(literal.Value)
				if err != nil {
					t.Error(err)
				}
				found = append(found, text)
			}
			return false
		})
	}
	slices.Sort(found)
	return found
}

func TestActivity(t *testing.T) {
	for step, want := range map[string]proto.State_Activity{
		"": proto.State_ACTIVITY_UNSPECIFIED, deploy.Idle: proto.State_ACTIVITY_IDLE, "gate abcdef0": proto.State_ACTIVITY_BUSY,
	} {
		if got := activity(step); got != want {
			t.Errorf("%q is %v, not %v", step, got, want)
		}
	}
}

// Names in a repository and the output of programs may be any bytes. A message with them
// must still be sent: pgod ends a worker whose reports end.
func TestAnyBytesCanBeSent(t *testing.T) {
	b := newBoard()
	b.broken(errors.New("\xff"))
	b.edit(func(r *proto.ReportReply) { r.State.OnHost = hostContainers([]compose.HostContainer{{Name: "\xff"}}) })
	report, _ := b.get()
	for _, m := range []protobuf.Message{report, exitOf(errors.New("\xff"))} {
		if _, err := protobuf.Marshal(m); err != nil {
			t.Error(err)
		}
	}
}
