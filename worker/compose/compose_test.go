package compose

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pgo/internal/procgroup"
)

// script returns a project whose compose is a shell script, for what a real one does only in
// trouble.
func script(t *testing.T, text string) *Project {
	t.Helper()
	path := filepath.Join(t.TempDir(), "compose")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return &Project{Plugin: path, Name: "unit", Home: "/home-of-pgo", Checkout: t.TempDir(), Marker: "PGO_SERVICE_DIR=/unit"}
}

func TestStatusAndStreams(t *testing.T) {
	p := script(t, "echo out; echo warn >&2; exit 7")
	var stdout, stderr bytes.Buffer
	err := p.Run(context.Background(), "m.json", p.Checkout, Output{Stdout: &stdout, Stderr: &stderr}, "up")
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Status != 7 || exit.Command != "up" || exit.Output != "warn" {
		t.Errorf("error %#v", err)
	}
	if stdout.String() != "out\n" || stderr.String() != "warn\n" {
		t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
	}
}

// Compose repeats in its errors what it cannot use.
func TestErrorsHideTheEnv(t *testing.T) {
	p := script(t, `echo "invalid image name: $TOKEN ($MODE)" >&2; exit 1`)
	p.Env = []string{"TOKEN=tok-8c1d77", "MODE=test"}
	err := p.Run(context.Background(), "", p.Checkout, Output{}, "up")
	if err == nil || !strings.HasSuffix(err.Error(), "invalid image name: *** (test)") {
		t.Errorf("error %v", err)
	}
}

// The environment is made from nothing, and a service's env cannot change what
// pgo relies on.
func TestEnvironment(t *testing.T) {
	t.Setenv("OF_THE_WORKER", "1")
	p := script(t, "/usr/bin/env")
	p.Env = []string{"MINE=1", "HOME=/etc", "DOCKER_CONFIG=/etc", "COMPOSE_PROFILES=all"}
	p.Profiles = []string{"a", "b"}
	var stdout bytes.Buffer
	if err := p.Run(context.Background(), "", p.Checkout, Output{Stdout: &stdout}, "ps"); err != nil {
		t.Fatal(err)
	}
	env := "\n" + stdout.String()
	for _, want := range []string{"MINE=1", "HOME=/home-of-pgo", "DOCKER_CONFIG=/nonexistent", "COMPOSE_PROFILES=a,b", "PGO_SERVICE_DIR=/unit"} {
		if !strings.Contains(env, "\n"+want+"\n") {
			t.Errorf("no %s in:\n%s", want, env)
		}
	}
	if strings.Contains(env, "OF_THE_WORKER") {
		t.Errorf("the worker's environment reached compose:\n%s", env)
	}
}

// A build gets the proxies and the certificates, pull the accounts, and no container any of it.
func TestOnlyBuildsGetTheProxies(t *testing.T) {
	p := script(t, "/usr/bin/env")
	p.Host = "tcp://engine.example.org:2375"
	p.Proxies = Proxies{HTTP: "http://ada:S3CRET@proxy:1", HTTPS: "http://proxy:2", No: ".example.net"}
	p.CA = []byte("certificates")
	all := []string{"HTTP_PROXY=http://ada:S3CRET@proxy:1", "HTTPS_PROXY=http://proxy:2", "NO_PROXY=.example.net,engine.example.org", "SSL_CERT_FILE=/home-of-pgo/ca.pem"}
	for operation, wanted := range map[string][]string{
		"build": append(all, "DOCKER_CONFIG=/home-of-pgo"),
		"pull":  {"DOCKER_CONFIG=/home-of-pgo"},
		"up":    {"DOCKER_CONFIG=/nonexistent"},
		"exec":  {"DOCKER_CONFIG=/nonexistent"},
	} {
		var stdout bytes.Buffer
		if err := p.Run(context.Background(), "", p.Checkout, Output{Stdout: &stdout}, operation); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(stdout.String(), "\n")
		for _, variable := range append(all, "DOCKER_CONFIG=/home-of-pgo", "DOCKER_CONFIG=/nonexistent") {
			if got, want := slices.Contains(lines, variable), slices.Contains(wanted, variable); got != want {
				t.Errorf("%s has %s: %v", operation, variable, got)
			}
		}
	}
	p.Proxies.HTTP, p.Proxies.HTTPS = "", ""
	if env := p.buildEnvironment(); slices.ContainsFunc(env, func(v string) bool { return strings.Contains(v, "_PROXY=") }) {
		t.Errorf("without a proxy: %q", env)
	}
}

