package compose

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// write writes one file, and its directory.
func write(t *testing.T, path, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// The value of a secret or config that comes from a variable is the one that the variable has
// where the file is resolved: in the .env, in the service's env, in what an include reads. Only
// the compose that creates containers or builds images gets it, under a name of pgo's own.
func TestValuesOfVariables(t *testing.T) {
	p := project(t)
	p.Env = []string{"FROM_OPERATOR=of the operator", "BOTH=operator"}
	dir := tree(t, map[string]string{
		"compose.yaml": `
include: [{path: inc/inc.yaml, env_file: inc/own.env}]
services:
  web:
    image: busybox
    build: {context: ., secrets: [build, unset]}
    secrets: [tok, lines, operator, both, empty, ld.preload]
    configs: [conf]
secrets:
  tok: {environment: TOK, x-pgo-value: of the repository}
  lines: {environment: LINES}
  operator: {environment: FROM_OPERATOR}
  both: {environment: BOTH}
  empty: {environment: EMPTY}
  ld.preload: {environment: LD_PRELOAD}
  build: {environment: TOK}
  unset: {environment: UNSET}
configs:
  conf: {environment: TOK}
`,
		".env":         "TOK='a$b$$c \"d\"'\nLINES=\"one\nTOK=two\"\nBOTH=repository\nEMPTY=\nLD_PRELOAD=/evil.so\nSAME=outer\n",
		"inc/inc.yaml": "services: {side: {image: busybox, secrets: [side, same]}}\nsecrets: {side: {environment: SIDE}, same: {environment: SAME}}",
		"inc/own.env":  "SIDE=$$of the include\nSAME=inner\n",
	})
	m := resolve(t, p, dir, "")
	encoded := string(m.Encode())
	m.NameValues()
	var written bytes.Buffer
	written.Write(m.Encode())
	path := filepath.Join(t.TempDir(), "model.json")
	write(t, path, written.String())
	// The real compose reads that file.
	if err := p.Run(t.Context(), path, dir, Output{Stdout: &written}, "config", "--quiet"); err != nil {
		t.Fatal(err)
	}
	got, err := valuesIn(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"PGO_configs_conf=a$b$$c \"d\"",
		"PGO_secrets_both=operator",
		"PGO_secrets_build=a$b$$c \"d\"",
		"PGO_secrets_empty=",
		"PGO_secrets_ld_2epreload=/evil.so",
		"PGO_secrets_lines=one\nTOK=two",
		"PGO_secrets_operator=of the operator",
		"PGO_secrets_same=inner",
		"PGO_secrets_side=$of the include",
		"PGO_secrets_tok=a$b$$c \"d\"",
	}
	if !slices.Equal(got, want) {
		t.Errorf("values\n%q\nwant\n%q", got, want)
	}
	if !strings.Contains(encoded, `"environment": "LD_PRELOAD"`) {
		t.Error("the policy does not see the repository's names")
	}

	shell := script(t, "/usr/bin/env | /bin/grep -c '^PGO_secrets\\|^PGO_configs'")
	for command, want := range map[string]string{"up": "10\n", "build": "10\n", "ps": "0\n", "exec": "0\n"} {
		var stdout bytes.Buffer
		_ = shell.Run(t.Context(), path, dir, Output{Stdout: &stdout}, command)
		if stdout.String() != want {
			t.Errorf("%s gets %s values, want %s", command, stdout.String(), want)
		}
	}
	shown := string(m.Masked(func(string) bool { return false }).Text())
	for _, secret := range []string{"a$b", "of the include", "of the operator"} {
		if strings.Contains(shown, secret) {
			t.Errorf("shown to people: %s", shown)
		}
	}
	if web, side := m.ValuesFor("web"), m.ValuesFor("side"); len(web) != 7 || len(side) != 2 {
		t.Errorf("web has %q, side has %q", web, side)
	}
}

// Another value behind the same variable is a change.
func TestValueChanges(t *testing.T) {
	p := project(t)
	files := map[string]string{
		"compose.yaml": "services: {web: {image: busybox, secrets: [tok]}}\nsecrets: {tok: {environment: TOK}}\n",
		".env":         "TOK=one\n",
	}
	before := resolve(t, p, tree(t, files), "")
	files[".env"] = "TOK=two\n"
	after := resolve(t, p, tree(t, files), "")
	if got := Diff(before, after); !slices.Equal(got, []string{"secrets.tok.environment"}) {
		t.Errorf("changed: %q", got)
	}
	if slices.Equal(before.ValuesFor("web"), after.ValuesFor("web")) {
		t.Error("nothing of it distinguishes the containers")
	}
}

// What cannot be passed on is found before anything is taken down.
func TestValuesThatCannotBe(t *testing.T) {
	for env, want := range map[string]string{
		"":                                       "secrets.tok: the variable TOK is not set; set it in .env, or have an operator set it in the service's env",
		"TOK=" + strings.Repeat("x", maxValue+1): "secrets.tok: the value of TOK is too long for a variable; use a file",
		"OTHER=1\nTOKEN=2\n# TOK=commented out\n": "the variable TOK is not set",
	} {
		p := project(t)
		dir := tree(t, map[string]string{
			"compose.yaml": "services: {web: {image: busybox, secrets: [tok]}}\nsecrets: {tok: {environment: TOK}}\n", ".env": env,
		})
		_, err := p.Resolve(t.Context(), dir)
		if !errors.Is(err, ErrNoModel) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "xxxx") {
			t.Errorf("%.20q: error %v", env, err)
		}
	}
}

