package gitrepo

import (
	"net/url"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
)

// Who may be asked for what, as a repository sees it.
func TestSubmoduleAddresses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ repository, url, want string }{
		{"https://t@git.example.org/team/app.git", "../lib.git", "https://t@git.example.org/team/lib.git"},
		{"https://t@git.example.org/team/app.git/", "../../lib.git/", "https://t@git.example.org/lib.git"},
		{"https://t@git.example.org/team/app.git", "./lib", "https://t@git.example.org/team/app.git/lib"},
		{"https://t@git.example.org/te%20am/app.git", "../l%2Fib", "https://t@git.example.org/te%20am/l%2Fib"},
		{"https://t@git.example.org/app.git", "https://GIT.example.org:443/lib.git", "https://t@GIT.example.org:443/lib.git"},
		{"https://t@git.example.org/app.git", "https://u:p@git.example.org/lib.git", "https://t@git.example.org/lib.git"},
		{"https://t@git.example.org/app.git", "https://git.example.org:8443/lib.git", "https://git.example.org:8443/lib.git"},
		{"https://t@git.example.org/app.git", "https://other.example.org/lib.git", "https://other.example.org/lib.git"},
		{"https://t@git.example.org/app.git", "https://u:p@other.example.org/lib.git", "https://other.example.org/lib.git"},
		{"https://t@git.example.org/app.git", "http://git.example.org/lib.git", "over https alone"},
		{"https://t@git.example.org/app.git", "git://git.example.org/lib.git", "over https alone"},
		{"https://t@git.example.org/app.git", "git@git.example.org:lib.git", "write the url relative"},
		{"https://t@git.example.org/app.git", "file:///srv/lib.git", "on this machine"},
		{"https://t@git.example.org/app.git", "/srv/lib.git", "on this machine"},
		{"https://t@git.example.org/app.git", "../../../lib.git", "above the top"},
		{"https://t@git.example.org/app.git", "../lib/../../x", "does not send"},
		{"https://t@git.example.org/app.git", "https://git.example.org/a/%2e%2e/x", "does not send"},
		{"https://t@git.example.org/app.git", "../", "https://t@git.example.org"},
		{"https://t@git.example.org/app.git", "lib.git", "which does not begin with"},
		{"https://t@git.example.org/app.git", "ext::sh -c id", "which does not begin with"},
		{"https://t@git.example.org/app.git", "-oProxyCommand=id", "which does not begin with"},
		{"https://t@git.example.org/app.git", "https:///lib.git", "no host"},
		{"https://t@git.example.org/app.git", "https://u:p%zz@x/lib.git", "not understood"},
		{"https://t@git.example.org/app.git", "https://x/lib\n.git", "characters"},
		{"https://t@git.example.org/app.git", "", "has no url"},
		{"http://git.example.org/app.git", "http://other.example.org/lib.git", "http://other.example.org/lib.git"},
		{"git@git.example.org:team/app.git", "../lib.git", "ssh://git@git.example.org/~/team/lib.git"},
		{"git@git.example.org:app.git", "../lib.git", "ssh://git@git.example.org/~/lib.git"},
		{"git@git.example.org:app.git", "../../lib.git", "above the top"},
		{"git@git.example.org:app.git", "../-lib", "does not send"},
		{"git@git.example.org:app.git", "ssh://deploy@git.example.org:22/lib.git", "ssh://deploy@git.example.org:22/lib.git"},
		{"git@git.example.org:app.git", "ssh://git@git.example.org:2222/lib.git", "no key"},
		{"git@git.example.org:app.git", "git@other.example.org:lib.git", "no key"},
		{"git@git.example.org:app.git", "https://git.example.org/lib.git", "https://git.example.org/lib.git"},
		{"file:///srv/git/app", "../lib", "file:///srv/git/lib"},
		{"file:///srv/git/app", "/srv/other", "file:///srv/other"},
		{"file:///srv/git/app", "https://git.example.org/lib.git", "https://git.example.org/lib.git"},
	} {
		a, err := parseAddress(c.repository)
		if err != nil {
			t.Fatal(err)
		}
		got := a.submoduleText(c.url)
		if got != c.want && (strings.Contains(c.want, "://") || !strings.Contains(got, c.want)) {
			t.Errorf("in %s, %q is %q, want %q", c.repository, c.url, got, c.want)
		}
		if strings.Contains(got, "p@") || strings.Contains(got, "%zz@") {
			t.Errorf("a password is shown: %s", got)
		}
	}
}

// submoduleText is the url, with credentials, that a submodule is fetched from,
// or why it is not.
func (a *address) submoduleText(raw string) string {
	sub, why := a.submodule(raw)
	if why == "" {
		sub, why = sub.forModule(a)
	}
	if why != "" {
		return why
	}
	u := sub.url
	if sub.password != "" {
		u.User = url.UserPassword(sub.user, sub.password)
	} else if sub.user != "" {
		u.User = url.User(sub.user)
	}
	return u.String()
}

// What is in .gitmodules is anybody's to write.
func TestBadModulesFiles(t *testing.T) {
	t.Parallel()
	const good = "[submodule \"lib\"]\n\tpath = lib\n\turl = ../lib\n"
	for want, content := range map[string]string{
		"":                                      good,
		"has no url in .gitmodules; commit one": strings.Replace(good, "path = lib", "path = other", 1),
		"is in a .gitmodules that cannot be read": good + "[",
		"is in a .gitmodules of more than 64 KiB": good + strings.Repeat("#", maxModulesFile),
	} {
		s := newSetup(t)
		_, lib := s.module("lib", "file", "1")
		addModule(s.remote, "lib", "../lib", lib)
		s.remote.Write(".gitmodules", content)
		s.commit()
		err := s.FetchSubmodules(t.Context(), s.sync())
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), `cannot fetch the submodule "lib": it `+want)) {
			t.Errorf("the error is %v, want %q in it", err, want)
		}
		if got := s.missing("lib"); want != "" && (len(got) != 1 || !got[0].Verdict || !strings.HasPrefix(got[0].Why, "is a submodule that "+want)) {
			t.Errorf("Missing() = %v, want %q in it", got, want)
		}
	}
}

// Git itself makes no such commit.
func TestModulesFileIsNoLink(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	target := s.object(plumbing.BlobObject, "other")
	commit := s.commitTree(s.tree("120000 .gitmodules", target, "160000 lib", someHash))
	err := s.FetchSubmodules(t.Context(), commit)
	if want := `cannot fetch the submodule "lib": it is in a .gitmodules that is no regular file`; err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
}

func FuzzSubmodules(f *testing.F) {
	f.Add("[submodule \"a\"]\n\tpath = a\n\turl = ../b\n")
	f.Add("[submodule \"a\"]\npath=../a\nurl=-x\n[submodule \"b\"]\npath = b/\nurl = git@x:y\n")
	f.Add("[submodule]\n[a \"\\\"]\nx = \"\\\n")
	origin, err := parseAddress("https://token@git.example.org/team/app.git")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, content string) {
		urls, err := parseModules([]byte(content))
		if err != nil {
			return
		}
		for _, raw := range urls {
			sub, why := origin.submodule(raw)
			if why == "" {
				sub, why = sub.forModule(origin)
			}
			if why != "" {
				continue
			}
			if sub.url.Scheme != "https" || sub.url.Hostname() == "" || sub.user != "" && sub.url.Hostname() != "git.example.org" && !strings.EqualFold(sub.url.Hostname(), "git.example.org") {
				t.Errorf("%q is fetched from %v, with %q", raw, sub, sub.user)
			}
		}
	})
}
