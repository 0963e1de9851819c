package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"

	"pgo/internal/gitserver"
)

// Bounds of the submodules of one commit, including those of submodules.
const (
	maxModules     = 100
	maxModuleDepth = 5
)

// failure is why a submodule cannot be fetched.
type failure struct {
	why     string // continues a text that ends in "it"
	verdict bool   // the commit's own fault
	cause   error
}

// FetchSubmodules fetches the submodules of the head or of a kept commit, and theirs, unless they
// are here. If all are, it asks no server.
//
// It fetches them from where .gitmodules says, if that is the repository's own server, with the
// same credentials, or one of Remote.Submodules, without any. The same holds for submodules of
// submodules and for redirects: the server that counts is always that of the repository itself.
// It fetches from this machine only if the repository is there.
//
// It continues after one that it cannot fetch, and returns an ErrSubmodule for each. The commit
// may not need them: ask Missing.
func (r *Repo) FetchSubmodules(ctx context.Context, commit Hash) error {
	r.fetching.Lock()
	defer r.fetching.Unlock()
	f := moduleFetch{Repo: r, ctx: ctx, down: map[string]failure{}, failed: map[Hash]failure{}}
	err := f.all(commit, r.address, "", 1)
	r.setFailures(f.failed)
	if err != nil {
		return err
	}
	return errors.Join(f.errs...)
}

// failures is why the submodules of the last try are not here.
type failures struct {
	mu sync.Mutex
	of map[Hash]failure
}

// setFailures replaces what Missing says about submodules that are not here.
func (r *failures) setFailures(failed map[Hash]failure) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of = failed
}

// failure returns why a submodule is not here.
func (r *failures) failure(commit Hash) failure {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range []Hash{commit, allOthers} {
		if f, ok := r.of[c]; ok {
			return f
		}
	}
	return failure{why: "has not been fetched yet"}
}

// allOthers stands for the submodules that were not reached.
var allOthers Hash

// moduleFetch is one run of FetchSubmodules.
type moduleFetch struct {
	*Repo
	ctx    context.Context
	count  int
	down   map[string]failure // servers that are not asked again
	failed map[Hash]failure
	errs   []error
}

