package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgo/worker/gitrepo"
)

func history3(t *testing.T, dir string) *history {
	t.Helper()
	h, err := openHistory(dir)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func goodRecord(n int) Record {
	commit, err := gitrepo.ParseHash(fmt.Sprintf("%07d000000000000000000000000000000000", n))
	if err != nil {
		panic(err)
	}
	return Record{Number: n, Basis: Basis{Commit: commit}, Outcome: Deployed, Images: map[string]string{"web": fmt.Sprint("sha256:", n)}}
}

func numbers(records []*Record) []int {
	all := []int{}
	for _, r := range records {
		all = append(all, r.Number)
	}
	return all
}

func models(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.model.json"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range files {
		files[i] = filepath.Base(files[i])
	}
	return files
}

// pgo can go back to the last three good deploys, and to the one that runs.
func TestHistoryKeeps(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "history")
	h := history3(t, dir)
	for n := 1; n <= 5; n++ {
		if err := h.keep(goodRecord(n), []byte(fmt.Sprintf(`{"name": "model %d"}`, n)), n); err != nil {
			t.Fatal(err)
		}
	}
	// After going back to 3 and on to 6 and 7, 3 is kept for as long as it runs.
	if err := h.keep(*h.find(3), []byte(`{"name": "model 3"}`), 3); err != nil {
		t.Fatal(err)
	}
	if err := h.keep(goodRecord(6), []byte(`{}`), 3); err != nil {
		t.Fatal(err)
	}
	if got, want := numbers(h.kept()), []int{6, 5, 4, 3}; !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
	if err := h.keep(goodRecord(7), []byte(`{}`), 7); err != nil {
		t.Fatal(err)
	}
	h = history3(t, dir)
	if got, want := numbers(h.kept()), []int{7, 6, 5}; !slices.Equal(got, want) {
		t.Errorf("after a new start kept %v, want %v", got, want)
	}
	if got, want := models(t, dir), []string{"5.model.json", "6.model.json", "7.model.json"}; !slices.Equal(got, want) {
		t.Errorf("models %v, want %v", got, want)
	}
	if m, err := h.model(5); err != nil || m.Document()["name"] != "model 5" {
		t.Errorf("model 5: %v, %v", m, err)
	}
	if before := h.before(7); before.Number != 6 {
		t.Errorf("before 7 is %d", before.Number)
	}
	if found := h.ofCommit("0000005"); found == nil || found.Number != 5 {
		t.Errorf("of a commit: %+v", found)
	}
	if err := h.forget(6); err != nil || !slices.Equal(numbers(history3(t, dir).kept()), []int{7, 5}) || len(models(t, dir)) != 2 {
		t.Errorf("after 6 was given up kept %v, models %v, %v", numbers(h.kept()), models(t, dir), err)
	}
	if h.ofCommit("0000004") != nil || h.before(5) != nil {
		t.Error("found what is not kept")
	}
}

// Deploying the same again does not take the place of anything that differs.
func TestHistoryKeepsWhatDiffers(t *testing.T) {
	h := history3(t, t.TempDir())
	for n := 1; n <= 3; n++ {
		if err := h.keep(goodRecord(n), []byte(`{}`), n); err != nil {
			t.Fatal(err)
		}
	}
	for n := 4; n <= 6; n++ {
		again := goodRecord(3)
		again.Number = n
		if err := h.keep(again, []byte(`{}`), n); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := numbers(h.kept()), []int{6, 2, 1}; !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
}

// A fault that occurs again and again is one line.
func TestHistoryCountsUp(t *testing.T) {
	h := history3(t, t.TempDir())
	for n := 1; n <= 60; n++ {
		r := goodRecord(n)
		if n > 55 {
			r = goodRecord(56)
			r.Number, r.Outcome, r.Error = n, Failed, "no network"
		}
		if err := h.add(r); err != nil {
			t.Fatal(err)
		}
	}
	records := h.list()
	if len(records) != maxRecords || records[0].Tries != 5 || records[1].Number != 55 || records[1].Tries != 1 {
		t.Errorf("%d records, the first tried %d times, then %+v", len(records), records[0].Tries, records[1])
	}
}

// A history that cannot be read is not a reason to stop a service.
func TestHistoryDamaged(t *testing.T) {
	for _, content := range []string{"", "{", "[null]", `{"a":1}`} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, goodFile), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		h, err := openHistory(dir)
		if err == nil || len(h.kept()) != 0 {
			t.Errorf("%q: %v, %v", content, h.kept(), err)
		}
		if err := h.keep(goodRecord(1), []byte(`{}`), 1); err != nil {
			t.Errorf("%q: cannot begin anew: %v", content, err)
		}
	}
}
