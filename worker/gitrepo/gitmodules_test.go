package gitrepo

import (
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
)

const (
	elsewhere = "on a different server than the repository; put it on the repository's own server and write the url relative, as in ../lib.git"
	unnamed   = elsewhere + "; no entry of `allow` can name that server as it is written here"
)

var schemes = regexp.MustCompile(`^(https?|git|ssh|file)://`)

func lifted(server string) string {
	return elsewhere + `, or an operator can allow = ["submodule:` + server + `"]`
}

// Which servers may be asked, and with which credentials, as a repository writes it.
func TestSubmoduleAddresses(t *testing.T) {
	t.Parallel()
	listed := newServers([]string{
		"https://lib.example.org", "HTTPS://Upper.Example.ORG:443", "http://plain.example.org:8080", "git://git.example.net", "https://[2001:db8::1]",
		"ssh://ssh.example.org", "file:///srv", "https://path.example.org/x", "lib2.example.org", "https://t:t@user.example.org",
	})
	const (
		own  = "https://t@git.example.org/team/app.git"
		ssh  = "git@git.example.org:team/app.git"
		file = "file:///srv/git/app"
	)
	for _, c := range []struct{ repository, url, want string }{
		{own, "../lib.git", "https://t@git.example.org/team/lib.git"},
		{own + "/", "../../lib.git/", "https://t@git.example.org/lib.git"},
		{own, "./lib", "https://t@git.example.org/team/app.git/lib"},
		{"https://t@git.example.org/te%20am/app.git", "../l%2Fib", "https://t@git.example.org/te%20am/l%2Fib"},
		{own, "https://GIT.example.org:443/lib.git", "https://t@GIT.example.org:443/lib.git"},
		{own, "https://git.example.org:/lib.git", "https://t@git.example.org:/lib.git"},
		{own, "https://u:p@git.example.org/lib.git", "https://t@git.example.org/lib.git"},
		{own, "../../../../lib.git", "above the top"},
		{own, "../lib/../../x", "does not send"},
		{own, "https://git.example.org/a/%2e%2e/x", "does not send"},
		{own, "https://git.example.org/a%00b", "does not send"},
		{"https://t@git.example.org/app.git", "../", "https://t@git.example.org"},
		{own, "lib.git", "which does not begin with"},
		{own, "ext::sh -c id", "which does not begin with"},
		{own, "-oProxyCommand=id", "which does not begin with"},
		{own, "https:///lib.git", "no host"},
		{own, "https://u:p%zz@x/lib.git", "not understood"},
		{own, "https://u:p'\"@x/lib.git", "not understood"},
		{own, "https://u:p'@x/../lib.git", `"https://x/../lib.git", whose path`},
		{own, "https://" + strings.Repeat("p", 300) + "%zz@x/lib.git", `"https://x/lib.git", which is not understood`},
		{own, "https://x/lib\n.git", "characters"},
		{own, "https:/\n/u:p@x/lib.git", `"https://x/lib.git", with characters`},
		{own, "", "has no url"},

		// From another server only what is listed, and without credentials.
		{own, "https://lib.example.org/lib.git", "https://lib.example.org/lib.git"},
		{own, "https://u:p@LIB.example.org:443/lib.git", "https://LIB.example.org:443/lib.git"},
		{own, "https://upper.example.org/lib.git", "https://upper.example.org/lib.git"},
		{own, "http://plain.example.org:8080/lib.git", "http://plain.example.org:8080/lib.git"},
		{own, "git://git.example.net:9418/lib.git", "git://git.example.net:9418/lib.git"},
		{own, "https://[2001:DB8:0::1]/lib.git", "https://[2001:DB8:0::1]/lib.git"},
		{ssh, "https://lib.example.org/lib.git", "https://lib.example.org/lib.git"},
		{file, "https://lib.example.org/lib.git", "https://lib.example.org/lib.git"},
		{own, "https://u:p@other.example.org/lib.git", `has the url "https://other.example.org/lib.git", which is ` + lifted("https://other.example.org")},
		{own, "https://lib.example.org:8443/lib.git", lifted("https://lib.example.org:8443")},
		{own, "http://lib.example.org/lib.git", lifted("http://lib.example.org")},
		{own, "http://lib.example.org:443/lib.git", lifted("http://lib.example.org:443")},
		{own, "git://lib.example.org/lib.git", lifted("git://lib.example.org")},
		{own, "https://x.lib.example.org/lib.git", lifted("https://x.lib.example.org")},
		{own, "https://lib.example.org.evil.example/lib.git", lifted("https://lib.example.org.evil.example")},
		{own, "https://plain.example.org:8080/lib.git", lifted("https://plain.example.org:8080")},
		{own, "http://plain.example.org/lib.git", lifted("http://plain.example.org")},
		{own, "https://path.example.org/x", lifted("https://path.example.org")},
		{own, "https://user.example.org/x", lifted("https://user.example.org")},
		{own, "https://lib2.example.org/x", lifted("https://lib2.example.org")},
		{own, "https://localhost/lib.git", lifted("https://localhost")},
		{own, "http://169.254.169.254/latest", lifted("http://169.254.169.254")},
		{own, "http://[::1]:2375/lib.git", lifted("http://[::1]:2375")},

		// Nor from the repository's host by another scheme, or at another port.
		{own, "https://git.example.org:8443/lib.git", lifted("https://git.example.org:8443")},
		{own, "http://git.example.org/lib.git", lifted("http://git.example.org")},
		{own, "git://git.example.org/lib.git", lifted("git://git.example.org")},
		{"http://git.example.org/app.git", "http://other.example.org/lib.git", lifted("http://other.example.org")},
		{"http://git.example.org/app.git", "https://git.example.org/lib.git", lifted("https://git.example.org")},
		{"git://git.example.org/app.git", "git://other.example.org/lib.git", lifted("git://other.example.org")},
		{ssh, "https://git.example.org/lib.git", lifted("https://git.example.org")},
		{file, "https://git.example.org/lib.git", lifted("https://git.example.org")},

		// Addresses that look like the repository's server.
		{own, "https://git.example.org@evil.example/lib.git", lifted("https://evil.example")},
		{own, "https://git.example.org:443@evil.example/lib.git", lifted("https://evil.example")},
		{own, "https://git.example.org%2f@evil.example/lib.git", lifted("https://evil.example")},
		{own, "https://git.example.org:443:80/lib.git", "not understood"},
		{own, `https://git.example.org\@evil.example/lib.git`, "not understood"},
		{own, `https://evil.example\.git.example.org/lib.git`, "not understood"},
		{own, "https://git.example.org?@evil.example/lib.git", "not understood"},
		{own, "https://git.example.org#@evil.example/lib.git", "not understood"},
		{own, "https://%67it.example.org/lib.git", "not understood"},
		{own, "https://evil.example%00.git.example.org/lib.git", "not understood"},
		{own, "https://evil.example/git.example.org/../lib", "does not send"},
		{own, "https:evil.example/lib.git", "no host"},
		{own, "https:/evil.example/lib.git", "no host"},
		{own, "//evil.example/lib.git", "on this machine"},
		{own, `\\evil.example\lib.git`, "does not begin with"},
		{own, "..//evil.example/lib.git", "https://t@git.example.org/team//evil.example/lib.git"},
		{"https://t@git.example.org/app.git", "..//evil.example/lib.git", "https://t@git.example.org//evil.example/lib.git"},
		{"https://t@git.example.org/app.git", "../@evil.example/lib.git", "https://t@git.example.org/@evil.example/lib.git"},
		{"https://t@git.example.org/app.git", "../https://evil.example/lib.git", "https://t@git.example.org/https://evil.example/lib.git"},
		{own, "https://git.example.org./lib.git", unnamed},
		{own, "https://git.example.org:0443/lib.git", unnamed},
		{own, "https://git.example.org,evil.example/lib.git", unnamed},
		{own, "https://\u212Aernel.example.org/lib.git", unnamed},
		{"https://t@kernel.example.org/app.git", "https://\u212Aernel.example.org/lib.git", unnamed},
		{"https://t@m\u00fcller.example/app.git", "https://m\u00dcller.example/lib.git", unnamed},
		{"https://t@m\u00fcller.example/app.git", "https://m%C3%BCller.example/lib.git", "https://t@m%C3%BCller.example/lib.git"},
		{"https://t@m\u00fcller.example/app.git", "../lib.git", "https://t@m%C3%BCller.example/lib.git"},
		{"https://t@git.example.org.:0443/app.git", "../lib.git", "https://t@git.example.org.:0443/lib.git"},
		{"https://t@[fe80::1%25eth0]/app.git", "https://[fe80::1%25ETH0]/lib.git", unnamed},
		{"https://t@[::1]/app.git", "https://[0::1]:443/lib.git", "https://t@[0::1]:443/lib.git"},
		{"https://t@[::1]/app.git", "https://[::2]/lib.git", lifted("https://[::2]")},
		{"https://t@127.0.0.1/app.git", "https://127.1/lib.git", lifted("https://127.1")},

		{own, "file:///srv/lib.git", "on this machine"},
		{own, "file://git.example.org/srv/lib.git", "on this machine"},
		{own, "/srv/lib.git", "on this machine"},
		{ssh, "/srv/lib.git", "on this machine"},
		{file, "../lib", "file:///srv/git/lib"},
		{file, "/srv/other", "file:///srv/other"},

		{ssh, "../lib.git", "ssh://git@git.example.org/~/team/lib.git"},
		{"git@git.example.org:app.git", "../lib.git", "ssh://git@git.example.org/~/lib.git"},
		{"git@git.example.org:app.git", "../../lib.git", "above the top"},
		{"git@git.example.org:app.git", "../-lib", "does not send"},
		{ssh, "ssh://deploy@git.example.org:22/lib.git", "ssh://deploy@git.example.org:22/lib.git"},
		{ssh, "deploy@GIT.example.org:lib.git", "ssh://deploy@GIT.example.org/~/lib.git"},
		{ssh, "ssh://git@git.example.org:2222/lib.git", "no key"},
		{ssh, "git@other.example.org:lib.git", `or write it with https, and an operator can allow = ["submodule:https://other.example.org"]`},
		{ssh, "ssh://u:p@ssh.example.org:22/lib.git", `"ssh://ssh.example.org:22/lib.git", for which pgo has no key`},
		{ssh, "git@git.example.org@evil.example:lib.git", "write the url relative, as in ../lib.git"},
		{ssh, "git.example.org:lib.git", "does not begin with"},
		{ssh, "git@[git.example.org]:lib.git", "no key"},
		{own, "git@git.example.org:lib.git", "write the url relative"},
		{file, "git@git.example.org:lib.git", "no key"},
	} {
		a, err := parseAddress(c.repository)
		if err != nil {
			t.Fatal(err)
		}
		got := a.submoduleText(c.url, listed)
		if isURL := schemes.MatchString(c.want); isURL && got != c.want || !isURL && !strings.Contains(got, c.want) {
			t.Errorf("in %s, %q is %q, want %q", c.repository, c.url, got, c.want)
		}
		if strings.Contains(got, "p@") || strings.Contains(got, "p'@") || strings.Contains(got, "pppp") || strings.Contains(got, "%zz@") {
			t.Errorf("a password is shown: %s", got)
		}
	}
}

