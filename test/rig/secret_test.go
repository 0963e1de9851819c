package rig

import (
	"errors"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// hunted is a pgod that is a shell with a secret in one place.
func hunted(t testing.TB, r *Rig, secret string, hide func(r *Rig, shell *exec.Cmd)) {
	t.Helper()
	shell := exec.Command("sh", "-c", "read _") // waits for the end of its input
	shell.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	input, err := shell.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := r.Pgod()
	hide(r, shell)
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { input.Close(); _ = shell.Wait() })
	p.pid.Store(int64(shell.Process.Pid))
	hunt := p.Hunt(secret)
	Until(t, "the hunt to have looked", func() error {
		if hunt.looks.Load() < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	hunt.Ends()
}

func TestHuntFindsSecrets(t *testing.T) {
	const secret = "swordfish-4711"
	hides := map[string]struct {
		hide  func(r *Rig, shell *exec.Cmd)
		found string
	}{
		"argument":    {func(_ *Rig, shell *exec.Cmd) { shell.Args = append(shell.Args, "x="+secret) }, "the cmdline of process"},
		"environment": {func(_ *Rig, shell *exec.Cmd) { shell.Env = []string{"T=" + secret} }, "the environ of process"},
		"child":       {func(_ *Rig, shell *exec.Cmd) { shell.Args[2] = "T=" + secret + " cat" }, "(cat, uid 0)"},
		"open file":   {func(r *Rig, _ *exec.Cmd) { r.write(filepath.Join(r.Dir, "open"), "a "+secret, 0o644) }, "/open, which everybody can read"},
	}
	for name, c := range hides {
		t.Run(name, func(t *testing.T) {
			try(t, func(t testing.TB) { hunted(t, New(t), secret, c.hide) }).complains(t, "a secret is in", c.found)
		})
	}
}

func TestHuntIsContentWithWhatIsClosed(t *testing.T) {
	const secret = "swordfish-4711"
	try(t, func(t testing.TB) {
		hunted(t, New(t), secret, func(r *Rig, _ *exec.Cmd) {
			r.write(filepath.Join(r.Dir, "closed"), secret, 0o600)
			r.mkdir(filepath.Join(r.Dir, "vault"), 0o700)
			r.write(filepath.Join(r.Dir, "vault", "open"), secret, 0o644)
		})
	}).isContent(t)
}

func TestHuntReadsTheLog(t *testing.T) {
	try(t, func(t testing.TB) {
		r := New(t)
		p := r.Pgod()
		r.write(p.logFile, "cloning https://x:swordfish@host", 0o600)
		p.Hunt("swordfish").Ends()
	}).complains(t, "a secret is in pgod's log")
}
