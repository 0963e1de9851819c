package deploy

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"pgo/worker/compose"
)

const modelText = `{"name": "unit", "services": {"web": {"image": "a"}}}`

// runs is a service that has deployed the commit, as far as its directory tells.
func runs(t *testing.T) *Service {
	t.Helper()
	s, remote, _ := followed(t)
	remote.Write("compose.yaml", "services: {web: {image: a}}\n")
	remote.Write("html/index.html", "hello\n")
	remote.Commit("first")
	commit, err := s.branch.fetch(t.Context())
	if err == nil {
		err = s.repo.Switch(t.Context(), nil, commit, s.files.checkout())
	}
	r := Record{Number: 1, Basis: Basis{Commit: commit}, Outcome: Deployed}
	err = errors.Join(err, s.files.save(deployedModel, []byte(modelText)), s.store.history.keep(r, []byte(modelText), 1),
		s.store.update(func(st *State) { st.Deployed, st.Checkout = &r, append(st.Checkout, commit) }))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// change is any change: each begins with putting in order what it needs.
func change(t *testing.T, s *Service) State {
	t.Helper()
	if err := s.Do(t.Context(), "a change", never, func(*Turn) error { return nil }); err != nil {
		t.Fatal(err)
	}
	return s.store.snapshot()
}

// A deployed model that somebody has removed or damaged comes back from the history, and nothing
// that runs is touched. Without the history, what runs is deployed again.
func TestDamagedModelIsRestored(t *testing.T) {
	for name, damage := range map[string]func(file string) error{
		"removed": os.Remove,
		"emptied": func(file string) error { return os.Truncate(file, 0) },
		"cut off": func(file string) error { return os.Truncate(file, 20) },
		"null":    func(file string) error { return os.WriteFile(file, []byte("null"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			s := runs(t)
			if state := change(t, s); state.Switching != nil {
				t.Fatalf("undamaged, it switches to %+v", state.Switching)
			}
			file := s.files.path(deployedModel)
			if err := damage(file); err != nil {
				t.Fatal(err)
			}
			if state := change(t, s); state.Switching != nil {
				t.Errorf("it switches to %+v", state.Switching)
			}
			if model, err := s.files.loadDeployed(); err != nil || len(compose.Diff(load(t, modelText), model)) > 0 {
				t.Errorf("the model is %v, %v", model, err)
			}

			if err := errors.Join(damage(file), os.Truncate(filepath.Join(s.store.history.dir, modelFile(1)), 0)); err != nil {
				t.Fatal(err)
			}
			if state := change(t, s); state.Switching == nil || state.Switching.Commit != state.Deployed.Commit || state.Switching.Reason == "" {
				t.Errorf("without a history it switches to %+v", state.Switching)
			}
		})
	}
}

func load(t *testing.T, text string) *compose.Model {
	t.Helper()
	model, err := compose.Load([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return model
}

// When the files are gone that containers mount, what runs is deployed again. Files that somebody
// has changed, and those of a service that is down, are left alone.
func TestLostCheckoutIsWrittenAgain(t *testing.T) {
	for name, test := range map[string]struct {
		do    func(dir string) error
		again bool
	}{
		"removed": {os.RemoveAll, true},
		"emptied": {func(dir string) error { return errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755)) }, true},
		"made by the engine for a mount": {func(dir string) error {
			return errors.Join(os.RemoveAll(dir), os.MkdirAll(filepath.Join(dir, "html"), 0o755))
		}, true},
		"a file is missing": {func(dir string) error { return os.Remove(filepath.Join(dir, "compose.yaml")) }, false},
		"unchanged":         {func(string) error { return nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := runs(t)
			if err := test.do(s.files.checkout()); err != nil {
				t.Fatal(err)
			}
			state := change(t, s)
			if again := state.Switching != nil; again != test.again || again && (state.Switching.Back != 1 || len(state.Checkout) > 0) {
				t.Errorf("it switches to %+v from %v", state.Switching, state.Checkout)
			}
		})
	}
	s := runs(t)
	if err := errors.Join(os.RemoveAll(s.files.checkout()), s.store.update(func(st *State) { st.Wanted = Down })); err != nil {
		t.Fatal(err)
	}
	if state := change(t, s); state.Switching != nil {
		t.Errorf("a service that is down switches to %+v", state.Switching)
	}
}
