package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"pgo/internal/config"
)

// noted is what pgod remembers of a service until it is removed: when its entry goes
// while pgod does not run, this is all that root knows of it. What the service's own
// directory says of its engine does not count for that: who is kept from the host's
// engine could write there that this is its own.
type noted struct {
	User       string `json:"user"`
	DockerHost string `json:"docker_host,omitempty"` // empty: the host's own
}

func (n noted) known() bool { return n.User != "" }

// notes is the file that has them.
const notes = "services.json"

// loadNotes reads what an earlier pgod has noted.
func loadNotes(dir string) (map[string]noted, error) {
	all := map[string]noted{}
	raw, err := os.ReadFile(filepath.Join(dir, notes))
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &all)
	}
	if err != nil {
		return map[string]noted{}, fmt.Errorf("cannot read which services there were: %w", err)
	}
	return all, nil
}

// note remembers these services beside those that are yet to be removed. The lock is
// held.
func (s *Supervisor) note(services []config.Service) {
	next := maps.Clone(s.noted)
	for _, service := range services {
		next[service.Name] = noted{service.User, service.DockerHost}
	}
	s.saveNotes(next)
}

// forget forgets a service that is removed. The lock is held.
func (s *Supervisor) forget(name string) {
	next := maps.Clone(s.noted)
	delete(next, name)
	s.saveNotes(next)
}

func (s *Supervisor) saveNotes(next map[string]noted) {
	if maps.Equal(next, s.noted) {
		return
	}
	s.noted = next
	raw, err := json.MarshalIndent(next, "", "  ")
	if err == nil {
		err = renameio.WriteFile(filepath.Join(s.opts.Dir, notes), append(raw, '\n'), 0o600, renameio.WithTempDir(s.opts.Dir))
	}
	if err != nil {
		s.opts.Logger.Error("cannot note which services there are: one that is taken out while pgod does not run may not be removed", "error", err)
	}
}

// account is who takes down what was deployed from the directory: its owner, with the
// service's groups if the user is the same as it was. The engine of the host is for who
// had it before.
func (n noted) account(ctx context.Context, dir string) (account, error) {
	var info unix.Stat_t
	if err := unix.Lstat(dir, &info); err != nil {
		return account{}, fmt.Errorf("cannot look at the service's directory: %w", err)
	}
	if info.Mode&unix.S_IFMT != unix.S_IFDIR {
		return account{}, fmt.Errorf("%s is no directory: move it away", dir)
	}
	own := n.known() && n.DockerHost == ""
	if n.known() {
		user, err := lookupAccount(ctx, n.User, own)
		switch {
		case err == nil && user.uid == info.Uid && user.gid == info.Gid:
			return user, nil
		case err != nil && !errors.Is(err, errNotThere):
			return account{}, err
		}
	}
	owner := account{uid: info.Uid, gid: info.Gid}
	if own {
		gid, err := dockerGID(ctx)
		if err != nil {
			return account{}, err
		}
		owner.groups = []uint32{gid}
	}
	return owner, nil
}
