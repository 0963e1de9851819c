package supervisor

import (
	"strings"
	"testing"
)

// Either services or the worker that fetches the configuration may have a uid, whichever comes
// first.
func TestUIDs(t *testing.T) {
	var u uids
	giveBack, err := u.serve(1001, "web")
	if err != nil {
		t.Fatal(err)
	}
	another, err := u.serve(1001, "web") // the old one's successor
	if err != nil {
		t.Fatal(err)
	}
	giveBack()
	giveBack() // again
	if err := u.fetch(1001); err == nil || !strings.Contains(err.Error(), "the service web") {
		t.Errorf("fetching may use a service's uid: %v", err)
	}
	another()
	if err := u.fetch(1001); err != nil {
		t.Errorf("the service is gone: %v", err)
	}
	if _, err := u.serve(1001, "web"); err == nil || !strings.Contains(err.Error(), "1001") {
		t.Errorf("a service could forge the configuration: %v", err)
	}
	if err := u.fetch(1001); err != nil {
		t.Errorf("a uid of its own: %v", err)
	}
	u.leave(7)
	if _, err := u.serve(1001, "web"); err == nil {
		t.Error("another one has left")
	}
	u.leave(1001)
	if _, err := u.serve(1001, "web"); err != nil {
		t.Errorf("nothing is fetched any more: %v", err)
	}
	if _, err := u.serve(0, "default"); err != nil {
		t.Errorf("root: %v", err)
	}
}
