package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"

	"pgo/internal/sshd"
)

// answers are what the test's host does, by operation. An operation that is not listed prints
// nothing and succeeds.
var answers = map[string]func(*process) sshd.Exit{
	"ping": func(p *process) sshd.Exit { return p.print("pong!\n") },
	"metrics": func(p *process) sshd.Exit {
		p.printf("pgo_up 1\nasked %d\n", p.host.metrics.Add(1))
		if p.host.slow != nil {
			<-p.host.slow
		}
		return sshd.Exit{}
	},
	"history": func(p *process) sshd.Exit {
		return p.print(`[
  {"commit": "468ac4e2d9b9a5a64dcab3dbb2aa4ca2e8ab5d8f", "subject": "second", "can_roll_back_to": true},
  {"commit": "111111111111a5a64dcab3dbb2aa4ca2e8ab5d8f", "subject": "first", "can_roll_back_to": false}
]`)
	},
	"ps": func(p *process) sshd.Exit {
		if slices.Contains(p.args, "--services") {
			return p.print("web\ndb\n")
		}
		fmt.Fprint(p.Stderr, "Unauthorized: says the container, and then\nmore\n")
		return p.printf("%q\n", p.args)
	},
	"down": func(p *process) sshd.Exit { // ends as it is told
		status, _ := strconv.Atoi(p.args[1])
		message := ""
		if status >= 400 {
			message = "the host says " + p.args[1]
		}
		return sshd.Exit{Status: uint32(status), Message: message}
	},
	"services": func(p *process) sshd.Exit { return p.print("pgo\nshop\n\x1b[31m\n") }, // the last is not a name
	"status": func(p *process) sshd.Exit {
		return p.printf("{\"service\":%q}\n", p.Command.Service)
	},
	"git hash": func(p *process) sshd.Exit { return p.print("of " + p.Identity.User) },
	"diff":     (*process).printMuch,
	"images":   func(p *process) sshd.Exit { return p.printf("[%q,\n", p.Identity.User) }, // not a JSON line
	"top": func(p *process) sshd.Exit {
		if !slices.Contains(p.args, "--json") {
			return p.printf("a table %q, colours: %v\n", p.args, p.Color)
		}
		return p.follow()
	},
	"watch": (*process).follow,
	"logs": func(p *process) sshd.Exit {
		p.print("following\n")
		p.host.running <- struct{}{}
		<-p.ctx.Done()
		p.host.ended <- struct{}{}
		return sshd.Exit{}
	},
	"exec": (*process).exec,
}

func (p *process) print(text string) sshd.Exit {
	_, _ = io.WriteString(p.Stdout, text) // fails when the client has left
	return sshd.Exit{}
}

func (p *process) printf(format string, args ...any) sshd.Exit {
	return p.print(fmt.Sprintf(format, args...))
}

// printMuch prints as much as possible at once, in pieces, on both outputs.
func (p *process) printMuch() sshd.Exit {
	var both sync.WaitGroup
	for _, out := range []io.Writer{p.Stdout, p.Stderr} {
		both.Go(func() {
			for i := range 500 {
				fmt.Fprintf(out, "a line of %s, ", p.Identity.User)
				fmt.Fprintf(out, "number %d\n", i)
			}
		})
	}
	both.Wait()
	return sshd.Exit{}
}

// follow prints what the test provides, until the client leaves.
func (p *process) follow() sshd.Exit {
	for {
		select {
		case text := <-p.host.more:
			p.print(text)
		case <-p.ctx.Done():
			return sshd.Exit{}
		}
	}
}
