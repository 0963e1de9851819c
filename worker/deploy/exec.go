package deploy

import (
	"context"
	"errors"
	"io"
	"strconv"

	"pgo/internal/target"
	"pgo/worker/compose"
)

// statusNoContainer is the exit status of docker compose exec for a compose service that
// has no container to run anything in.
const statusNoContainer = 1

// Exec runs a program in a container of the service. If its exit status is not 0, the error
// is a *compose.ExitError.
func (s *Service) Exec(ctx context.Context, args target.Args, terminal *compose.Terminal, in compose.Input, out compose.Output) error {
	if args.Has("--tty") && terminal == nil {
		return target.Usagef("exec --tty needs a terminal on the client's side: ssh -t, or pgoctl -t before the target")
	}
	if err := s.has(ctx, args.Services); err != nil {
		return err
	}
	index, _ := strconv.Atoi(args.Value("--index")) // the table ensures that it is a number
	command := compose.Command{
		Service: args.Services[0], Index: index, Words: args.Command,
		User: args.Value("--user"), Dir: args.Value("--workdir"), Env: args.Values("--env"),
		Terminal: terminal,
	}
	var err error
	status := 0
	if args.Has("--detach") {
		err = s.engine.ExecDetached(ctx, s.files.project.Name, command)
	} else {
		status, err = s.engine.Exec(ctx, s.files.project.Name, command, in, out)
	}
	if nowhere := new(compose.NoContainerError); errors.As(err, &nowhere) {
		_, _ = io.WriteString(out.Stderr, nowhere.Error()+"\n")
		status, err = statusNoContainer, nil
	}
	if err == nil && status != 0 {
		err = &compose.ExitError{Command: "exec", Status: status}
	}
	return err
}
