package test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"pgo/test/rig"
)

// A service on an engine that runs as the service's user does what it does on the host's own:
// builds, pushes, a way back, programs in containers and their signals, ports, a removal.
func TestRootless(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, calm, operator, port := r.Service("web"), r.Service("calm"), r.Key("operator"), r.Port()
	calm.Push("first", r.Idle()) // which stays: the removal of all would wait for an operator
	e := r.Rootless(web.User)
	e.Busybox()
	files := func(greeting, more string) rig.Files {
		f := r.Site(port, greeting)
		return and(r, f, "side", `init: true
    command: [sh, -c, "echo serving `+greeting+`; exec sleep 86400"]
    user: "7:8"
    mem_limit: 64m
    volumes: ["./data:/data"]
`+more).With("data/.keep", "")
	}
	first := web.Set("docker_host", e.Host).Push("first", files("one", ""))
	pgod := r.Pgod(web, calm)
	pgod.Operators(operator)
	pgod.Start()
	deployed(t, pgod, web, first)
	isFine(t, pgod, web)
	hasNoGroup(t, pgod.WorkerPID(web), "docker")
	r.Answers(port, "one")
	shows(t, pgod, web, "the limit on memory of side has no effect")
	says(t, pgod.SSH(web.Key, web.Op("ps")).Exits(t, 0).Stdout, web.Name+"-site-1", web.Name+"-side-1")
	says(t, pgod.SSH(web.Key, web.Op("logs"), "side").Exits(t, 0).Stdout, "serving one")

	// root in a container is the service's user.
	pgod.SSH(web.Key, web.Op("exec"), "--user", "0", "side", "touch", "/data/made").Exits(t, 0)
	made := filepath.Join(pgod.Dir, "services", web.Name, "checkout", "data", "made")
	if info, err := os.Stat(made); err != nil || info.Sys().(*syscall.Stat_t).Uid != uint32(web.User.UID) {
		t.Errorf("%s: %+v, %v", made, info, err)
	}

	client := dial(t, pgod, web.Key)
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	stdout, err := session.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Start(web.Op("exec") + " side sh -c " + quoted([]string{`trap 'echo bye; exit 9' INT; echo ready; while :; do sleep 0.1; done`})[0]); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	hears(t, lines, "ready")
	if err := session.Signal(ssh.SIGINT); err != nil {
		t.Error(err)
	}
	hears(t, lines, "bye")
	if exit := new(ssh.ExitError); !errors.As(session.Wait(), &exit) || exit.ExitStatus() != 9 {
		t.Errorf("it ended with %v, not 9", exit)
	}
	// What nobody knows is not shown as a number. A port belongs to the container, and not to what
	// listens there for the engine.
	if words := line(t, pgod.SSH(operator, "//top", "--no-stream").Exits(t, 0).Stdout, web.Name); words[4] != "-" || words[5] != "-" {
		t.Errorf("//top shows %q", words)
	}
	if words := line(t, pgod.SSH(operator, "//ports").Exits(t, 0).Stdout, fmt.Sprint(port)); words[2] != web.Name || words[len(words)-1] != "-" {
		t.Errorf("//ports shows %q", words)
	}

	second := web.Push("second", files("two", ""))
	deployed(t, pgod, web, second)
	r.Answers(port, "two")

	third := web.Push("third", files("three", `    healthcheck: {test: [CMD, "false"], interval: 1s, retries: 1}`+"\n"))
	shows(t, pgod, web, "deployed:  "+second[:7], "went back: "+third[:7]+" failed")
	r.Answers(port, "two")
	before := onEngine(t, e, web)

	// A port that a program of the host has, and one that only root may have.
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", r.Port()))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, takenPort, _ := strings.Cut(listener.Addr().String(), "127.0.0.1:")
	fourth := web.Push("fourth", files("four", "    ports: ['127.0.0.1:"+takenPort+":80']\n"))
	shows(t, pgod, web, "head:      "+fourth[:7], "port "+takenPort+" is taken by")
	fifth := web.Push("fifth", files("five", "    ports: ['127.0.0.1:81:80']\n"))
	shows(t, pgod, web, "head:      "+fifth[:7], "port 81 is for root alone, and the Docker engine here is rootless", "deployed:  "+second[:7])
	same(t, "ports that cannot be had", before, onEngine(t, e, web), "site", "side")

	pgod.Configure(calm)
	isRemoved(t, pgod, web)
	if left, err := e.Containers(web.Name); len(left) > 0 || err != nil {
		t.Errorf("containers that are left: %+v, %v", left, err)
	}
}
