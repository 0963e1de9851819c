package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"strconv"
	"time"

	"pgo/internal/sshd"
	"pgo/internal/target"
)

// exec is what the test's host does for exec: its containers have these programs.
func (p *process) exec() sshd.Exit {
	operation, _ := target.Lookup(target.Service, "exec")
	args, err := operation.ParseArgs(p.args, false)
	if err != nil {
		return sshd.Exit{Status: target.StatusUsage, Message: err.Error()}
	}
	session := p.Command
	if args.Has("--no-tty") || args.Has("--detach") {
		session = session.WithoutTerminal()
	}
	program, ok := programs[args.Command[0]]
	if !ok {
		return sshd.Exit{Status: 127}
	}
	return program(&process{p.ctx, session, p.host, args.Command[1:]})
}

var programs = map[string]func(*process) sshd.Exit{
	"cat": func(p *process) sshd.Exit {
		_, _ = io.Copy(p.Stdout, p.Stdin)
		return sshd.Exit{}
	},
	"sum": func(p *process) sshd.Exit {
		sum := sha256.New()
		n, err := io.Copy(sum, p.Stdin)
		fmt.Fprintf(p.Stdout, "%d %x %v\n", n, sum.Sum(nil), err)
		return sshd.Exit{}
	},
	"both": func(p *process) sshd.Exit {
		fmt.Fprintln(p.Stdout, "out")
		fmt.Fprintln(p.Stderr, "err")
		return sshd.Exit{}
	},
	"true": func(*process) sshd.Exit { return sshd.Exit{} }, // reads nothing
	"exit": func(p *process) sshd.Exit {
		status, _ := strconv.Atoi(p.args[0])
		return sshd.Exit{Status: uint32(status)}
	},
	"die": func(p *process) sshd.Exit { return sshd.Exit{Signal: p.args[0]} },
	"tty": func(p *process) sshd.Exit { // ends with its input
		if p.Terminal == nil {
			fmt.Fprintf(p.Stdout, "not a tty, colours: %v\n", p.Color)
			return sshd.Exit{}
		}
		show := func() {
			fmt.Fprintf(p.Stdout, "%s %dx%d\r\n", p.Terminal.Type, p.Terminal.Window().Columns, p.Terminal.Window().Rows)
		}
		<-p.Terminal.Resized() // the first size comes at the beginning
		show()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = io.Copy(io.Discard, p.Stdin)
		}()
		for {
			select {
			case <-p.Terminal.Resized():
				show()
			case <-ended:
				return sshd.Exit{}
			}
		}
	},
	"keys": func(p *process) sshd.Exit { // until q
		fmt.Fprint(p.Stdout, "ready\r\n")
		in := bufio.NewReader(p.Stdin)
		for {
			key, err := in.ReadByte()
			if err != nil || key == 'q' {
				return sshd.Exit{Status: 3}
			}
			fmt.Fprintf(p.Stdout, "%q\r\n", rune(key))
		}
	},
	"signals": func(p *process) sshd.Exit { // until TERM, or the end
		p.host.running <- struct{}{}
		for {
			select {
			case name := <-p.Signals:
				fmt.Fprintln(p.Stdout, name)
				if name == "TERM" {
					return sshd.Exit{Signal: name}
				}
				p.host.running <- struct{}{}
			case <-p.ctx.Done():
				p.host.ended <- struct{}{}
				return sshd.Exit{}
			}
		}
	},
	"late": func(p *process) sshd.Exit { // a test cannot wait to see that nothing is shown meanwhile
		time.Sleep(2 * progressDelay)
		fmt.Fprintln(p.Stdout, "late")
		return sshd.Exit{}
	},
	"yes": func(p *process) sshd.Exit {
		for p.ctx.Err() == nil {
			if _, err := fmt.Fprintln(p.Stdout, "y"); err != nil {
				break
			}
		}
		p.host.ended <- struct{}{}
		return sshd.Exit{}
	},
}
