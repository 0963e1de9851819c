package test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgo/test/rig"
)

// vault is a compose service whose image and whose compose file want a volume without a name
// each. It keeps in both what it found there first.
func vault(image, name, extra string) string {
	return fmt.Sprintf(`  %s:
    image: %s
    init: true
    command: [sh, -c, "for d in /kept /more; do test -e $$d/first || hostname >$$d/first; done; exec sleep 86400"]
    volumes: ["/more"]
%s`, name, image, extra)
}

// unnamedOf returns the names of the volumes of a service's containers, sorted.
func unnamedOf(t *testing.T, s *rig.Service, service string) []string {
	t.Helper()
	names := strings.Fields(docker(t, "inspect", "--format", "{{range .Mounts}}{{.Name}} {{end}}", byService(t, s)[service].ID))
	slices.Sort(names)
	return names
}

// keptVolume finds the volumes without a name that pgo has left alone.
var keptVolume = regexp.MustCompile("volume=([0-9a-f]{64})")

// A deploy replaces all containers, and gives the new ones the volumes without a name of the old
// ones; the networks stay. Going back does the same, even for what the failed commit had no use
// for. A volume that nothing uses any more is kept, and named.
func TestUnnamedVolumesStay(t *testing.T) {
	t.Parallel()
	var volumes []string
	t.Cleanup(func() { docker(t, append([]string{"volume", "rm", "--force"}, volumes...)...) }) // when the containers are gone
	r := rig.New(t)
	web := r.Service("web")
	image := r.Image("vault", "FROM "+r.Busybox()+"\nVOLUME /kept\n")
	// The data of either has to be found by whoever has this name.
	named := "    container_name: " + web.Name + "-vault\n"
	file := func(n int, services string) rig.Files {
		return rig.Files{"compose.yaml": fmt.Sprintf("services:\n%s  idle:\n    image: %s\n    init: true\n    restart: always\n"+
			"    command: [sleep, \"86400\"]\n    labels: {n: \"%d\"}\n    networks: [default, side]\nnetworks: {side: {labels: {n: \"%d\"}}}\n", services, r.Busybox(), n, n)}
	}
	network := func(name string) string {
		return docker(t, "network", "inspect", "--format", "{{.Id}}", web.Name+"_"+name)
	}
	always := named + "    restart: always\n"
	commit := web.Push("first", file(1, vault(image, "db", always)))
	pgod := r.Start(web)
	deployed(t, pgod, web, commit)
	before, plain, side := byService(t, web), network("default"), network("side")
	volumes = unnamedOf(t, web, "db")
	if len(volumes) != 2 {
		t.Fatalf("it has the volumes %v", volumes)
	}
	has := func(after string) {
		t.Helper()
		now := byService(t, web)["db"]
		if got := unnamedOf(t, web, "db"); !slices.Equal(got, volumes) || !now.Running() {
			t.Errorf("after %s: %v has the volumes %v, not %v", after, now, got, volumes)
		}
		if policy := strings.TrimSpace(docker(t, "inspect", "--format", "{{.HostConfig.RestartPolicy.Name}}", now.ID)); policy != "always" {
			t.Errorf("after %s its restart policy is %s", after, policy)
		}
	}

	// As if compose had been killed while it replaced a container.
	docker(t, "create", "--label", "com.docker.compose.project="+web.Name, "--label", "com.docker.compose.service=db", "--label", "com.docker.compose.oneoff=False",
		"--label", "com.docker.compose.container-number=1", "--label", "com.docker.compose.config-hash=any", r.Busybox(), "true")
	deployed(t, pgod, web, web.Push("other labels", file(2, vault(image, "db", always))))
	has("a deploy")
	rig.Within(t, 0, "only one to be left", rig.Running(web.Name, 2))
	now := byService(t, web)
	for name := range before {
		if now[name].ID == before[name].ID {
			t.Errorf("%s is not a new container", name)
		}
	}
	if network("default") != plain || network("side") == side {
		t.Error("a network was made anew, or one that is defined otherwise was not")
	}

	// Somebody has stopped it: the next start gives it what it had.
	pgod.SSH(web.Key, web.Op("stop"), "db").Exits(t, 0)
	good := web.Push("while it is stopped", file(3, vault(image, "db", always)))
	deployed(t, pgod, web, good)
	if db := byService(t, web)["db"]; db.Running() {
		t.Errorf("it runs: %+v", db)
	}
	pgod.SSH(web.Key, web.Op("start"), "db").Exits(t, 0)
	has("start")

	// Another compose service with its name, which does not work.
	web.Push("bad", file(4, vault(image, "bad", named+"    healthcheck: {test: \"false\", interval: 1s, retries: 1}\n")))
	shows(t, pgod, web, "last:      degraded", "is unhealthy", "went back to "+good[:7])
	has("going back")
	if all := byService(t, web); len(all) != 2 {
		t.Errorf("after going back there are %+v", all)
	}

	// And no more of it.
	commit = web.Push("without", file(5, ""))
	deployed(t, pgod, web, commit)
	if all := byService(t, web); len(all) != 1 {
		t.Errorf("there are %+v", all)
	}
	for _, found := range keptVolume.FindAllStringSubmatch(pgod.Log(), -1) {
		if !slices.Contains(volumes, found[1]) {
			docker(t, "volume", "rm", found[1]) // of what did not work
		}
	}
	for _, v := range volumes {
		docker(t, "volume", "inspect", v)
		says(t, pgod.Log(), "no container has a volume without a name any more; it is kept", v)
	}
}

