package test

import (
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"pgo/test/rig"
)

// versionsOf returns the VERSION of each compose service that runs, and which container it is, since
// when.
func versionsOf(t *testing.T, s *rig.Service) (versions, since map[string]string) {
	t.Helper()
	versions, since = map[string]string{}, map[string]string{}
	for _, c := range rig.Containers(t, s.Name) {
		for _, v := range c.Config.Env {
			if v, ok := strings.CutPrefix(v, "VERSION="); ok && c.Running() {
				versions[c.Service()] = v
			}
		}
		since[c.Service()] = fmt.Sprint(c.ID, c.State.StartedAt)
	}
	return versions, since
}

// runsVersions reports compose services that run other versions than they should.
func runsVersions(t *testing.T, s *rig.Service, when string, want map[string]string) {
	t.Helper()
	if found, _ := versionsOf(t, s); !maps.Equal(found, want) {
		t.Errorf("%s these versions run: %v, not %v", when, found, want)
	}
}

// changed returns the compose services whose containers are others than before.
func changed(t *testing.T, s *rig.Service, before map[string]string) []string {
	t.Helper()
	var services []string
	_, now := versionsOf(t, s)
	for _, service := range slices.Sorted(maps.Keys(now)) {
		if now[service] != before[service] {
			services = append(services, service)
		}
	}
	return services
}

// pushVersion puts an image that says its version into the registry, and only there.
func pushVersion(t *testing.T, r *rig.Rig, registry *rig.Registry, version string, as ...string) (names []string) {
	t.Helper()
	image := r.Image("tool-"+version, "FROM "+r.Busybox()+"\nENV VERSION="+version+"\n")
	for _, name := range as {
		names = append(names, registry.Push(image, name))
	}
	docker(t, "image", "rm", image)
	return names
}

