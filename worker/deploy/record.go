package deploy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"pgo/worker/compose"
	"pgo/worker/gitrepo"
)

// Record is one deploy: what was deployed, and its outcome.
type Record struct {
	// Number counts a service's deploys. A deploy that goes back to an earlier one has the
	// number of that one, and an At of its own.
	Number int `json:"number"`
	Basis

	Author  string `json:"author,omitempty"`
	Subject string `json:"subject,omitempty"`

	At       time.Time     `json:"at"`       // when it began
	Duration time.Duration `json:"duration"` // of the whole deploy
	Trigger  string        `json:"trigger"`  // poll, up by miek, rollback by miek, …
	Reason   string        `json:"reason"`   // what differed from what ran
	Outcome  Outcome       `json:"outcome"`
	Error    string        `json:"error,omitempty"`
	Details  []string      `json:"details,omitempty"`
	Warnings []string      `json:"warnings,omitempty"` // of compose, about the files
	Tries    int           `json:"tries,omitempty"`    // consecutive ones that ended alike, including this one

	// Tree is the commit that the checkout has for it: Commit, or a later one that does not
	// differ in anything that is used.
	Tree gitrepo.Hash `json:"tree,omitzero"`

	// Engine is the address of the engine that runs it; empty: the default one.
	Engine string `json:"engine,omitempty"`

	// Inputs has each path in the repository that containers read, and Contexts each that
	// an image is built from, with the identity of their content.
	Inputs   map[string]string `json:"inputs,omitempty"`
	Contexts map[string]string `json:"contexts,omitempty"`

	// Images has the image ID that each compose service runs.
	Images map[string]string `json:"images,omitempty"`

	// Ways has how each compose service is replaced, if some start first.
	Ways []Way `json:"ways,omitempty"`
}

// good reports whether pgo can go back to the deploy.
func (r *Record) good() bool { return r != nil && r.Outcome == Deployed }

// tree returns the commit whose files the deploy runs with.
func (r *Record) tree() gitrepo.Hash {
	if !r.Tree.IsZero() {
		return r.Tree
	}
	return r.Commit
}

const (
	maxRecords = 50 // the number that history shows
	maxGood    = 3  // the number that pgo can go back to
)

// history keeps earlier deploys: a record of each, and for the last good ones everything
// needed to go back to them.
type history struct {
	dir string

	mu      sync.Mutex // guards the lists, which changes replace and everybody reads
	records []*Record  // newest first
	good    []*Record  // likewise; complete, with a model each
}

const (
	recordsFile = "records.json"
	goodFile    = "good.json"
)

// openHistory reads what is in dir, which it creates if necessary. Records that cannot be
// read are lost, and the error says so: they are not a reason to stop a service.
func openHistory(dir string) (*history, error) {
	h := &history{dir: dir}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return h, fmt.Errorf("cannot create the directory of the history: %w", err)
	}
	return h, errors.Join(readList(filepath.Join(dir, recordsFile), &h.records), readList(filepath.Join(dir, goodFile), &h.good))
}

func readList(path string, into *[]*Record) error {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var records []*Record
	if err == nil {
		err = json.Unmarshal(raw, &records)
	}
	if err != nil || slices.Contains(records, nil) {
		return fmt.Errorf("cannot read %s, which starts afresh: %w", path, err)
	}
	*into = records
	return nil
}

// add puts a record in front. A failure that repeats the last one only increases its count:
// a fault that occurs again and again does not push out what is worth knowing.
func (h *history) add(r Record) error {
	r.Inputs, r.Contexts, r.Warnings, r.Tries = nil, nil, nil, 1
	earlier := h.list()
	if len(earlier) > 0 {
		last := earlier[0]
		if last.Basis == r.Basis && last.Outcome == r.Outcome && last.Error == r.Error && !r.good() {
			r.Tries = last.Tries + 1
			earlier = earlier[1:]
		}
	}
	records := append([]*Record{&r}, earlier...)
	records = records[:min(len(records), maxRecords)]
	if err := h.save(recordsFile, records); err != nil {
		return err
	}
	h.set(records, nil)
	return nil
}

