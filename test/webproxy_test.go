package test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgo/internal/gittest"
	"pgo/test/rig"
)

// A git server behind a proxy, with a certificate of a private authority: git and builds get the
// proxy of pgod's environment, containers and everybody else do not.
func TestWebProxyAndAuthority(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	git := httptest.NewTLSServer(gittest.Handler(filepath.Dir(web.Repo.Dir), "", t.Output()))
	t.Cleanup(git.Close)
	const password = "S3CRET-of-the-proxy"
	proxy := gittest.NewProxy(t, git.Listener.Addr().String(), password)
	authority := filepath.Join(r.Dir, "ca.pem")
	trust := func(certificate []byte) {
		t.Helper()
		if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	trust(git.Certificate().Raw)
	web.Set("repository", "https://example.com/web").Set("ca", authority)
	commit := web.Push("first", rig.Files{
		"Dockerfile":   "FROM " + r.Busybox() + "\nRUN echo \"$https_proxy $HTTPS_PROXY $NO_PROXY of " + web.Name + "\" > /seen\n",
		"compose.yaml": "services:\n  web:\n    build: .\n    init: true\n    command: [sleep, '86400']\n    environment: [HTTPS_PROXY]\n",
	})
	pgod := r.Pgod(web)
	pgod.Env = []string{"https_proxy=" + proxy.URL, "NO_PROXY=.example.net"}
	pgod.Start()
	deployed(t, pgod, web, commit)

	asked := strings.Join(proxy.Asked(), "\n")
	if !strings.Contains(asked, "CONNECT example.com:443") {
		t.Errorf("the proxy was asked for %q", asked)
	}
	seen := pgod.Pgoctl(web.Key, web.Op("exec"), "web", "cat", "/seen").Exits(t, 0).Stdout
	if want := proxy.URL + " " + proxy.URL + " .example.net of " + web.Name + "\n"; seen != want {
		t.Errorf("the build saw %q, want %q", seen, want)
	}
	env := pgod.Pgoctl(web.Key, web.Op("exec"), "web", "env").Exits(t, 0).Stdout
	if strings.Contains(strings.ToLower(env), "_proxy") {
		t.Errorf("a container has a proxy:\n%s", env)
	}
	image := byService(t, web)["web"].ImageID
	for what, text := range map[string]string{
		"a container's environment": env,
		"the image":                 docker(t, "inspect", image) + docker(t, "history", "--no-trunc", image),
		"the status":                pgod.Pgoctl(web.Key, web.Op("status"), "--json").Exits(t, 0).Stdout,
		"the log":                   pgod.Log(),
	} {
		if strings.Contains(text, password) {
			t.Errorf("the proxy's password is in %s:\n%s", what, text)
		}
	}
	config := filepath.Join(serviceDir(pgod, web), "docker/config.json")
	if files := holds(t, pgod, web, []string{password}); len(files) != 1 || files[0] != config {
		t.Errorf("the proxy's password is in %v, not in %s alone", files, config)
	}
	for _, name := range []string{config, filepath.Join(serviceDir(pgod, web), "docker/ca.pem")} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}

	// Another authority counts as soon as it is in the file.
	trust(otherAuthority(t))
	shows(t, pgod, web, "its certificate is not trusted: ")
	trust(git.Certificate().Raw)
	deployed(t, pgod, web, web.Push("second", rig.Files{"README": "second"}))
}

// otherAuthority returns the certificate of an authority that has signed nothing else.
func otherAuthority(t *testing.T) []byte {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}
