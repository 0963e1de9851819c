package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/internal/printable"
	"pgo/worker/compose"
	"pgo/worker/gitrepo"
	"pgo/worker/snippet"
)

// Proxy is the configuration of a service that is the reverse proxy of the others.
type Proxy struct {
	Import  string   // path in the repository, where the snippet is written
	Service string   // the compose service that reads it; empty: nobody is told
	Switch  string   // what the names of the switches next to the snippet begin with
	Command []string // to run in its containers when the snippet has changed
}

// Reload is the result of telling the proxy that its snippet has changed.
type Reload string

const (
	Pending      Reload = "pending" // the snippet is new, and the proxy is about to be told
	Reloaded     Reload = "reloaded"
	ReloadFailed Reload = "failed"      // it is tried again, less and less often
	NotRunning   Reload = "not running" // it reads the snippet when it starts
)

// Snippet is what is remembered about a proxy's snippet.
type Snippet struct {
	Import    string    `json:"import,omitempty"`    // where it was written; the rest is about that file
	WrittenAt time.Time `json:"written_at,omitzero"` // when its content last changed
	Known     string    `json:"known,omitempty"`     // identifies the content that the proxy reads; see identify
	Reload    Reload    `json:"reload,omitempty"`    // empty: nobody had to be told yet
	At        time.Time `json:"at,omitzero"`         // the time of Reload
	Error     string    `json:"error,omitempty"`     // why it was not written, or the proxy not told
}

// proxy is the reverse proxy's side of a service: the snippet in its checkout, and what its
// containers know of it.
type proxy struct {
	entry  *Proxy // nil: the service is not a reverse proxy
	name   string
	repo   *gitrepo.Repo
	engine *compose.Engine
	store  *store
	around *neighbourhood
	board  *board
	files  *workspace
	redact func(string) string
	log    hclog.Logger

	switches switches

	backoff        reloadBackoff
	saidNobodyTold bool   // it was logged that nobody tells the proxy
	trouble        string // the last problem that was logged; empty: all is well
}

// reloadTimeout is how long the proxy may take to be told.
const reloadTimeout = 30 * time.Second

// sync writes the snippet, if it is new or somebody changed the file, and tells the proxy.
// Problems are in the status. It returns whether it ran to its end.
func (p *proxy) sync(ctx context.Context) bool {
	state := p.store.snapshot()
	if p.entry == nil || len(state.Checkout) == 0 || p.store.usable() != nil {
		return false // a deploy writes it before anything is started
	}
	model := p.deployed()
	err := p.write(model)
	if err == nil && state.Switching == nil {
		err = p.tell(ctx, model)
	}
	p.obey()
	if ctx.Err() != nil {
		return false
	}
	p.note(err)
	return true
}

// note records what is wrong with the proxy, and logs what is new. The output of its
// container does not belong in the log of the host: it is in the status alone.
func (p *proxy) note(err error) {
	text, said := "", ""
	if err != nil {
		text = err.Error()
		if failed := new(reloadError); errors.As(err, &failed) {
			text, said = failed.text, failed.said
		}
	}
	if text != "" && text != p.trouble {
		p.log.Error("the proxy does not know all URLs", "error", p.redact(text))
	}
	p.trouble = text
	if said != "" {
		text += ": " + said
	}
	text = printable.Cut(p.redact(text), maxError)
	if p.store.snapshot().snippet().Error == text {
		return
	}
	if err := p.update(func(n *Snippet) { n.Error = text }); err != nil {
		p.log.Warn("cannot save the state of the proxy", "error", err)
	}
}

// reloadError is a command that failed, and its last output.
type reloadError struct{ text, said string }

func (e *reloadError) Error() string { return e.text }

// snippet returns what is remembered about the snippet. It never returns nil.
func (s State) snippet() *Snippet {
	if s.Snippet == nil {
		return &Snippet{}
	}
	return s.Snippet
}

