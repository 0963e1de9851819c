package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// used returns what the repository takes on disk, and how many files it has.
func (s *setup) used() (bytes int64, loose int) {
	s.t.Helper()
	bytes, loose, err := takeStock(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	return bytes, loose
}

func (s *setup) mustCompact() {
	s.t.Helper()
	if err := s.Compact(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// wantHeld checks that commits are here with everything that git says is in them.
func (s *setup) wantHeld(commits ...Hash) {
	s.t.Helper()
	for _, c := range commits {
		wantSame(s.t, listing(s.t, s.stage(c)), s.committed(c))
	}
}

// history makes commits, each of which changes a file of a directory with many, and returns them.
// The branch is at none of them.
func (s *setup) history(commits, files int) []Hash {
	s.t.Helper()
	var in strings.Builder
	data := func(text string) { fmt.Fprintf(&in, "data %d\n%s\n", len(text), text) }
	for c := range commits {
		fmt.Fprintf(&in, "commit refs/import\nmark :%d\ncommitter Ada <ada@example.org> %d +0000\n", c+1, 1e9+c)
		data(fmt.Sprint("commit ", c))
		for f := range files {
			if c > 0 && f != c%files {
				continue
			}
			fmt.Fprintf(&in, "M 100644 inline conf/%d/app.yaml\n", f)
			data(fmt.Sprintf("services: {} # %d %s", c, noise(200)))
		}
	}
	marks := filepath.Join(s.t.TempDir(), "marks")
	s.remote.GitInput(in.String(), "fast-import", "--quiet", "--export-marks="+marks)
	hashes := make([]Hash, commits)
	for line := range strings.Lines(read(s.t, marks)) {
		var mark int
		var hash string
		if _, err := fmt.Sscanf(line, ":%d %s", &mark, &hash); err != nil {
			s.t.Fatal(err)
		}
		hashes[mark-1] = hashOf(hash)
	}
	return hashes
}

// push moves the branch to an existing commit.
func (s *setup) push(commit Hash) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.remote.Dir, ".git", branchPrefix, "main"), []byte(commit.String()+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// syncMany syncs often, keeps the commit of a deploy now and then, and compacts after each. It
// checks that the repository stays small and whole.
func syncMany(t testing.TB, syncs int, allowed slack) {
	const kept = 4
	s := newSetup(t)
	s.slack = allowed
	var most int64
	var mostLoose, compacted int
	history := s.history(syncs, 20)
	for i, c := range history {
		s.push(c)
		s.sync()
		if i%3 == 0 { // the others are refused, say
			s.keep(history[max(0, i-kept+1) : i+1]...)
		}
		used, loose := s.used()
		s.mustCompact()
		if _, after := s.used(); after < loose {
			compacted++
		}
		most, mostLoose = max(most, used), max(mostLoose, loose)
	}
	needed, err := s.objectsOf(t.Context(), history[syncs-kept:])
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := s.bytesOf(needed)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("after %d syncs the kept commits have %d objects of %d bytes; at most %d bytes and %d loose objects were there; compacted %d times",
		syncs, len(needed), bytes, most, mostLoose, compacted)
	if most > allowed.factor*bytes+allowed.bytes+64*block || mostLoose > allowed.loose {
		t.Error("the repository grew too large")
	}
	if compacted == 0 || compacted > syncs/10 {
		t.Errorf("it was compacted %d times", compacted)
	}
	if lines := strings.Count(read(t, s.dir, "shallow"), "\n"); lines > syncs/2 {
		t.Errorf("there are %d commits in shallow", lines)
	}
	s.wantHeld(history[syncs-kept:]...)
	s.wantSound()
	s.open(s.asDirectory())
	if head, _ := s.Head(); head != history[syncs-1] || s.Rebuilt() != nil {
		t.Errorf("the head is %v (rebuilt: %v)", head, s.Rebuilt())
	}
	s.wantHeld(history[syncs-kept:]...)
}

// TestManySyncsStaySmall is a twentieth of BenchmarkThousandSyncs: fewer syncs, smaller bounds.
func TestManySyncsStaySmall(t *testing.T) {
	t.Parallel()
	syncMany(t, 50, slack{factor: roomy.factor, bytes: roomy.bytes / 20, loose: roomy.loose / 20})
}

// BenchmarkThousandSyncs measures what a thousand syncs cost, within the bounds of the product.
func BenchmarkThousandSyncs(b *testing.B) {
	for b.Loop() {
		syncMany(b, 1000, roomy)
	}
}

// The space of a large tree is free again once no kept commit has it.
func TestForcePushOfALargeTree(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	small := s.commit("compose.yaml", "services: {}")
	s.sync()
	s.keep(small)
	var files []string
	for i := range 50 {
		files = append(files, fmt.Sprintf("large/%d", i), noise(100<<10))
	}
	large := s.commit(files...)
	s.sync()
	s.keep(small, large)
	s.mustCompact()
	s.wantHeld(small, large)
	with, _ := s.used()

	s.remote.Git("reset", "--hard", "--quiet", small.String())
	s.remote.Git("commit", "--amend", "--quiet", "--message=rewritten")
	rewritten := s.sync()
	s.mustCompact()
	s.wantHeld(small, large, rewritten) // it is still one to go back to

	s.keep(small, rewritten)
	s.mustCompact()
	without, loose := s.used()
	t.Logf("with the large tree the repository takes %d bytes, without it %d", with, without)
	if with < 5000<<10 || without > 64<<10 || loose > 0 {
		t.Errorf("%d bytes and %d loose objects are left of %d", without, loose, with)
	}
	s.wantHeld(small, rewritten)
	_, err := s.Commit(large)
	wantKind(t, err, ErrNoCommit)
	s.wantSound()
}

func (s *setup) keep(commits ...Hash) {
	s.t.Helper()
	if err := s.Keep(commits...); err != nil {
		s.t.Fatal(err)
	}
}

const bulk = 600 << 10

// bulky returns a setup with a head, a kept commit, and a lot that is not needed.
func bulky(t *testing.T) (s *setup, kept, head Hash) {
	t.Helper()
	s = newSetup(t)
	s.slack.bytes = 64 << 10
	s.commit("let go of", noise(bulk))
	s.sync()
	s.remote.Git("rm", "--quiet", "let go of")
	kept = s.commit("kept", noise(1000))
	s.sync()
	s.keep(kept)
	s.remote.Git("rm", "--quiet", "kept")
	head = s.commit("a", noise(1000), "empty", "", "dir/b", noise(10<<10))
	s.sync()
	return s, kept, head
}

func TestCompactAgainDoesNothing(t *testing.T) {
	t.Parallel()
	s, kept, head := bulky(t)
	s.mustCompact()
	before := listing(t, s.dir)
	if used, _ := s.used(); used > bulk/2 {
		t.Errorf("%d bytes are left", used)
	}
	s.mustCompact()
	if err := s.compact(t.Context(), slack{}); err != nil { // in any case
		t.Fatal(err)
	}
	wantSame(t, listing(t, s.dir), before)
	s.wantHeld(kept, head)
	s.wantSound()
}

// Wherever compacting ends, nothing is lost, and the next run continues.
func TestInterruptedCompacting(t *testing.T) {
	t.Parallel()
	s, kept, head := bulky(t)
	ends := 0
	for left := 0; ; left += 2 {
		n := left
		err := s.Compact(interrupted{t.Context(), &n})
		if n >= 0 && err == nil {
			break
		}
		if ends++; !errors.Is(err, context.Canceled) {
			t.Fatalf("after %d questions the error is %v", left, err)
		}
		s.wantHeld(kept, head)
		if used, _ := s.used(); used < bulk {
			t.Fatalf("after %d questions only %d bytes are left", left, used)
		}
	}
	if used, _ := s.used(); used > bulk/2 || ends < 5 {
		t.Errorf("%d bytes are left after %d interruptions", used, ends)
	}
	s.wantHeld(kept, head)
}

// A process that is killed while it writes the pack, or before it has removed everything else,
// leaves more than is needed.
func TestKilledWhileCompacting(t *testing.T) {
	t.Parallel()
	s, kept, head := bulky(t)
	before := t.TempDir()
	if err := os.CopyFS(before, os.DirFS(s.dir)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GITREPO_COMPACT="+s.dir, "GITREPO_URL="+s.asDirectory().URL)
	cmd.Stdout = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); packFiles(t, s.dir, "tmp_") == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Error("the process writes no pack")
			break
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	s.open(s.asDirectory())
	if got, ok := s.Head(); !ok || got != head || s.Rebuilt() != nil || packFiles(t, s.dir, "tmp_") > 0 {
		t.Errorf("the head is %v, %v (rebuilt: %v), want %v", got, ok, s.Rebuilt(), head)
	}
	s.slack.bytes = 64 << 10
	s.wantHeld(kept, head)
	s.mustCompact()
	s.wantHeld(kept, head)

	// The new pack is there, and the old objects still are, or are again.
	for _, part := range []string{"objects", "shallow"} {
		if err := exec.Command("cp", "-a", filepath.Join(before, part), s.dir).Run(); err != nil {
			t.Fatal(err)
		}
	}
	s.open(s.asDirectory())
	s.slack.bytes = 64 << 10
	s.wantHeld(kept, head)
	s.mustCompact()
	if used, _ := s.used(); used > bulk/2 {
		t.Errorf("%d bytes are left", used)
	}
	s.wantHeld(kept, head)
	s.wantSound()
}

// What cannot be read is not considered unneeded.
func TestCompactingADamagedRepository(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(*setup, string) error{
		"missing": func(_ *setup, file string) error { return os.Remove(file) },
		"other content": func(s *setup, file string) error {
			return errors.Join(os.Remove(file), os.Link(s.looseObject("HEAD:a"), file))
		},
		"short": func(_ *setup, file string) error { return errors.Join(os.Chmod(file, 0o600), os.Truncate(file, 30)) },
	} {
		t.Run(name, func(t *testing.T) {
			s, kept, _ := bulky(t)
			if err := damage(s, s.looseObject(kept.String()+":kept")); err != nil {
				t.Fatal(err)
			}
			before := listing(t, s.dir)
			wantKind(t, s.Compact(t.Context()), ErrDamaged)
			wantSame(t, listing(t, s.dir), before)
		})
	}
}

// looseObject returns the file of an object that the remote has by a name.
func (s *setup) looseObject(name string) string {
	s.t.Helper()
	h := s.remote.Git("rev-parse", name)
	return filepath.Join(s.dir, "objects", h[:2], h[2:])
}

// Concurrent readers notice nothing.
func TestReadingWhileWriting(t *testing.T) {
	t.Parallel()
	s, kept, head := bulky(t)
	s.keep(kept, head)
	done := make(chan error)
	stop := make(chan struct{})
	read := func() error {
		_, err := s.Commit(head)
		_, _, keysErr := s.Keys(head)
		entries, entriesErr := s.Entries(head, []string{"dir/b"})
		if entries["dir/b"] == "" {
			return errors.Join(err, keysErr, entriesErr, errors.New("dir/b is not there"))
		}
		return errors.Join(err, keysErr)
	}
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if err := read(); err != nil {
				done <- err
				return
			}
		}
	}()
	for _, c := range s.history(10, 30) {
		s.push(c)
		s.sync()
		if err := s.compact(t.Context(), slack{loose: -1}); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A full repository makes room by dropping what is not needed, not the kept commits.
func TestKeptCommitsSurviveAFullRepository(t *testing.T) {
	t.Parallel()
	s := newSetup(t, Limit(1<<20))
	kept := s.commit("a", noise(100<<10))
	s.sync()
	s.keep(kept)
	for range 12 {
		s.commit("a", noise(100<<10))
		s.sync()
	}
	held, err := s.held()
	if err != nil || !slices.Contains(held, kept) {
		t.Errorf("the kept commit is gone (%v)", err)
	}
	s.wantHeld(kept, s.tip())
}
