package main

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"pgo/cmd/pgoctl/screen"
	"pgo/internal/bounded"
	"pgo/internal/target"
	"pgo/internal/wait"
)

// How long pgoctl waits before it asks a host again that does not answer, or that has refused.
const (
	retryTime   = 3 * time.Second
	refusedTime = 30 * time.Second
)

// wantsScreen reports whether somebody at a terminal has asked for //top as it is.
func (c *client) wantsScreen(command target.Command) bool {
	return command.Scope() == target.Host && command.Operation == "top" && len(command.Args) == 0 &&
		isTerminal(c.own.in) && isTerminal(c.own.out) && c.env("TERM") != "dumb"
}

// showTop shows all services of the hosts, live, until the user leaves. If no host reports
// anything, it ends like any other command.
func (c *client) showTop(ctx context.Context, places []place) error {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	c.progress.say("connecting to " + places[0].name + "…")
	updates := make(chan screen.Update)
	var hosts []string
	for _, p := range places {
		hosts = append(hosts, p.name)
		f := &feed{job: c.job(p, target.Command{Operation: "top", Args: []string{"--json"}}), updates: updates}
		f.several, f.quiet = true, true
		go f.follow(ctx)
	}
	var before []screen.Update
	failed := map[string]error{}
	for len(failed) < len(places) {
		select {
		case u := <-updates:
			before = append(before, u)
			if u.Snapshot != nil {
				return c.openScreen(ctx, hosts, before, updates)
			}
			failed[u.Host] = u.Err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if len(places) == 1 {
		return before[0].Err
	}
	return c.reportAll(places, failed)
}

// reportAll says why no host reports anything.
func (c *client) reportAll(places []place, failed map[string]error) error {
	var codes []int
	output := new(sync.Mutex)
	for i, name := range padded(places) {
		stderr := &lineWriter{output: output, out: c.stderr, label: label(name, i, c.red), most: maxLine}
		one := console{stderr: stderr, quiet: c.quiet, red: c.red}
		codes = append(codes, one.report(failed[places[i].name]))
	}
	return worst(codes)
}

// openScreen shows what is known already, and what comes.
func (c *client) openScreen(ctx context.Context, hosts []string, before []screen.Update, updates <-chan screen.Update) error {
	asking.Lock() // nobody is asked for a passphrase any more
	c.progress.stop()
	if err := c.raw.enter(c.own.in); err != nil { // so that it is left, however pgoctl ends
		return err
	}
	defer c.raw.leave()
	all := make(chan screen.Update)
	go func() {
		for _, u := range before {
			send(ctx, all, u)
		}
		for ctx.Err() == nil {
			select {
			case u := <-updates:
				send(ctx, all, u)
			case <-ctx.Done():
			}
		}
	}()
	return screen.Run(ctx, all, screen.Options{
		Hosts: hosts, Input: c.own.in, Output: c.own.out, Environment: os.Environ(), Color: showsColors(c.own.out, c.env),
	})
}

func send(ctx context.Context, to chan<- screen.Update, u screen.Update) {
	select {
	case to <- u:
	case <-ctx.Done():
	}
}

// feed is what one host reports, again and again.
type feed struct {
	*job
	updates chan<- screen.Update
}

// follow passes on what the host reports until ctx ends. A host that is away is asked again.
func (f *feed) follow(ctx context.Context) {
	for ctx.Err() == nil {
		err := f.read(ctx)
		delay := retryTime
		if errors.As(err, new(*statusError)) || errors.As(err, new(*localError)) {
			delay = refusedTime
		}
		send(ctx, f.updates, screen.Update{Host: f.name, Err: err})
		_ = wait.For(ctx, delay)
	}
}

// read passes on what one command prints, and returns why it has ended.
func (f *feed) read(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	said := &bounded.Buffer{Most: 4 << 10}
	output, input := io.Pipe()
	one := *f.job
	one.stdout, one.stderr = input, said
	go func() {
		err := screen.Read(ctx, f.name, output, f.updates)
		cancel(err)
		_ = output.CloseWithError(&notJSONError{err})
	}()
	err := one.do(ctx)
	_ = input.Close()
	if told := context.Cause(ctx); told != nil && !errors.Is(told, context.Canceled) {
		return told
	}
	if status := new(statusError); errors.As(err, &status) {
		status.message = slices.Concat(said.Bytes(), status.message)
		return &toldError{status}
	}
	if err == nil {
		err = errors.New("the host has stopped reporting")
	}
	return err
}

// toldError is a statusError that shows on one line what the host has said.
type toldError struct{ *statusError }

func (e *toldError) Error() string {
	if text := strings.TrimSpace(string(e.message)); text != "" {
		return text
	}
	return e.statusError.Error()
}

func (e *toldError) Unwrap() error { return e.statusError }
