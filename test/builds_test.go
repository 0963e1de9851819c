package test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgo/test/rig"
)

// staged is a repository whose site is built in two stages, with every image of every step labelled
// as this service's.
func staged(r *rig.Rig, s *rig.Service, port int, text string) rig.Files {
	return rig.Files{
		"README":     "nothing in particular",
		"index.html": text,
		"Dockerfile": fmt.Sprintf(`FROM %s AS site
LABEL of=%s
COPY index.html /www/
FROM %[1]s
LABEL of=%[2]s
COPY --from=site /www /www
CMD ["httpd", "-f", "-p", "8080", "-h", "/www"]
`, r.Busybox(), s.Name),
		"compose.yaml": fmt.Sprintf("services:\n  site:\n    build: .\n    init: true\n    ports: [\"127.0.0.1:%d:8080\"]\n", port),
	}
}

// nameless returns the images without a name that a service's builds have left.
func nameless(t *testing.T, s *rig.Service) []string {
	t.Helper()
	return strings.Fields(docker(t, "image", "ls", "--quiet", "--no-trunc", "--filter", "dangling=true", "--filter", "label=of="+s.Name))
}

// rigWithSteps is a rig whose service's images of steps go with it: they have neither a name nor a
// project.
func rigWithSteps(t *testing.T, service **rig.Service) *rig.Rig {
	t.Cleanup(func() { // after the rig's own, as it comes first
		if *service == nil {
			return
		}
		for _, id := range nameless(t, *service) {
			_ = exec.Command("docker", "image", "rm", "--force", id).Run() // it may have gone with the one before
		}
		if left := nameless(t, *service); len(left) > 0 {
			t.Errorf("there are still images of steps: %v", left)
		}
	})
	return rig.New(t)
}

// attests reports whether an image can have attestations here, which make its ID another one with
// each build.
func attests(t *testing.T) bool {
	t.Helper()
	return exec.Command("docker", "buildx", "version").Run() == nil && strings.Contains(docker(t, "info", "--format", "{{json .DriverStatus}}"), "io.containerd.snapshotter")
}

// Commits, builds and rollbacks are the same with each builder and each store of images: a build
// that makes nothing new restarts nothing, the kept deploys differ, and builds leave nothing
// behind.
func TestBuilds(t *testing.T) {
	t.Parallel()
	var web *rig.Service
	r := rigWithSteps(t, &web)
	web = r.Service("web")
	port := r.Port()
	first := web.Push("first", staged(r, web, port, "one"))
	pgod := r.Start(web)
	deployed(t, pgod, web, first)
	r.Answers(port, "one")
	cache := len(nameless(t, web)) // a builder without one of its own keeps it as images

	before := startedAt(t, web)
	readme := web.Push("only the README", rig.Files{"README": "something else"})
	deployed(t, pgod, web, readme)
	stays(t, web, before, "a commit that changes nothing in the image")
	says(t, pgod.Pgoctl(web.Key, web.Op("up"), "--build").Exits(t, 0).Stderr, "up to date")
	stays(t, web, before, "a build of the same files")
	out := pgod.Pgoctl(web.Key, web.Op("build")).Exits(t, 0)
	if text := out.Stdout + out.Stderr; strings.Contains(text, "buildx") {
		t.Errorf("a build speaks of buildx:\n%s", text)
	}

	commits := []string{first} // it runs under the name of the one that changed nothing, too
	for _, text := range []string{"two", "three"} {
		commits = append(commits, web.Push(text, rig.Files{"index.html": text}))
		deployed(t, pgod, web, commits[len(commits)-1])
		r.Answers(port, text)
	}
	var kept []string
	for _, one := range history(t, pgod, web) {
		if one.CanGoTo {
			kept = append(kept, one.Commit)
		}
	}
	if want := []string{commits[2], commits[1], commits[0]}; !slices.Equal(kept, want) {
		t.Errorf("these deploys are kept: %v, not %v", kept, want)
	}
	if left := nameless(t, web); len(left) > cache {
		t.Errorf("builds have left %d images without a name, and the first one alone %d: %v", len(left), cache, left)
	}

	// What does not build leaves nothing either, and the next one is built.
	bad := web.Push("does not build", rig.Files{"Dockerfile": "FROM " + r.Busybox() + "\nLABEL of=" + web.Name + "\nCOPY README /\nCOPY nothing /\n"})
	shows(t, pgod, web, "cannot build", "head:      "+bad[:7], "deployed:  "+commits[2][:7])

	pgod.Pgoctl(web.Key, web.Op("rollback")).Exits(t, 0)
	r.Answers(port, "two")
	pgod.Pgoctl(web.Key, web.Op("unfreeze")).Exits(t, 0)
	files := staged(r, web, port, "two")
	if attests(t) {
		files["compose.yaml"] = strings.Replace(files["compose.yaml"], "build: .", "build: {context: ., provenance: true}", 1)
	}
	deployed(t, pgod, web, web.Push("two again", files))
	r.Answers(port, "two")
	before = startedAt(t, web)
	says(t, pgod.Pgoctl(web.Key, web.Op("up"), "--build").Exits(t, 0).Stderr, "up to date")
	stays(t, web, before, "a build of the same files, whose image says when it was built")
	if left := nameless(t, web); len(left) > cache {
		t.Errorf("after a build that failed there are %d images without a name, and after the first one there were %d: %v", len(left), cache, left)
	}

	// The engine's own builder would ignore it, and say that there is no Dockerfile.
	lacking := strings.HasPrefix(docker(t, "compose", "version", "--short"), "5.") && exec.Command("docker", "buildx", "version").Run() != nil
	files["compose.yaml"] = strings.Replace(files["compose.yaml"], "build: {context: ., provenance: true}", "build: .", 1)
	files["compose.yaml"] = strings.Replace(files["compose.yaml"], "build: .", "build: {context: ., dockerfile_inline: "+strconv.Quote(files["Dockerfile"])+"}", 1)
	inline := web.Push("a Dockerfile in the compose file", files)
	if lacking {
		shows(t, pgod, web, "last:      failed", "cannot build "+inline[:7]+": services.site.build.dockerfile_inline needs buildx, and docker compose 5.")
		stays(t, web, before, "a build that compose has no builder for")
	} else {
		deployed(t, pgod, web, inline)
	}
}

