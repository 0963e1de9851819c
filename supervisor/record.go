package supervisor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/url"

	"pgo/internal/config"
)

// record is what pgod remembers of a service until it is removed: of the worker that was
// launched last in its directory, not of what its entry says by now, which may be another
// user's. When the entry is gone this is all that root knows. What the directory says
// itself does not count: who is kept from the host's engine could write there that this
// is its own.
type record struct {
	User          string `json:"user"`
	UID           uint32 `json:"uid"`
	GID           uint32 `json:"gid"`
	DockerHost    string `json:"docker_host,omitempty"`   // empty: the host's own
	Source        string `json:"source,omitempty"`        // see source; empty: an older pgod has recorded this, without an uid
	Configuration string `json:"configuration,omitempty"` // where its entry was; empty: nobody has said so
}

// known tells whether there is enough in it to say who may do what.
func (r record) known() bool { return r.Source != "" }

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

// nogroup is the group of a user that must not have one.
const nogroup = 65534

// account is who takes down what was deployed from a directory: its owner, with what
// the service's worker had. Who is not known gets nothing beside the uid. The
// directory's own group is no better: the owner can give it any that a worker once had,
// the engine's too.
func (r record) account(ctx context.Context, owner uint32) (account, error) {
	if !r.known() {
		return account{uid: owner, gid: nogroup}, nil
	}
	own := r.DockerHost == ""
	user, err := lookupAccount(ctx, r.User, own)
	switch {
	case err == nil && user.uid == owner:
		return user, nil
	case err != nil && !errors.Is(err, errNotThere):
		return account{}, err
	}
	gone := account{uid: owner, gid: r.GID} // a user that does not exist any more
	if own {
		gid, err := dockerGID(ctx)
		if err != nil {
			return account{}, err
		}
		gone.groups = []uint32{gid}
	}
	return gone, nil
}