// An env_file that somebody put into the checkout by hand is found where the commit would have it,
// and nothing of it stays in the stage. What a commit brought to the checkout does not count.
func TestEnvFilesByHand(t *testing.T) {
	for name, test := range map[string]struct {
		compose string
		byHand  map[string]string
		tracked string
		want    string // of the error, or VAR=value of the compose service web
	}{
		"the usual one":      {"services: {web: {image: busybox, env_file: .env}}", map[string]string{".env": "A=$$1"}, "", "A=$1"},
		"in a directory":     {"services: {web: {image: busybox, env_file: ./sub/../conf/app.env}}", map[string]string{"conf/app.env": "A=1"}, "", "A=1"},
		"optional":           {"services: {web: {image: busybox, env_file: [{path: app.env, required: false}]}}", map[string]string{"app.env": "A=1"}, "", "A=1"},
		"several":            {"services: {web: {image: busybox, env_file: [a.env, b.env]}}", map[string]string{"a.env": "A=1", "b.env": "B=${A}2"}, "", "B=12"},
		"named by .env":      {"services: {web: {image: busybox, env_file: '${FILE}'}}", map[string]string{".env": "FILE=x.env", "x.env": "A=1"}, "", "A=1"},
		"optional and not":   {"services: {web: {image: busybox, environment: [A=0], env_file: [{path: app.env, required: false}]}}", nil, "", "A=0"},
		"missing":            {"services: {web: {image: busybox, env_file: app.env}}", nil, "", "env_file app.env is neither in the repository nor in the checkout: commit it, or have an operator put it on the host as "},
		"at home":            {"services: {web: {image: busybox, env_file: ~/app.env}}", nil, "", "env_file ~/app.env: there is no home directory here; write a path in the repository"},
		"of a new directory": {"services: {web: {image: busybox, env_file: new/deep/app.env}}", map[string]string{"new/deep/app.env": "A=1"}, "", "A=1"},
		"of a commit":        {"services: {web: {image: busybox, env_file: app.env}}", map[string]string{"app.env": "A=1"}, "app.env", "env_file app.env is neither"},
		"bad":                {"services: {web: {image: busybox, env_file: app.env}}", map[string]string{"app.env": "MY " + secret + "=1"}, "", "cannot resolve compose.yaml: docker compose cannot read "},
	} {
		t.Run(name, func(t *testing.T) {
			p := project(t)
			p.Tracked = func(path string) bool { return path == test.tracked }
			for path, content := range test.byHand {
				write(t, filepath.Join(p.Checkout, path), content)
			}
			dir := tree(t, map[string]string{"compose.yaml": test.compose, "conf/tracked": ""})
			m, err := p.Resolve(t.Context(), dir)
			if err != nil {
				if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), secret) {
					t.Errorf("error %v", err)
				}
			} else if variable, value, _ := strings.Cut(test.want, "="); m.services()["web"]["environment"].(map[string]any)[variable] != value {
				t.Errorf("environment %v, want %s", m.services()["web"]["environment"], test.want)
			}
			if _, err := os.Lstat(filepath.Join(dir, "new")); err == nil {
				t.Error("a directory is left in the stage")
			}
			for path := range test.byHand {
				if _, err := os.Lstat(filepath.Join(dir, path)); err == nil {
					t.Errorf("%s is left in the stage", path)
				}
			}
		})
	}
}

