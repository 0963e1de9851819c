package gittest

import (
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// HTTP serves the repositories in root over smart HTTP on a free port of the
// loopback address and returns the server's URL: a repository root/app is
// URL/app. With a token, only who sends it is let in: as the password of any
// user, or as the user's name.
func HTTP(t testing.TB, root, token string) string {
	t.Helper()
	server := httptest.NewServer(Handler(t, root, token))
	t.Cleanup(server.Close)
	return server.URL
}

// Handler is the handler behind HTTP, for a test that wants to stand between.
func Handler(t testing.TB, root, token string) http.Handler {
	t.Helper()
	execPath, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatalf("git --exec-path: %v", err)
	}
	backend := filepath.Join(strings.TrimSpace(string(execPath)), "git-http-backend")
	environment := append([]string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1"}, Environment...)

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if token != "" && password != token && user != token {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "a token is needed", http.StatusUnauthorized)
			return
		}
		backend := cgi.Handler{Path: backend, Env: append(environment, "GIT_PROTOCOL="+r.Header.Get("Git-Protocol"))}
		backend.ServeHTTP(w, r)
	})
}