// A service builds over its own images alone. What an image says about itself is not enough: pgo
// has the last word on what it builds, and anybody's compose labels what it builds.
func TestBuildsOverItsOwnAlone(t *testing.T) {
	t.Parallel()
	var web *rig.Service
	r := rigWithSteps(t, &web)
	web = r.Service("web")
	evil := r.Service("evil")
	labels := fmt.Sprintf("LABEL com.docker.compose.project=%s pgo.service=%[1]s of=%[1]s\n", web.Name)
	build := func(s *rig.Service) rig.Files {
		return rig.Files{
			"Dockerfile":   "FROM " + r.Busybox() + "\n" + labels,
			"compose.yaml": "services:\n  site:\n    build: .\n    image: " + s.Name + "-tool\n    init: true\n    command: [sleep, '86400']\n",
		}
	}
	forged := evil.Push("says that it is another service's", build(evil))
	theirs := r.Image("theirs", "FROM "+r.Busybox()+"\nLABEL com.docker.compose.project="+web.Name+"\n")
	docker(t, "tag", theirs, web.Name+"-tool")
	refused := web.Push("over somebody else's", build(web))
	pgod := r.Start(web, evil)
	deployed(t, pgod, evil, forged)
	var said map[string]string
	if err := json.Unmarshal([]byte(docker(t, "image", "inspect", "--format", "{{json .Config.Labels}}", evil.Name+"-tool")), &said); err != nil {
		t.Fatal(err)
	}
	if said["pgo.service"] != evil.Name || said["com.docker.compose.project"] != evil.Name {
		t.Errorf("the image that %s has built says: %v", evil.Name, said)
	}
	shows(t, pgod, web, "head:      "+refused[:7], "the image "+web.Name+"-tool exists on this host and was not built by "+web.Name)

	// The same image under the other's name is not the other's.
	docker(t, "tag", evil.Name+"-tool", web.Name+"-tool")
	says(t, pgod.Pgoctl(web.Key, web.Op("up")).Stderr, "was not built by "+web.Name)
	docker(t, "image", "rm", web.Name+"-tool")
	if exec.Command("docker", "image", "inspect", theirs).Run() != nil {
		t.Error("somebody else's image is gone")
	}
	pgod.Pgoctl(web.Key, web.Op("up")).Exits(t, 0)
	deployed(t, pgod, web, refused)
	deployed(t, pgod, web, web.Push("its own", build(web).With("Dockerfile", "FROM "+r.Busybox()+"\nLABEL n=2 of="+web.Name+"\n")))
}
