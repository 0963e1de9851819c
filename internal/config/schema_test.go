package config

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

const schemaFile = "../../docs/pgo.schema.json"

// schemaTable is the part of the schema that is compared with a table of keys.
type schemaTable struct {
	AdditionalProperties any
	Required             []string
	Properties           map[string]struct {
		Description string
		Enum        []string
		schemaTable
	}
}

// TestSchemaHasAllKeys compares the schema for editors with the tables of keys.
func TestSchemaHasAllKeys(t *testing.T) {
	content, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		schemaTable
		Definitions map[string]schemaTable
	}
	if err := json.Unmarshal(content, &schema); err != nil {
		t.Fatal(err)
	}
	service := schema.Definitions["service"]
	checkSchema(t, "", schema.schemaTable, rootKeys)
	checkSchema(t, "pgod.", schema.Properties["pgod"].schemaTable, pgodKeys)
	checkSchema(t, "upstream.", schema.Properties["upstream"].schemaTable, upstreamKeys)
	checkSchema(t, "services.", service, serviceKeys)
	if modes := []string{string(Recreate), string(InPlace), string(StartFirst)}; !slices.Equal(service.Properties["deploy"].Enum, modes) {
		t.Errorf("services.deploy: one of %q, want %q", service.Properties["deploy"].Enum, modes)
	}
}

func checkSchema[T any](t *testing.T, section string, table schemaTable, keys []key[T]) {
	t.Helper()
	if table.AdditionalProperties != false {
		t.Errorf("%q: the schema accepts unknown keys", section)
	}
	var names, required []string
	for _, key := range keys {
		names = append(names, key.name)
		if key.required != "" {
			required = append(required, key.name)
		}
		words := table.Properties[key.name].Description
		if words == "" {
			t.Errorf("the schema does not explain %s%s", section, key.name)
		}
		_, missing := unsupported[section+key.name]
		if said := strings.HasPrefix(words, "Not supported yet"); said != missing {
			t.Errorf(`%s%s: the schema says "Not supported yet": %v; it is unsupported: %v`, section, key.name, said, missing)
		}
	}
	slices.Sort(names)
	if known := slices.Sorted(maps.Keys(table.Properties)); !slices.Equal(known, names) {
		t.Errorf("%q: the schema has %q, want %q", section, known, names)
	}
	if !slices.Equal(table.Required, required) {
		t.Errorf("%q: the schema requires %q, want %q", section, table.Required, required)
	}
}

// TestSchemaTakesWhatIsRight validates the example and every configuration in the tests that has
// no mistakes.
func TestSchemaTakesWhatIsRight(t *testing.T) {
	schema := compileSchema(t)
	example, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(example), "#:schema ./"+filepath.Base(schemaFile)+"\n") {
		t.Error("the example does not name its schema in the first line")
	}
	texts := map[string]string{"everyKey": everyKey, "example": string(example), "whole example": uncommented(string(example))}
	for name, text := range caseInputs(t) {
		if _, problems := parse([]source{{text: text}}, testOptions, testReferences()); len(problems) == 0 {
			texts[name] = text
		}
	}
	if len(texts) < 6 {
		t.Errorf("only %d texts are without mistakes", len(texts))
	}
	for name, text := range texts {
		if err := validate(t, schema, text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSchemaRefuses has one mistake of each kind that an editor should show.
func TestSchemaRefuses(t *testing.T) {
	schema := compileSchema(t)
	for _, name := range []string{
		"unknown-root-key", "unknown-pgod-key", "unknown-service-key", "missing-keys", "name-grammar", "deploy-unknown", "pgod-not-a-table",
		"services-not-a-list", "services-list-of-strings", "urls-targets", "upstream", "upstream-missing-keys", "upstream-not-a-table",
	} {
		if validate(t, schema, caseInputs(t)[name]) == nil {
			t.Errorf("the schema accepts %s", name)
		}
	}
	for _, extra := range []string{
		`branch = 1`, `branch = ""`, `ignore = "yes"`, `adopt = "yes"`, `env = "A=B"`, `env = ["A"]`, `urls = ["a"]`, `networks = ["host"]`, `networks = ["a b"]`, `profiles = ["-x"]`, `allow = ["Privileged"]`, `allow = ["cap_add:"]`, `ports = [80]`, `ports = ["a"]`, `compose = "/x"`, `git_key = "x"`,
		`gate = "1"`, `gate = 1`, `timeout = "1y"`, `interval = ""`, `docker_host = "/run/docker.sock"`, `reload = "caddy"`, `rollback = 1`, `machine = "host1"`, `deploy = "Recreate"`,
	} {
		if validate(t, schema, minimal("web", extra)) == nil {
			t.Errorf("the schema accepts %s", extra)
		}
	}
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func validate(t *testing.T, schema *jsonschema.Schema, text string) error {
	t.Helper()
	var table map[string]any
	if _, err := toml.Decode(text, &table); err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(table)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := jsonschema.UnmarshalJSON(bytes.NewReader(encoded))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(decoded)
}

// caseInputs returns the configurations in testdata, with and without mistakes.
func caseInputs(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.toml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases in testdata: %v", err)
	}
	inputs := map[string]string{}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		input, _, _ := strings.Cut(string(content), "-----\n")
		inputs[strings.TrimSuffix(filepath.Base(path), ".toml")] = input
	}
	return inputs
}
