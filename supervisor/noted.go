package supervisor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"

	"golang.org/x/sys/unix"

	"pgo/internal/config"
)

// noted is what pgod remembers of a service until it is removed: of the worker that was
// launched last in its directory, not of what its entry says by now, which may be another
// user's. When the entry is gone this is all that root knows. What the directory says
// itself does not count: who is kept from the host's engine could write there that this
// is its own.
type noted struct {
	User          string `json:"user"`
	UID           uint32 `json:"uid"`
	GID           uint32 `json:"gid"`
	DockerHost    string `json:"docker_host,omitempty"`   // empty: the host's own
	Source        string `json:"source,omitempty"`        // see source; empty: an older pgod has noted this, without an uid
	Configuration string `json:"configuration,omitempty"` // where its entry was; empty: nobody has said so
}

// known tells whether there is enough in it to say who may do what.
func (n noted) known() bool { return n.Source != "" }

// source identifies what a service is made from, whatever token its URL holds by now.
func source(service config.Service) string {
	text := service.Repository.Reveal()
	if u, err := url.Parse(text); err == nil {
		u.User = nil
		text = u.String()
	}
	sum := sha256.Sum256([]byte(text + "\n" + service.Branch))
	return hex.EncodeToString(sum[:])
}

// ran notes who is about to work in the service's directory, which is that user's.
func (s *Supervisor) ran(service config.Service, who account) {
	s.notes.change(func(all map[string]noted) {
		all[service.Name] = noted{
			User: service.User, UID: who.uid, GID: who.gid, DockerHost: service.DockerHost,
			Source: source(service), Configuration: s.opts.Configuration,
		}
	})
}

// claim notes that these services are of this pgod's configuration.
func (s *Supervisor) claim(services []config.Service) {
	s.notes.change(func(all map[string]noted) {
		for _, service := range services {
			if n, ok := all[service.Name]; ok {
				n.Configuration = s.opts.Configuration
				all[service.Name] = n
			}
		}
	})
}

// forget forgets a service that is removed.
func (s *Supervisor) forget(name string) {
	s.notes.change(func(all map[string]noted) { delete(all, name) })
}

// ownerOf is whose the service's directory is, and what is noted of that owner; nothing,
// if it is of somebody else.
func (s *Supervisor) ownerOf(ctx context.Context, name string) (owner uint32, n noted, err error) {
	dir := s.dirOf(name)
	var info unix.Stat_t
	if err := unix.Lstat(dir, &info); err != nil {
		return 0, noted{}, fmt.Errorf("cannot look at the service's directory: %w", err)
	}
	if info.Mode&unix.S_IFMT != unix.S_IFDIR {
		return 0, noted{}, fmt.Errorf("%s is no directory: move it away", dir)
	}
	n = s.notes.get(name)
	if !n.known() || n.UID != info.Uid {
		return info.Uid, noted{}, nil
	}
	same, err := sameUser(ctx, n.User, n.UID)
	if err != nil || !same {
		return info.Uid, noted{}, err
	}
	return info.Uid, n, nil
}

// sameUser tells whether nobody else has the uid by now: that of a user who was removed is
// often the next one's.
func sameUser(ctx context.Context, user string, uid uint32) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	is, err := uidOf(ctx, user)
	if err == nil && is == uid {
		return true, nil
	}
	if err != nil && !errors.Is(err, errNotThere) {
		return false, err
	}
	taken, err := hasUser(ctx, uid)
	return !taken, err
}

// nogroup is the group of who is not to have one.
const nogroup = 65534

// account is who takes down what was deployed from a directory: its owner, with what
// the service's worker had. Who is not known gets nothing beside the uid. The
// directory's own group is no better: the owner can give it any that a worker once had,
// the engine's too.
func (n noted) account(ctx context.Context, owner uint32) (account, error) {
	if !n.known() {
		return account{uid: owner, gid: nogroup}, nil
	}
	own := n.DockerHost == ""
	user, err := lookupAccount(ctx, n.User, own)
	switch {
	case err == nil && user.uid == owner:
		return user, nil
	case err != nil && !errors.Is(err, errNotThere):
		return account{}, err
	}
	gone := account{uid: owner, gid: n.GID} // a user that does not exist any more
	if own {
		gid, err := dockerGID(ctx)
		if err != nil {
			return account{}, err
		}
		gone.groups = []uint32{gid}
	}
	return gone, nil
}
