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
)

// notes is the file of a notebook.
const notes = "services.json"

// notebook is what pgod remembers of the services that there are and were. Its file
// follows by itself: nobody waits for the disk, least of all with Supervisor.mu held.
type notebook struct {
	dir   string
	log   hclog.Logger
	again time.Duration // after a try that did not work

	writing sync.Mutex // held by who writes the file; taken before mu

	mu      sync.Mutex       // guards what follows; taken after Supervisor.mu
	all     map[string]noted // never changed, only replaced
	changes int              // how often it was
	written int              // which of them the file has
	closed  bool
}

// openNotebook reads what an earlier pgod has noted.
func openNotebook(dir string, log hclog.Logger) *notebook {
	n := &notebook{dir: dir, log: log, again: noteAgain}
	var err error
	if n.all, err = loadNotes(dir); err != nil {
		log.Error("a service that was taken out while pgod did not run may not be removed", "error", err)
	}
	return n
}

func loadNotes(dir string) (map[string]noted, error) {
	all := map[string]noted{}
	raw, err := os.ReadFile(filepath.Join(dir, notes))
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &all)
	}
	if err != nil || all == nil {
		return map[string]noted{}, fmt.Errorf("cannot read which services there were: %w", err)
	}
	return all, nil
}

func (n *notebook) get(name string) noted {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.all[name]
}

// change changes what is noted, and has the file follow.
func (n *notebook) change(do func(all map[string]noted)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	next := maps.Clone(n.all)
	do(next)
	if maps.Equal(next, n.all) {
		return
	}
	n.all = next
	n.changes++
	go n.write()
}

// noteAgain is how long after a note that could not be written the next try is.
const noteAgain = time.Minute

// close writes what is not written yet.
func (n *notebook) close() {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.write()
}

// write writes the newest state to the file, unless somebody has done so already. What
// cannot be written is tried again.
func (n *notebook) write() {
	n.writing.Lock()
	defer n.writing.Unlock()
	n.mu.Lock()
	all, changes := n.all, n.changes
	fresh := n.written != changes
	n.mu.Unlock()
	if !fresh {
		return
	}
	raw, err := json.MarshalIndent(all, "", "  ")
	if err == nil {
		err = renameio.WriteFile(filepath.Join(n.dir, notes), append(raw, '\n'), 0o600, renameio.WithTempDir(n.dir))
	}
	if err != nil {
		n.log.Error("cannot note which services there are: one that is taken out while pgod does not run may not be removed; it is tried again", "error", err)
		n.mu.Lock()
		defer n.mu.Unlock()
		if !n.closed {
			time.AfterFunc(n.again, n.write)
		}
		return
	}
	n.mu.Lock()
	n.written = changes
	n.mu.Unlock()
}
