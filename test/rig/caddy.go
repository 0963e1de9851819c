package rig

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Caddy returns the name of an image with the machine's own Caddy, the libraries that it needs,
// and what Busybox has. It keeps its certificates below /data, as the image of Caddy's authors
// does. It is there until the run ends.
func (r *Rig) Caddy() string {
	r.t.Helper()
	name, err := caddy()
	if err != nil {
		r.t.Fatalf("cannot make the Caddy image: %v", err)
	}
	return name
}

var caddy = sync.OnceValues(func() (string, error) {
	run, err := theRun()
	if err != nil {
		return "", err
	}
	root, err := caddyRoot()
	if err != nil {
		return "", err
	}
	return run.load("caddy", root, "ENV XDG_DATA_HOME=/data XDG_CONFIG_HOME=/config",
		`CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile"]`)
})

// caddyRoot returns a tar of the image's root.
func caddyRoot() ([]byte, error) {
	program, err := exec.LookPath("caddy")
	if err != nil {
		return nil, fmt.Errorf("%w; install the package caddy", err)
	}
	var libraries []string
	if checkStatic(program) != nil {
		if libraries, err = librariesOf(program); err != nil {
			return nil, err
		}
	}
	var buffer bytes.Buffer
	archive := tar.NewWriter(&buffer)
	if err := addBusybox(archive, "/bin/busybox"); err != nil {
		return nil, err
	}
	if err := addProgram(archive, "/bin/caddy", program); err != nil {
		return nil, err
	}
	for _, library := range libraries {
		if err := addProgram(archive, library, library); err != nil {
			return nil, err
		}
	}
	return buffer.Bytes(), archive.Close()
}

// librariesOf returns the files that the dynamic linker loads for a program, and the linker.
func librariesOf(program string) ([]string, error) {
	listed, err := output("ldd", program)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, word := range strings.Fields(listed) {
		if strings.HasPrefix(word, "/") {
			files = append(files, word)
		}
	}
	return files, nil
}

// addProgram adds a file that everybody may run.
func addProgram(archive *tar.Writer, name, file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	header := tar.Header{Name: strings.TrimPrefix(name, "/"), Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(content))}
	if err := archive.WriteHeader(&header); err != nil {
		return err
	}
	_, err = archive.Write(content)
	return err
}

// Front is a reverse proxy as seen from outside: its ports 80 and 443, whatever they are on
// this host, and the authority of its certificates.
type Front struct {
	HTTP, HTTPS int
	Trusted     *x509.CertPool // for HTTPS; nil: nobody is trusted
}

// Get asks the proxy for a URL, whatever its host, and returns the answer's status and body. It
// does not follow redirects.
func (f Front) Get(url string) (status int, body string, err error) {
	trusted := f.Trusted
	if trusted == nil {
		trusted = x509.NewCertPool()
	}
	client := http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{RootCAs: trusted},
			DialContext:       f.dial,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

func (f Front) dial(ctx context.Context, network, address string) (net.Conn, error) {
	port := 0
	switch _, asked, _ := net.SplitHostPort(address); asked {
	case "80":
		port = f.HTTP
	case "443":
		port = f.HTTPS
	}
	if port == 0 {
		return nil, errors.New("the proxy has no port for " + address)
	}
	return new(net.Dialer).DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", port))
}

// Trust makes the front trust the certificate authority that Caddy has made for itself, in the
// container.
func (r *Rig) Trust(f *Front, container string) {
	r.t.Helper()
	var root []byte
	Until(r.t, "Caddy to have made a certificate authority", func() error {
		text, err := output("docker", "exec", container, "cat", "/data/caddy/pki/authorities/local/root.crt")
		root = []byte(text)
		return err
	})
	f.Trusted = x509.NewCertPool()
	if !f.Trusted.AppendCertsFromPEM(root) {
		r.t.Fatalf("Caddy's root certificate cannot be parsed: %s", root)
	}
}
