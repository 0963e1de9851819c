// Package screen shows `pgoctl host://top` on a terminal: all services of one host or several,
// live. It must not know how the hosts are reached.
package screen

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"

	"pgo/internal/hoststat"
)

// Update is news of one host: a snapshot, or why there are no more.
type Update struct {
	Host     string             // as it was typed
	Snapshot *hoststat.Snapshot // nil: Err says why
	Err      error
}

// maxLine bounds a snapshot: a host with a thousand services of ten containers sends less.
const maxLine = 8 << 20

// Read reads the lines of a `//top --json` and sends each as an Update. It returns nil at the end
// of r, or when ctx ends.
func Read(ctx context.Context, host string, r io.Reader, updates chan<- Update) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		snapshot := new(hoststat.Snapshot)
		if err := json.Unmarshal(lines.Bytes(), snapshot); err != nil {
			return fmt.Errorf("%s sent something that is not a snapshot: %w", host, err)
		}
		hoststat.Printable(snapshot) // the host does that itself, but the terminal must not depend on it
		select {
		case updates <- Update{Host: host, Snapshot: snapshot}:
		case <-ctx.Done():
			return nil
		}
	}
	return lines.Err()
}

// Options say how the screen is shown.
type Options struct {
	Hosts       []string // every host with updates, in the order to name them in
	Input       io.Reader
	Output      io.Writer // a terminal
	Environment []string
	Color       bool
}

// Run shows the updates until the user leaves, which is not an error, or until ctx ends; the
// error is then ctx's cause.
func Run(ctx context.Context, updates <-chan Update, o Options) error {
	profile := colorprofile.Ascii
	if o.Color {
		profile = colorprofile.ANSI
	}
	program := tea.NewProgram(newModel(o.Hosts),
		tea.WithContext(ctx), tea.WithInput(o.Input), tea.WithOutput(o.Output),
		tea.WithEnvironment(o.Environment), tea.WithColorProfile(profile), tea.WithoutSignalHandler())
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case u := <-updates:
				program.Send(u)
			case <-ended:
				return
			}
		}
	}()
	_, err := program.Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
