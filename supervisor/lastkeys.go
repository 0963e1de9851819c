package supervisor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
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

// What is remembered of one service is bounded in bytes, each key with what Go adds to it, and in
// number, by maxKeys; and the file is bounded too.
const (
	maxLastKeys = 64 << 10
	keyOverhead = 24
	maxKeysFile = 64 << 20
)

// boundedKeys returns the keys that are remembered. They share no memory with a worker's message,
// which may be large.
func boundedKeys(keys [][]byte) (few [][]byte) {
	size := 0
	for _, key := range keys {
		if len(key) == 0 {
			continue
		}
		if size += len(key) + keyOverhead; size > maxLastKeys || len(few) == maxKeys {
			break
		}
		few = append(few, bytes.Clone(key))
	}
	return few
}

// openLastKeys reads what an earlier pgod has remembered, if it can be read.
func openLastKeys(dir string, log hclog.Logger) *lastKeys {
	k := &lastKeys{dir: dir, log: log, delay: lastKeysDelay, all: map[string]reported{}}
	raw, err := readBounded(filepath.Join(dir, keysFile), maxKeysFile)
	if err == nil {
		err = json.Unmarshal(raw, &k.all)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("cannot read which keys were known: until its worker is ready, developers of a service are strangers", "error", err)
	}
	if err != nil || k.all == nil {
		k.all = map[string]reported{}
	}
	for name, known := range k.all {
		k.all[name] = reported{known.Source, boundedKeys(known.Keys)}
	}
	return k
}

// readBounded reads a file of pgod's own that is not larger than most.
func readBounded(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > most {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, most)
	}
	return os.ReadFile(path)
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
	k.change(service.Name, reported{source(service), boundedKeys(keys)})
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