// snippetAt returns what is remembered about the snippet at that path. What was written to
// another path says nothing about it, except for the error, which is about the proxy.
func (s State) snippetAt(name string) *Snippet {
	if remembered := s.snippet(); remembered.Import != name {
		return &Snippet{Error: remembered.Error}
	}
	return s.snippet()
}

func (p *proxy) update(change func(*Snippet)) error {
	return p.store.update(func(st *State) {
		next := *st.snippet()
		change(&next)
		st.Snippet = &next
	})
}

// identify returns the identity of a snippet, which includes its path and the compose
// service that is told.
func (p *proxy) identify(content []byte) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q\n", p.entry.Import, p.entry.Service)
	h.Write(content)
	return hex.EncodeToString(h.Sum(nil))
}

// deployed returns the deployed model, or nil.
func (p *proxy) deployed() *compose.Model {
	model, err := p.files.loadDeployed()
	if err != nil {
		return nil
	}
	return model
}

// write writes the snippet into the checkout, if there is something to write. model is the one whose
// containers read it; nil: it is not known.
func (p *proxy) write(model *compose.Model) error {
	content, _ := p.content(model)
	if p.entry == nil || len(content) == 0 { // even without any URL it has a comment
		return nil
	}
	for _, commit := range p.store.snapshot().Checkout {
		if err := p.placeIn(commit); err != nil {
			return err
		}
	}
	changed, err := snippet.Write(p.files.checkout(), p.entry.Import, p.files.dir, content)
	// A snippet that is left from a time when this was its path counts as written, too.
	if err != nil || !changed && p.store.snapshot().snippet().Import == p.entry.Import {
		return err
	}
	if changed {
		p.log.Info("wrote the proxy's snippet", "file", p.entry.Import)
	}
	// If somebody else changed the file, the proxy may have read that, even if its snippet
	// is not new.
	if err := p.update(func(n *Snippet) {
		n.Import, n.WrittenAt, n.Known, n.Reload, n.At = p.entry.Import, time.Now(), "", "", time.Time{}
		if p.entry.Service != "" {
			n.Reload = Pending
		}
	}); err != nil {
		return err
	}
	p.backoff = reloadBackoff{}
	return nil
}

// try writes the snippet into the checkout as it is: it is better to find out before the
// switch than during it what a container has put in the way.
func (p *proxy) try() error {
	commits := p.store.snapshot().Checkout
	if len(commits) == 0 {
		return nil
	}
	for _, commit := range commits {
		if p.placeIn(commit) != nil {
			return nil // the candidate may have corrected that
		}
	}
	return p.write(p.deployed())
}

// placeIn returns an error if the commit has something in the snippet's place.
func (p *proxy) placeIn(commit gitrepo.Hash) error {
	if p.entry == nil {
		return nil
	}
	name := p.entry.Import
	switch occupant, isDir, err := p.repo.Occupant(commit, name); {
	case err != nil:
		return &stepError{"read", commit.Short(), err}
	case isDir:
		return fmt.Errorf("%s is a directory in the repository: `import` takes the path of a file, such as %s", occupant, path.Join(occupant, "Caddyfile-import"))
	case occupant == name:
		return fmt.Errorf("the repository has %s, which pgo writes (`import`): take it out with git rm --cached, and add it to .gitignore", name)
	case occupant != "":
		return fmt.Errorf("the repository has %s, which is not a directory: pgo cannot write %s (`import`) in it", occupant, name)
	}
	return nil
}

// startsKnowing records that the containers about to be started will read the snippet as it
// is.
func (p *proxy) startsKnowing(model *compose.Model) error {
	if p.entry == nil {
		return nil
	}
	content, _ := p.content(model)
	identity := p.identify(content)
	return p.update(func(n *Snippet) { *n = Snippet{Import: n.Import, WrittenAt: n.WrittenAt, Known: identity} })
}

