package rig

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// up runs files as a compose project and returns its directory.
func up(t testing.TB, r *Rig, project string, files Files) {
	t.Helper()
	dir := filepath.Join(r.Dir, project)
	r.mkdir(dir, 0o755)
	for name, content := range files {
		r.write(filepath.Join(dir, name), content, 0o755)
	}
	r.remember(kindProject, project)
	cmd := exec.Command("docker", "compose", "--project-name", project, "up", "--detach", "--quiet-pull")
	cmd.Dir = dir
	Run(t, cmd).Exits(t, 0)
}

func TestSiteAnswersAndGoesWithTheTest(t *testing.T) {
	var project string
	try(t, func(t testing.TB) {
		r := New(t)
		project = r.Prefix + "-web"
		port := r.Port()
		files := r.Site(port, "hello")
		files["compose.yaml"] += "    volumes: [\"data:/data\"]\nvolumes: {data: {}}\n"
		up(t, r, project, files)
		r.Answers(port, "hello")
		Until(t, "one container", Running(project, 1))
		c := Containers(t, project)[0]
		if c.Service() != "site" || c.ID == "" || c.State.StartedAt.IsZero() || !c.Running() {
			t.Errorf("docker inspect says %+v", c)
		}
		if _, err := output("docker", "image", "tag", project+"-site", "pgo/"+project+":1-site"); err != nil {
			t.Error(err)
		}
	}).isContent(t)
	api, err := dockerAPI()
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range objects {
		if left, err := object.list(t.Context(), api, project); len(left) > 0 || err != nil {
			t.Errorf("%ss that are left: %v, %v", object.name, left, err)
		}
	}
}

func TestOthersContainersStay(t *testing.T) {
	r := New(t)
	files := r.Idle()
	theirs := r.Prefix + "-theirs"
	up(t, r, theirs, files)
	before := Containers(t, theirs)
	up(t, r, theirs+"-not", files)
	if err := r.run.remove(kindProject, theirs+"-not"); err != nil {
		t.Fatal(err)
	}
	if err := r.run.note(kindProject, theirs+"-not"); err != nil { // for the cleanup
		t.Fatal(err)
	}
	after := Containers(t, theirs)
	if len(after) != 1 || after[0].ID != before[0].ID || !after[0].State.StartedAt.Equal(before[0].State.StartedAt) {
		t.Errorf("before: %+v\nafter: %+v", before, after)
	}
}

func TestBusyboxRuns(t *testing.T) {
	name := New(t).Busybox()
	said, err := output("docker", "run", "--rm", name, "sh", "-c", "echo $((6 * 7)) | cat")
	if err != nil || said != "42\n" {
		t.Errorf("it says %q, %v", said, err)
	}
}

func TestRegistryGivesBackWhatWasPushed(t *testing.T) {
	r := New(t)
	name := r.Registry().Push(r.Busybox(), "tool:1")
	if _, err := output("docker", "image", "inspect", name); err == nil {
		t.Errorf("the engine still has %s: a pull would prove nothing", name)
	}
	if _, err := output("docker", "pull", "--quiet", name); err != nil {
		t.Error(err)
	}
}

func TestPrivateRegistryWantsTheLogin(t *testing.T) {
	r := New(t)
	registry := r.PrivateRegistry("robot", "s3cret")
	name := registry.Push(r.Busybox(), "tool:1")
	stranger := filepath.Join(r.Dir, "stranger")
	r.mkdir(stranger, 0o700)
	if _, err := output("docker", "--config", stranger, "pull", name); err == nil || !strings.Contains(err.Error(), "no basic auth credentials") {
		t.Errorf("a pull without login: %v", err)
	}
	login := exec.Command("docker", "--config", stranger, "login", "--username", "robot", "--password-stdin", registry.Address)
	login.Stdin = strings.NewReader("s3cret")
	Run(t, login).Exits(t, 0)
	if _, err := output("docker", "--config", stranger, "pull", name); err != nil {
		t.Error(err)
	}
}
