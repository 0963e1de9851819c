package sshd

import (
	"fmt"
	"testing"
)

func testShares() *shares {
	return newShares(Limits{Sessions: 10, SessionsPerKey: 3, SessionsPerService: 5, SessionsOfOperators: 2})
}

// takeAll takes all that a party can get with so many keys.
func takeAll(s *shares, p Party, keys int) (releases []func()) {
	for key := range keys {
		for range 100 {
			if release := s.take(p, fmt.Sprintf("%v %d", p, key)); release != nil {
				releases = append(releases, release)
			}
		}
	}
	return releases
}

func partyOf(services ...string) Party { return Party{Services: services} }

func TestShares(t *testing.T) {
	operators := Party{Operator: true}
	s := testShares()
	if got := len(takeAll(s, partyOf("a"), 1)); got != 3 {
		t.Errorf("one key gets %d", got)
	}
	if got := len(takeAll(s, partyOf("a"), 100)); got != 2 {
		t.Errorf("many keys of a service get %d more than one key", got)
	}
	if got := len(takeAll(s, partyOf("b"), 100)); got != 3 {
		t.Errorf("another service gets %d: eight of ten are for services", got)
	}
	if got := len(takeAll(s, partyOf("c"), 100)); got != 0 {
		t.Errorf("a third service gets %d: all for services are taken", got)
	}
	if got := len(takeAll(s, operators, 100)); got != 2 {
		t.Errorf("operators get %d", got)
	}

	s = testShares()
	if got := len(takeAll(s, operators, 100)); got != 10 {
		t.Errorf("operators alone get %d", got)
	}
	s = testShares()
	if got := len(takeAll(s, operators, 1)); got != 3 {
		t.Errorf("one operator gets %d", got)
	}
	if got := len(takeAll(s, Party{}, 100)); got != 5 {
		t.Errorf("keys that belong to nobody get %d", got)
	}
}

func TestSharesAreGivenBack(t *testing.T) {
	s := testShares()
	var releases []func()
	for _, p := range []Party{partyOf("a"), partyOf("a", "b"), partyOf("b"), {Operator: true}, {}} {
		releases = append(releases, takeAll(s, p, 100)...)
	}
	for _, release := range releases {
		release()
	}
	if s.all != 0 || s.others != 0 || len(s.byKey) != 0 || len(s.byService) != 0 {
		t.Errorf("in the end %+v are taken", s)
	}
	if got := len(takeAll(s, partyOf("a"), 100)); got != 5 {
		t.Errorf("what is given back is taken %d times, not 5", got)
	}
}

// Public keys are public: a repository can list those of another's users.
func TestSharesOfAKeyOfTwoServices(t *testing.T) {
	s := testShares()
	if got := len(takeAll(s, partyOf("a"), 100)); got != 5 {
		t.Fatalf("a service gets %d", got)
	}
	if got := len(takeAll(s, partyOf("a", "b"), 1)); got != 3 {
		t.Errorf("a key of two services, one of which has taken all it may have, gets %d", got)
	}
}
