package rig

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/crypto/bcrypt"
)

// Registry is a private registry on the loopback interface, which the engine
// allows to speak plain HTTP.
type Registry struct {
	// Address is the host:port that image names and logins begin with.
	Address string
	// User and Password are empty where everybody may push and pull.
	User, Password string

	rig    *Rig
	other  string // a second address, which only the rig uses
	config string // DOCKER_CONFIG of the rig itself, so that no service sees its login
}

// Registry starts a registry that everybody may use.
func (r *Rig) Registry() *Registry {
	r.t.Helper()
	return r.registry("", "")
}

// PrivateRegistry starts a registry that wants a login.
func (r *Rig) PrivateRegistry(user, password string) *Registry {
	r.t.Helper()
	return r.registry(user, password)
}

// Push copies an image that the engine has into the registry and returns the name to pull it
// by. The engine does not get that name, so that a pull really fetches it, and does not lose it: what
// it has pulled before stays as it is.
func (g *Registry) Push(image, as string) string {
	t := g.rig.t
	t.Helper()
	name := g.Address + "/" + g.rig.Prefix + "/" + as
	other := g.other + strings.TrimPrefix(name, g.Address)
	g.rig.remember(kindImage, name)
	g.rig.remember(kindImage, other)
	for _, args := range [][]string{
		{"image", "tag", image, other},
		{"--config", g.config, "push", "--quiet", other},
		{"image", "rm", other},
	} {
		if _, err := output("docker", args...); err != nil {
			t.Fatalf("cannot push %s to the registry: %v", image, err)
		}
	}
	return name
}

func (r *Rig) registry(user, password string) *Registry {
	r.t.Helper()
	g := &Registry{Address: fmt.Sprintf("127.0.0.1:%d", r.Port()), User: user, Password: password, rig: r}
	g.other = strings.Replace(g.Address, "127.0.0.1", "localhost", 1)
	dir := filepath.Join(r.Dir, "registry-"+strings.TrimPrefix(g.Address, "127.0.0.1:"))
	r.mkdir(dir, 0o700)
	g.config = filepath.Join(dir, "docker")
	r.mkdir(g.config, 0o700)
	config := fmt.Sprintf("version: 0.1\nlog: {level: warn}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %q}\n",
		filepath.Join(dir, "data"), g.Address)
	if user != "" {
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			r.t.Fatal(err)
		}
		r.write(filepath.Join(dir, "htpasswd"), fmt.Sprintf("%s:%s\n", user, hash), 0o600)
		config += fmt.Sprintf("auth: {htpasswd: {realm: rig, path: %s}}\n", filepath.Join(dir, "htpasswd"))
	}
	r.write(filepath.Join(dir, "config.yml"), config, 0o600)
	r.background("docker-registry", "docker-registry", "serve", filepath.Join(dir, "config.yml"))
	Until(r.t, "the registry to answer", g.answers)
	if user != "" {
		login := exec.Command("docker", "--config", g.config, "login", "--username", user, "--password-stdin", g.other)
		login.Stdin = strings.NewReader(password)
		if out, err := login.CombinedOutput(); err != nil {
			r.t.Fatalf("cannot log in to the registry: %v: %s", err, out)
		}
	}
	return g
}

// answers returns an error unless the registry is up and lets its user in.
func (g *Registry) answers() error {
	request, err := http.NewRequest(http.MethodGet, "http://"+g.Address+"/v2/", nil)
	if err != nil {
		return err
	}
	if g.User != "" {
		request.SetBasicAuth(g.User, g.Password)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

// background starts a program that is killed when the test ends. It dies with this process even
// where that is killed; its output is shown if the test fails.
func (r *Rig) background(what, name string, args ...string) {
	r.t.Helper()
	var said bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		r.t.Fatalf("cannot start %s: %v", what, err)
	}
	r.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if r.t.Failed() {
			r.t.Logf("%s said:\n%s", what, said.String())
		}
	})
}
