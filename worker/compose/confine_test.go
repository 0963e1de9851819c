package compose

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pgo/worker/sandbox"
)

// secret is in every file outside of the stage, in every form that compose would repeat if it
// could read the file.
const secret = "dG9rZW4tb2YtcmVnaXN0cnk"

func needLandlock(t *testing.T) {
	t.Helper()
	if sandbox.Supported() == 0 {
		t.Skip("this kernel has no Landlock")
	}
}

// service lays out a directory as pgo does: the stage, the checkout, and next to them files that
// compose must not read.
func service(t *testing.T, compose string) (p *Project, stage string) {
	t.Helper()
	dir := tree(t, map[string]string{
		"stage/compose.yaml": compose,
		"stage/more.yaml":    "services: {more: {image: busybox}}",
		"checkout/README":    "",
		"docker/config.json": `{"auths": {"registry.example.org": {"auth": "` + secret + `"}}}`,
		"outside.env":        "TOKEN " + secret,
		"outside.yaml":       "services: {web: {image: '" + secret + "'}}",
	})
	p = project(t)
	p.Home, p.Checkout = filepath.Join(dir, "docker"), filepath.Join(dir, "checkout")
	return p, filepath.Join(dir, "stage")
}

func TestReadsTheStageAlone(t *testing.T) {
	needLandlock(t)
	p, stage := service(t, "")
	beside := filepath.Dir(stage)
	for link, target := range map[string]string{"link.env": beside + "/outside.env", "link": beside, "rel.yaml": "../outside.yaml"} {
		if err := os.Symlink(target, filepath.Join(stage, link)); err != nil {
			t.Fatal(err)
		}
	}
	web := func(line string) string { return "services: {web: {image: busybox, " + line + "}}" }
	include := func(file string) string { return "include: [" + file + "]\n" + web("scale: 1") }
	for text, path := range map[string]string{
		web("env_file: /etc/passwd"):                                       "/etc/passwd",
		web("env_file: ../docker/config.json"):                             beside + "/docker/config.json",
		web("env_file: [{path: ../outside.env, required: false}]"):         beside + "/outside.env",
		web("env_file: [{path: ../outside.env, format: raw}]"):             beside + "/outside.env",
		web("env_file: link.env"):                                          "link.env",
		web("env_file: link/docker/config.json"):                           "link/docker/config.json",
		web("env_file: /dev/zero"):                                         "/dev/zero",
		web("env_file: /proc/self/environ"):                                "/proc/self/environ",
		web("label_file: ../outside.env"):                                  beside + "/outside.env",
		web("extends: {file: ../outside.yaml, service: web}"):              beside + "/outside.yaml",
		web("extends: {file: rel.yaml, service: web}"):                     "rel.yaml",
		include("../outside.yaml"):                                         beside + "/outside.yaml",
		include("rel.yaml"):                                                "rel.yaml",
		include("{path: more.yaml, env_file: " + beside + "/outside.env}"): beside + "/outside.env",
		include("{path: [more.yaml, " + beside + "/outside.yaml]}"):        beside + "/outside.yaml",
	} {
		if err := os.WriteFile(filepath.Join(stage, "compose.yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := p.Resolve(context.Background(), stage)
		want := "cannot resolve compose.yaml: env_file, label_file, include or extends leads outside the repository: " + path
		if !errors.Is(err, ErrNoModel) || err.Error() != want {
			t.Errorf("%s\nerror %v\nwant  %s", text, err, want)
		}
	}
}

func TestReadsTheWholeStage(t *testing.T) {
	p, stage := service(t, "")
	for name, content := range map[string]string{
		"compose.yaml":      "include: [more/inc.yaml]\nservices: {web: {extends: {file: base/base.yaml, service: base}, env_file: [web.env, link.env], label_file: labels}}",
		"more/inc.yaml":     "services: {side: {image: busybox, env_file: side.env}}",
		"more/side.env":     "SIDE=${FROM_DOTENV}",
		"more/.env":         "FROM_DOTENV=more",
		"base/base.yaml":    "services: {base: {image: 'busybox:${TAG}', env_file: base.env}}",
		"base/base.env":     "BASE=1",
		"web.env":           "WEB=1",
		"labels":            "label=1",
		"../checkout/.env":  "TAG=by-hand",
		"directory/link.to": "LINK=1",
	} {
		path := filepath.Join(stage, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("directory/link.to", filepath.Join(stage, "link.env")); err != nil {
		t.Fatal(err)
	}
	encoded := string(resolve(t, p, stage, "").Encode())
	for _, want := range []string{`"image": "busybox:by-hand"`, `"BASE": "1"`, `"WEB": "1"`, `"LINK": "1"`, `"SIDE": "`, `"label": "1"`} {
		if !strings.Contains(encoded, want) {
			t.Errorf("no %s in:\n%s", want, encoded)
		}
	}
}

// Compose is stopped in time when its input is endless, before it takes the host's memory.
func TestEndless(t *testing.T) {
	p, stage := service(t, "services: {web: {image: busybox, env_file: endless}}")
	endless := filepath.Join(stage, "endless")

	t.Run("file", func(t *testing.T) {
		if err := errors.Join(os.WriteFile(endless, nil, 0o644), os.Truncate(endless, 8<<30)); err != nil {
			t.Fatal(err)
		}
		_, err := p.Resolve(context.Background(), stage)
		if !errors.Is(err, ErrNoModel) || err.Error() != "cannot resolve compose.yaml: docker compose needs more than 512 MiB of memory for it" {
			t.Errorf("error %v", err)
		}
		var usage unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_CHILDREN, &usage); err != nil {
			t.Fatal(err)
		}
		if used := usage.Maxrss << 10; used > sandbox.MaxMemory+256<<20 {
			t.Errorf("it used %d MiB", used>>20)
		}
	})
	pipes := map[string]func() error{
		"FIFO":       func() error { return syscall.Mkfifo(endless, 0o644) },
		"own output": func() error { return os.Symlink("/proc/self/fd/1", endless) },
	}
	for name, create := range pipes {
		t.Run(name, func(t *testing.T) {
			if err := errors.Join(os.Remove(endless), create()); err != nil {
				t.Fatal(err)
			}
			shorten(t, time.Second)
			_, err := p.Resolve(context.Background(), stage)
			if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrNoModel) {
				t.Errorf("error %v", err)
			}
		})
	}
	t.Run("standard input", func(t *testing.T) {
		if err := errors.Join(os.Remove(endless), os.Symlink("/dev/stdin", endless)); err != nil {
			t.Fatal(err)
		}
		resolve(t, p, stage, "") // as good as an empty file
	})
}

// shorten makes resolving end sooner.
func shorten(t *testing.T, to time.Duration) {
	was := resolveTime
	t.Cleanup(func() { resolveTime = was })
	resolveTime = to
}

// A remote file is refused before any connection is made, whatever the service's env says.
func TestNothingRemote(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var connections atomic.Int32
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			_ = conn.Close()
		}
	}()
	for _, scheme := range []string{"https://%s/x.git", "http://%s/x.git", "git://%s/x.git", "ssh://git@%s/x.git", "oci://%s/x:latest"} {
		url := fmt.Sprintf(scheme, listener.Addr())
		for _, text := range []string{
			"include: ['" + url + "']\nservices: {web: {image: busybox}}",
			"services: {web: {extends: {file: '" + url + "', service: web}}}",
		} {
			p, stage := service(t, text)
			p.Env = []string{"COMPOSE_EXPERIMENTAL_GIT_REMOTE=true", "COMPOSE_EXPERIMENTAL_OCI_REMOTE=true"}
			if _, err := p.Resolve(context.Background(), stage); !errors.Is(err, ErrNoModel) {
				t.Errorf("%s: error %v", text, err)
			}
		}
	}
	if n := connections.Load(); n > 0 {
		t.Errorf("%d connections", n)
	}
}

