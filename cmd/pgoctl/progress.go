package main

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/briandowns/spinner"
)

// progressDelay is how long pgoctl waits before it shows what it waits for.
const progressDelay = 300 * time.Millisecond

// progress tells somebody at a terminal what pgoctl waits for, until there is something else to
// see.
type progress struct {
	out *os.File // nil: nobody sees it

	mu      sync.Mutex // guards what follows
	delay   *time.Timer
	spinner *spinner.Spinner
}

// say shows a text, instead of what was shown before.
func (p *progress) say(text string) {
	if p.out == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	// Each text has a spinner of its own: one that is started again may stop at once.
	next := spinner.New(spinner.CharSets[14], 100*time.Millisecond, spinner.WithWriterFile(p.out),
		spinner.WithHiddenCursor(false), spinner.WithSuffix(" "+text))
	p.spinner, p.delay = next, time.AfterFunc(progressDelay, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.spinner == next {
			next.Start()
		}
	})
}

// stop restores the line. Nothing is shown after that.
func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

func (p *progress) clear() {
	if p.spinner != nil {
		p.delay.Stop()
		p.spinner.Stop()
		p.spinner = nil
	}
}

// before returns a writer to out that ends progress with its first use.
func (p *progress) before(out io.Writer) io.Writer {
	return &afterProgress{p, out}
}

type afterProgress struct {
	progress *progress
	out      io.Writer
}

func (a *afterProgress) Write(b []byte) (int, error) {
	a.progress.stop()
	return a.out.Write(b)
}
