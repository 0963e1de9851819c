package compose

import (
	"errors"
	"strings"
	"testing"
)

// Only what is known to be the repository's fault condemns it.
func TestRefused(t *testing.T) {
	for output, want := range map[string]bool{
		// What engines of different ages say.
		`OCI runtime create failed: runc create failed: unable to start container process: exec: "nope": executable file not found in $PATH: unknown`:                                                                                                          true,
		`container_linux.go:380: starting container process caused: exec: "/x": permission denied: unknown`:                                                                                                                                                    true,
		`unable to start container process: error during container init: exec: "/nope": stat /nope: no such file or directory`:                                                                                                                                 true,
		`unable to find user nobody2: no matching entries in passwd file`:                                                                                                                                                                                      true,
		`error gathering device information while adding custom device "/dev/nope": no such file or directory`:                                                                                                                                                 true,
		`error mounting "/a" to rootfs at "/b": mount /a:/b (via /proc/self/fd/6), flags: 0x5000: not a directory: unknown: Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type`: true,
		`invalid mount config for type "tmpfs": must not set ReadOnly mode`:                                                                                                                                                                                    true,
		`Minimum memory limit allowed is 6MB`:                                    true,
		`Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available`: true,
		`unknown log opt 'nope' for json-file log driver`:                        true,
		// The surroundings, known and not known.
		`driver failed: Bind for 0.0.0.0:80 failed: port is already allocated`: false,
		`failed to create network p_six: Error response from daemon: IPv6 global forwarding is disabled: check your host's firewalling and set sysctls net.ipv6.conf.all.forwarding=1 and net.ipv6.conf.default.forwarding=1, or disable this check using daemon option --ip-forward=false`: false,
		`all predefined address pools have been fully subnetted`:                                                                                                                                                    false,
		`could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network`:                                                                                                false,
		`invalid pool request: Pool overlaps with other one on this address space`:                                                                                                                                  false,
		`Failed to Setup IP tables: Unable to enable SKIP DNAT rule: (iptables failed: iptables --wait -t nat -I DOCKER: iptables: No chain/target/match by that name. (exit status 1))`:                            false,
		`Conflict. The container name "/taken" is already in use by container "abc". You have to remove (or rename) that container`:                                                                                 false,
		`failed to create shim task: OCI runtime create failed: unable to retrieve OCI runtime error (open log.json: no such file or directory): exec: "nope-runtime": executable file not found in $PATH: unknown`: false,
		`Unknown runtime specified nope`: false,
		`invalid mount config for type "bind": bind source path does not exist: /mnt/nas`: false,
		`network abc not found`:                                                               false,
		`write /var/lib/docker/tmp/x: no space left on device`:                                false,
		`what no engine has said so far`:                                                      false,
		`error creating overlay mount to /var/lib/docker/overlay2/x/merged: invalid argument`: false,
	} {
		err := &ExitError{Command: "up", Status: 1, Output: " Container web-1  Starting\n" + daemonSays + ": " + output}
		if got := Refused(err); got != want {
			t.Errorf("%q: %v", output, got)
		}
		if got := (Container{Error: output}).StartRefused(); got && !want {
			t.Errorf("%q of a container: %v", output, got)
		}
	}
	if !Refused(&ExitError{Command: "up", Status: 1, Output: "too much", Spent: true}) {
		t.Error("a model that compose cannot cope with is nobody's fault")
	}
	// A container's own output, or a name, is not what the engine says.
	if Refused(&ExitError{Command: "up", Status: 1, Output: "invalid hostname\n" + daemonSays + ": no chain"}) {
		t.Error("something before the engine's answer is taken for it")
	}
}

// compose names the container that the others wait for.
func TestFailedDependency(t *testing.T) {
	for output, want := range map[string][2]string{
		"dependency failed to start: container pgo-db-1 is unhealthy":                 {"pgo-db-1", "is unhealthy"},
		"dependency failed to start: container pgo-db-1 exited (3)":                   {"pgo-db-1", "exited (3)"},
		"dependency failed to start: container pgo-db-1 has no healthcheck":           {},
		"dependency failed to start: container a is unhealthy\n" + daemonSays + ": x": {},
		daemonSays + ": no chain": {},
	} {
		name, problem := FailedDependency(&ExitError{Command: "up", Status: 1, Output: " Container pgo-db-1  Error\n" + output})
		if got := [2]string{name, problem}; got != want {
			t.Errorf("%q: %q", output, got)
		}
	}
	if name, _ := FailedDependency(errors.New("dependency failed to start: container a is unhealthy")); name != "" {
		t.Errorf("of another error: %q", name)
	}
}

func TestBuildFailed(t *testing.T) {
	for output, want := range map[string]bool{
		`failed to solve: process "/bin/sh -c false" did not complete successfully: exit code: 1`:                                                   true,
		`The command '/bin/sh -c false' returned a non-zero code: 1`:                                                                                true,
		`failed to solve: dockerfile parse error on line 2: unknown instruction: RUM`:                                                               true,
		`COPY failed: file not found in build context or excluded by .dockerignore: stat nope: file does not exist`:                                 true,
		`failed to solve: failed to compute cache key: failed to calculate checksum of ref x: "/nope": not found`:                                   true,
		"go: download: dial tcp: lookup proxy: temporary failure in name resolution\nThe command '/bin/sh -c go build' returned a non-zero code: 1": false,
		`failed to solve: failed to do request: Head "https://r/v2/": dial tcp: lookup r: no such host`:                                             false,
		`failed to solve: busybox: failed to resolve source metadata: pull access denied`:                                                           false,
		`what no builder has said so far`: false,
	} {
		if got := BuildFailed(&ExitError{Command: "build", Status: 1, Output: output}); got != want {
			t.Errorf("%q: %v", output, got)
		}
	}
}

// The engine's whole sentence is shown, however many lines it has.
func TestExitErrorHasTheWholeSentence(t *testing.T) {
	err := &ExitError{Command: "up", Status: 1, Output: " Container a  Starting\n" + daemonSays + `: driver failed: (iptables failed: iptables --wait: iptables: No chain/target/match by that name.
 (exit status 1))`}
	if text := err.Error(); !strings.HasSuffix(text, ": "+daemonSays+": driver failed: (iptables failed: iptables --wait: iptables: No chain/target/match by that name. (exit status 1))") {
		t.Error(text)
	}
	if text := (&ExitError{Command: "build", Status: 17, Output: "one\ntwo"}).Error(); text != "docker compose build ended with status 17: two" {
		t.Error(text)
	}
}
