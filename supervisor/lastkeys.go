package supervisor

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/internal/atomicfile"
	"pgo/internal/config"
)

// keysFile is the name of their file, in pgod's directory.
const keysFile = "keys.json"

// lastKeys remember which keys the workers of an earlier pgod have reported. They permit nothing:
// whoever has one is told what is wrong as long as no worker has reported any, instead of being
// turned away like a stranger. They are lost without harm.
type lastKeys struct {
	dir   string
	log   hclog.Logger
	delay time.Duration // from a change to its write: a worker must not keep the disk busy

	writing sync.Mutex // held by whoever writes the file; taken before mu

	mu  sync.Mutex          // guards what follows
	all map[string]reported // by service; never changed, only replaced
	due *time.Timer         // of the next write; nil: all is written
}

// reported are the keys of one service.
type reported struct {
	Source string   `json:"source"` // see source
	Keys   [][]byte `json:"keys"`   // in wire form
}

// maxLastKeys bounds what is remembered of one service, in bytes.
const maxLastKeys = 64 << 10

// openLastKeys reads what an earlier pgod has remembered, if it can be read.
func openLastKeys(dir string, log hclog.Logger) *lastKeys {
	k := &lastKeys{dir: dir, log: log, delay: lastKeysDelay, all: map[string]reported{}}
	raw, err := os.ReadFile(filepath.Join(dir, keysFile))
	if err == nil {
		err = json.Unmarshal(raw, &k.all)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("cannot read which keys were known: until its worker is ready, developers of a service are strangers", "error", err)
	}
	if err != nil || k.all == nil {
		k.all = map[string]reported{}
	}
	return k
}

// lastKeysDelay is how long a change may wait to be written.
const lastKeysDelay = 5 * time.Second

// of returns the keys of a service, if it had the same repository and branch then.
func (k *lastKeys) of(service config.Service) map[string]bool {
	keys := map[string]bool{}
	if k == nil {
		return keys
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if known := k.all[service.Name]; known.Source == source(service) {
		for _, key := range known.Keys {
			keys[string(key)] = true
		}
	}
	return keys
}

// note remembers what a worker has reported.
func (k *lastKeys) note(service config.Service, keys [][]byte) {
	if k == nil {
		return
	}
	size := 0
	for n, key := range keys {
		if size += len(key); size > maxLastKeys {
			keys = keys[:n:n]
			break
		}
	}
	k.change(service.Name, reported{source(service), keys})
}

// forget forgets a removed service.
func (k *lastKeys) forget(name string) {
	if k != nil {
		k.change(name, reported{})
	}
}

func (k *lastKeys) change(name string, now reported) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if reflect.DeepEqual(k.all[name], now) {
		return
	}
	next := maps.Clone(k.all)
	if next[name] = now; now.Source == "" {
		delete(next, name)
	}
	k.all = next
	if k.due == nil {
		k.due = time.AfterFunc(k.delay, k.write)
	}
}

// write writes what there is to the file, unless that is done.
func (k *lastKeys) write() {
	k.writing.Lock()
	defer k.writing.Unlock()
	k.mu.Lock()
	all, due := k.all, k.due
	k.due = nil
	k.mu.Unlock()
	if due == nil {
		return
	}
	due.Stop()
	raw, err := json.Marshal(all)
	if err == nil {
		err = atomicfile.Replace(filepath.Join(k.dir, keysFile), append(raw, '\n'), 0o600)
	}
	if err != nil {
		k.log.Warn("cannot remember which keys are known: after a restart, developers of a service whose worker is not ready are strangers", "error", err)
	}
}