// The entry that a refusal suggests to an operator is enough to lift it.
func TestSubmoduleEntriesLift(t *testing.T) {
	t.Parallel()
	origin, err := parseAddress("https://t@git.example.org/team/app.git")
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range []string{
		"https://Other.example.org/x", "http://u:p@other.example.org:443/x", "git://other.example.org:9418/x", "https://[0::1]:8443/x", "http://127.0.0.1/x",
	} {
		_, entry, found := strings.Cut(origin.submoduleText(raw, nil), `allow = ["submodule:`)
		if !found {
			t.Errorf("no entry is named for %s", raw)
			continue
		}
		if got := origin.submoduleText(raw, newServers([]string{strings.TrimSuffix(entry, `"]`)})); strings.Contains(got, "allow") || strings.Contains(got, "@") {
			t.Errorf("%s: with %s it says %s", raw, entry, got)
		}
	}
}

// submoduleText returns the url, with credentials, from which a submodule is fetched, or why it
// is not.
func (a *address) submoduleText(raw string, listed servers) string {
	sub, why := a.submodule(raw)
	if why == "" {
		sub, why = sub.forModule(a, listed)
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

// Anyone can write anything into .gitmodules.
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
	if want := `cannot fetch the submodule "lib": it is in a .gitmodules that is not a regular file`; err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
}

func FuzzSubmodules(f *testing.F) {
	f.Add("[submodule \"a\"]\n\tpath = a\n\turl = ../b\n")
	f.Add("[submodule \"a\"]\npath=../a\nurl=-x\n[submodule \"b\"]\npath = b/\nurl = git@x:y\n")
	f.Add("[submodule]\n[a \"\\\"]\nx = \"\\\n")
	f.Add("[submodule \"a\"]\npath=a\nurl=https://lib.example.org/x\n[submodule \"b\"]\npath = b\nurl = https://git.example.org@x:1/y\n")
	origin, err := parseAddress("https://token@git.example.org/team/app.git")
	if err != nil {
		f.Fatal(err)
	}
	listed := newServers([]string{"https://lib.example.org"})
	f.Fuzz(func(t *testing.T, content string) {
		urls, err := parseModules([]byte(content))
		if err != nil {
			return
		}
		for _, raw := range urls {
			sub, why := origin.submodule(raw)
			if why == "" {
				sub, why = sub.forModule(origin, listed)
			}
			if why != "" {
				continue
			}
			host, port := strings.ToLower(sub.url.Hostname()), sub.url.Port()
			own := host == "git.example.org"
			if sub.url.Scheme != "https" || !own && host != "lib.example.org" || port != "" && port != "443" || own != (sub.user == "token") {
				t.Errorf("%q is fetched from %v, with %q", raw, sub, sub.user)
			}
		}
	})
}
