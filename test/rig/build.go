package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// binaries builds the product as `make` does, once per run, and returns the directory with
// pgod, pgo-worker and pgoctl.
var binaries = sync.OnceValues(func() (string, error) {
	dir, err := built("bin", "./cmd/...")
	if err == nil {
		err = os.Chmod(filepath.Join(dir, "pgo-worker"), 0o711) // as `make install` has it
	}
	return dir, err
})

// siteBinary builds the server of test/images/site, once per run.
var siteBinary = sync.OnceValues(func() (string, error) {
	dir, err := built("site", "./test/images/site")
	return filepath.Join(dir, "site"), err
})

// Shop returns the name of an image with the server of test/images/shop and a busybox. It is there
// until the run ends.
func (r *Rig) Shop() string {
	r.t.Helper()
	name, err := shop()
	if err != nil {
		r.t.Fatalf("cannot make the image of the shop: %v", err)
	}
	return name
}

var shop = sync.OnceValues(func() (string, error) {
	run, err := theRun()
	if err != nil {
		return "", err
	}
	dir, err := built("shop", "./test/images/shop")
	if err != nil {
		return "", err
	}
	binary, err := os.ReadFile(filepath.Join(dir, "shop"))
	if err != nil {
		return "", err
	}
	root, err := busyboxRoot("/bin/busybox", Files{"bin/shop": string(binary)})
	if err != nil {
		return "", err
	}
	return run.load("shop", root, `CMD ["shop"]`)
})

// built builds packages of the module into a directory of the run.
func built(as, packages string) (string, error) {
	run, err := theRun()
	if err != nil {
		return "", err
	}
	root, err := output("go", "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(run.dir, as)
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X pgo/internal/version.Version=test", "-o", dir+"/", packages)
	build.Dir = strings.TrimSpace(root)
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build %s: %w\n%s", packages, err, out)
	}
	return dir, nil
}

// Program returns the path of one of the built programs: pgod, pgo-worker, pgoctl.
func (r *Rig) Program(name string) string {
	r.t.Helper()
	dir, err := binaries()
	if err != nil {
		r.t.Fatal(err)
	}
	return filepath.Join(dir, name)
}
