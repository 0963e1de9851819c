package bench

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"pgo/test/rig"
)

// BenchmarkDowntime measures how long a client gets no answer while a site is deployed again:
// by pgo in its two ways, and by the bare commands that they consist of. The time before and
// after is not part of it.
func BenchmarkDowntime(b *testing.B) {
	for _, way := range []struct{ name, deploy, commands string }{
		{"recreate", "recreate", "docker compose build -q && docker compose down && docker compose up -d --no-build"},
		{"in-place", "in-place", "docker compose build -q && docker compose up -d --no-build"},
	} {
		b.Run(way.name, func(b *testing.B) {
			r := rig.New(b)
			web, port := r.Service("web").Set("deploy", way.deploy), r.Port()
			bare, barePort := r.Service("bare"), r.Port()
			commit := web.Push("round 0", r.Site(port, "round 0"))
			bare.Push("round 0", r.Site(barePort, "round 0"))
			pgod := r.Start(web)
			deployed(b, pgod, web, commit)
			dir := filepath.Join(r.Dir, "clone")
			shell(b, r.Dir, bare, "git clone --quiet "+bare.Setting("repository").(string)+" clone && cd clone && docker compose up -d --build")
			for b.Loop() {
				var pgo, script sample
				for i := range 5 {
					greeting := fmt.Sprintf("round %d", i+1)
					pgo = append(pgo, unanswered(b, port, greeting, func() {
						deployed(b, pgod, web, web.Push(greeting, r.Site(port, greeting)))
					}))
					script = append(script, unanswered(b, barePort, greeting, func() {
						bare.Push(greeting, r.Site(barePort, greeting))
						shell(b, dir, bare, "git fetch --quiet && git reset --quiet --hard FETCH_HEAD && "+way.commands)
					}))
				}
				compare(b, "ms", "pgo", pgo, "bare", script)
			}
		})
	}
}

func shell(b *testing.B, dir string, s *rig.Service, commands string) {
	b.Helper()
	cmd := exec.Command("sh", "-ec", commands)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "COMPOSE_PROJECT_NAME="+s.Name)
	rig.Run(b, cmd).Exits(b, 0)
}

// unanswered asks the site repeatedly while deploy runs, and until it answers with the
// greeting. It returns the milliseconds from the last answer with the old greeting to the first
// with the new one.
func unanswered(b *testing.B, port int, greeting string, deploy func()) float64 {
	b.Helper()
	old := time.Now()
	done := make(chan float64, 1)
	go func() {
		client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		for {
			asked := time.Now()
			said, err := ask(client, port)
			switch {
			case err == nil && said == greeting:
				done <- milliseconds(time.Since(old))
				return
			case err == nil:
				old = asked
			case time.Since(asked) < time.Millisecond:
				time.Sleep(time.Millisecond) // refused at once: do not take the processor from what is measured
			}
		}
	}()
	deploy()
	select {
	case gap := <-done:
		return gap
	case <-time.After(time.Minute):
		b.Fatalf("the site does not say %q", greeting)
		return 0
	}
}

func ask(client *http.Client, port int) (string, error) {
	reply, err := client.Get("http://127.0.0.1:" + strconv.Itoa(port))
	if err != nil {
		return "", err
	}
	defer func() { _ = reply.Body.Close() }()
	scanner := bufio.NewScanner(reply.Body)
	scanner.Scan()
	return scanner.Text(), scanner.Err()
}