// list returns all records, kept those that pgo can go back to.
func (h *history) list() []*Record { return h.get(func() []*Record { return h.records }) }
func (h *history) kept() []*Record { return h.get(func() []*Record { return h.good }) }

func (h *history) get(list func() []*Record) []*Record {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(list())
}

// set replaces the lists that are not nil.
func (h *history) set(records, good []*Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if records != nil {
		h.records = records
	}
	if good != nil {
		h.good = good
	}
}

// keep adds a good deploy to those that pgo can go back to: the last few and the one that
// runs.
func (h *history) keep(r Record, model []byte, runs int) error {
	if err := replaceFile(h.dir, modelFile(r.Number), model); err != nil {
		return err
	}
	// A deploy that repeats another does not take the place of one that differs.
	all := slices.DeleteFunc(h.kept(), func(g *Record) bool {
		return g.Number == r.Number || g.Commit == r.Commit && g.Settings == r.Settings && maps.Equal(g.Images, r.Images)
	})
	all = append(all, &r)
	slices.SortFunc(all, func(a, b *Record) int { return b.Number - a.Number })
	var good []*Record
	for i, g := range all {
		if i < maxGood || g.Number == runs {
			good = append(good, g)
		}
	}
	if err := h.save(goodFile, good); err != nil {
		return err
	}
	h.set(nil, good)
	return h.sweep()
}

// amend changes the kept record of a good deploy.
func (h *history) amend(number int, change func(*Record)) error {
	good := h.kept()
	for i, g := range good {
		if g.Number == number {
			changed := *g
			change(&changed)
			good[i] = &changed
			if err := h.save(goodFile, good); err != nil {
				return err
			}
			h.set(nil, good)
		}
	}
	return nil
}

// forget gives up a good deploy that pgo cannot go back to after all.
func (h *history) forget(number int) error {
	good := slices.DeleteFunc(h.kept(), func(g *Record) bool { return g.Number == number })
	if err := h.save(goodFile, good); err != nil {
		return err
	}
	h.mu.Lock()
	h.good = good
	h.mu.Unlock()
	return h.sweep()
}

// sweep removes the models of deploys that are not kept.
func (h *history) sweep() error {
	files, err := os.ReadDir(h.dir)
	if err != nil {
		return err
	}
	for _, file := range files {
		number, isModel := strings.CutSuffix(file.Name(), ".model.json")
		n, err := strconv.Atoi(number)
		if !isModel || err != nil || h.find(n) != nil {
			continue
		}
		if err := os.Remove(filepath.Join(h.dir, file.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (h *history) save(name string, records []*Record) error {
	raw, err := json.MarshalIndent(records, "", " ")
	if err != nil {
		return err
	}
	if err := replaceFile(h.dir, name, append(raw, '\n')); err != nil {
		return fmt.Errorf("cannot save the history: %w", err)
	}
	return nil
}

func modelFile(number int) string { return strconv.Itoa(number) + ".model.json" }

// find returns the good deploy of that number, or nil.
func (h *history) find(number int) *Record {
	for _, g := range h.kept() {
		if g.Number == number {
			return g
		}
	}
	return nil
}

// model returns a good deploy's model.
func (h *history) model(number int) (*compose.Model, error) {
	raw, err := os.ReadFile(filepath.Join(h.dir, modelFile(number)))
	if err != nil {
		return nil, fmt.Errorf("cannot read the model of deploy %d: %w", number, err)
	}
	return compose.Load(raw)
}

// before returns the newest good deploy that is older than the numbered one.
func (h *history) before(number int) *Record {
	for _, g := range h.kept() {
		if g.Number < number {
			return g
		}
	}
	return nil
}

// ofCommit returns the newest good deploy of a commit, which may be abbreviated.
func (h *history) ofCommit(commit string) *Record {
	for _, g := range h.kept() {
		if strings.HasPrefix(g.Commit.String(), commit) || strings.HasPrefix(g.tree().String(), commit) {
			return g
		}
	}
	return nil
}

// offer lists the commits that pgo can go back to, for people.
func (h *history) offer() string {
	var all []string
	for _, g := range h.kept() {
		all = append(all, g.Commit.Short())
	}
	if len(all) == 0 {
		return "none is kept"
	}
	return "these are kept: " + strings.Join(all, ", ")
}
