package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgo/test/rig"
)

// played is a repository with two sites, of which parts can be changed.
func played(r *rig.Rig, left, more string) rig.Files {
	return rig.Files{"compose.yaml": fmt.Sprintf(`services:
  left:
    image: %[1]s
    init: true
    command: [sleep, "86400"]
%[2]s
  right:
    image: %[1]s
    init: true
    command: [sleep, "86400"]
    volumes: [/nameless]
%[3]s`, r.Busybox(), left, more)}
}

// What only the engine finds stops nothing, in whichever way the service is deployed, and what it does
// not find is not in the way.
func TestRehearsal(t *testing.T) {
	for _, way := range []string{"recreate", "in-place", "start-first"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			r := rig.New(t)
			web := r.Service("web").Set("deploy", way)
			commit := web.Push("first", played(r, "", ""))
			pgod := r.Start(web)
			deployed(t, pgod, web, commit)
			before := byService(t, web)
			for change, want := range map[string]string{
				"    mem_limit: 1m": "emory",
				"    cpus: 4000":    "CPUs",
				"    mem_limit: 64m\n    memswap_limit: 32m":                 "emory",
				"    mem_limit: 64m\n    volumes: [new:/new]\n    cpus: 999": "CPUs",
			} {
				more := ""
				if strings.Contains(change, "new:") {
					more = "volumes: {new: {}}\n"
				}
				bad := web.Push(change, played(r, change, more))
				shows(t, pgod, web, "head:      "+bad[:7], "deployed:  "+commit[:7], "last:      failed", want)
				rig.Until(t, "the rehearsal to leave what runs alone", func() error {
					if n := len(rig.Containers(t, web.Name)); n != 2 {
						return fmt.Errorf("there are %d containers", n) // it is tried again
					}
					return nil
				})
				for _, service := range []string{"left", "right"} {
					same(t, change, before, byService(t, web), service)
				}
			}
			if volumes := strings.TrimSpace(docker(t, "volume", "ls", "-q", "--filter", "name="+web.Name)); volumes != "" {
				t.Errorf("left are the volumes %s", volumes)
			}
			commit = web.Push("all of it works", played(r, "    mem_limit: 64m\n    volumes: [new:/new]\n    networks: [one, default]\n    container_name: "+r.Prefix+"-own",
				"volumes: {new: {}}\nnetworks: {one: {}}\n"))
			deployed(t, pgod, web, commit)
			commit = web.Push("what no network has", played(r, "    mem_limit: 66m\n    hostname: host\n    domainname: example.org\n    dns: [127.0.0.1]\n    dns_search: [example.org]\n"+
				"    extra_hosts: ['other:127.0.0.1']\n    sysctls: {net.ipv4.ip_unprivileged_port_start: 0}\n    links: [right]\n    depends_on: [right]\n    expose: [80]\n"+
				"    configs: [said]\n    ulimits: {nofile: 1000}\n    shm_size: 1m\n    tmpfs: ['/t:size=1m']\n    user: '1000'\n    cap_drop: [ALL]\n"+
				"    networks: {default: {aliases: [more], priority: 1}}",
				"configs: {said: {content: text}}\n"))
			deployed(t, pgod, web, commit)
			files := played(r, "    mem_limit: 67m\n    configs: [new]", "configs: {new: {file: ./new.txt}}\n")
			commit = web.Push("a file that is not there yet", files.With("new.txt", "new"))
			deployed(t, pgod, web, commit)
			files = played(r, "    mem_limit: 68m", "").With("Dockerfile", "FROM "+r.Busybox()+"\n")
			files["compose.yaml"] = strings.Replace(files["compose.yaml"], "image: "+r.Busybox(), "build: .", 1)
			commit = web.Push("one that is built", files)
			deployed(t, pgod, web, commit)
			files["compose.yaml"] = strings.Replace(files["compose.yaml"], "68m", "69m", 1)
			commit = web.Push("one that is built, otherwise", files)
			deployed(t, pgod, web, commit)
			commit = web.Push("the other shares its network", played(r, "    mem_limit: 65m\n    network_mode: 'service:right'", ""))
			deployed(t, pgod, web, commit)
			if left := docker(t, "ps", "-aq", "--filter", "label=pgo.rehearsal"); strings.Contains(left, before["left"].ID[:12]) {
				t.Errorf("what runs is a rehearsal: %s", left)
			}
		})
	}
}

// A rehearsal that is interrupted leaves nothing.
func TestRehearsalIsInterrupted(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web").Set("deploy", "in-place")
	commit := web.Push("first", played(r, "", ""))
	pgod := r.Start(web)
	deployed(t, pgod, web, commit)
	// rehearsed returns the containers of a rehearsal.
	rehearsed := func() string {
		return strings.TrimSpace(docker(t, "ps", "-aq", "--filter", "label=pgo.rehearsal", "--filter", "label=com.docker.compose.project="+web.Name))
	}
	commit = web.Push("second", played(r, "    mem_limit: 64m", ""))
	rig.Until(t, "a rehearsal to begin", func() error {
		_, err := os.Stat(filepath.Join(serviceDir(pgod, web), "rehearsal.json"))
		return err
	})
	kill(t, pgod.WorkerPID(web))
	deployed(t, pgod, web, commit)
	if left := rehearsed(); left != "" || len(rig.Containers(t, web.Name)) != 2 {
		t.Errorf("of the rehearsal there are %q left, and in all %d containers", left, len(rig.Containers(t, web.Name)))
	}
}
