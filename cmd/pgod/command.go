package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"pgo/internal/bounded"
	"pgo/internal/config"
	"pgo/internal/version"
	"pgo/supervisor"
)

// flags are pgod's command line.
type flags struct {
	config    string // a path; empty: all of the configuration is in git
	upstream  *config.Upstream
	user      string // the user that fetches it
	dir       string
	ssh       string
	interval  time.Duration
	reload    bool
	debug     bool
	logFormat string
	worker    string
	machines  []string
	check     bool
}

func command() *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   "pgod [flags]",
		Short: "GitOps for Docker Compose: follow git repositories and run what is in them",
		Long: `pgod reads one TOML file with a service per entry. For each it starts a worker
that clones the repository, runs docker compose as the service's own user and
follows the branch. Developers control their services over pgod's own SSH
listener, with pgoctl or any SSH client.`,
		Args:          noArguments,
		Version:       version.String(),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.locate(); err != nil {
				return err
			}
			if f.check {
				return check(c.Context(), f, c.OutOrStdout())
			}
			return run(c.Context(), f)
		},
	}
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		if strings.Contains(err.Error(), "--datadir") { // miekg/pgo has it
			return fmt.Errorf("%w: %s", err, config.InsteadOfDatadir)
		}
		return fmt.Errorf("%w; see pgod --help", err)
	})
	c.SetVersionTemplate("pgod {{.Version}}\n")
	p := c.Flags()
	p.SortFlags = false
	p.StringVarP(&f.config, "config", "c", "/etc/pgo.toml", "the configuration `file`, or git+https://host/repository//pgo.toml?ref=branch")
	p.StringVar(&f.user, "config-user", "pgo-config", "the `user` that fetches a configuration from git+…")
	p.StringVarP(&f.dir, "dir", "d", "/var/lib/pgo", "`directory` for persistent data: clones, checkouts, the host key")
	p.StringVarP(&f.ssh, "ssh", "s", ":2222", "`address` of the SSH listener")
	p.DurationVarP(&f.interval, "duration", "t", time.Minute, "time between two looks at a branch, up to a quarter longer or shorter")
	p.BoolVar(&f.reload, "restart", true, "reload the configuration when its file changes (SIGHUP always does)")
	p.BoolVar(&f.debug, "debug", false, "log in detail")
	p.StringVar(&f.logFormat, "log-format", "text", "`text` or json")
	p.StringVar(&f.worker, "worker", "", "the pgo-worker `file` (default: next to pgod)")
	p.StringArrayVar(&f.machines, "machine", nil, "another `name` of this host, for services with `machine`; may be repeated")
	p.BoolVar(&f.check, "check", false, "check the configuration, print every mistake with its line, and exit")
	p.BoolP("version", "v", false, "print the version")
	return c
}

// noArguments refuses arguments: pgod takes flags only.
func noArguments(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := "see pgod --help"
	if c.Flags().Lookup(args[0]) != nil {
		hint = "did you mean --" + args[0] + "?"
	} else if strings.HasSuffix(args[0], ".toml") {
		hint = "did you mean -c " + args[0] + "?"
	}
	return fmt.Errorf("unknown argument %q; %s", args[0], hint)
}

// locate finds out whether the configuration is a file, or in git.
func (f *flags) locate() (err error) {
	if !config.IsUpstream(f.config) {
		if err := config.CheckPath(f.config); err != nil {
			return err
		}
		f.config, err = filepath.Abs(f.config)
		return err
	}
	if f.check {
		return errors.New("--check reads local files only: give it the file in a clone of the repository")
	}
	if f.user == "root" {
		return errors.New("--config-user: data from a git server is not read as root; create a user for it with useradd --system pgo-config")
	}
	if f.upstream, err = config.ParseUpstream(f.config); err != nil {
		return err
	}
	f.upstream.User, f.upstream.Interval, f.config = f.user, f.interval, ""
	return nil
}

// check prints what is wrong with the configuration, and what could be better. It does not
// fail for what this host has of Docker: the configuration may be another host's.
func check(ctx context.Context, f flags, out io.Writer) error {
	options, err := f.options()
	if err != nil {
		return err
	}
	cfg, err := load(f, options)
	if err != nil {
		return err
	}
	for _, warning := range cfg.Warnings {
		_, _ = fmt.Fprintln(out, "warning:", warning)
	}
	if dir, err := filepath.Abs(f.dir); err == nil && cfg.Upstream == nil {
		if lost := supervisor.LossAt(dir, f.origin(), cfg.Services); lost != nil {
			_, _ = fmt.Fprintln(out, "warning:", lost)
		}
	}
	_, _ = fmt.Fprintf(out, "%s is fine; services on this host: %d\n", f.config, len(cfg.Services))
	if u := cfg.Upstream; u != nil {
		_, _ = fmt.Fprintf(out, "not checked, because it is in git: %s//%s\n", u.Repository, u.Path)
	}
	worker, err := f.workerPath()
	if err != nil {
		return err
	}
	for _, line := range supervisor.Docker(ctx, worker, cfg.Services) {
		_, _ = fmt.Fprintln(out, line)
	}
	return nil
}

// options returns what the configuration is checked against.
func (f flags) options() (config.Options, error) {
	_, port, err := net.SplitHostPort(f.ssh)
	if err != nil {
		return config.Options{}, fmt.Errorf("--ssh: %w; write [host]:port", err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return config.Options{}, fmt.Errorf("--ssh: %q is not a port; write [host]:port", port)
	}
	if f.interval < time.Second {
		return config.Options{}, fmt.Errorf("--duration: %s is less than a second", f.interval)
	}
	host, err := os.Hostname()
	if err != nil {
		return config.Options{}, err
	}
	return config.Options{
		SSHPort:         int(number),
		Machines:        append([]string{host}, f.machines...),
		DefaultInterval: f.interval,
		Upstream:        f.upstream,
	}, nil
}

// maxLog bounds the log, in bytes, that waits for whatever reads standard error.
const maxLog = 4 << 20

// logger returns the log, and a function that ends it. Nothing waits for whatever reads the log: a
// pipe that nobody reads must not hold up operations, nor may one that is closed end pgod.
func (f flags) logger() (log hclog.Logger, end func(), err error) {
	if f.logFormat != "text" && f.logFormat != "json" {
		return nil, nil, fmt.Errorf("--log-format: %q is neither text nor json", f.logFormat)
	}
	level := hclog.Info
	if f.debug {
		level = hclog.Debug
	}
	color := hclog.ColorOff
	if term.IsTerminal(int(os.Stderr.Fd())) {
		color = hclog.ForceColor
	}
	// Ignored, it would be ignored by workers and by what they start, too.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	queue := bounded.NewQueue(os.Stderr, maxLog, func(writes int) {
		log.Warn("standard error was not read in time: log lines were dropped", "lines", writes)
	})
	log = hclog.New(&hclog.LoggerOptions{
		Name:       "pgod",
		Level:      level,
		Output:     queue,
		JSONFormat: f.logFormat == "json",
		Color:      color,
	})
	return log, func() { queue.Close(time.Second) }, nil
}

// workerPath returns the path of pgo-worker: as given, or next to pgod itself.
func (f flags) workerPath() (string, error) {
	path := f.worker
	if path == "" {
		self, err := os.Executable() // symlinks resolved
		if err != nil {
			return "", err
		}
		path = filepath.Join(filepath.Dir(self), "pgo-worker")
	}
	return filepath.Abs(path)
}
