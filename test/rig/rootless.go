package rig

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Rootless starts an engine that runs as the user, as dockerd-rootless.sh starts it: in a user
// and a network namespace of its own. What its containers publish can be reached from the host.
func (r *Rig) Rootless(user *User) *Engine {
	r.t.Helper()
	if err := giveSubordinates(user.Name); err != nil {
		r.t.Fatal(err)
	}
	dir := filepath.Join(user.Home, "engine")
	e := &Engine{Host: "unix://" + filepath.Join(dir, "docker.sock"), rig: r, dir: dir, data: filepath.Join(dir, "data"), user: user}
	r.mkdir(dir, 0o700)
	r.write(e.file("daemon.json"), "{}\n", 0o644)
	r.t.Cleanup(e.end)
	// A tun for all: where no udev runs, only root may open the machine's.
	for _, err := range []error{
		syscall.Mknod(e.file("tun"), syscall.S_IFCHR, 10<<8|200), os.Chmod(e.file("tun"), 0o666), os.Chown(dir, user.UID, user.GID),
	} {
		if err != nil {
			r.t.Fatalf("cannot prepare an engine of %s: %v", user.Name, err)
		}
	}
	e.Start()
	return e
}

// inOwnMounts has the engine's directory $1 and its user $2 before the command: the machine's root
// may not be shared, which the engine's mounts need.
const inOwnMounts = `set -e
mount --make-rshared /
mount --bind "$1/tun" /dev/net/tun
cd "$1"
export HOME="$1" XDG_RUNTIME_DIR="$1"
user=$2
shift 2
exec setpriv --reuid "$user" --regid "$user" --clear-groups --pdeathsig KILL "$@"`

// rootless prepares the engine with these options.
func (e *Engine) rootless(options []string) *exec.Cmd {
	start, err := exec.LookPath("dockerd-rootless.sh")
	if err != nil {
		start = "/usr/share/docker.io/contrib/dockerd-rootless.sh" // of Debian's package
	}
	return exec.Command("unshare", append([]string{"--mount", "sh", "-c", inOwnMounts, "sh", e.dir, e.user.Name, start}, options...)...)
}

// The subordinate ids given out are above those that useradd gives.
const lowestSubordinate, subordinates, ranges = 1_000_000_000, 65536, 40_000

// giveSubordinates gives a user as many uids and gids for containers as an engine needs. They are
// gone with the user.
func giveSubordinates(name string) error {
	unlock, err := lockMachine(changeUsers)
	if err != nil {
		return err
	}
	defer unlock()
	for range 100 {
		first := lowestSubordinate + rand.N(ranges)*subordinates
		if given, err := os.ReadFile("/etc/subuid"); err != nil && !errors.Is(err, os.ErrNotExist) || strings.Contains(string(given), fmt.Sprintf(":%d:", first)) {
			if err != nil {
				return err
			}
			continue
		}
		all := fmt.Sprintf("%d-%d", first, first+subordinates-1)
		_, err := output("usermod", "--add-subuids", all, "--add-subgids", all, name)
		return err
	}
	return errors.New("no free subordinate ids found in 100 tries")
}

// subordinatesOf returns the first of the uids that a user's containers may have, and how many
// there are; 0: none.
func subordinatesOf(name string) (first, number int, err error) {
	given, err := os.ReadFile("/etc/subuid")
	if errors.Is(err, os.ErrNotExist) {
		return 0, 0, nil
	}
	for line := range strings.Lines(string(given)) {
		if fields := strings.Split(strings.TrimSpace(line), ":"); len(fields) == 3 && fields[0] == name {
			first, errFirst := strconv.Atoi(fields[1])
			number, errNumber := strconv.Atoi(fields[2])
			return first, number, cmp.Or(errFirst, errNumber)
		}
	}
	return 0, 0, err
}
