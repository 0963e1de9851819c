package supervisor

import (
	"strings"
	"testing"
)

// Of a service and what fetches the configuration only one has a uid, whoever comes first.
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
		t.Errorf("a service's uid is taken: %v", err)
	}
	another()
	if err := u.fetch(1001); err != nil {
		t.Errorf("the service is gone: %v", err)
	}
	if _, err := u.serve(1001, "web"); err == nil || !strings.Contains(err.Error(), "1001") {
		t.Errorf("a service could forge the configuration: %v", err)
	}
	if err := u.fetch(1001); err != nil {
		t.Errorf("it is its own: %v", err)
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
