package compose

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// buildxState is where buildx keeps its state, below Home.
const buildxState = "buildx"

// forgetBuilds removes what buildx notes of each build, for commands that pgo does not have:
// nothing else ever would.
func (p *Project) forgetBuilds() { _ = os.RemoveAll(filepath.Join(p.Home, buildxState, "refs")) }

// unasked are the beginnings of warnings that compose prints with each build where there is no
// buildx. It builds all the same, and says so itself if a build needs more than it has.
var unasked = []string{
	"Docker Compose is configured to build using Bake, but buildx isn't installed",
	"buildx Docker CLI plugin not found",
}

// hush passes on what compose prints without the warnings that nobody who reads them can do
// anything about.
type hush struct {
	w io.Writer

	mu   sync.Mutex
	held []byte // the beginning of a line that may become a warning
	mid  bool   // the last line that was passed on has no end yet
}

// warningStart begins each warning.
var warningStart = []byte(`time="`)

// maxHeld bounds the beginning that waits for its line's end.
const maxHeld = 4 << 10

func (h *hush) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []byte
	for line := range bytes.Lines(append(h.held, b...)) {
		start, whole := line[:min(len(line), len(warningStart))], line[len(line)-1] == '\n'
		switch {
		case h.mid:
		case !whole && bytes.HasPrefix(warningStart, start) && len(line) < maxHeld:
			h.held = bytes.Clone(line)
			return len(b), h.pass(out)
		case isUnasked(line):
			continue
		}
		out = append(out, line...)
		h.mid = !whole
	}
	h.held = nil
	return len(b), h.pass(out)
}

// flush passes on a last line without an end.
func (h *hush) flush() {
	h.mu.Lock()
	defer h.mu.Unlock()
	_ = h.pass(h.held)
	h.held = nil
}

func (h *hush) pass(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	_, err := h.w.Write(b)
	return err
}

func isUnasked(line []byte) bool {
	found := warning.FindSubmatch(line)
	if found == nil {
		return false
	}
	for _, beginning := range unasked {
		if strings.HasPrefix(strings.TrimPrefix(string(found[1]), `"`), beginning) {
			return true
		}
	}
	return false
}
