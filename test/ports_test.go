package test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/moby/moby/client/pkg/versions"

	"pgo/test/rig"
)

// freePorts returns the first of n consecutive ports on which nobody listens. They are above
// those that the rig gives out one by one.
func freePorts(t *testing.T, n int) int {
	t.Helper()
	const lowest, above = 30_000, 32_700
	for range 100 {
		first := lowest + rand.N(above-lowest-n)
		free := true
		for port := first; free && port < first+n; port++ {
			listener, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
			if free = err == nil; free {
				listener.Close()
			}
		}
		if free {
			return first
		}
	}
	t.Fatalf("no %d free ports in a row found", n)
	return 0
}

// finds checks that a worker's log and --check say which Docker there is.
func finds(t *testing.T, pgod *rig.Pgod) {
	t.Helper()
	engine := strings.TrimSpace(docker(t, "version", "--format", "{{.Server.Version}}"))
	store := strings.TrimSpace(docker(t, "info", "--format", "{{.Driver}}"))
	compose := strings.TrimSpace(docker(t, "compose", "version", "--short"))
	says(t, strings.ReplaceAll(pgod.Log(), `"`, "")+" ", "Docker found: ", " engine="+engine+" ", " store="+store, " compose="+compose+" ")
	check := pgod.Command()
	check.Args = append(check.Args, "--check")
	out := rig.Run(t, check).Exits(t, 0).Stdout
	says(t, out, "services on this host: 1", "\nDocker: engine "+engine+" (API ", ", image store "+store+", ", ", compose "+compose+", buildx ")
	if strings.Contains(out, "not checked") || strings.Contains(out, "not been tried") {
		t.Errorf("--check complains about the Docker that the tests run on:\n%s", out)
	}
}

