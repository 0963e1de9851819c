package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/internal/atomicfile"
	"pgo/internal/config"
)

// recordsFile is the name of their file, in pgod's directory.
const recordsFile = "services.json"

// records are what pgod remembers about present and past services. Their file is written in the
// background: nobody waits for the disk, least of all with Supervisor.mu held.
type records struct {
	dir   string
	log   hclog.Logger
	again time.Duration // after a failed write

	writing sync.Mutex // held by whoever writes the file; taken before mu

	mu      sync.Mutex        // guards what follows; taken after Supervisor.mu
	all     map[string]record // never changed, only replaced
	changes int               // how often it was replaced
	written int               // the value of changes that the file has
	closed  bool
}

// openRecords reads the records of an earlier pgod.
func openRecords(dir string, log hclog.Logger) *records {
	r := &records{dir: dir, log: log, again: recordAgain}
	var err error
	if r.all, err = loadRecords(dir); err != nil {
		log.Error("a service that was taken out while pgod was not running may be left behind", "error", err)
	}
	return r
}

func loadRecords(dir string) (map[string]record, error) {
	all := map[string]record{}
	raw, err := os.ReadFile(filepath.Join(dir, recordsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &all)
	}
	if err != nil || all == nil {
		return map[string]record{}, fmt.Errorf("cannot read which services existed: %w", err)
	}
	return all, nil
}

func (r *records) get(name string) record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all[name]
}

// change changes the records, and has the file written.
func (r *records) change(do func(all map[string]record)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := maps.Clone(r.all)
	do(next)
	if maps.Equal(next, r.all) {
		return
	}
	r.all = next
	r.changes++
	go r.write()
}

// recordAgain is the delay before a failed write is tried again.
const recordAgain = time.Minute

// close writes what is not written yet.
func (r *records) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.write()
}

// write writes the newest state to the file, unless that is done already. A failed write is tried
// again.
func (r *records) write() {
	r.writing.Lock()
	defer r.writing.Unlock()
	r.mu.Lock()
	all, changes := r.all, r.changes
	fresh := r.written != changes
	r.mu.Unlock()
	if !fresh {
		return
	}
	raw, err := json.MarshalIndent(all, "", "  ")
	if err == nil {
		err = atomicfile.Replace(filepath.Join(r.dir, recordsFile), append(raw, '\n'), 0o600)
	}
	if err != nil {
		r.log.Error("cannot record which services exist: one that is taken out while pgod is not running may be left behind; it is tried again", "error", err)
		r.mu.Lock()
		defer r.mu.Unlock()
		if !r.closed {
			time.AfterFunc(r.again, r.write)
		}
		return
	}
	r.mu.Lock()
	r.written = changes
	r.mu.Unlock()
}

// launched records the user that is about to work in the service's directory, and owns it.
func (r *records) launched(service config.Service, who account, configuration string) {
	r.change(func(all map[string]record) {
		all[service.Name] = record{
			User: service.User, UID: who.uid, GID: who.gid, DockerHost: service.DockerHost,
			Source: source(service), Configuration: configuration,
		}
	})
}

// claim records that these services belong to this configuration.
func (r *records) claim(services []config.Service, configuration string) {
	r.change(func(all map[string]record) {
		for _, service := range services {
			if n, ok := all[service.Name]; ok {
				n.Configuration, n.Leaving, n.Kept = configuration, false, false
				all[service.Name] = n
			}
		}
	})
}

// leave records that the service is being removed: the next pgod continues, and asks nobody again.
func (r *records) leave(name string) {
	r.change(func(all map[string]record) {
		n := all[name]
		n.Leaving, n.Kept = true, false
		all[name] = n
	})
}

// keep records that these services must not be removed before an operator confirms it.
func (r *records) keep(names []string) {
	r.change(func(all map[string]record) {
		for _, name := range names {
			n := all[name]
			n.Kept = true
			all[name] = n
		}
	})
}

// forget deletes the record of a removed service.
func (r *records) forget(name string) {
	r.change(func(all map[string]record) { delete(all, name) })
}
