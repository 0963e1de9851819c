package deploy

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"pgo/worker/compose"
	"pgo/worker/snippet"
)

// While a deploy replaces what is behind a proxy, a switch says which container answers requests to
// a target. It is a file in the proxy's checkout, next to the snippet, that the proxy looks for with
// each request. The service asks pgod, pgod tells the proxy's worker, and that alone writes it.

// switches is the proxy's side.
type switches struct {
	mu sync.Mutex // held while the files are changed: pgod's news come at any time
}

// switchesDir returns where the switches are in the checkout: next to the snippet, so that whoever
// mounts its directory sees them. Caddy 2.6 cannot load `import dir/*` then; 2.11 leaves out what begins
// with a dot.
func (p *proxy) switchesDir() string {
	return path.Join(path.Dir(p.entry.Import), "."+path.Base(p.entry.Import)+".switches")
}

// content returns the snippet for a model's containers. If they cannot see the switches, it is the
// one without, and cannot says why.
func (p *proxy) content(model *compose.Model) (content []byte, cannot string) {
	now, _ := p.around.now()
	if p.entry == nil || now.SwitchedSnippet == "" {
		return []byte(now.Snippet), ""
	}
	at, err := p.seen(model)
	if err != nil {
		return []byte(now.Snippet), err.Error()
	}
	return []byte(strings.ReplaceAll(now.SwitchedSnippet, now.SwitchesRoot, at)), ""
}

// seen returns where the proxy sees the switches.
func (p *proxy) seen(model *compose.Model) (string, error) {
	switch {
	case p.entry.Service == "":
		return "", errors.New("its entry has no `reload`, so nobody knows which snippet it has read")
	case model == nil:
		return "", errors.New("it is not deployed yet")
	}
	if err := p.occupied(); err != nil {
		return "", err
	}
	dir, err := compose.SeenAt(model, p.entry.Service, p.files.checkout(), path.Dir(p.entry.Import))
	if err != nil {
		return "", err
	}
	at := path.Join(dir, path.Base(p.switchesDir()))
	if strings.ContainsFunc(at, func(r rune) bool { return !strings.ContainsRune(plain, r) }) {
		return "", fmt.Errorf("the path of the switches in it, %s, has characters that are special in a Caddyfile", at)
	}
	return at, nil
}

// plain has the characters of a path that mean nothing else in a Caddyfile.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-"

// occupied returns an error if the repository has something in the place of the switches.
func (p *proxy) occupied() error {
	for _, commit := range p.store.snapshot().Checkout {
		if occupant, _, err := p.repo.Occupant(commit, p.switchesDir()); err != nil || occupant != "" {
			return fmt.Errorf("the repository has %s, which is pgo's", p.switchesDir())
		}
	}
	return nil
}

// obey makes the switches those that pgod has told, and reports what the proxy acts on.
func (p *proxy) obey() {
	if p.entry == nil {
		return
	}
	p.switches.mu.Lock()
	defer p.switches.mu.Unlock()
	state := p.store.snapshot()
	now, _ := p.around.now()
	content, cannot := p.content(p.deployed())
	switch {
	case cannot != "":
	case now.SwitchedSnippet == "":
	case state.snippet().Known != p.identify(content) || state.Switching != nil:
		cannot = "it has not read the latest snippet yet"
	}
	if now.SwitchedSnippet == "" && len(now.Switches) == 0 || len(state.Checkout) == 0 || p.occupied() != nil {
		p.board.setSwitched(nil, cannot)
		return
	}
	switched, err := p.turnAll(now)
	if err != nil {
		p.log.Error("cannot switch requests", "error", err)
		cannot = "cannot switch requests: " + err.Error()
	}
	p.board.setSwitched(switched, cannot)
}

// turnAll makes the files what they should be, and returns what they are then.
func (p *proxy) turnAll(now Neighbours) (map[string]map[string]string, error) {
	dir := p.switchesDir()
	are, err := snippet.Switches(p.files.checkout(), dir)
	if err != nil {
		return nil, err
	}
	turn := func(service, host, container string) error {
		return snippet.Switch(p.files.checkout(), path.Join(dir, service, host), shortID(container))
	}
	known := append(slices.Clone(now.Services), p.name)
	for at, file := range are {
		service, host := at[0], at[1]
		_, told := now.Switches[service]
		_, wanted := now.Switches[service][host]
		// What nobody has said anything about since pgod began stays.
		if file != "" && !wanted && (told || !slices.Contains(known, service)) {
			err = errors.Join(err, turn(service, host, ""))
		}
	}
	switched := map[string]map[string]string{}
	for service, wanted := range now.Switches {
		for host, container := range wanted {
			if are[[2]string{service, host}] != shortID(container) {
				err = errors.Join(err, turn(service, host, container))
			}
		}
		switched[service] = maps.Clone(wanted)
	}
	return switched, err
}

// shortID returns the part of a container's ID under which the containers on its networks find it.
func shortID(id string) string { return id[:min(len(id), 12)] }
