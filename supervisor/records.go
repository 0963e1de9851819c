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

	"github.com/google/renameio/v2"
	"github.com/hashicorp/go-hclog"

	"pgo/internal/config"
)

// recordsFile is where they are, in pgod's directory.
const recordsFile = "services.json"

// records are what pgod remembers of the services that there are and were. Their file
// follows by itself: nobody waits for the disk, least of all with Supervisor.mu held.
type records struct {
	dir   string
	log   hclog.Logger
	again time.Duration // after a try that did not work

	writing sync.Mutex // held by whoever writes the file; taken before mu

	mu      sync.Mutex        // guards what follows; taken after Supervisor.mu
	all     map[string]record // never changed, only replaced
	changes int               // how often it was
	written int               // which of them the file has
	closed  bool
}

// openRecords reads what an earlier pgod has recorded.
func openRecords(dir string, log hclog.Logger) *records {
	r := &records{dir: dir, log: log, again: recordAgain}
	var err error
	if r.all, err = loadRecords(dir); err != nil {
		log.Error("a service that was taken out while pgod did not run may not be removed", "error", err)
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
		return map[string]record{}, fmt.Errorf("cannot read which services there were: %w", err)
	}
	return all, nil
}

func (r *records) get(name string) record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all[name]
}

// change changes what is recorded, and has the file follow.
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

// recordAgain is how long after a record that could not be written the next try is.
const recordAgain = time.Minute

// close writes what is not written yet.
func (r *records) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.write()
}

// write writes the newest state to the file, unless somebody has done so already. What
// cannot be written is tried again.
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
		err = renameio.WriteFile(filepath.Join(r.dir, recordsFile), append(raw, '\n'), 0o600, renameio.WithTempDir(r.dir))
	}
	if err != nil {
		r.log.Error("cannot note which services there are: one that is taken out while pgod does not run may not be removed; it is tried again", "error", err)
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

// launched records who is about to work in the service's directory, which is that user's.
func (r *records) launched(service config.Service, who account, configuration string) {
	r.change(func(all map[string]record) {
		all[service.Name] = record{
			User: service.User, UID: who.uid, GID: who.gid, DockerHost: service.DockerHost,
			Source: source(service), Configuration: configuration,
		}
	})
}

// claim records that these services are of this configuration.
func (r *records) claim(services []config.Service, configuration string) {
	r.change(func(all map[string]record) {
		for _, service := range services {
			if n, ok := all[service.Name]; ok {
				n.Configuration = configuration
				all[service.Name] = n
			}
		}
	})
}

// forget forgets a service that is removed.
func (r *records) forget(name string) {
	r.change(func(all map[string]record) { delete(all, name) })
}
