package rig

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// patience is how long Until waits: long enough for a build on a machine that
// runs other tests too, short enough not to hide a hang.
const patience = 4 * time.Minute

// Until waits for a condition: check returns nil if it holds, and otherwise an error with what
// is so instead. A timeout reports the last such error.
func Until(t testing.TB, what string, check func() error) {
	t.Helper()
	Within(t, patience, what, check)
}

// Within is Until with a deadline of its own, for promises that have one.
func Within(t testing.TB, limit time.Duration, what string, check func() error) {
	t.Helper()
	if err := poll(limit, check); err != nil {
		t.Fatalf("waited %s for %s; at last: %v", limit, what, err)
	}
}

// poll calls check until it returns nil or the time is over, and at least once.
func poll(limit time.Duration, check func() error) error {
	deadline := time.Now().Add(limit)
	pause := 5 * time.Millisecond
	for {
		began := time.Now()
		err := check()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		// The tests sleep only here: between two checks. An expensive check, such as starting a
		// client, is done less often: other tests run too.
		time.Sleep(max(pause, min(4*time.Since(began), time.Second)))
		pause = min(2*pause, 200*time.Millisecond)
	}
}

// Answers waits until the site on the published port says exactly want.
func (r *Rig) Answers(port int, want string) {
	r.t.Helper()
	Until(r.t, fmt.Sprintf("port %d to answer %q", port, want), func() error {
		got, err := Get(port)
		if err == nil && got != want {
			err = fmt.Errorf("it answers %q", got)
		}
		return err
	})
}

// Get asks the site on the published port once.
func Get(port int) (string, error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %s: %s", response.Status, strings.TrimSpace(string(body)))
	}
	return string(body), err
}
