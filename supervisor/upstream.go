package supervisor

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/status"

	"pgo/internal/config"
	"pgo/internal/dropin"
	"pgo/internal/hoststat"
	"pgo/internal/printable"
	"pgo/proto"
)

// fetchTimeout bounds one fetch of a configuration.
const fetchTimeout = 5 * time.Minute

// Fetcher fetches a configuration from git. Root does not do so itself: a worker does, which runs
// as a user without any rights and hands over the files.
type Fetcher struct {
	launcher *launcher
	upstream config.Upstream
	log      hclog.Logger

	mu      sync.Mutex // held during a fetch; guards what follows
	process *process   // nil: none is running
	closed  bool
	uid     uint32 // that it has taken; 0: none
}

// Fetched holds the configuration in a branch.
type Fetched struct {
	Commit  string
	Author  string
	Subject string
	Files   []config.File
}

// NewFetcher returns a Fetcher, which starts nothing by itself.
func (s *Supervisor) NewFetcher(upstream config.Upstream) *Fetcher {
	return &Fetcher{launcher: s.launcher, upstream: upstream, log: s.opts.Logger.With("upstream", upstream.Repository.String())}
}

// Fetch returns what is in the branch now. The text of its errors is safe to print.
func (f *Fetcher) Fetch(ctx context.Context) (Fetched, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return Fetched{}, errors.New("pgod is stopping")
	}
	call, cancel := context.WithTimeout(ctx, fetchTimeout+heartbeatInterval)
	defer cancel()
	reply, err := f.ask(call)
	if lost(err) && call.Err() == nil && f.process != nil && f.process.goneSoon() {
		f.log.Warn("the worker that fetches the configuration is gone: starting another", "error", f.process.ending())
		f.end()
		reply, err = f.ask(call)
	}
	if err != nil {
		if call.Err() != nil {
			f.end() // it may hang
		}
		return Fetched{}, fmt.Errorf("cannot fetch the configuration: %s", printable.Line(status.Convert(err).Message()))
	}
	return f.upstreamFiles(reply), nil
}

// ask has the worker fetch, and starts one if there is none. The lock is held.
func (f *Fetcher) ask(ctx context.Context) (*proto.FetchReply, error) {
	if f.process == nil {
		p, err := f.launcher.launch(ctx, f.errand())
		if err != nil {
			return nil, err
		}
		f.process = p
	}
	return f.process.rpc.Fetch(ctx, &proto.FetchRequest{Main: f.upstream.Path, Dropins: dropin.Dir(f.upstream.Path)})
}

func (f *Fetcher) upstreamFiles(reply *proto.FetchReply) Fetched {
	name := path.Base(strings.TrimSuffix(f.upstream.Repository.String(), "/"))
	fetched := Fetched{Commit: printable.Line(reply.GetCommit()), Author: printable.Line(reply.GetAuthor()), Subject: printable.Line(reply.GetSubject())}
	for _, file := range reply.GetFiles() {
		fetched.Files = append(fetched.Files, config.File{Path: printable.Line(name + "//" + file.GetPath()), Content: file.GetContent()})
	}
	return fetched
}