// A container that can write to the checkout cannot make pgo read anything else through it.
func TestLinksInTheCheckout(t *testing.T) {
	needLandlock(t)
	p, stage := service(t, "services: {web: {image: busybox, env_file: app.env}}")
	outside := filepath.Join(filepath.Dir(stage), "outside.env")
	write(t, outside, "TOKEN="+secret)
	for _, name := range []string{"app.env", ".env"} {
		if err := os.Symlink(outside, filepath.Join(p.Checkout, name)); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := p.Resolve(t.Context(), stage); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("%v, error %v", m, err)
	}
	// It is swapped after pgo has opened it.
	file, err := os.Open(filepath.Join(stage, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	r := &reading{Project: p, stage: stage, files: []string{"compose.yaml"}, env: filepath.Join(p.Checkout, ".env"), given: []*os.File{file}}
	defer r.end()
	write(t, filepath.Join(stage, "compose.yaml"), "services: {web: {image: busybox, environment: [TOKEN]}}")
	if raw, err := r.config(t.Context(), nil); err == nil || strings.Contains(string(raw)+err.Error(), secret) {
		t.Errorf("read through the link: %s, error %v", raw, err)
	}
}

// An env_file outside of the repository is read if an operator has granted exactly that.
func TestGrantedEnvFile(t *testing.T) {
	needLandlock(t)
	p, stage := service(t, "")
	outside := filepath.Join(filepath.Dir(stage), "granted.env")
	write(t, outside, "A=1")
	write(t, filepath.Join(stage, "compose.yaml"), "services: {web: {image: busybox, env_file: ["+outside+"]}}")
	p.Granted = func(path string) (*os.File, string) {
		if path != outside {
			return nil, ""
		}
		file, err := os.Open(path)
		if err != nil {
			t.Error(err)
		}
		return file, ""
	}
	m := resolve(t, p, stage, "")
	if got := fmt.Sprint(m.services()["web"]["environment"]); got != "map[A:1]" {
		t.Errorf("environment %s", got)
	}
	write(t, outside, "MY "+secret+"=1")
	if _, err := p.Resolve(t.Context(), stage); err == nil || err.Error() != "cannot resolve compose.yaml: docker compose cannot read "+outside+": line 1" {
		t.Errorf("error %v", err)
	}
	p.Granted = func(path string) (*os.File, string) { return nil, "bind:" + path }
	want := fmt.Sprintf("outside the repository: %s (allow = [%q])", outside, "bind:"+outside)
	if _, err := p.Resolve(t.Context(), stage); err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("error %v, want %s", err, want)
	}
}

// Many projects' files have ${PWD}/ where ./ would do. Until the switch the checkout has the commit
// before, or nothing: what is read must be this commit's.
func TestCheckoutBeforeSwitch(t *testing.T) {
	needLandlock(t)
	p, stage := service(t, "")
	tracked := map[string]bool{"gone.env": true}
	p.Tracked = func(name string) bool { return tracked[name] }
	p.Granted = func(path string) (*os.File, string) {
		file, err := os.Open(path)
		if err != nil {
			return nil, ""
		}
		return file, ""
	}
	write(t, filepath.Join(stage, "new.env"), "A=this commit")
	write(t, filepath.Join(stage, "both.env"), "A=this commit")
	for _, name := range []string{"both.env", "gone.env", "by-hand.env"} {
		write(t, filepath.Join(p.Checkout, name), "A=before")
	}
	for name, want := range map[string]string{
		"new.env": "new.env is given with the whole path", "both.env": "both.env is given with the whole path",
		"gone.env": "gone.env is given with the whole path", "by-hand.env": "",
	} {
		write(t, filepath.Join(stage, "compose.yaml"), "services: {web: {image: busybox, env_file: ['${PWD}/"+name+"']}}")
		m, err := p.Resolve(t.Context(), stage)
		switch {
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: error %v, want %s", name, err, want)
		case want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case want == "":
			if got := fmt.Sprint(m.services()["web"]["environment"]); got != "map[A:before]" {
				t.Errorf("%s: environment %s", name, got)
			}
		}
	}

	write(t, filepath.Join(stage, "compose.yaml"), `
services:
  web:
    build: {context: '${PWD}/app', dockerfile: '${PWD}/Dockerfile', additional_contexts: {more: '${PWD}/more'}}
    volumes: ['${PWD}/data:/data']
    environment: {DIR: '${PWD}/data'}
`)
	m := resolve(t, p, stage, "")
	if got, want := m.Uses(stage, Context), []string{"Dockerfile", "app", "more"}; !slices.Equal(got, want) {
		t.Errorf("contexts %q, want %q", got, want)
	}
	if got, want := m.Uses(stage, Mounted), []string{"data"}; !slices.Equal(got, want) {
		t.Errorf("mounted %q, want %q", got, want)
	}
	if got, want := fmt.Sprint(m.services()["web"]["environment"]), "map[DIR:"+p.Checkout+"/data]"; got != want {
		t.Errorf("environment %s, want %s", got, want)
	}
}

func TestWarnings(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string
		named []string
		want  []string
	}{
		"nothing": {map[string]string{"compose.yaml": "services: {web: {image: busybox}}"}, nil, nil},
		"unset variables": {map[string]string{"compose.yaml": "services: {web: {image: busybox, environment: {A: '${NOPE}', B: '${NOPE}${QUO}'}}}"}, nil,
			[]string{`The "NOPE" variable is not set. Defaulting to a blank string.`, `The "QUO" variable is not set. Defaulting to a blank string.`}},
		"in an env_file": {map[string]string{"compose.yaml": "services: {web: {image: busybox, env_file: a.env}}", "a.env": "A=${NOPE}"}, nil,
			[]string{`The "NOPE" variable is not set. Defaulting to a blank string.`}},
		"a password with a dollar": {map[string]string{"compose.yaml": "services: {web: {image: busybox, environment: [PW]}}", ".env": "PW=hun$ter2\n"}, nil,
			[]string{".env has a $ before something that is not a variable: write $$, or put the value in single quotes"}},
		"a password by hand": {map[string]string{"compose.yaml": "services: {web: {image: busybox, env_file: app.env}}", "../checkout/app.env": "PW=hun${ter2}\n"}, nil,
			[]string{"app.env has a $ before something that is not a variable: write $$, or put the value in single quotes"}},
		"an obsolete key": {map[string]string{"deploy/compose.yaml": "version: '3'\nservices: {web: {image: busybox}}"}, []string{"deploy/compose.yaml"},
			[]string{"deploy/compose.yaml: the attribute `version` is obsolete, it will be ignored, please remove it to avoid potential confusion"}},
		"an override": {map[string]string{"compose.yaml": "services: {web: {image: busybox}}", "compose.override.yaml": "", "docker-compose.override.yml": ""}, nil,
			[]string{`compose.override.yaml is not used, although docker compose would merge it: have an operator set compose = ["compose.yaml", "compose.override.yaml"], or rename it`}},
		"an override by hand": {map[string]string{"compose.yaml": "services: {web: {image: busybox}}", "../checkout/compose.override.yml": ""}, nil,
			[]string{`compose.override.yml in the checkout is not used, although docker compose would merge it: commit it, and have an operator set compose = ["compose.yaml", "compose.override.yml"]`}},
		"an override that is not asked for": {map[string]string{"compose.yaml": "services: {web: {image: busybox}}", "compose.override.yaml": ""}, []string{"compose.yaml"}, nil},
		"COMPOSE_FILE": {map[string]string{"compose.yaml": "services: {web: {image: busybox}}", ".env": "export COMPOSE_FILE=\"compose.yaml:more.yaml\" # both\n"}, nil,
			[]string{`COMPOSE_FILE in .env is not used: have an operator set compose = ["compose.yaml", "more.yaml"]`}},
		"COMPOSE_FILE that says the same": {map[string]string{"compose.yaml": "services: {web: {image: busybox}}", ".env": "COMPOSE_FILE=./compose.yaml\n#COMPOSE_FILE=x\n"}, nil, nil},
		"COMPOSE_PROFILES": {map[string]string{"compose.yaml": "services: {web: {image: busybox}}", ".env": "COMPOSE_PROFILES=a, b\n"}, nil,
			[]string{`COMPOSE_PROFILES in .env is not used: have an operator set profiles = ["a", "b"]`}},
	} {
		t.Run(name, func(t *testing.T) {
			p := project(t)
			dir := filepath.Join(tree(t, map[string]string{"stage/README": "", "checkout/README": ""}), "stage")
			p.Checkout = filepath.Join(filepath.Dir(dir), "checkout")
			for path, content := range test.files {
				write(t, filepath.Join(dir, path), content)
			}
			m, err := p.Resolve(t.Context(), dir, test.named...)
			if err != nil {
				t.Fatal(err)
			}
			got := slices.Clone(m.Warnings())
			if slices.Sort(got); !slices.Equal(got, test.want) {
				t.Errorf("warnings\n%q\nwant\n%q", got, test.want)
			}
		})
	}
}

// Several files are merged in their order, and the paths of all begin at the first.
func TestSeveralFiles(t *testing.T) {
	p := project(t)
	dir := tree(t, map[string]string{
		"deploy/base.yaml": "services: {web: {image: 'busybox:1', environment: {A: base, B: '${TAG}'}, volumes: ['./data:/data']}}",
		"more/prod.yaml":   "services: {web: {image: 'busybox:2', environment: {A: prod}, volumes: ['./logs:/logs']}}",
		"deploy/.env":      "TAG=of the first",
		"more/.env":        "TAG=of the second",
	})
	m, err := p.Resolve(t.Context(), dir, "deploy/base.yaml", "more/prod.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(m.services()["web"]["image"], m.services()["web"]["environment"], m.Uses(dir, Mounted)); got != "busybox:2map[A:prod B:of the first] [deploy/data deploy/logs]" {
		t.Error(got)
	}
	if _, err := p.Resolve(t.Context(), dir, "deploy/base.yaml", "deploy/none.yaml"); !errors.Is(err, ErrNoFile) || !strings.HasSuffix(err.Error(), "the repository has no deploy/none.yaml") {
		t.Errorf("error %v", err)
	}
}