// all fetches the submodules of a commit from address from, which is at dir. An error ends the
// whole run.
func (f *moduleFetch) all(commit Hash, from *address, dir string, depth int) error {
	links, err := f.links(commit)
	if err != nil {
		return err
	}
	for _, l := range links {
		if f.count++; f.count > maxModules {
			f.note(path.Join(dir, l.path), Hash(allOthers), failure{
				why: fmt.Sprintf("comes after %d others, and pgo fetches no more; use fewer", maxModules), verdict: true})
			return nil
		}
		where, failed := f.one(l, from, depth)
		if f.ctx.Err() != nil {
			return f.fail("cannot fetch the submodules of", context.Cause(f.ctx))
		}
		if failed.why != "" {
			f.note(path.Join(dir, l.path), l.commit, failed)
			continue
		}
		if err := f.all(l.commit, where, path.Join(dir, l.path), depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (f *moduleFetch) links(commit Hash) ([]link, error) {
	store := f.store()
	defer store.close()
	return readLinks(store, commit)
}

// note records why there is no submodule at a path, for the error and for Missing.
func (f *moduleFetch) note(at string, commit Hash, failed failure) {
	if _, twice := f.failed[commit]; twice && commit == allOthers {
		return
	}
	f.failed[commit] = failed
	text := fmt.Sprintf("cannot fetch the submodule %q: it %s", at, failed.why)
	f.errs = append(f.errs, &Error{Text: text, kind: ErrSubmodule, cause: failed.cause})
}

// one makes a submodule of the repository at base available here, and returns its address.
func (f *moduleFetch) one(l link, base *address, depth int) (*address, failure) {
	if l.why != "" {
		return nil, failure{why: l.why, verdict: true}
	}
	if depth > maxModuleDepth {
		return nil, failure{why: fmt.Sprintf("is nested %d levels deep, and pgo goes no deeper", depth), verdict: true}
	}
	from, why := base.submodule(l.url)
	if why != "" {
		return nil, failure{why: why, verdict: true}
	}
	if f.heldModules().have(l.commit) && f.complete(l.commit) {
		return from, failure{}
	}
	access, why := from.forModule(f.address, f.listed)
	if why != "" {
		return nil, failure{why: why, verdict: true}
	}
	server := from.url.Host
	if failed, ok := f.down[server]; ok {
		return nil, failed
	}
	err := f.module(access, placeOf(from), l.commit)
	if err == nil {
		return from, failure{}
	}
	failed := failure{
		why:     fmt.Sprintf("cannot be fetched from %s: %s", oneLine(from.String()), f.redact.text(f.explain(from, l.commit, err))),
		verdict: errors.Is(err, ErrBadCommit),
		cause:   f.redact.error(err),
	}
	var network net.Error
	if server != "" && !errors.Is(err, errElsewhere) && (errors.As(err, &network) || errors.Is(err, ErrStalled) || errors.Is(err, ErrBusy)) {
		f.down[server] = failed
	}
	return nil, failed
}

// module fetches a commit of a submodule.
func (f *moduleFetch) module(access *address, place string, want Hash) error {
	from, err := f.connect(access)
	if err != nil {
		return err
	}
	if h, ok := from.(*httpRemote); ok {
		h.ofModule(f.web, f.elsewhere)
		defer h.client.CloseIdleConnections()
	}
	have := f.completeOf(f.heldModules().from(place)...)
	obtain := func() error {
		return f.obtain(f.ctx, from, query{want: want, have: have, any: true}, func(_ string, err error) error { return err })
	}
	err = obtain()
	if errors.Is(err, ErrTooLarge) && f.compact(f.ctx, tight) == nil {
		have = nil // it may not have been kept
		err = obtain()
	}
	if errors.Is(err, ErrDamaged) && len(have) > 0 {
		have = nil
		err = obtain()
	}
	if errors.Is(err, ErrDamaged) {
		// What was sent is damaged: the repository itself need not be rebuilt.
		return problem(nil, "what it sent cannot be read")
	}
	if err != nil {
		return err
	}
	return f.recordModule(place, want)
}

// elsewhere refuses a redirect by a submodule's server, unless submodules may come from there.
func (f *moduleFetch) elsewhere(to *url.URL) error {
	there := &address{url: *to}
	if there.sameServer(f.address) || f.listed.have(there) {
		return nil
	}
	server, plain := gitserver.Of(to)
	if !plain {
		return problem(errElsewhere, "its server redirects to one that is not the repository's; %s", toOwnServer)
	}
	return problem(errElsewhere, "its server redirects to %s, which is not the repository's server; %s, or %s", server, toOwnServer, entryFor(server))
}

// explain says in words for the user why a submodule cannot be fetched from there.
func (f *moduleFetch) explain(from *address, commit Hash, err error) string {
	var (
		own     *Error
		dns     *net.DNSError
		foreign = !from.sameServer(f.address)
	)
	switch {
	case errors.Is(err, ErrAuth) && foreign:
		return "it wants credentials, and pgo does not send those of `repository` to another server; put it on the same server, or make it public"
	case errors.Is(err, ErrAuth):
		return "it wants credentials with read access; give the token or the deploy key of `repository` that access"
	case errors.Is(err, ErrNotFound) && foreign:
		return "there is no such repository, or it is not public"
	case errors.Is(err, ErrNotFound):
		return "there is no such repository, or the token or the deploy key of `repository` may not read it"
	case errors.Is(err, ErrMoved), errors.Is(err, plumbing.ErrObjectNotFound):
		return fmt.Sprintf("it does not serve the commit %s; push it there, or choose one that is there", commit)
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Sprintf("there is no host %s; correct it in .gitmodules", dns.Name)
	case errors.Is(err, ErrStalled), errors.Is(err, ErrBusy), errors.Is(err, ErrFormat), errors.Is(err, ErrTooLarge), errors.Is(err, ErrHostKey), errors.Is(err, errElsewhere):
		return explain(err)
	case foreign && errors.As(err, &own):
		// The words of an arbitrary server that a commit names are not repeated.
		return "it does not answer like a git server"
	}
	return explain(err)
}
