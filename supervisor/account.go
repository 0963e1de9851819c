package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// dockerGroup is the group whose members may talk to the Docker engine.
const dockerGroup = "docker"

// lookupTimeout bounds a query to the name service, which may be a server on the network.
const lookupTimeout = 5 * time.Second

// account is the identity that a worker runs as.
type account struct {
	uid, gid uint32
	groups   []uint32 // supplementary: the user's own, and docker for the host's engine; sorted
}

func lookingUp(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, lookupTimeout, fmt.Errorf("the name service has not answered within %s", lookupTimeout))
}

// accounts looks up accounts. Many services start at once, often of the same user and all of one
// engine, and each look-up starts programs: they share what they ask at the same time.
type accounts struct {
	users  shared[account]
	groups shared[uint32]
}

// lookup returns the user's account. The group docker is added for the host's own engine; another
// engine does not need it.
func (a *accounts) lookup(ctx context.Context, user string, ownEngine bool) (account, error) {
	who, err := a.users.ask(ctx, user, func(ctx context.Context) (account, error) { return lookupUser(ctx, user) })
	if err != nil {
		return account{}, err
	}
	groups := slices.Clone(who.groups) // others have got the same
	if ownEngine {
		gid, err := a.groups.ask(ctx, dockerGroup, dockerGID)
		if err != nil {
			return account{}, err
		}
		groups = append(groups, gid)
	}
	slices.Sort(groups)
	return account{uid: who.uid, gid: who.gid, groups: slices.Compact(groups)}, nil
}

// lookupAccount looks up the account of a user as accounts does, without others.
func lookupAccount(ctx context.Context, user string, ownEngine bool) (account, error) {
	return new(accounts).lookup(ctx, user, ownEngine)
}

// lookupUser asks the system's name service through its own programs: a static Go binary would
// read /etc/passwd only and miss LDAP users.
func lookupUser(ctx context.Context, user string) (account, error) {
	ctx, cancel := lookingUp(ctx)
	defer cancel()
	passwd, err := getent(ctx, "passwd", user)
	if err != nil {
		if errors.Is(err, errNotThere) {
			err = fmt.Errorf("%w; create it, or correct `user`", err)
		}
		return account{}, fmt.Errorf("user %q: %w", user, err)
	}
	words, err := command(ctx, "id", "-G", "--", user)
	if err != nil {
		return account{}, fmt.Errorf("cannot list the groups of user %q: %w", user, err)
	}
	wanted := append([]string{passwd[2], passwd[3]}, strings.Fields(words)...)
	ids, err := numbers(wanted)
	if err != nil {
		return account{}, fmt.Errorf("user %q: %w", user, err)
	}
	return account{uid: ids[0], gid: ids[1], groups: ids[2:]}, nil
}

// dockerGID returns the ID of the group whose members may use the host's engine.
func dockerGID(ctx context.Context) (uint32, error) {
	ctx, cancel := lookingUp(ctx)
	defer cancel()
	group, err := getent(ctx, "group", dockerGroup)
	if err != nil {
		if errors.Is(err, errNotThere) {
			err = fmt.Errorf("%w; it comes with the Docker engine", err)
		}
		return 0, fmt.Errorf("group %q: %w", dockerGroup, err)
	}
	gid, err := numbers(group[2:3])
	if err != nil {
		return 0, fmt.Errorf("group %q: %w", dockerGroup, err)
	}
	return gid[0], nil
}

// errNotThere reports that the name service has no such entry.
var errNotThere = errors.New("does not exist on this host")

// getent returns the fields of one entry.
func getent(ctx context.Context, database, name string) ([]string, error) {
	line, err := command(ctx, "getent", "--", database, name)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 2 {
		return nil, errNotThere
	}
	if err != nil {
		return nil, err
	}
	fields := strings.Split(strings.TrimSpace(line), ":")
	if len(fields) < 4 || fields[0] != name {
		return nil, errNotThere // getent also accepts a number as the name
	}
	return fields, nil
}

// uidOf returns the uid that the user has now.
func uidOf(ctx context.Context, user string) (uint32, error) {
	passwd, err := getent(ctx, "passwd", user)
	if err != nil {
		return 0, fmt.Errorf("user %q: %w", user, err)
	}
	ids, err := numbers(passwd[2:3])
	if err != nil {
		return 0, fmt.Errorf("user %q: %w", user, err)
	}
	return ids[0], nil
}

// hasUser reports whether any user has the uid.
func hasUser(ctx context.Context, uid uint32) (bool, error) {
	_, err := command(ctx, "getent", "--", "passwd", strconv.FormatUint(uint64(uid), 10))
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 2 {
		return false, nil
	}
	return err == nil, err
}

func command(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if ctx.Err() != nil {
		err = context.Cause(ctx) // not that it was killed
	}
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, args[len(args)-1], err)
	}
	return string(out), nil
}

func numbers(words []string) ([]uint32, error) {
	var all []uint32
	for _, word := range words {
		n, err := strconv.ParseUint(word, 10, 32)
		if err != nil {
			return nil, err
		}
		all = append(all, uint32(n))
	}
	return all, nil
}