// errand returns the errand of the worker that fetches.
func (f *Fetcher) errand() errand {
	u := f.upstream
	return errand{
		account: func(ctx context.Context) (account, error) {
			who, err := lookupAccount(ctx, u.User, false)
			switch {
			case errors.Is(err, errNotThere):
				return who, fmt.Errorf("%w (in [upstream], or --config-user); `useradd --system --no-create-home --shell /usr/sbin/nologin %s` creates it", err, u.User)
			case err != nil:
				return who, err
			}
			return who, f.powerless(ctx, who)
		},
		take: func(who account) (func(), error) {
			if err := f.launcher.uids.fetch(who.uid); err != nil {
				return nil, fmt.Errorf("user %q: %w", u.User, err)
			}
			f.uid = who.uid
			return func() {}, nil // it stays taken until Close: a worker that is gone is followed by another
		},
		dir: func(who account) (string, error) {
			dir := filepath.Join(f.launcher.data.path, "upstream")
			return dir, handDir(dir, who)
		},
		configure: func(account) *proto.ConfigureRequest {
			return &proto.ConfigureRequest{
				Purpose: proto.ConfigureRequest_PURPOSE_CONFIGURATION, Name: "(upstream)",
				Repository: u.Repository.Reveal(), Branch: u.Branch, GitKey: []byte(u.GitKey.Reveal()),
				WebProxies: webProxies(u.Proxies), Ca: []byte(u.CA),
				TimeoutMs: fetchTimeout.Milliseconds(),
			}
		},
		log: f.log,
		// There is one, and the workers that start may be those that its configuration takes out.
		atOnce: true,
	}
}

// powerless returns an error if the user has rights: nobody with rights is to read what a git
// server sends.
func (f *Fetcher) powerless(ctx context.Context, who account) error {
	name := f.upstream.User
	if who.uid == 0 {
		return fmt.Errorf("user %q is root by another name: data from a git server is not read as root", name)
	}
	if group, err := getent(ctx, "group", dockerGroup); err == nil {
		if id, err := numbers(group[2:3]); err == nil && slices.Contains(who.groups, id[0]) {
			return fmt.Errorf("user %q is in the group %s, which is equivalent to root: fetching the configuration needs no rights", name, dockerGroup)
		}
	}
	return nil
}

// end ends the worker. The lock is held.
func (f *Fetcher) end() {
	if f.process != nil {
		f.process.discard()
		f.process = nil
	}
}

// Close ends the worker. The context of a running fetch must be cancelled first.
func (f *Fetcher) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.end()
	f.launcher.uids.leave(f.uid)
}

// Upstream is what is shown about a configuration that is in git.
type Upstream struct {
	From    string // its repository, path and branch
	Commit  string // the one in force; empty: none yet
	Author  string
	Subject string
	Applied time.Time // when the commit was first in force
	Looked  time.Time // when the branch was last seen
	Looking time.Time // since when it is being looked at and fetched; zero: it is not, now
	Err     error     // of the last look; nil: it succeeded
	Since   time.Time // of Err
}

// text describes the configuration's origin, below the table of services.
func (u *Upstream) text(now time.Time) string {
	if u == nil {
		return ""
	}
	commit := "nothing of it is in force yet"
	if u.Commit != "" {
		commit = fmt.Sprintf("%s %q by %s", hoststat.Short(u.Commit), u.Subject, u.Author)
	}
	text := fmt.Sprintf("\nConfiguration: %s: %s\n", u.From, commit)
	if age := now.Sub(u.Looking); !u.Looking.IsZero() && age >= longLook {
		text += fmt.Sprintf("  fetching for %s\n", age.Round(time.Second))
	}
	if u.Err != nil {
		text += fmt.Sprintf("  %s (for %s)\n", printable.Line(u.Err.Error()), now.Sub(u.Since).Round(time.Second))
	}
	return text
}

// longLook is how long a look at a branch may take before it is worth showing.
const longLook = 2 * time.Second

// status returns the upstream as --json prints it.
func (u *Upstream) status() *hoststat.Upstream {
	if u == nil {
		return nil
	}
	all := &hoststat.Upstream{
		From: u.From, Commit: u.Commit, Author: u.Author, Subject: u.Subject,
		AppliedAt: u.Applied.UTC().Truncate(time.Second), LookedAt: u.Looked.UTC().Truncate(time.Second),
		Fetching: u.Looking.UTC().Truncate(time.Second),
	}
	if u.Err != nil {
		all.Error = &hoststat.Error{Text: printable.Line(u.Err.Error()), Since: u.Since.UTC().Truncate(time.Second)}
	}
	return all
}
