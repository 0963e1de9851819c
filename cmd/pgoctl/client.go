package main

import (
	"context"
	"io"
	"os"
	"os/user"
	"sync"
	"time"

	"pgo/internal/target"
)

// client is one run of pgoctl.
type client struct {
	console
	env   func(string) string
	own   streams
	flags flags
	hosts *hostsFile
	batch bool // nobody can be asked for anything

	ctx      context.Context         // of the whole run
	stop     context.CancelCauseFunc // ends it
	progress progress
	signals  signals
	raw      rawMode
	keys     keyring
	logins   chan struct{} // one entry for each current login

	remembering sync.Mutex // held while a new host is written to a file
}

// streams are what pgoctl itself reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// flags are pgoctl's own.
type flags struct {
	identities  []string
	login       string
	port        uint16
	knownHosts  string
	acceptNew   bool
	fingerprint string
	timeout     time.Duration
	tty, noTTY  bool
	json        bool

	serveMetrics string
}

// run runs pgoctl. It returns the exit code, an interface that scripts rely on.
func run(received <-chan os.Signal, args []string, env func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := context.WithCancelCause(context.Background())
	c := &client{
		env:    env,
		own:    streams{stdin, stdout, stderr},
		ctx:    ctx,
		stop:   stop,
		logins: make(chan struct{}, maxLogins),
	}
	c.console = console{
		stdout: c.progress.before(stdout),
		stderr: c.progress.before(stderr),
		red:    showsColors(stderr, env),
	}
	defer c.progress.stop()
	c.signals.stop, c.signals.die = stop, c.die
	defer c.raw.leave()
	go c.signals.serve(received)
	command := c.command()
	command.SetArgs(args)
	command.SetOut(stdout)
	command.SetErr(stderr)
	return c.report(command.ExecuteContext(ctx))
}

// die ends pgoctl at once.
func (c *client) die(code int) {
	c.progress.stop()
	c.raw.leave()
	os.Exit(code)
}

// do carries out what was asked for.
func (c *client) do(ctx context.Context, t target.Target) error {
	file, err := c.readHostsFile()
	if err != nil {
		return err
	}
	c.hosts = file
	places := c.places(file, t.Hosts)
	switch {
	case c.wantsScreen(t.Command):
		return c.showTop(ctx, places)
	case c.flags.serveMetrics != "" && len(places) > 1:
		return target.Usagef("--serve-metrics is for one host; each host needs an address of its own")
	case c.flags.serveMetrics != "":
		return c.serveMetrics(ctx, c.flags.serveMetrics, places[0], t.Command)
	case len(places) > 1:
		return c.doAll(ctx, places, t.Command)
	}
	return c.job(places[0], t.Command).do(ctx)
}

// job returns the command on one host.
func (c *client) job(p place, command target.Command) *job {
	j := &job{client: c, console: c.console, place: p, command: command, colors: showsColors(c.own.out, c.env)}
	o, _ := target.Lookup(command.Scope(), command.Operation)
	if !o.Input {
		return j
	}
	args, _ := o.ParseArgs(command.Args, true) // the host reports what is wrong with them
	j.input = !args.Has("--detach")
	j.tty = c.wantsTerminal(args)
	return j
}

func (c *client) localUser() string {
	if name := c.env("USER"); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}
