package main

import (
	"context"
	"fmt"
	"sync"

	"pgo/internal/target"
)

// maxLogins is how many hosts are logged in to at a time. The commands that run there afterwards
// are not bounded: they may have no end.
const maxLogins = 8

// severalError is the result of several hosts, each of which has reported its part.
type severalError struct{ exitCode int }

func (e *severalError) Error() string { return fmt.Sprintf("the worst exit code is %d", e.exitCode) }

// doAll carries out a command on several hosts at once. A failure on one does not affect the
// others.
func (c *client) doAll(ctx context.Context, places []place, command target.Command) error {
	o, _ := target.Lookup(command.Scope(), command.Operation)
	switch {
	case o.Input:
		return target.Usagef("%s takes input, which is for one host; name one", typedName(o))
	case c.flags.fingerprint != "":
		return target.Usagef("--fingerprint is for one host's key; write those of several to %s", c.hosts.path)
	}
	c.progress.say(fmt.Sprintf("waiting for %d hosts…", len(places)))
	names := padded(places)
	codes := make([]int, len(places))
	var output sync.Mutex
	var running sync.WaitGroup
	for i, p := range places {
		stdout := &lineWriter{output: &output, out: c.stdout, label: label(names[i], i, showsColors(c.own.out, c.env)), most: maxLine}
		stderr := &lineWriter{output: &output, out: c.stderr, label: label(names[i], i, showsColors(c.own.err, c.env)), most: maxLine}
		j := c.job(p, command)
		j.several, j.stdout, j.stderr = true, stdout, stderr
		flush := stdout.flush
		if c.flags.json {
			stdout.label, stdout.most = "", maxJSON
			values := newValueWriter(p.name, stdout)
			j.stdout, flush = values, values.flush
		}
		running.Go(func() {
			err := j.do(ctx)
			if flushed := flush(); err == nil {
				err = flushed
			}
			codes[i] = j.report(err)
			_ = stderr.flush() // fails when nobody is left to tell
		})
	}
	running.Wait()
	return worst(codes)
}

// padded returns the names of hosts, all of one length.
func padded(places []place) []string {
	width := 0
	for _, p := range places {
		width = max(width, len(p.name))
	}
	var names []string
	for _, p := range places {
		names = append(names, fmt.Sprintf("%-*s", width, p.name))
	}
	return names
}

// worst returns the highest code, if that is not 0.
func worst(codes []int) error {
	most := 0
	for _, code := range codes {
		most = max(most, code)
	}
	if most == 0 {
		return nil
	}
	return &severalError{most}
}

// labelColors distinguish hosts: none of them means that something is wrong.
var labelColors = []string{"36", "35", "34", "32", "33"}

// label returns the prefix of a host's lines.
func label(name string, i int, colored bool) string {
	if !colored {
		return name + " | "
	}
	return "\x1b[" + labelColors[i%len(labelColors)] + "m" + name + " |\x1b[0m "
}
