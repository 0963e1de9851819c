package bench

import (
	"io"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgo/test/rig"
)

// What passes through in one measurement.
const (
	execMiB  = 256
	logLines = 150_000
	logLine  = "the quick brown fox jumps over the lazy dog, and then over another" // 66 bytes, and the line's end
)

// BenchmarkThroughput measures how fast output comes out of a container and input gets into it,
// with a stock ssh client through pgod. For comparison, it measures the same client with docker
// compose behind OpenSSH, and bare docker compose on the host itself, which has nothing to
// encrypt.
func BenchmarkThroughput(b *testing.B) {
	r := rig.New(b)
	web := r.Service("web")
	commit := web.Push("first", rig.Files{"compose.yaml": `services:
  printer:
    image: ` + r.Busybox() + `
    init: true
    command: [sh, -c, "busybox yes '` + logLine + `' | busybox head -n ` + strconv.Itoa(logLines) + `; touch /tmp/printed; exec sleep 86400"]
`})
	pgod := r.Start(web)
	deployed(b, pgod, web, commit)
	bare := func(args ...string) *exec.Cmd {
		return exec.Command("docker", append([]string{"compose", "-p", web.Name}, args...)...)
	}
	server := startOpenSSH(b, r, r.Key("root"))
	behind := func(args ...string) *exec.Cmd { return server.run(strings.Join(bare(args...).Args, " ")) }
	rig.Until(b, "all lines to be printed", func() error {
		return bare("exec", "-T", "printer", "test", "-e", "/tmp/printed").Run()
	})
	count := strconv.Itoa(execMiB)
	dd := []string{"-T", "printer", "busybox", "dd", "if=/dev/zero", "bs=1M", "count=" + count}
	sink := []string{"-T", "printer", "busybox", "dd", "of=/dev/null", "bs=1M"}
	for b.Loop() {
		var out, behindOut, bareOut, in, behindIn, bareIn, logs, behindLogs, bareLogs sample
		for range 3 { // in turns, so that a busy moment affects all
			out = append(out, rate(b, pgod.SSHCommand(web.Key, append([]string{web.Op("exec")}, dd...)...), 0))
			behindOut = append(behindOut, rate(b, behind(append([]string{"exec"}, dd...)...), 0))
			bareOut = append(bareOut, rate(b, bare(append([]string{"exec"}, dd...)...), 0))
			in = append(in, rate(b, pgod.SSHCommand(web.Key, append([]string{web.Op("exec")}, sink...)...), execMiB<<20))
			behindIn = append(behindIn, rate(b, behind(append([]string{"exec"}, sink...)...), execMiB<<20))
			bareIn = append(bareIn, rate(b, bare(append([]string{"exec"}, sink...)...), execMiB<<20))
			logs = append(logs, rate(b, pgod.SSHCommand(web.Key, web.Op("logs")), 0))
			behindLogs = append(behindLogs, rate(b, behind("logs"), 0))
			bareLogs = append(bareLogs, rate(b, bare("logs"), 0))
		}
		compare(b, "MB/s", "exec-out", out, "openssh-exec-out", behindOut)
		compare(b, "MB/s", "exec-out", out, "compose-exec-out", bareOut)
		compare(b, "MB/s", "exec-in", in, "openssh-exec-in", behindIn)
		compare(b, "MB/s", "exec-in", in, "compose-exec-in", bareIn)
		compare(b, "MB/s", "logs", logs, "openssh-logs", behindLogs)
		compare(b, "MB/s", "logs", logs, "compose-logs", bareLogs)
	}
}

// rate returns how many megabytes a second a command prints, or reads if it is given input.
func rate(b *testing.B, cmd *exec.Cmd, input int64) float64 {
	b.Helper()
	if input > 0 {
		cmd.Stdin = io.LimitReader(zeros{}, input)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	moved, err := io.Copy(io.Discard, stdout)
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		b.Fatalf("%v: %v", cmd.Args, err)
	}
	return float64(max(moved, input)) / 1e6 / time.Since(begun).Seconds()
}

// zeros is an endless file of zeros that costs its reader nothing.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
