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

// switchName returns what the name of a target's switch has between what all of them begin with and
// the container.
func switchName(service, host string) string { return service + "." + host + "=" }

// switchOf returns the target of a switch from its name without what all of them begin with. The name of
// a service has no dot.
func switchOf(name string) (service, host string, ok bool) {
	service, rest, named := strings.Cut(name, ".")
	host, _, ok = strings.Cut(rest, "=")
	return service, host, ok && named
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
	dir, err := compose.SeenAt(model, p.entry.Service, p.files.checkout(), path.Dir(p.entry.Import))
	if err != nil {
		return "", err
	}
	if at := path.Join(dir, p.entry.Switch); strings.ContainsFunc(at, func(r rune) bool { return !strings.ContainsRune(plain, r) }) {
		return "", fmt.Errorf("the path of the switches in it, %s, has characters that are special in a Caddyfile", at)
	}
	return dir, nil
}

// plain has the characters of a path that mean nothing else in a Caddyfile.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-"

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
	if now.SwitchedSnippet == "" && len(now.Switches) == 0 || len(state.Checkout) == 0 {
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
	dir := path.Dir(p.entry.Import)
	are, err := snippet.Switches(p.files.checkout(), dir, p.entry.Switch)
	if err != nil {
		return nil, err
	}
	turn := func(service, host, container string) error {
		return snippet.Switch(p.files.checkout(), dir, p.files.dir, p.entry.Switch+switchName(service, host), shortID(container))
	}
	known := append(slices.Clone(now.Services), p.name)
	for _, name := range are {
		service, host, ok := switchOf(name)
		if !ok {
			continue // it switches nothing
		}
		_, told := now.Switches[service]
		_, wanted := now.Switches[service][host]
		// What nobody has said anything about since pgod began stays.
		if !wanted && (told || !slices.Contains(known, service)) {
			err = errors.Join(err, turn(service, host, ""))
		}
	}
	switched := map[string]map[string]string{}
	for service, wanted := range now.Switches {
		for host, container := range wanted {
			at := switchName(service, host)
			others := slices.ContainsFunc(are, func(name string) bool { return strings.HasPrefix(name, at) && name != at+shortID(container) })
			if others || !slices.Contains(are, at+shortID(container)) {
				err = errors.Join(err, turn(service, host, container))
			}
		}
		switched[service] = maps.Clone(wanted)
	}
	return switched, err
}

// shortID returns the part of a container's ID under which the containers on its networks find it.
func shortID(id string) string { return id[:min(len(id), 12)] }
