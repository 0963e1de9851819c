package rig

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// Busybox returns the name of an image with a busybox and a shell, made of the machine's own
// static busybox: nothing is pulled. It is there until the run ends.
func (r *Rig) Busybox() string {
	r.t.Helper()
	name, err := busybox()
	if err != nil {
		r.t.Fatalf("cannot make the busybox image: %v", err)
	}
	return name
}

var busybox = sync.OnceValues(func() (string, error) {
	run, err := theRun()
	if err != nil {
		return "", err
	}
	root, err := busyboxRoot("/bin/busybox", nil)
	if err != nil {
		return "", err
	}
	return run.load("busybox", root, `CMD ["sh"]`)
})

// load makes an image of the run from a tar of its root, and returns its name.
func (r *run) load(name string, root []byte, changes ...string) (string, error) {
	name = r.name + "/" + name + ":1"
	if err := r.note(kindImage, name); err != nil {
		return "", err
	}
	return name, importImage(name, root, changes...)
}

// importImage makes an image from a tar of its root and lines of a Dockerfile.
func importImage(name string, root []byte, changes ...string) error {
	args := []string{"import"}
	for _, change := range changes {
		args = append(args, "--change", change)
	}
	load := exec.Command("docker", append(args, "-", name)...)
	load.Stdin = bytes.NewReader(root)
	if out, err := load.CombinedOutput(); err != nil {
		return fmt.Errorf("docker import: %w: %s", err, out)
	}
	return nil
}

// StandIn makes an image that stands in for one that a test cannot have: a busybox, the files,
// all of them executable, and what the lines of a Dockerfile say. It returns the image's name. It
// is there until the test ends.
func (r *Rig) StandIn(name string, files Files, lines ...string) string {
	r.t.Helper()
	full := r.Prefix + "/" + name + ":1"
	r.remember(kindImage, full)
	root, err := busyboxRoot("/bin/busybox", files)
	if err == nil {
		err = importImage(full, root, lines...)
	}
	if err != nil {
		r.t.Fatalf("cannot make the image %s: %v", full, err)
	}
	return full
}

// applets are the busybox commands that the image has links for.
var applets = []string{"cat", "date", "echo", "env", "false", "grep", "httpd", "id", "ln", "ls", "mkdir", "nc", "printf", "ps", "pwd", "rm", "sh", "sleep", "test", "touch", "true", "wget"}

// busyboxRoot returns a tar of the image's root: the busybox, and the files.
func busyboxRoot(file string, files Files) ([]byte, error) {
	var buffer bytes.Buffer
	archive := tar.NewWriter(&buffer)
	if err := addBusybox(archive, file); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		err := archive.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(files[name]))})
		if err == nil {
			_, err = archive.Write([]byte(files[name]))
		}
		if err != nil {
			return nil, err
		}
	}
	return buffer.Bytes(), archive.Close()
}

// addBusybox adds all that a root with a busybox has.
func addBusybox(archive *tar.Writer, file string) error {
	if err := checkStatic(file); err != nil {
		return err
	}
	binary, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	headers := []tar.Header{
		{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777},
		{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(binary))},
	}
	for _, applet := range applets {
		headers = append(headers, tar.Header{Name: "bin/" + applet, Typeflag: tar.TypeSymlink, Linkname: "busybox"})
	}
	for _, header := range headers {
		if err := archive.WriteHeader(&header); err != nil {
			return err
		}
		if header.Typeflag == tar.TypeReg {
			if _, err := archive.Write(binary); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkStatic refuses a binary that needs libraries, which the image lacks.
func checkStatic(file string) error {
	binary, err := elf.Open(file)
	if err != nil {
		return err
	}
	defer binary.Close()
	if libraries, _ := binary.ImportedLibraries(); len(libraries) > 0 {
		return errors.New(file + " is not static; install the package busybox-static")
	}
	return nil
}

// removeImage removes the image's repository: the tag, and the images from which a newer one
// took the tag. The same image under another name stays.
func removeImage(name string) error {
	api, err := dockerAPI()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	repository := name[:strings.LastIndexByte(name, ':')]
	listed, err := api.ImageList(ctx, client.ImageListOptions{All: true, Filters: client.Filters{}.Add("reference", repository)})
	if err != nil {
		return err
	}
	for _, one := range listed.Items {
		for _, name := range slices.Concat(one.RepoTags, one.RepoDigests) {
			if strings.HasPrefix(name, repository+":") || strings.HasPrefix(name, repository+"@") {
				if _, err := api.ImageRemove(ctx, name, client.ImageRemoveOptions{Force: true, PruneChildren: true}); err != nil && !errdefs.IsNotFound(err) {
					return err
				}
			}
		}
	}
	return nil
}

// Image builds an image from a Dockerfile that needs no context and returns its
// name. It is there until the test ends.
func (r *Rig) Image(name, dockerfile string) string {
	r.t.Helper()
	full := r.Prefix + "/" + name + ":1"
	r.remember(kindImage, full)
	build := exec.Command("docker", "build", "--quiet", "--tag", full, "-")
	build.Stdin = strings.NewReader(dockerfile)
	Run(r.t, build).Exits(r.t, 0)
	return full
}
