package test

import (
	"fmt"
	"os"
	"testing"

	"pgo/test/rig"
)

// page is a repository whose site serves a mounted file, and has room for data.
func page(r *rig.Rig, port int, text string) rig.Files {
	return rig.Files{
		"index.html": text,
		".gitignore": "data/\n*.log\n",
		"compose.yaml": fmt.Sprintf(`services:
  site:
    image: %s
    init: true
    command: [httpd, -f, -p, "8080", -h, /www]
    ports: ["127.0.0.1:%d:8080"]
    volumes:
      - ./index.html:/www/index.html:ro
      - ./data:/data
`, r.Busybox(), port),
	}
}

func TestForcePush(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, port := r.Service("web"), r.Port()
	web.Push("first", page(r, port, "one"))
	web.Push("second", page(r, port, "two").With("only-there.txt", "lost\n"))
	pgod := r.Start(web)
	r.Answers(port, "two")

	web.Repo.Git("rm", "--quiet", "only-there.txt")
	deployed(t, pgod, web, web.ForcePush("other", page(r, port, "three")))
	r.Answers(port, "three")
	if _, err := os.Stat(checkout(pgod, web, "only-there.txt")); !os.IsNotExist(err) {
		t.Errorf("a file of the commit that is gone is still in the checkout: %v", err)
	}

	// Back to an unrelated history.
	web.Repo.Git("checkout", "--quiet", "--orphan", "afresh")
	web.Repo.Git("commit", "--quiet", "--allow-empty", "--message", "afresh")
	web.Repo.Git("branch", "--force", "main")
	web.Repo.Git("checkout", "--quiet", "main")
	deployed(t, pgod, web, web.Push("four", page(r, port, "four")))
	r.Answers(port, "four")
}

// belongings are files that git does not track, with their content: ignored data, notes next to
// tracked files, and settings.
var belongings = rig.Files{
	"data/base.db":    "all that we have",
	"data/deep/er.db": "and more",
	"debug.log":       "ignored",
	"notes.txt":       "neither tracked nor ignored",
	"docs/mine.txt":   "next to files that come and go",
	".env.local":      "SETTING=mine",
}

// A hundred syncs, some of which restart the container, leave untracked files alone: they stay
// the same files with the same content.
func TestBelongingsSurviveAHundredSyncs(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, port := r.Service("web").Set("interval", "1h"), r.Port()
	web.Push("first", page(r, port, "sync 0").With("docs/tracked.txt", "0"))
	pgod := r.Start(web)
	r.Answers(port, "sync 0")
	before := map[string]os.FileInfo{"data": nil, "docs": nil}
	for name, content := range belongings {
		put(t, checkout(pgod, web, name), content, 0o600)
		before[name] = nil
	}
	for name := range before {
		before[name] = look(t, pgod, web, name)
	}

	var head string
	for i := range 100 {
		files := rig.Files{fmt.Sprintf("docs/%d/%d.txt", i%7, i): "comes and goes", "docs/tracked.txt": fmt.Sprint(i)}
		if i%3 == 0 { // each third, the others go
			web.Repo.Git("rm", "--quiet", "-r", "--ignore-unmatch", "docs/0", "docs/1", "docs/2", "docs/3")
		}
		if i%25 == 24 {
			files["index.html"] = fmt.Sprintf("sync %d", i+1)
		}
		head = web.Push(fmt.Sprintf("sync %d", i+1), files)
		pgod.SSH(web.Key, web.Op("git pull")).Exits(t, 0)
		pgod.SSH(web.Key, web.Op("up")).Exits(t, 0)
	}
	shows(t, pgod, web, "deployed:  "+head[:7])
	r.Answers(port, "sync 100")
	if text, err := os.ReadFile(checkout(pgod, web, "docs/tracked.txt")); err != nil || string(text) != "99" {
		t.Errorf("the checkout does not follow: %q, %v", text, err)
	}
	if _, err := os.Stat(checkout(pgod, web, "docs/2")); !os.IsNotExist(err) {
		t.Errorf("a directory that git emptied is still there: %v", err)
	}
	for name, info := range before {
		if now := look(t, pgod, web, name); !os.SameFile(info, now) {
			t.Errorf("%s is not the same file any more", name)
		}
	}
	unharmed(t, pgod, web)
}

func look(t *testing.T, pgod *rig.Pgod, s *rig.Service, name string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(checkout(pgod, s, name))
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// unharmed checks the content of the belongings.
func unharmed(t *testing.T, pgod *rig.Pgod, s *rig.Service) {
	t.Helper()
	for name, content := range belongings {
		if text, err := os.ReadFile(checkout(pgod, s, name)); err != nil || string(text) != content {
			t.Errorf("%s has %q (%v), not %q", name, text, err, content)
		}
	}
}

// A commit with a file where an untracked one is in the way is not deployed: what runs keeps
// running, and the untracked file stays. Once that is moved away, the commit is deployed.
func TestFileInTheWay(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web, port := r.Service("web"), r.Port()
	first := web.Push("first", page(r, port, "one"))
	pgod := r.Start(web)
	deployed(t, pgod, web, first)
	for name, content := range belongings {
		put(t, checkout(pgod, web, name), content, 0o600)
	}
	before := startedAt(t, web)

	second := web.Push("second", page(r, port, "two").With("notes.txt", "of the commit").With("docs/mine.txt/below", "too"))
	shows(t, pgod, web, "deployed:  "+first[:7], "head:      "+second[:7], "error:", `"docs/mine.txt", "notes.txt"`, "move them away")
	stays(t, web, before, "a file in the way")
	r.Answers(port, "one")
	unharmed(t, pgod, web)

	for _, name := range []string{"notes.txt", "docs/mine.txt"} {
		if err := os.Rename(checkout(pgod, web, name), checkout(pgod, web, name+".away")); err != nil {
			t.Fatal(err)
		}
	}
	// docs was made by root, like the directories that the engine makes for mounts.
	shows(t, pgod, web, "deployed:  "+first[:7], `its directory "docs" belongs to another user`, "chown")
	stays(t, web, before, "a directory that is root's")
	if err := os.Chown(checkout(pgod, web, "docs"), web.User.UID, web.User.GID); err != nil {
		t.Fatal(err)
	}
	deployed(t, pgod, web, second)
	r.Answers(port, "two")
}
