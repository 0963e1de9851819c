package deploy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
)

// Wanted is what somebody asked for last.
type Wanted string

const (
	Up   Wanted = "up"
	Down Wanted = "down"
)

// State is what outlives the worker, in state.json. A crash at any point of a
// switch leaves enough of it to finish the switch.
type State struct {
	Wanted Wanted `json:"wanted"`

	// Deployed is what runs, or ran when somebody took it down.
	Deployed *Record `json:"deployed,omitempty"`

	// Switching is the commit of a switch that has begun and not ended. While
	// it is set nobody knows what runs.
	Switching string `json:"switching,omitempty"`

	// Checkout lists the commits whose files the checkout may hold: one, and
	// while it is brought to another commit that one too. None: it was never
	// wholly brought to any.
	Checkout []string `json:"checkout,omitempty"`

	// Verdict is the last deploy that failed because of its commit. That
	// commit is not tried again until somebody says up.
	Verdict *Verdict `json:"verdict,omitempty"`
}

// Record is one deploy that worked.
type Record struct {
	Commit   string    `json:"commit"`
	Settings string    `json:"settings"` // see Config.settings
	At       time.Time `json:"at"`
	Reason   string    `json:"reason"`

	// Inputs has each path in the repository that containers read, Contexts
	// each that an image is built from; with the identity of their content.
	Inputs   map[string]string `json:"inputs,omitempty"`
	Contexts map[string]string `json:"contexts,omitempty"`

	// Images has the image ID of each compose service that is built.
	Images map[string]string `json:"images,omitempty"`
}

// is tells whether the record is of that commit, deployed with these settings.
func (r *Record) is(commit, settings string) bool {
	return r != nil && r.Commit == commit && r.Settings == settings
}

// Verdict is why a commit was not deployed, with the settings of then.
type Verdict struct {
	Commit   string    `json:"commit"`
	Settings string    `json:"settings"`
	At       time.Time `json:"at"`
	Error    string    `json:"error"`
}

// condemns tells whether there is a verdict on the commit with these settings.
func (s State) condemns(commit, settings string) bool {
	return s.Verdict != nil && s.Verdict.Commit == commit && s.Verdict.Settings == settings
}

// loadState reads the state in dir; a service that has none yet is wanted up.
func loadState(dir string) (State, error) {
	path := filepath.Join(dir, "state.json")
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
		return State{}, fmt.Errorf("%s is damaged: mend it, or remove it to deploy afresh", path)
	}
	return s, nil
}

func (s State) save(dir string) error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := replaceFile(dir, "state.json", append(raw, '\n')); err != nil {
		return fmt.Errorf("cannot save the service's state: %w", err)
	}
	return nil
}

// replaceFile writes a file for its owner alone, so that a crash leaves the
// old content or the new one.
func replaceFile(dir, name string, content []byte) error {
	return renameio.WriteFile(filepath.Join(dir, name), content, 0o600, renameio.WithTempDir(dir))
}