// A volume with a name stays as it was made, whatever a later commit says about it. Everybody is
// told, and compose never asks whether to lose its data. A network is made anew.
func TestVolumeStaysAsMade(t *testing.T) {
	t.Parallel()
	for _, deploy := range []string{"recreate", "in-place"} {
		t.Run(deploy, func(t *testing.T) {
			t.Parallel()
			r := rig.New(t)
			web := r.Service("web").Set("deploy", deploy)
			file := func(n int) rig.Files {
				return rig.Files{"compose.yaml": fmt.Sprintf("services:\n  web:\n    image: %s\n    init: true\n    command: [sleep, \"86400\"]\n    volumes: [\"data:/data\"]\n"+
					"volumes: {data: {labels: {n: \"%d\"}}}\nnetworks: {default: {labels: {n: \"%d\"}}}\n", r.Busybox(), n, n)}
			}
			commit := web.Push("first", file(1))
			pgod := r.Start(web)
			deployed(t, pgod, web, commit)
			warning := "the volume " + web.Name + "_data keeps its data and stays as it was made, not as the file says now (labels.n)"
			if now := pgod.SSH(web.Key, web.Op("diff")).Exits(t, 0).Stdout; strings.Contains(now, "stays as it was made") {
				t.Errorf("without a reason, diff says %s", now)
			}
			deployed(t, pgod, web, web.Push("another definition", file(2)))
			shows(t, pgod, web, "warning:   "+warning)
			for _, op := range []string{"diff", "check", "up"} {
				asked := pgod.SSH(web.Key, web.Op(op)).Exits(t, 0)
				says(t, asked.Stdout+asked.Stderr, warning)
			}
			label := func(kind, name string) string {
				return strings.TrimSpace(docker(t, kind, "inspect", "--format", "{{index .Labels \"n\"}}", name))
			}
			if volume, network := label("volume", web.Name+"_data"), label("network", web.Name+"_default"); volume != "1" || network != "2" {
				t.Errorf("the volume is of commit %s, and the network of commit %s", volume, network)
			}
			journal, err := os.ReadFile(filepath.Join(serviceDir(pgod, web), "history", "output.log"))
			if err != nil || strings.Contains(string(journal), "data will be lost") {
				t.Errorf("compose asks: %v\n%s", err, journal)
			}

			pgod.SSH(web.Key, web.Op("down")).Exits(t, 0)
			docker(t, "volume", "rm", web.Name+"_data")
			says(t, pgod.SSH(web.Key, web.Op("up")).Exits(t, 0).Stderr, "Created")
			if n := label("volume", web.Name+"_data"); n != "2" {
				t.Errorf("it is still the volume of commit %s", n)
			}
			rig.Until(t, "the warning to be gone", func() error {
				if now := pgod.SSH(web.Key, web.Op("status")).Stdout; strings.Contains(now, "stays as it was made") {
					return fmt.Errorf("it says %s", now)
				}
				return nil
			})
		})
	}
}
