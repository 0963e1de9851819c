package gitrepo

import (
	"os"
	"testing"
)

// A branch is fetched when it has moved, and fetched whole when its repository is gone, but only
// by Update: the caller of Once may not be alone.
func TestFollower(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	want := s.commit("compose.yaml", "one")
	s.open(s.asDirectory())
	var fetching []Hash
	rebuilt := 0
	f := Follower{Repo: s.Repo, Fetching: func(h Hash) { fetching = append(fetching, h) }, Rebuilding: func(error) { rebuilt++ }}
	for _, moves := range []bool{true, false} {
		if head, moved, err := f.Update(t.Context()); err != nil || head != want || moved != moves {
			t.Fatalf("%s, %v, %v, want %s, %v", head, moved, err, want, moves)
		}
	}
	if len(fetching) != 1 || fetching[0] != want || rebuilt != 0 {
		t.Errorf("fetched %v, rebuilt %d times", fetching, rebuilt)
	}
	want = s.commit("compose.yaml", "two")
	if err := os.RemoveAll(s.dir); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.Once(t.Context()); err == nil || rebuilt != 0 {
		t.Errorf("once: %v, rebuilt %d times", err, rebuilt)
	}
	if head, moved, err := f.Update(t.Context()); err != nil || head != want || !moved || rebuilt != 1 {
		t.Errorf("%s, %v, %v, rebuilt %d times, want %s", head, moved, err, rebuilt, want)
	}
}
