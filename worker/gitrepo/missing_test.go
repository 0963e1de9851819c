package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const pointer = "version https://git-lfs.github.com/spec/v1\n" +
	"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"

func TestPointersAreFound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		content string
		is      bool
	}{
		"a pointer":         {pointer, true},
		"an older one":      {strings.Replace(pointer, "git-lfs.github", "hawser.github", 1), true},
		"the oldest":        {strings.Replace(pointer, "https://git-lfs.github.com/spec/v1", "http://git-media.io/v/2", 1), true},
		"with an extension": {strings.Replace(pointer, "oid", "ext-0-foo sha256:"+strings.Repeat("a", 64)+"\noid", 1), true},
		"from Windows":      {strings.ReplaceAll(pointer, "\n", "\r\n"), true},
		"without an end":    {strings.TrimSuffix(pointer, "\n"), true},
		"empty":             {"", false},
		"another version":   {strings.Replace(pointer, "spec/v1", "spec/v10", 1), false},
		"another hash":      {strings.Replace(pointer, "sha256", "sha512", 1), false},
		"no size":           {strings.Split(pointer, "size")[0], false},
		"no oid":            {"version https://git-lfs.github.com/spec/v1\nsize 12345\n" + strings.Repeat("#", 100), false},
		"version below":     {"oid sha256:" + strings.Repeat("a", 64) + "\nversion https://git-lfs.github.com/spec/v1\nsize 1\n", false},
		"a text about one":  {"See this:\n" + pointer, false},
		"too long":          {pointer + strings.Repeat("#", maxPointer), false},
	} {
		if got := isPointer([]byte(c.content)); got != c.is {
			t.Errorf("%s is taken for a pointer: %v", name, got)
		}
	}
}

func FuzzPointer(f *testing.F) {
	f.Add([]byte(pointer))
	f.Add([]byte(strings.ReplaceAll(pointer, "\n", "\r\n")))
	f.Fuzz(func(t *testing.T, content []byte) {
		if isPointer(content) && (len(content) < minPointer || !strings.HasPrefix(string(content), "version http")) {
			t.Errorf("%q is taken for a pointer", content)
		}
	})
}

// Only what is used counts: at a path, below it, or where links lead.
func TestMissingInWhatIsUsed(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	lib, _ := s.module("lib", "in/pointer", pointer, "text", "text")
	addModule(lib, "nested", "../gone", someHash)
	commit := lib.Commit("nested")
	addModule(s.remote, "lib", "../lib", hashOf(commit))
	for link, target := range map[string]string{
		"link": "data", "data/up": "../lib/in", "chain": "link/up", "loop": "loop", "out": "../lib", "away": "/lib", "module": "lib/nested",
		"dangling": "nothing",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Join(s.remote.Dir, filepath.Dir(link)), 0o755), os.Symlink(target, filepath.Join(s.remote.Dir, link))); err != nil {
			t.Fatal(err)
		}
	}
	s.commit("compose.yaml", "services: {}", "data/large.bin", pointer, "data.txt", "", "data-2/large.bin", pointer, "data/other", "x")
	head := s.sync()
	err := s.FetchSubmodules(t.Context(), head)
	wantKind(t, err, ErrSubmodule)

	const large, large2, inLib, nested = "data/large.bin", "data-2/large.bin", "lib/in/pointer", "lib/nested"
	for path, want := range map[string][]string{
		".":                {large2, large, inLib, nested},
		"data":             {large},
		"data/":            {large},
		"./data/large.bin": {large},
		"data/other":       nil,
		"data.txt":         nil,
		"data/large":       nil,
		"lib":              {inLib, nested},
		"lib/in":           {inLib},
		"lib/text":         nil,
		"lib/nested/x":     {nested},
		"link":             {large},
		"link/large.bin":   {large},
		"link/up":          {inLib},
		"link/up/pointer":  {inLib},
		"chain/pointer":    {inLib},
		"module/some/file": {nested},
		"loop":             nil,
		"out/in":           nil,
		"away/in":          nil,
		"dangling":         nil,
		"../lib":           nil,
		"/":                nil,
		"":                 {large2, large, inLib, nested},
		"nothing/at/all":   nil,
		"data/other/below": nil,
	} {
		var got []string
		for _, m := range s.missing(path) {
			got = append(got, m.Path)
			if m.Verdict != (m.Path != nested) || m.Why == "" {
				t.Errorf("%v is a verdict: %v", m, m.Verdict)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("missing of %q is %q, want %q", path, got, want)
		}
	}
	want := `"data/large.bin" is a Git LFS pointer, and pgo does not fetch from LFS; commit the file itself, or build it into an image`
	if got := s.missing("data", "link", "data"); len(got) != 1 || got[0].String() != want {
		t.Errorf("Missing() = %v", got)
	}
}

func TestMissingIsBounded(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	var files []string
	for i := range maxMissing + 20 {
		files = append(files, fmt.Sprintf("p/%03d", i), strings.Replace(pointer, "size 12345", fmt.Sprintf("size %d", i), 1))
	}
	s.commit(files...)
	head := s.sync()
	if got := s.missing("."); len(got) != maxMissing || got[maxMissing-1].Path != "p/099" {
		t.Errorf("%d are missing", len(got))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Missing(ctx, head, []string{"."})
	wantKind(t, err, context.Canceled)
	_, err = s.Missing(t.Context(), someHash, []string{"."})
	wantKind(t, err, ErrNoCommit)
}
