package deploy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"sync"

	"pgo/internal/policy"
	"pgo/internal/ports"
	"pgo/worker/gitrepo"
)

// Neighbours is what a host has beside a service, for the policy.
type Neighbours struct {
	Services []string          // their names
	Granted  []ports.Range     // host ports of theirs, and pgod's own
	Reserved map[string]string // the host part of each target in urls, and whose it is
	Snippet  string            // for a reverse proxy: what its snippet is to hold
	Ports    map[string]uint32 // for a reverse proxy: URLs, and their ports but 80 and 443
}

// neighbourhood is what a model is judged by: what the operator grants, and what is
// beside the service.
type neighbourhood struct {
	settings string // see Config.settings

	mu     sync.Mutex // guards what follows, which pgod changes at any time
	policy policy.Limits
	text   string            // the newest snippet, for a proxy
	ports  map[string]uint32 // see Neighbours.Ports; never changed, only replaced
}

func newNeighbourhood(cfg Config, files *workspace) *neighbourhood {
	n := &neighbourhood{settings: cfg.settings(), policy: cfg.Limits}
	n.policy.Service, n.policy.Checkout, n.policy.Stage = cfg.Name, files.checkout(), files.stage()
	return n
}

func (n *neighbourhood) adjust(to Neighbours) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.policy.Others, n.policy.Granted, n.policy.Reserved = to.Services, to.Granted, to.Reserved
	n.text, n.ports = to.Snippet, to.Ports
}

// limits is what a model is held against now.
func (n *neighbourhood) limits() policy.Limits {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.policy
}

// snippet is what the proxy is to know.
func (n *neighbourhood) snippet() []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	return []byte(n.text)
}

func (n *neighbourhood) urlPorts() map[string]uint32 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ports
}

// basis is what there is to know of a commit's deploy before it is begun.
func (n *neighbourhood) basis(commit gitrepo.Hash) Basis {
	h := sha256.New()
	_ = json.NewEncoder(h).Encode(n.limits())
	return Basis{Commit: commit, Settings: n.settings, Limits: hex.EncodeToString(h.Sum(nil))}
}
