package supervisor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/url"

	"pgo/internal/config"
)

// record is what pgod remembers about a service until it is removed. It is about the worker that
// was last launched in the service's directory, not about the present entry, which may name
// another user. When the entry is gone this is all that root knows. What the directory itself
// says does not count: a user without access to the host's engine could write there that this
// engine is the service's.
type record struct {
	User          string `json:"user"`
	UID           uint32 `json:"uid"`
	GID           uint32 `json:"gid"`
	DockerHost    string `json:"docker_host,omitempty"`   // empty: the host's own
	Source        string `json:"source,omitempty"`        // see source; empty: an older pgod recorded this, without a uid
	Configuration string `json:"configuration,omitempty"` // where its entry was; empty: not known
	Leaving       bool   `json:"leaving,omitempty"`       // a configuration that is in force has no entry for it
	Kept          bool   `json:"kept,omitempty"`          // nor has one at the start; left alone until an operator confirms its removal
}

// known reports whether the record is enough to say who may do what.
func (r record) known() bool { return r.Source != "" }

// source identifies what a service is made from, whatever token its URL contains now.
func source(service config.Service) string {
	text := service.Repository.Reveal()
	if u, err := url.Parse(text); err == nil {
		u.User = nil
		text = u.String()
	}
	sum := sha256.Sum256([]byte(text + "\n" + service.Branch))
	return hex.EncodeToString(sum[:])
}

// sameUser reports whether no other user has the uid by now: the uid of a removed user is often
// given to the next one.
func sameUser(ctx context.Context, user string, uid uint32) (bool, error) {
	ctx, cancel := lookingUp(ctx)
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

// account returns the account that takes down what was deployed from a directory: its owner, with
// what the service's worker had. An unknown owner gets nothing but the uid. The directory's own
// group is no better: the owner can set it to any group that a worker once had, including the
// engine's.
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