// A commit is not blamed for what is missing or taken on the host: until it is there or free
// nothing is touched, and then the commit is deployed.
func TestPortsAndNetworks(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, first := r.Service("web"), freePorts(t, 7)
	web.Set("ports", []string{fmt.Sprintf("%d/5", first)}).Set("networks", []string{r.Prefix + "-proxy"})
	subnet := fmt.Sprintf("10.%d.%d.0/24", 100+os.Getpid()%100, first%250)
	web.Set("allow", []string{"network.ipam:" + subnet})
	commit := web.Push("first", page(r, first, "zero"))
	pgod := r.Start(web)
	deployed(t, pgod, web, commit)
	r.Answers(first, "zero")
	finds(t, pgod)

	// waits pushes a commit that has to wait for its surroundings, and then provides what it
	// waits for.
	waits := func(text string, port int, lines, why string, comes func()) {
		t.Helper()
		before := startedAt(t, web)
		files := page(r, port, text)
		next := web.Push(text, files.With("compose.yaml", files["compose.yaml"]+lines))
		shows(t, pgod, web, "deployed:  "+commit[:7], "head:      "+next[:7], "last:      failed", "error:     cannot start "+next[:7]+": "+why)
		polled(t, pgod, web)
		stays(t, web, before, why)
		if n := switches(pgod, web, next); n != 0 {
			t.Errorf("%s: what runs was taken down %d times", why, n)
		}
		comes()
		deployed(t, pgod, web, next)
		r.Answers(port, text)
		commit = next
		if last := history(t, pgod, web)[1]; last.Commit != next || last.Outcome != "failed" || last.Tries < 1 || !strings.Contains(last.Error, why) {
			t.Errorf("the history does not show what it waited for: %+v", last)
		}
	}

	foreign := r.Service("foreign") // its containers are removed with its project
	guest := foreign.Name + "-guest"
	docker(t, "run", "--detach", "--init", "--name", guest, "--label", "com.docker.compose.project="+foreign.Name, "--network", web.Name+"_default", r.Busybox(), "sleep", "86400")
	waits("guest", first, "networks: {default: {labels: {n: other}}}\n",
		fmt.Sprintf("the network %s_default is defined otherwise and has to be made anew, and containers of others are on it (%s)", web.Name, guest),
		func() { docker(t, "rm", "--force", guest) })

	proxied := fmt.Sprintf("    networks: [proxy]\nnetworks:\n  proxy: {external: true, name: %s-proxy}\n", r.Prefix)
	waits("network", first, proxied, "network "+r.Prefix+"-proxy is declared as external and does not exist yet", func() { network(t, r, web, "proxy") })

	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+1))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	waits("program", first+1, proxied, fmt.Sprintf("port %d is taken by a program of this host; an operator can see it with //ports; it is tried again", first+1), func() { listener.Close() })

	name := foreign.Name + "-squatter"
	docker(t, "run", "--detach", "--init", "--name", name, "--label", "com.docker.compose.project="+foreign.Name,
		"--publish", fmt.Sprintf("%d:80", first+5), r.Busybox(), "sleep", "86400")
	waits("container", first+5, proxied, fmt.Sprintf("port %d is taken by the container %s; it is tried again", first+5, name),
		func() { docker(t, "rm", "--force", name) })

	named := web.Name + "-the-name"
	docker(t, "create", "--name", named, "--label", "com.docker.compose.project="+foreign.Name, r.Busybox())
	waits("name", first, "    container_name: "+named+"\n", "the container name "+named+" is taken by a container of the project "+foreign.Name,
		func() { docker(t, "rm", named) })

	own := web.Name + "_back"
	docker(t, "network", "create", own)
	t.Cleanup(func() { _ = exec.Command("docker", "network", "rm", own).Run() })
	waits("label", first, "    networks: [back]\nnetworks:\n  back:\n", "the network "+own+" exists, and compose has not made it for "+web.Name,
		func() { docker(t, "network", "rm", own) })

	// The engine alone knows which addresses are left.
	other := r.Prefix + "-addresses"
	docker(t, "network", "create", "--label", "com.docker.compose.project="+foreign.Name, "--subnet", subnet, other)
	waits("addresses", first, "    networks: [far]\nnetworks:\n  far: {ipam: {config: [{subnet: "+subnet+"}]}}\n",
		"the engine cannot make the network "+web.Name+"_far: ", func() { docker(t, "network", "rm", other) })

	// What the engine is too old for, or cannot make on this host, does not condemn a commit.
	six := page(r, first, "six")
	with := func(inService string) rig.Files {
		return six.With("compose.yaml", six["compose.yaml"]+"    networks: {default: {"+inService+"}, six: {}}\nnetworks:\n  six: {enable_ipv6: true}\n")
	}
	before := startedAt(t, web)
	if versions.LessThan(strings.TrimSpace(docker(t, "version", "--format", "{{.Server.APIVersion}}")), "1.49") {
		next := web.Push("too new", with("gw_priority: 1"))
		shows(t, pgod, web, "error:     cannot start "+next[:7]+": services.site.networks.gw_priority needs Docker engine 28 or newer (API 1.48)")
		stays(t, web, before, "a key that the engine does not know")
		next = web.Push("six", with(""))
		shows(t, pgod, web, "last:      failed", "error:     cannot start "+next[:7]+": the engine cannot make the network "+web.Name+"_six: ")
		stays(t, web, before, "a network with IPv6 and without addresses")
	} else if said, err := exec.Command("docker", "network", "create", "--ipv6", own).CombinedOutput(); err != nil {
		next := web.Push("six", with("gw_priority: 1, interface_name: eth7"))
		shows(t, pgod, web, "last:      failed", "error:     cannot start "+next[:7]+": the engine cannot make the network "+web.Name+"_six: ", strings.TrimSpace(string(said)))
		stays(t, web, before, "a network with IPv6, which this host does not forward")
	} else {
		docker(t, "network", "rm", own)
		commit = web.Push("six", with("gw_priority: 1, interface_name: eth7"))
		deployed(t, pgod, web, commit)
		r.Answers(first, "six")
		says(t, docker(t, "exec", web.Name+"-site-1", "busybox", "ip", "-4", "route"), "default via ", " dev eth7")
		says(t, docker(t, "exec", web.Name+"-site-1", "busybox", "ip", "-6", "address", "show", "scope", "global"), "inet6 fd")
	}

	// Whatever is made by hand of an image that compose has built has the project's label, and is
	// not what compose has made all the same.
	docker(t, "create", "--label", "com.docker.compose.project="+web.Name, r.Busybox())
	commit = web.Push("next to it", page(r, first, "next"))
	deployed(t, pgod, web, commit)
	r.Answers(first, "next")

	over := web.Push("one too far", page(r, first+6, "never"))
	shows(t, pgod, web, "deployed:  "+commit[:7], "last:      refused",
		fmt.Sprintf("the policy refuses %s: services.site.ports[0].published: %d is refused: only %d-%d", over[:7], first+6, first, first+5))
	r.Answers(first, "next")
}
