package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"pgo/internal/sshd"
)

// Root on the host needs neither a key nor a file of known hosts: pgod's directory has both, where
// the file of its port says, or else in the usual place. What is named comes first.
func TestRootNeedsNoKey(t *testing.T) {
	w := newWorld(t)
	w.write("pgod/host_key", string(w.host.private))
	root, _, err := sshd.LoadOrMakeKey(filepath.Join(w.home, "pgod", "root_key"))
	w.must(err)
	w.write("ssh/operators/root.pub", string(ssh.MarshalAuthorizedKey(root)))
	w.must(os.Remove(filepath.Join(w.home, ".config/pgo/known_hosts")))
	w.env = slices.DeleteFunc(w.env, func(v string) bool { return strings.HasPrefix(v, "PGOCTL_ID=") })

	run := func(more []string, args ...string) (code int, said string) {
		t.Helper()
		c := w.command(args...)
		c.Env = append(slices.Clone(w.env), more...)
		var out bytes.Buffer
		c.Stdout, c.Stderr = &out, &out
		if err := c.Run(); err != nil {
			exit := new(exec.ExitError)
			if !errors.As(err, &exit) {
				t.Fatal(err)
			}
			code = exit.ExitCode()
		}
		return code, out.String()
	}
	ports := "PORTS_DIR=" + filepath.Join(w.home, "ports")
	usual, unusual := "USUAL_DIR="+filepath.Join(w.home, "pgod"), "USUAL_DIR=/nonexistent"
	for _, host := range []string{"localhost", "127.0.0.1"} {
		if code, said := run([]string{ports, usual}, host+"://ping"); code != 0 {
			t.Errorf("%s: %d: %s", host, code, said)
		}
	}
	if code, said := run([]string{ports, unusual}, "localhost://ping"); code != 255 || !strings.Contains(said, "cannot read the key /nonexistent/root_key: ") {
		t.Errorf("without a directory: %d: %s", code, said)
	}
	if code, said := run(nil, "localhost://ping"); code != 255 || strings.Contains(said, "root_key") {
		t.Errorf("somebody else: %d: %s", code, said)
	}
	w.write("ports/port-"+w.port, filepath.Join(w.home, "pgod")+"\n")
	if code, said := run([]string{ports, unusual}, "localhost://ping"); code != 0 {
		t.Errorf("by its port: %d: %s", code, said)
	}

	// A key that is named counts alone, and so does a file of known hosts.
	if code, _ := run([]string{ports, usual, "PGOCTL_ID=" + filepath.Join(w.home, "id")}, "localhost://ping"); code != 77 {
		t.Errorf("with PGOCTL_ID: %d", code)
	}
	if code, said := run([]string{ports, usual}, "--known-hosts", filepath.Join(w.home, "none"), "localhost://ping"); code != 255 || !strings.Contains(said, "is not known yet") {
		t.Errorf("with --known-hosts: %d: %s", code, said)
	}
	// Behind the same address may be another host, by a tunnel.
	w.write("pgod/host_key", string(w.read("id")))
	if code, said := run([]string{ports, usual}, "localhost://ping"); code != 255 || !strings.Contains(said, "is not known yet") {
		t.Errorf("another host: %d: %s", code, said)
	}
}
