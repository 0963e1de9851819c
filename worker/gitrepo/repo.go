// Package gitrepo is all that a worker does with git: it looks at a branch,
// fetches its head into a bare repository, and writes commits into directories.
//
// Objects, packs and trees are go-git's business; the package never runs a git command. The
// conversation with the remote is its own, because go-git's transports cannot ask for one commit
// as a difference to another (they fetch the whole tree again, or all of the history behind a
// merge), do not let a context end a silent SSH server, and list every ref for a look.
//
// The repository holds commits without their history. A fetch brings only what the new head's
// tree has and the kept commits do not have, so it is as small after a rewritten branch or a
// merge as after any other commit. What is no longer needed stays until Compact removes it.
//
// If a commit has a submodule, the submodule's files are part of its tree once FetchSubmodules
// has fetched them: Stage writes them, Entries looks into them, Keep keeps them, in the same
// repository. FetchSubmodules is a separate step, since whose keys may log in must not depend on
// it. Nor does a submodule that cannot be fetched prevent the commit from being staged, as the
// commit may not use it: Missing says which of the paths that it does use are submodules that are
// not here, or pointers to Git LFS.
//
// The package must not know what is in the files of a commit, apart from .gitmodules and public
// keys: neither compose nor the policy, nor which commit is deployed.
package gitrepo

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/go-git/go-git/v5/plumbing"
)

// Info describes a commit to a person. Its texts are one line each, printable and short.
type Info struct {
	Hash    Hash
	Author  string
	Subject string
	When    time.Time
}

// Repo is a bare repository on disk that follows one branch of one remote. It
// may be used by several goroutines.
//
// Each part of it has a state of its own, and knows only the parts that it is made of: what is
// stored (objects), why that is kept (refs), and how it is compacted (compaction); the remote
// (origin); and what reads commits (reader) or writes them to directories (checkouts). Repo
// itself does what takes several of them: it fetches, rebuilds, and fetches submodules.
type Repo struct {
	*origin
	*compaction
	reader
	checkouts
	failures
	rebuilt error

	fetching sync.Mutex // held by whoever changes what is on disk
	tooLarge Hash       // a commit that exceeds the limit by itself; guarded by fetching
}

func newRepo(dir string, from *origin, limit int64, allowed slack) *Repo {
	o := &objects{dir: dir, limit: limit, stall: from.stall}
	return &Repo{origin: from, compaction: &compaction{refs: &refs{objects: o}, slack: allowed}, reader: reader{o}, checkouts: checkouts{o}}
}

// refs is why a repository's objects are kept: the head, the kept commits, and the submodules.
type refs struct {
	*objects

	mu   sync.Mutex // guards what follows
	head Hash
}

type options struct {
	limit      int64
	stall      time.Duration
	knownHosts []string
	slack      slack
}

// Option changes how a Repo behaves.
type Option func(*options)

// Limit bounds what the repository may take on disk, and what the files of one commit may take.
// The default is 1 GiB.
func Limit(bytes int64) Option { return func(o *options) { o.limit = bytes } }

// StallAfter sets how long a remote may be silent. The default is one minute: git's
// own servers send something every five seconds while they work.
func StallAfter(d time.Duration) Option { return func(o *options) { o.stall = d } }

// KnownHosts sets the files in which the keys of SSH servers are looked up,
// instead of /etc/ssh/ssh_known_hosts and the user's own.
func KnownHosts(files ...string) Option { return func(o *options) { o.knownHosts = files } }

// Open opens the bare repository in dir, which follows branch of remote, and creates it if
// needed. It replaces a damaged repository, one whose head cannot be read, by an empty one;
// Rebuilt then returns why.
func Open(dir string, remote Remote, branch string, opts ...Option) (*Repo, error) {
	o := options{limit: 1 << 30, stall: time.Minute, knownHosts: defaultKnownHosts(), slack: roomy}
	for _, set := range opts {
		set(&o)
	}
	from, err := newOrigin(remote, branch, o)
	if err != nil {
		return nil, err
	}
	r := newRepo(filepath.Clean(dir), from, o.limit, o.slack)
	if err := r.load(); err != nil {
		return nil, fmt.Errorf("cannot open the git repository %s: %w", r.dir, err)
	}
	return r, nil
}

// Rebuilt returns why Open found the repository damaged and replaced it, or nil.
func (r *Repo) Rebuilt() error { return r.rebuilt }

// Head returns the branch's newest commit as fetched, and whether there is one.
func (r *refs) Head() (Hash, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.head, !r.head.IsZero()
}

// HeadTime returns when the head was fetched; the zero time if that is not known.
func (r *Repo) HeadTime() time.Time {
	info, err := os.Stat(filepath.Join(r.dir, headRef))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

func (r *refs) setHead(h Hash) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.head = h
}

// Commit returns the description of a commit.
func (r reader) Commit(hash Hash) (Info, error) {
	store := r.store()
	defer store.close()
	c, err := commit(store, hash)
	if err != nil {
		return Info{}, err
	}
	subject, _, _ := strings.Cut(strings.TrimSpace(c.Message), "\n")
	return Info{Hash: hash, Author: oneLine(c.Author.Name), Subject: oneLine(subject), When: c.Committer.When}, nil
}

// oneLine makes text from a repository fit to be shown in a terminal.
func oneLine(s string) string {
	const most = 200
	clean := []rune(strings.TrimSpace(strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return -1
		}
		return c
	}, s)))
	if len(clean) > most {
		clean = append(clean[:most-1], '…')
	}
	return string(clean)
}

// Keep keeps the objects of these commits and of their submodules available, besides those of the
// head, and drops all commits that were kept before. It skips a commit that is not here.
func (r *Repo) Keep(commits ...Hash) error {
	r.fetching.Lock()
	defer r.fetching.Unlock()
	kept := filepath.Join(r.dir, keepRefs)
	wanted := map[string]bool{}
	for _, c := range r.completeOf(commits...) {
		wanted[c.String()] = true
		if err := writeFile(filepath.Join(kept, c.String()), []byte(c.String()+"\n")); err != nil {
			return err
		}
	}
	refs, err := os.ReadDir(kept)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	for _, ref := range refs {
		if !wanted[ref.Name()] {
			if err := os.Remove(filepath.Join(kept, ref.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// held returns those of the head and the kept commits that are complete, as the remote will
// assume.
func (r *refs) held() ([]Hash, error) {
	commits, err := r.wanted()
	return r.completeOf(commits...), err
}

// wanted returns the head and the kept commits, sorted.
func (r *refs) wanted() ([]Hash, error) {
	refs, err := os.ReadDir(filepath.Join(r.dir, keepRefs))
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	var commits []Hash
	if head, ok := r.Head(); ok {
		commits = append(commits, head)
	}
	for _, ref := range refs {
		if plumbing.IsHash(ref.Name()) {
			commits = append(commits, Hash(plumbing.NewHash(ref.Name())))
		}
	}
	sortHashes(commits)
	return slices.Compact(commits), nil
}