// tell makes the proxy read its snippet again, unless it already has.
func (p *proxy) tell(ctx context.Context, model *compose.Model) error {
	content, _ := p.content(model)
	identity := p.identify(content)
	state := p.store.snapshot()
	if state.snippet().Known == identity || state.Deployed == nil {
		return nil
	}
	outcome, err := Reload(""), error(nil)
	if p.entry.Service != "" {
		if time.Now().Before(p.backoff.until) {
			return p.backoff.why
		}
		outcome, err = p.reload(ctx)
		p.backoff.note(err)
	} else if !p.saidNobodyTold {
		p.saidNobodyTold = true
		p.log.Info("the proxy's snippet has changed, and no `reload` is configured: the proxy has to watch the file itself, or an operator has to reload it",
			"file", p.entry.Import)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(err, p.update(func(n *Snippet) {
		n.Reload, n.At = outcome, time.Now()
		if err == nil {
			n.Known = identity
		}
	}))
}

// reloadBackoff keeps a reload that fails from taking every turn.
type reloadBackoff struct {
	until time.Time // nothing is tried before
	delay time.Duration
	why   error // the last failure
}

// Bounds of the time between two attempts to reload the proxy.
const (
	firstReloadDelay = time.Second
	mostReloadDelay  = 5 * time.Minute
)

func (b *reloadBackoff) note(err error) {
	if err == nil {
		*b = reloadBackoff{}
		return
	}
	b.delay = min(max(2*b.delay, firstReloadDelay), mostReloadDelay)
	b.until, b.why = time.Now().Add(b.delay), err
}

// reload runs the command in all of the proxy's containers at once: one that does not
// answer must not keep the news from the others.
func (p *proxy) reload(ctx context.Context) (Reload, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, reloadTimeout, fmt.Errorf("it did not end within %s", reloadTimeout))
	defer cancel()
	model, err := p.files.loadDeployed()
	if err == nil {
		err = checkNames(model, []string{p.entry.Service})
	}
	if err != nil {
		return ReloadFailed, fmt.Errorf("cannot reload the proxy: %w", err)
	}
	numbers, err := p.engine.Running(ctx, p.name, p.entry.Service)
	if err != nil {
		return ReloadFailed, fmt.Errorf("cannot reload the proxy: %w", err)
	}
	failures := make([]error, len(numbers))
	var all sync.WaitGroup
	for i, number := range numbers {
		all.Go(func() { failures[i] = p.reloadIn(ctx, number) })
	}
	all.Wait()
	for _, err := range failures { // the first one is enough
		if err != nil {
			return ReloadFailed, err
		}
	}
	if len(numbers) == 0 {
		return NotRunning, nil
	}
	p.log.Info("reloaded the proxy", "containers", len(numbers))
	return Reloaded, nil
}

// reloadIn runs the command in one container.
func (p *proxy) reloadIn(ctx context.Context, number int) error {
	said := compose.NewTail(2 << 10)
	command := compose.Command{Service: p.entry.Service, Index: number, Words: p.entry.Command, Kill: true}
	status, err := p.engine.Exec(ctx, p.name, command, compose.Input{Stdin: strings.NewReader("")}, compose.Output{Stdout: said, Stderr: said})
	what := fmt.Sprintf("%s in %s", strings.Join(p.entry.Command, " "), p.entry.Service)
	switch {
	case ctx.Err() != nil && errors.As(err, new(*compose.LeftRunningError)):
		return fmt.Errorf("cannot reload the proxy: %s: %w, and may still be running in the container, where neither kill nor sh could end it", what, context.Cause(ctx))
	case ctx.Err() != nil: // any other error results from that, and varies
		return fmt.Errorf("cannot reload the proxy: %s: %w", what, context.Cause(ctx))
	case err != nil:
		return fmt.Errorf("cannot reload the proxy: %s: %w", what, err)
	case status == 0:
		return nil
	}
	failed := &reloadError{text: fmt.Sprintf("cannot reload the proxy: %s ended with status %d", what, status)}
	if all := splitLines(said.String()); len(all) > 0 {
		failed.said = printable.Line(all[len(all)-1])
	}
	return failed
}
