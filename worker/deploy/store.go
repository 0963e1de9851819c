package deploy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"pgo/internal/atomicfile"
)

// store keeps what outlives the worker: the state, the history, and the output of the last
// deploy. Nothing else writes state.json, and what is in memory is always what was written
// there.
type store struct {
	dir     string
	changed func()
	history *history
	journal journal

	mu     sync.Mutex // guards the fields below, which changes write and everybody reads
	state  State
	damage error // of the saved state: if set, nothing is changed and everything can be read
}

const stateFile = "state.json"

// openStore reads what is kept in dir. The error is only about the history, which then
// begins anew.
func openStore(dir string, changed func()) (*store, error) {
	s := &store{dir: dir, changed: changed}
	s.state, s.damage = loadState(dir)
	var err error
	s.history, err = openHistory(filepath.Join(dir, "history"))
	s.journal.load(s.history.dir)
	return s, err
}

// snapshot returns the current state.
func (s *store) snapshot() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// update saves a changed copy of the state, and only then makes it the state: if it cannot
// be saved, everything stays as it was.
func (s *store) update(change func(*State)) error {
	err := s.replace(change)
	s.changed()
	return err
}

func (s *store) replace(change func(*State)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.damage != nil {
		return s.damage
	}
	next, err := s.state.clone()
	if err != nil {
		return err
	}
	change(&next)
	if next.Switching == nil {
		next.Switches = nil // whoever ends a switch, and however, leaves it to the names again who answers
	}
	if next, err = next.clone(); err != nil { // others may still hold and change parts of it
		return err
	}
	if err := s.save(next); err != nil {
		return err
	}
	s.state = next
	return nil
}

// spareFile takes room for a state on a full disk. Whoever has to stop containers there must be
// able to, and that is remembered: otherwise they are started again.
const (
	spareFile = "spare"
	spareSize = 64 << 10
)

// save saves the state, if need be in the room that was kept for it.
func (s *store) save(next State) error {
	spare := filepath.Join(s.dir, spareFile)
	err := next.save(s.dir)
	if (errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)) && os.Remove(spare) == nil {
		return next.save(s.dir)
	}
	if err == nil {
		_ = keepRoom(spare)
	}
	return err
}

// keepRoom makes the file that takes room, unless it is there.
func keepRoom(spare string) error {
	if _, err := os.Lstat(spare); err == nil {
		return nil
	}
	err := os.WriteFile(spare, bytes.Repeat([]byte("room for a state\n"), spareSize/17), 0o600)
	if err != nil {
		_ = os.Remove(spare) // less than all of it is of no use
	}
	return err
}

// usable returns why nothing can be changed. Somebody may have repaired it since.
func (s *store) usable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.damage != nil {
		s.state, s.damage = loadState(s.dir)
	}
	return s.damage
}

// loadState reads the state in dir; a service that has none yet is wanted up.
func loadState(dir string) (State, error) {
	path := filepath.Join(dir, stateFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return State{Wanted: Up}, nil
	}
	if err != nil {
		return State{}, fmt.Errorf("cannot read the service's state: %w", err)
	}
	var s State
	if err := json.Unmarshal(raw, &s); err != nil || (s.Wanted != Up && s.Wanted != Down) {
		// Guessing could start what somebody has stopped.
		return State{}, &DamagedStateError{path}
	}
	return s, nil
}

// clone returns a copy that shares nothing with the state.
func (s State) clone() (copied State, err error) {
	raw, err := json.Marshal(s)
	if err == nil {
		err = json.Unmarshal(raw, &copied)
	}
	return copied, err
}

func (s State) save(dir string) error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := replaceFile(dir, stateFile, append(raw, '\n')); err != nil {
		return fmt.Errorf("cannot save the service's state: %w", err)
	}
	return nil
}

// replaceFile writes a file that only its owner may use, so that a crash leaves either the
// old content or the new one.
func replaceFile(dir, name string, content []byte) error {
	return atomicfile.Replace(filepath.Join(dir, name), content, 0o600)
}
