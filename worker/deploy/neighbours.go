package deploy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"pgo/internal/policy"
	"pgo/internal/ports"
	"pgo/worker/gitrepo"
)

// Neighbours is what a host has next to a service, for the policy.
type Neighbours struct {
	Services []string          // their names
	Granted  []ports.Range     // their host ports, and pgod's own
	Reserved map[string]string // the host part of each target in urls, and its owner
	Snippet  string            // for a reverse proxy: the content of its snippet
	Ports    map[string]uint32 // for a reverse proxy: URLs, and their ports except 80 and 443

	SwitchedSnippet string                       // for a reverse proxy: the snippet with switches; empty: there are none
	SwitchesRoot    string                       // what is written in it for the directory of the switches
	Switches        map[string]map[string]string // for a reverse proxy: service → target → the container that answers
	Switched        map[string]string            // of the service's own switches those that its proxies have
	CannotSwitch    string                       // why the proxies cannot switch; empty: they can
}

// neighbourhood is what a model is checked against: what the operator grants, and what is
// next to the service.
type neighbourhood struct {
	settings string // see Config.settings

	mu     sync.Mutex // guards the fields below, which pgod changes at any time
	policy policy.Limits
	latest Neighbours    // never modified, only replaced
	moved  chan struct{} // closed when latest is replaced; nil: nobody waits for that
}

func newNeighbourhood(cfg Config, files *workspace) *neighbourhood {
	n := &neighbourhood{settings: cfg.settings(), policy: cfg.Limits}
	n.latest.CannotSwitch = "nobody has said yet whether a proxy can"
	n.policy.Home = files.project.Home
	n.policy.Service, n.policy.Checkout, n.policy.Stage = cfg.Name, files.checkout(), files.stage()
	return n
}

func (n *neighbourhood) adjust(to Neighbours) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.policy.Others, n.policy.Granted, n.policy.Reserved = to.Services, to.Granted, to.Reserved
	n.latest = to
	if n.moved != nil {
		close(n.moved)
	}
	n.moved = nil
}

// now returns the latest neighbours, and a channel that is closed when there are others.
func (n *neighbourhood) now() (Neighbours, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.moved == nil {
		n.moved = make(chan struct{})
	}
	return n.latest, n.moved
}

// limits returns what a model is checked against now.
func (n *neighbourhood) limits() policy.Limits {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.policy
}

// readable opens a file of the host that compose may read while it resolves, or returns the entry
// of allow that would let it. Who may change what a path leads to gains nothing: it is the file
// that was judged, or none.
func (n *neighbourhood) readable(path string) (file *os.File, entry string) {
	end, entry := policy.Readable(n.limits(), path, policy.Disk{})
	if end == "" {
		return nil, entry
	}
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, ""
	}
	at, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", file.Fd()))
	info, err2 := file.Stat()
	if err != nil || err2 != nil || at != end || !info.Mode().IsRegular() {
		_ = file.Close()
		return nil, ""
	}
	return file, ""
}

// basis returns what is known about a commit's deploy before it begins.
func (n *neighbourhood) basis(commit gitrepo.Hash) Basis {
	h := sha256.New()
	_ = json.NewEncoder(h).Encode(n.limits())
	return Basis{Commit: commit, Settings: n.settings, Limits: hex.EncodeToString(h.Sum(nil))}
}
