package deploy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"pgo/worker/compose"
	"pgo/worker/gitrepo"
)

// The status says that the engine does not answer, whether it is gone or only hangs, and no longer
// once it answers.
func TestEngineIsAway(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "docker.sock")
	s, err := Open(Config{
		Name: "unit", Dir: t.TempDir(), Branch: "main", Timeout: time.Minute,
		Remote: gitrepo.Remote{URL: "file:///nonexistent/unit.git"}, Project: compose.Project{Host: "unix://" + socket},
	}, NewQueue(), hclog.NewNullLogger(), func() {})
	if err != nil {
		t.Fatal(err)
	}
	look := func(patience time.Duration) string {
		ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errors.New("it is silent"))
		defer cancel()
		err, away := s.LookAtEngine(ctx), s.Status().EngineAway
		if err == nil != (away == "") {
			t.Errorf("the status is %q, the error %v", away, err)
		}
		return away
	}
	if away := look(time.Minute); !strings.Contains(away, "cannot reach the Docker engine") || !strings.Contains(away, socket) {
		t.Errorf("without an engine: %q", away)
	}

	hangs := make(chan struct{})
	engine := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-hangs
		w.Header().Set("API-Version", "1.41")
	}))
	if engine.Listener, err = net.Listen("unix", socket); err != nil {
		t.Fatal(err)
	}
	engine.Start()
	defer engine.Close()
	if away := look(50 * time.Millisecond); !strings.Contains(away, "the Docker engine does not answer: it is silent") {
		t.Errorf("with one that hangs: %q", away)
	}
	close(hangs)
	if away := look(time.Minute); away != "" {
		t.Errorf("with one that answers: %q", away)
	}
}
