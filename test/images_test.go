package test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"pgo/test/rig"
)

// isThere reports whether the engine has an image.
func isThere(image string) bool {
	return exec.Command("docker", "image", "inspect", image).Run() == nil
}

// An image that a service pulled or built is removed when none of its last three good deploys
// has it. What another service has, or somebody else brought here, stays. A compose service
// that is not in the commit any more is removed at once.
func TestImagesThatGo(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, other := r.Service("web").Set("deploy", "in-place"), r.Service("other")
	registry := r.Registry()
	in := func(name string) string {
		return registry.Push(r.Image(name, "FROM "+r.Busybox()+"\nLABEL name="+r.Prefix+name+"\n"), name+":1")
	}
	own, shared, theirs := in("own"), in("shared"), in("theirs")
	docker(t, "pull", "--quiet", theirs)
	local := r.Image("local", "FROM "+r.Busybox()+"\nLABEL name="+r.Prefix+"local\n")
	service := func(name, image string) string {
		return fmt.Sprintf("  %s:\n    image: %s\n    init: true\n    command: [sleep, '86400']\n", name, image)
	}
	built := func(n int) rig.Files {
		return rig.Files{
			"Dockerfile": fmt.Sprintf("FROM %s\nLABEL n=%d of=%s\n", r.Busybox(), n, web.Name),
			"compose.yaml": fmt.Sprintf("services:\n  built:\n    build: .\n    init: true\n    command: [sleep, '86400']\n    environment: {N: '%d'}\n",
				n),
		}
	}
	files := built(1)
	commit := web.Push("first", files.With("compose.yaml", files["compose.yaml"]+service("own", own)+service("shared", shared)+service("theirs", theirs)+service("local", local)))
	calm := other.Push("first", rig.Files{"compose.yaml": "services:\n" + service("shared", shared)})
	pgod := r.Start(web, other)
	deployed(t, pgod, web, commit)
	deployed(t, pgod, other, calm)
	first, others := byService(t, web), startedAt(t, other)
	ids := map[string]string{"built": first["built"].ImageID, "own": own, "shared": shared, "theirs": theirs, "local": local}
	here := func(when string, gone ...string) {
		t.Helper()
		for name, id := range ids {
			want := !strings.Contains(" "+strings.Join(gone, " ")+" ", " "+name+" ")
			if isThere(id) != want {
				t.Errorf("%s: the image of %s is here: %t, not %t", when, name, !want, want)
			}
		}
	}
	here("at the beginning")

	for n := 2; n <= 4; n++ {
		here(fmt.Sprint("before deploy ", n))
		commit = web.Push(fmt.Sprint("commit ", n), built(n))
		deployed(t, pgod, web, commit)
		if found := byService(t, web); len(found) != 1 || !found["built"].Running() {
			t.Errorf("after deploy %d there are %+v", n, found)
		}
	}
	rig.Until(t, "the images to go", func() error {
		if isThere(own) {
			return fmt.Errorf("%s is still here", own)
		}
		return nil
	})
	here("at the end", "built", "own")
	stays(t, other, others, "the removal of another service's images")
}