// What counts of an image of several platforms is the part for this host, however it is named: a tag
// that moves because another part is new changes nothing. What the last good deploys run stays when
// its names are moved or removed, and going back to it needs no registry.
func TestImagesOfSeveralPlatforms(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, registry := r.Service("web").Set("deploy", "in-place"), r.Registry()
	way := through(t, registry)
	one, two := pushVersion(t, r, registry, "1", "tool:1")[0], pushVersion(t, r, registry, "2", "tool:2")[0]
	name, whole, own := registry.Index(one, "tool:stable", "first")
	bare := strings.TrimSuffix(name, ":stable")
	names := map[string]string{"tag": name, "whole": bare + "@" + whole, "both": name + "@" + whole, "part": bare + "@" + own}
	push := func(n int) string {
		text := "services:\n"
		for _, service := range slices.Sorted(maps.Keys(names)) {
			text += fmt.Sprintf("  %s:\n    image: %s\n    init: true\n    network_mode: none\n    command: [sleep, '86400']\n", service, names[service])
		}
		return web.Push(fmt.Sprint("commit ", n), rig.Files{"compose.yaml": text + fmt.Sprintf("    environment: {N: '%d'}\n", n)}) // whole
	}
	all := func(tag string) map[string]string {
		return map[string]string{"tag": tag, "whole": "1", "both": "1", "part": "1"}
	}
	first := push(1)
	pgod := r.Start(web)
	deployed(t, pgod, web, first)
	runsVersions(t, web, "at first", all("1"))

	// Only the other platform's part is new.
	registry.Index(one, "tool:stable", "second")
	_, before := versionsOf(t, web)
	pgod.Pgoctl(web.Key, web.Op("pull")).Exits(t, 0)
	says(t, pgod.Pgoctl(web.Key, web.Op("up")).Exits(t, 0).Stderr, "up to date")
	registry.Index(one, "tool:stable", "third")
	says(t, pgod.Pgoctl(web.Key, web.Op("up"), "--pull", "always").Exits(t, 0).Stderr, "up to date")
	if found := changed(t, web, before); len(found) > 0 {
		t.Errorf("another platform's part has replaced %v", found)
	}
	registry.Index(one, "tool:stable", "fourth")
	docker(t, "pull", "--quiet", name)
	deployed(t, pgod, web, push(2))
	if found := changed(t, web, before); !slices.Equal(found, []string{"whole"}) {
		t.Errorf("a commit that concerns one compose service has replaced %v", found)
	}
	if found := history(t, pgod, web); len(found) != 2 {
		t.Errorf("these count as deploys: %+v", found)
	}

	registry.Index(two, "tool:stable", "fourth")
	pgod.Pgoctl(web.Key, web.Op("up"), "--pull", "always").Exits(t, 0)
	shows(t, pgod, web, "the image of tag changed")
	runsVersions(t, web, "after the tag was moved", all("2"))

	// forget removes names, as somebody who tidies up does.
	forget := func(names ...string) {
		t.Helper()
		for _, name := range names {
			_ = exec.Command("docker", "image", "rm", name).Run() // one engine keeps a name of tag and digest, another only the digest
		}
	}
	way.shut.Store(true)
	forget(slices.Collect(maps.Values(names))...)
	pgod.Pgoctl(web.Key, web.Op("rollback")).Exits(t, 0)
	runsVersions(t, web, "after going back without a registry", all("1"))

	// While nothing runs, somebody removes all that no container has.
	pgod.Pgoctl(web.Key, web.Op("unfreeze")).Exits(t, 0)
	pgod.Pgoctl(web.Key, web.Op("down")).Exits(t, 0)
	forget(strings.Fields(docker(t, "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "pgo/"+web.Name))...)
	forget(strings.Fields(docker(t, "image", "ls", "--quiet", "--no-trunc", bare))...)
	says(t, pgod.Pgoctl(web.Key, web.Op("up")).Stderr, "502 Bad Gateway")
	way.shut.Store(false)
	pgod.Pgoctl(web.Key, web.Op("up")).Exits(t, 0)
	runsVersions(t, web, "after all images were removed", all("2"))
}

// What each pull_policy means for a push, for `up`, and while the registry is away. A compose
// service's image that another one builds is not pulled.
func TestPullPolicies(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, registry := r.Service("web").Set("deploy", "in-place"), r.Registry()
	way := through(t, registry)
	pulled := []string{"always", "hourly", "missing", "never", "unset"}
	policies := map[string]string{"always": "always", "hourly": "every_1h", "missing": "missing", "never": "never", "unset": ""}
	var names []string
	version := func(v string) {
		t.Helper()
		names = pushVersion(t, r, registry, v, "always:1", "hourly:1", "missing:1", "never:1", "unset:1")
	}
	version("1")
	push := func(n int) string {
		text := "services:\n"
		for i, service := range pulled {
			text += fmt.Sprintf("  %s:\n    image: %s\n    init: true\n    network_mode: none\n    command: [sleep, '86400']\n", service, names[i])
			if policy := policies[service]; policy != "" {
				text += "    pull_policy: " + policy + "\n"
			}
		}
		text += fmt.Sprintf("    environment: {N: '%d'}\n", n) // unset
		for _, service := range []string{"built", "shared"} {
			text += fmt.Sprintf("  %s:\n    image: %s-tool\n    init: true\n    network_mode: none\n    command: [sleep, '86400']\n", service, web.Name)
		}
		return web.Push(fmt.Sprint("commit ", n), rig.Files{
			"Dockerfile":   "FROM " + r.Busybox() + "\nENV VERSION=built\n",
			"compose.yaml": strings.Replace(text, "  built:\n", "  built:\n    build: .\n    pull_policy: always\n", 1),
		})
	}
	all := func(always, others string) map[string]string {
		return map[string]string{"always": always, "hourly": always, "missing": others, "unset": others, "never": "1", "built": "built", "shared": "built"}
	}
	first := push(1)
	pgod := r.Start(web)
	shows(t, pgod, web, "head:      "+first[:7], "there is no image "+names[3]+" for never, and it is neither pulled nor built")
	docker(t, "pull", "--quiet", names[3])
	pgod.Pgoctl(web.Key, web.Op("up")).Exits(t, 0)
	runsVersions(t, web, "at first", all("1", "1"))

	version("2")
	_, before := versionsOf(t, web)
	deployed(t, pgod, web, web.Push("only a file that nothing uses", rig.Files{"README": "more"}))
	if found := changed(t, web, before); len(found) > 0 {
		t.Errorf("a commit that changes nothing has replaced %v", found)
	}
	deployed(t, pgod, web, push(2))
	runsVersions(t, web, "after a commit", all("2", "1"))

	version("3")
	pgod.Pgoctl(web.Key, web.Op("up")).Exits(t, 0)
	shows(t, pgod, web, "the image of always changed and the image of hourly changed")
	runsVersions(t, web, "after `up`", all("3", "1"))

	way.shut.Store(true)
	_, before = versionsOf(t, web)
	says(t, pgod.Pgoctl(web.Key, web.Op("up")).Stderr, "502 Bad Gateway")
	says(t, pgod.Pgoctl(web.Key, web.Op("up"), "--pull", "never").Exits(t, 0).Stderr, "up to date")
	if found := changed(t, web, before); len(found) > 0 {
		t.Errorf("without a registry these were replaced: %v", found)
	}
	way.shut.Store(false)
	pgod.Pgoctl(web.Key, web.Op("up"), "--pull", "always").Exits(t, 0)
	shows(t, pgod, web, "the image of missing changed and the image of unset changed")
	runsVersions(t, web, "after `up --pull always`", all("3", "3"))
}
