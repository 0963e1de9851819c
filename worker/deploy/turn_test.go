package deploy

import (
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"pgo/internal/target"
	"pgo/worker/compose"
)

// A turn is only valid during its change.
func TestTurnEndsWithItsChange(t *testing.T) {
	s := open(t, t.TempDir())
	var kept *Turn
	err := s.Do(t.Context(), "a freeze", never, func(turn *Turn) error {
		kept = turn
		return turn.Freeze("miek", "", compose.Output{})
	})
	if err != nil || s.Status().Frozen == nil {
		t.Fatalf("%v, %+v", err, s.Status())
	}
	for name, turn := range map[string]*Turn{"one that has ended": kept, "one that nobody gave": {}} {
		if !panics(func() { _ = turn.Unfreeze(compose.Output{}) }) {
			t.Errorf("a turn works: %s", name)
		}
	}
	if s.Status().Frozen == nil {
		t.Error("a turn that has ended has changed something")
	}
}

func panics(do func()) (did bool) {
	defer func() { did = recover() != nil }()
	do()
	return false
}

// What cannot be saved has not happened: neither in the state nor elsewhere in memory.
func TestWhatCannotBeSavedChangesNothing(t *testing.T) {
	web := target.Args{Services: []string{"web"}}
	commit := named("a")
	for name, test := range map[string]struct {
		before func(*State)
		change func(*Turn) error
	}{
		"freeze":   {nil, func(turn *Turn) error { return turn.Freeze("miek", "", compose.Output{}) }},
		"unfreeze": {func(st *State) { st.Frozen = &Frozen{By: "miek"} }, func(turn *Turn) error { return turn.Unfreeze(compose.Output{}) }},
		"down":     {nil, func(turn *Turn) error { return turn.Down(t.Context(), target.Args{}, compose.Output{}) }},
		"up": {func(st *State) { st.Wanted, st.Pin = Down, &Pin{Commit: commit, Until: time.Now().Add(time.Hour)} }, func(turn *Turn) error {
			return turn.Up(t.Context(), "miek", target.Args{}, compose.Output{})
		}},
		"up web":  {func(st *State) { st.Wanted = Down }, func(turn *Turn) error { return turn.Up(t.Context(), "miek", web, compose.Output{}) }},
		"stop":    {nil, func(turn *Turn) error { return turn.Stop(t.Context(), web, compose.Output{}) }},
		"start":   {func(st *State) { st.Containers.Stopped = web.Services }, func(turn *Turn) error { return turn.Start(t.Context(), web, compose.Output{}) }},
		"restart": {func(st *State) { st.Containers.Stopped = web.Services }, func(turn *Turn) error { return turn.Restart(t.Context(), web, compose.Output{}) }},
		"taking down": {func(st *State) { st.Wanted, st.Switching = Down, &Switching{Commit: commit} }, func(turn *Turn) error {
			turn.files.project.Plugin = "/bin/true"
			return turn.takeDown(t.Context(), compose.Output{})
		}},
		"moving the checkout": {func(st *State) { st.Checkout = nil }, func(turn *Turn) error {
			return turn.store.update(func(st *State) { st.Checkout = append(st.Checkout, commit) })
		}},
		"a good deploy": {nil, func(turn *Turn) error {
			c := &candidate{commit: commit, record: &Record{Number: 2, Basis: Basis{Commit: commit}}}
			return turn.finish(t.Context(), c)
		}},
		"a bad commit": {nil, func(turn *Turn) error {
			return turn.leave(&candidate{commit: commit, record: &Record{Number: 2}}, verdict{&unhealthyError{commit: "a"}})
		}},
		"a snippet": {nil, func(turn *Turn) error {
			turn.around.adjust(Neighbours{Snippet: "one"})
			turn.proxy.entry = &Proxy{Import: "caddy/import", Service: "caddy"}
			return turn.proxy.write(nil)
		}},
		"images that came": {nil, func(turn *Turn) error {
			c := &candidate{images: map[string]string{"web": "busybox"}}
			return turn.images.bring(c, nil, map[string]string{"web": "sha256:1"})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			if err := s.files.save(deployedModel, []byte(`{"name": "unit", "services": {"web": {"image": "a"}}}`)); err != nil {
				t.Fatal(err)
			}
			err := s.store.update(func(st *State) {
				st.Deployed = &Record{Number: 1, Basis: Basis{Commit: named("b")}, Outcome: Deployed}
				if test.before != nil {
					test.before(st)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			s.work.isDown, s.work.held = true, Basis{Commit: commit}
			s.proxy.backoff.delay = time.Second
			before := memoryOf(s)
			s.store.dir = filepath.Join(s.store.dir, "nowhere")
			if err := s.Do(t.Context(), name, never, test.change); err == nil {
				t.Error("it does not report an error")
			}
			if now := memoryOf(s); !reflect.DeepEqual(now, before) {
				t.Errorf("memory was %+v, and now is %+v", before, now)
			}
		})
	}
}

// memory is what a change leaves behind.
type memory struct {
	state   State
	saved   State
	records []*Record
	good    []*Record
	isDown  bool
	held    Basis
	backoff reloadBackoff
}

func memoryOf(s *Service) memory {
	saved, _ := loadState(s.files.dir)
	return memory{s.store.snapshot(), saved, s.store.history.list(), s.store.history.kept(), s.work.isDown, s.work.held, s.proxy.backoff}
}

// Neither a change in progress nor an earlier one shares the state in memory.
func TestUpdateGetsACopy(t *testing.T) {
	s := open(t, t.TempDir())
	mine := &Record{Number: 1, Images: map[string]string{"web": "1"}}
	if err := s.store.update(func(st *State) { st.Deployed, st.Brought = mine, []string{"a", "b"} }); err != nil {
		t.Fatal(err)
	}
	before := s.store.snapshot()
	mine.Number, mine.Images["web"] = 7, "7"
	s.store.dir = filepath.Join(s.store.dir, "nowhere")
	if err := s.store.update(func(st *State) { st.Deployed.Number, st.Brought[0] = 8, "x" }); err == nil {
		t.Fatal("the update succeeded although nothing can be saved")
	}
	if now := s.store.snapshot(); now.Deployed.Number != 1 || now.Deployed.Images["web"] != "1" || now.Brought[0] != "a" || before.Deployed.Number != 1 {
		t.Errorf("there is %+v, %v", now.Deployed, now.Brought)
	}
}
