package gittest

import (
	"io"
	"log"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// HTTP serves the repositories in root over smart HTTP on a free port of the loopback address and
// returns the server's URL: a repository root/app is URL/app. With a token, clients must send it:
// as the password of any user, or as the user's name.
func HTTP(t testing.TB, root, token string) string {
	t.Helper()
	server := httptest.NewServer(Handler(root, token, t.Output()))
	t.Cleanup(server.Close)
	return server.URL
}

// Handler is the handler behind HTTP, for tests that want to wrap it. git's error output goes to
// output.
func Handler(root, token string, output io.Writer) http.Handler {
	// Without git, every request is answered with the error of starting it.
	programs, _ := exec.Command("git", "--exec-path").Output()
	environment := append([]string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1"}, Environment...)

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if token != "" && password != token && user != token {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "a token is needed", http.StatusUnauthorized)
			return
		}
		backend := cgi.Handler{
			Path:   filepath.Join(strings.TrimSpace(string(programs)), "git-http-backend"),
			Env:    append(environment[:len(environment):len(environment)], "GIT_PROTOCOL="+r.Header.Get("Git-Protocol")),
			Logger: log.New(output, "", 0),
			Stderr: output,
		}
		backend.ServeHTTP(w, r)
	})
}