func TestErrorsHideTheProxiesPasswords(t *testing.T) {
	p := &Project{Proxies: Proxies{HTTP: "http://ada:S3C%2FRET@proxy:1", HTTPS: "https://T0KEN@proxy:2"}}
	const text = "cannot reach http://ada:S3C%2FRET@proxy:1 (ada, S3C/RET) nor https://T0KEN@proxy:2"
	if got, want := p.Redact(text), "cannot reach http://ada:***@proxy:1 (ada, ***) nor https://***@proxy:2"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// Compose has bounds, whatever it is made to do, and so has whatever it starts.
func TestLimits(t *testing.T) {
	// The limits come right after its start; memory's comes last.
	p := script(t, "while [ $(ulimit -d) = unlimited ]; do /bin/sleep 0.01; done; ulimit -d; ulimit -t; ulimit -c; /bin/sh -c 'ulimit -d'")
	var stdout bytes.Buffer
	if err := p.Run(context.Background(), "", p.Checkout, Output{Stdout: &stdout}, "up"); err != nil {
		t.Fatal(err)
	}
	if got, want := stdout.String(), "1048576\n3600\n0\n1048576\n"; got != want {
		t.Errorf("the limits are\n%s, want\n%s", got, want)
	}
}

func TestProcessesAreLimited(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	group, err := procgroup.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer group.Stop(0)
	if err := limit(group.Pid(), maxCPU); err != nil {
		t.Fatal(err)
	}
	var now unix.Rlimit
	if err := unix.Prlimit(group.Pid(), unix.RLIMIT_NPROC, nil, &now); err != nil {
		t.Fatal(err)
	}
	if now.Max > maxTasks {
		t.Errorf("compose and what it starts may have %d tasks", now.Max)
	}
}

func TestCPUTimeIsLimited(t *testing.T) {
	was := maxCPU
	t.Cleanup(func() { maxCPU = was })
	maxCPU = time.Second
	p := script(t, "while :; do :; done")
	err := p.Run(context.Background(), "", p.Checkout, Output{}, "up")
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Output != "docker compose needs more than 1s of CPU time for it" {
		t.Errorf("error %v", err)
	}
	for _, args := range [][]string{{"logs", "--follow"}, {"stats", "web"}} {
		if !follows(args) {
			t.Errorf("%v is limited, although it runs for as long as its client wants", args)
		}
	}
	for _, args := range [][]string{{"logs"}, {"stats", "--no-stream"}, {"up", "--detach"}} {
		if follows(args) {
			t.Errorf("%v is not limited", args)
		}
	}
}

// The last words of a Go program are lost in the trace that follows them.
func TestOutOfMemoryIsSaid(t *testing.T) {
	p := script(t, "printf 'fatal error: runtime: out of ' >&2; echo 'memory' >&2; for i in $(/usr/bin/seq 2000); do echo goroutine $i >&2; done; exit 2")
	err := p.Run(context.Background(), "", p.Checkout, Output{}, "up")
	if err == nil || !strings.Contains(err.Error(), "needs more than 1024 MiB of memory") {
		t.Errorf("error %v", err)
	}
}

func TestCancelEndsTheWholeGroup(t *testing.T) {
	p := script(t, "trap '' TERM\n/bin/sleep 600 &\necho started\nwait\n/bin/sleep 600")
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("the client left")
	out := Output{Stdout: writerFunc(func(b []byte) (int, error) {
		cancel(why)
		return len(b), nil
	})}
	if err := p.Run(ctx, "", p.Checkout, out, "logs"); !errors.Is(err, why) {
		t.Errorf("error %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestBrokenClientDoesNotBreakCompose(t *testing.T) {
	p := script(t, "for i in 1 2 3; do echo $i; done; echo done >&2")
	broken := writerFunc(func([]byte) (int, error) { return 0, errors.New("gone") })
	if err := p.Run(context.Background(), "", p.Checkout, Output{Stdout: broken, Stderr: broken}, "up"); err != nil {
		t.Error(err)
	}
}

func TestTail(t *testing.T) {
	last := &Tail{max: 20}
	for range 1000 {
		_, _ = last.Write([]byte("0123456789\n"))
	}
	_, _ = last.Write([]byte("the end\n"))
	if got := last.String(); got != "0123456789\nthe end" {
		t.Errorf("tail %q", got)
	}
}

func TestLogIn(t *testing.T) {
	p := &Project{Home: t.TempDir()}
	if err := p.LogIn([]Registry{{"registry.example.org:5000", "u", "p:w"}, {"docker.io", "hub", "x"}}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(p.Home, "config.json")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// The last is the name under which compose looks for Docker Hub's credentials.
	for _, want := range []string{`"registry.example.org:5000": {`, `"auth": "dTpwOnc="`, `"https://index.docker.io/v1/": {`} {
		if !strings.Contains(string(content), want) {
			t.Errorf("no %s in %s", want, content)
		}
	}
	if strings.Contains(string(content), "proxies") {
		t.Errorf("without a proxy: %s", content)
	}
}

// What compose needs for builds is in files of this user alone, and goes when it is not
// configured any more.
func TestLogInWritesTheProxies(t *testing.T) {
	p := &Project{Home: t.TempDir(), Proxies: Proxies{HTTPS: "http://ada:S3CRET@proxy:1", No: ".example.net"}, CA: []byte("certificates\n")}
	if err := p.LogIn(nil); err != nil {
		t.Fatal(err)
	}
	var config struct {
		Proxies map[string]map[string]string
	}
	content, err := os.ReadFile(filepath.Join(p.Home, "config.json"))
	if err != nil || json.Unmarshal(content, &config) != nil {
		t.Fatalf("%s, %v", content, err)
	}
	want := map[string]map[string]string{"default": {"httpsProxy": "http://ada:S3CRET@proxy:1", "noProxy": ".example.net"}}
	if !reflect.DeepEqual(config.Proxies, want) {
		t.Errorf("proxies %v, want %v", config.Proxies, want)
	}
	ca, err := os.ReadFile(filepath.Join(p.Home, "ca.pem"))
	if err != nil || string(ca) != "certificates\n" {
		t.Errorf("%q, %v", ca, err)
	}
	for _, name := range []string{"config.json", "ca.pem"} {
		if info, err := os.Stat(filepath.Join(p.Home, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	p.Proxies, p.CA = Proxies{}, nil
	if err := p.LogIn(nil); err != nil {
		t.Fatal(err)
	}
	content, _ = os.ReadFile(filepath.Join(p.Home, "config.json"))
	if _, err := os.Stat(filepath.Join(p.Home, "ca.pem")); !os.IsNotExist(err) || strings.Contains(string(content), "proxy") {
		t.Errorf("after they are gone: %v, %s", err, content)
	}
}
