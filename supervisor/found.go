package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	kept "pgo/internal/bounded" // this package has a function of that name
	"pgo/internal/config"
	"pgo/internal/printable"
	"pgo/internal/procgroup"
	"pgo/proto"
)

// Docker finds out what this host has of Docker, for the services of a configuration, and returns it
// in lines. No service need run yet. It asks once for each engine, by a worker at that path: as the
// user of the first service that uses it, or as whoever calls it if that is not root.
func Docker(ctx context.Context, worker string, services []config.Service) []string {
	if len(services) == 0 {
		return nil
	}
	var lines []string
	of := map[string][]config.Service{}
	var engines []string
	for _, s := range services {
		if of[s.DockerHost] == nil {
			engines = append(engines, s.DockerHost)
		}
		of[s.DockerHost] = append(of[s.DockerHost], s)
	}
	for _, host := range engines {
		what := "Docker"
		if host != "" {
			what += " at " + host
		}
		said, err := findDocker(ctx, worker, of[host][0])
		if err != nil {
			lines = append(lines, fmt.Sprintf("%s was not checked: %v", what, err))
			continue
		}
		if said.Docker != "" {
			lines = append(lines, what+": "+said.Docker)
		}
		for _, warning := range said.Warnings {
			lines = append(lines, "warning: "+what+": "+warning)
		}
		if warning := tooFew(said, of[host]); warning != "" {
			lines = append(lines, "warning: "+what+": "+warning)
		}
	}
	for i := range lines {
		lines[i] = printable.Line(lines[i])
	}
	return lines
}

// tooFew returns a warning if an engine has not enough addresses for the networks of services that
// have none yet.
func tooFew(said proto.Found, services []config.Service) string {
	if said.Free == nil {
		return ""
	}
	yet := 0
	for _, s := range services {
		if !slices.Contains(said.Projects, s.Name) {
			yet++
		}
	}
	if yet <= *said.Free {
		return ""
	}
	return fmt.Sprintf("at most %d more networks fit, and services without a network yet: %d; "+
		"make room with default-address-pools in the engine's daemon.json, see \"How many networks fit\" in docs/operators.md", *said.Free, yet)
}

const (
	findTimeout = 10 * time.Second
	maxFound    = 1 << 20 // bytes
)

// findDocker has a worker say what it finds.
func findDocker(ctx context.Context, worker string, service config.Service) (said proto.Found, err error) {
	if _, err := os.Stat(worker); err != nil {
		return said, fmt.Errorf("there is no pgo-worker: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, findTimeout, fmt.Errorf("it has not answered within %s", findTimeout))
	defer cancel()
	args := []string{proto.FindFlag}
	if service.DockerHost != "" {
		args = append(args, service.DockerHost)
	}
	cmd := exec.Command(worker, args...)
	cmd.Dir = "/"
	cmd.Env = []string{workerPath, "GOMAXPROCS=1"}
	if os.Geteuid() == 0 {
		who, err := lookupAccount(ctx, service.User, service.DockerHost == "")
		if err != nil {
			return said, err
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: who.uid, Gid: who.gid, Groups: who.groups}}
	}
	stdout, stderr := &kept.Buffer{Most: maxFound}, &kept.Buffer{Most: maxFound}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	group, err := procgroup.Start(cmd)
	if err != nil {
		return said, fmt.Errorf("cannot start the worker: %w", err)
	}
	select {
	case <-group.Done():
	case <-ctx.Done():
		group.Stop(0)
		return said, context.Cause(ctx)
	}
	if err := group.Wait(); err != nil {
		return said, fmt.Errorf("the worker ended: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	if err := json.Unmarshal(stdout.Bytes(), &said); err != nil {
		return said, fmt.Errorf("cannot read the worker's answer: %w", err)
	}
	if said.Error != "" {
		return said, errors.New(said.Error)
	}
	return said, nil
}