// The error does not show what an operator wrote into the checkout's .env.
func TestBadEnvOfTheCheckout(t *testing.T) {
	for content, where := range map[string]string{
		"A=1\nMY " + secret + "=1\n":   ": line 2",
		"A=1\nB=\"" + secret + "\n":    ": line 3",
		"A=1\nB!=" + secret + "\n":     ": line 2",
		"A=${B?" + secret + "}\n":      "",
		"A=${{B?" + secret + "}\n":     "",
		"A=1\n" + secret + " B=\"1\n2": ": line 2",
	} {
		p, stage := service(t, "services: {web: {image: busybox}}")
		env := filepath.Join(p.Checkout, ".env")
		if err := os.WriteFile(env, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := p.Resolve(context.Background(), stage)
		if want := "cannot resolve compose.yaml: docker compose cannot read " + env + where; err == nil || err.Error() != want {
			t.Errorf("%q\nerror %v\nwant  %s", content, err, want)
		}
	}
}

// Without Landlock compose may have read any file.
func TestWordsWithoutLandlock(t *testing.T) {
	words := "failed to read /etc/x: line 1: unexpected character \" \" in variable name \"" + secret + "\""
	if got := explain(words, "/stage", nil, false); strings.Contains(got, secret) || !strings.Contains(got, "no Landlock") {
		t.Error(got)
	}
	if got := explain("open /etc/shadow: permission denied", "/stage", nil, false); !strings.HasSuffix(got, "leads outside the repository: /etc/shadow") {
		t.Error(got)
	}
}

func BenchmarkResolve(b *testing.B) {
	plugin, err := FindPlugin()
	if err != nil {
		b.Fatal(err)
	}
	stage := b.TempDir()
	if err := os.WriteFile(filepath.Join(stage, "compose.yaml"), []byte("services: {web: {image: busybox}}"), 0o644); err != nil {
		b.Fatal(err)
	}
	p := &Project{Plugin: plugin, Name: "unit", Home: b.TempDir(), Checkout: b.TempDir()}
	args := []string{"-f", filepath.Join(stage, "compose.yaml"), "--env-file", os.DevNull, "config", "--format", "json"}
	for name, run := range map[string]func(*exec.Cmd) error{
		"confined": func(cmd *exec.Cmd) error { return p.confined(b.Context(), cmd, Output{Stdout: io.Discard}, stage) },
		"bare":     func(cmd *exec.Cmd) error { return p.run(b.Context(), cmd, Output{}, "config", maxCPU) },
	} {
		b.Run(name, func(b *testing.B) {
			var cpu time.Duration
			for b.Loop() {
				cmd, err := p.command(stage, false, args)
				if err == nil {
					err = run(cmd)
				}
				if err != nil {
					b.Fatal(err)
				}
				cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
			}
			b.ReportMetric(float64(cpu.Milliseconds())/float64(b.N), "cpu-ms/op")
		})
	}
}
