package gitrepo

import (
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
	"unicode"

	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"

	"pgo/internal/gitserver"
)

// maxModulesFile bounds .gitmodules: a hundred submodules take a fifth of it.
const maxModulesFile = 64 << 10

// link is a submodule in a commit: a commit of another repository.
type link struct {
	path   string
	commit Hash
	url    string // as in .gitmodules
	why    string // what is wrong with .gitmodules; empty: nothing
}

// readLinks returns a commit's own submodules, sorted by path.
func readLinks(store objectStore, hash Hash) ([]link, error) {
	t, err := readTree(store.alone(), hash)
	if err != nil {
		return nil, err
	}
	var links []link
	for _, name := range slices.Sorted(maps.Keys(t)) {
		if e := t[name]; e.mode == filemode.Submodule {
			links = append(links, link{path: name, commit: e.hash})
		}
	}
	file, ok := t[".gitmodules"]
	if len(links) == 0 || !ok {
		return links, nil
	}
	urls, why, err := readModules(store, file)
	if err != nil {
		return nil, unreadable(hash, err)
	}
	for i := range links {
		links[i].url, links[i].why = urls[links[i].path], why
	}
	return links, nil
}

// readModules returns what is in .gitmodules, or why it does not count.
func readModules(store objectStore, file entry) (urls map[string]string, why string, err error) {
	if file.mode != filemode.Regular && file.mode != filemode.Executable {
		return nil, "is in a .gitmodules that is not a regular file", nil
	}
	size, err := store.EncodedObjectSize(plumbing.Hash(file.hash))
	if err != nil {
		return nil, "", err
	}
	if size > maxModulesFile {
		return nil, "is in a .gitmodules of more than 64 KiB", nil
	}
	content, err := readBlob(store, file.hash)
	if err != nil {
		return nil, "", err
	}
	if urls, err = parseModules(content); err != nil {
		return nil, "is in a .gitmodules that cannot be read: " + oneLine(err.Error()), nil
	}
	return urls, "", nil
}

// parseModules returns the urls in a .gitmodules file by path.
func parseModules(content []byte) (urls map[string]string, err error) {
	defer func() {
		// Anybody can write this file, and the parser was made for trusted ones.
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	m := config.NewModules()
	if err := m.Unmarshal(content); err != nil {
		return nil, err
	}
	urls = map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(m.Submodules)) {
		s := m.Submodules[name]
		urls[path.Clean(s.Path)] = s.URL
	}
	return urls, nil
}

// submodule returns the address of a submodule of the repository at a, given its url in
// .gitmodules. For a refused one it returns what is wrong with it.
func (a *address) submodule(raw string) (_ *address, why string) {
	if raw == "" {
		return nil, "has no url in .gitmodules; commit one"
	}
	refuse := func(why string) (*address, string) {
		return nil, fmt.Sprintf("has the url %s, %s", shownURL(raw), why)
	}
	if strings.ContainsFunc(raw, unicode.IsControl) {
		return refuse("with characters that a url cannot contain; correct it in .gitmodules")
	}
	sub, err := a.resolve(raw)
	if err != nil {
		return refuse(err.Error() + "; correct it in .gitmodules")
	}
	switch {
	case sub.url.Scheme == "file" && a.url.Scheme != "file":
		return refuse("which is on this machine, while `repository` is not; put it on a server")
	case sub.url.Scheme != "file" && sub.url.Hostname() == "":
		return refuse("which has no host; correct it in .gitmodules")
	case strings.HasPrefix(sub.repositoryPath(), "-"),
		strings.ContainsFunc(sub.url.Path, unicode.IsControl),
		slices.Contains(strings.Split(sub.url.Path, "/"), ".."):
		return refuse("whose path pgo does not send to a server; correct it in .gitmodules")
	}
	return sub, ""
}

// shownURL makes a url that somebody committed fit to be shown. It removes a user before it cuts
// the text: what is left of one would no longer look like it.
func shownURL(raw string) string {
	clean := strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return -1
		}
		return c
	}, raw)
	return fmt.Sprintf("%q", oneLine(gitserver.WithoutUser(clean)))
}

// resolve reads a url, which may be relative, as git does.
func (a *address) resolve(raw string) (*address, error) {
	if strings.HasPrefix(raw, "./") || strings.HasPrefix(raw, "../") {
		return a.relative(raw)
	}
	if strings.HasPrefix(raw, "/") {
		return &address{url: url.URL{Scheme: "file", Path: raw}}, nil
	}
	sub, err := parseAddress(raw)
	if err != nil {
		return nil, fmt.Errorf("which is not understood")
	}
	switch sub.url.Scheme {
	case "https", "http", "ssh", "git", "file":
		return sub, nil
	}
	return nil, fmt.Errorf("which does not begin with https, http, ssh, git or ../")
}

// relative resolves a url that begins with ./ or ../ against this one, which it treats as a
// directory. It works on the encoded text, as git does.
func (a *address) relative(raw string) (*address, error) {
	base, short := a.shortPath()
	if !short {
		base = a.url.EscapedPath()
	}
	base = strings.TrimRight(base, "/")
	rest := strings.TrimRight(raw, "/")
	for {
		if up, ok := strings.CutPrefix(rest+"/", "../"); ok {
			if base == "" {
				return nil, fmt.Errorf("which leads above the top of its server")
			}
			base = base[:max(strings.LastIndexByte(base, '/'), 0)]
			rest = strings.TrimSuffix(up, "/")
		} else if here, ok := strings.CutPrefix(rest, "./"); ok {
			rest = here
		} else {
			break
		}
	}
	sub := *a
	if short {
		sub.url.Path = homePath + strings.TrimPrefix(base+"/"+rest, "/")
		return &sub, nil
	}
	full := strings.TrimRight(base+"/"+rest, "/")
	decoded, err := url.PathUnescape(full)
	if err != nil {
		return nil, fmt.Errorf("which is not understood")
	}
	sub.url.Path, sub.url.RawPath = decoded, full
	return &sub, nil
}

// sameServer reports whether the credentials of one address may be sent to the other.
func (a *address) sameServer(b *address) bool {
	mine, _ := gitserver.Of(&a.url)
	theirs, _ := gitserver.Of(&b.url)
	return mine == theirs
}

// servers are those from which submodules may come besides the repository's own.
type servers map[string]bool

func newServers(listed []string) servers {
	all := servers{}
	for _, text := range listed {
		if server, why := gitserver.Parse(text); why == "" {
			all[server] = true
		}
	}
	return all
}

func (s servers) have(a *address) bool {
	server, plain := gitserver.Of(&a.url)
	return plain && s[server]
}

// forModule returns the address with the credentials for it, if a submodule of the repository at
// origin may be fetched from there, and otherwise why not. Whoever can commit must not choose
// what this host connects to.
func (a *address) forModule(origin *address, listed servers) (_ *address, why string) {
	sub := *a
	switch {
	case a.sameServer(origin):
		if a.url.Scheme != "ssh" { // there the user is a login
			sub.user, sub.password = origin.user, origin.password
		}
		return &sub, ""
	case listed.have(a):
		sub.user, sub.password = "", ""
		return &sub, ""
	}
	shown := oneLine(a.String())
	if a.url.Scheme == "ssh" {
		why = fmt.Sprintf("has the url %q, for which pgo has no key: it uses that of `repository` only for the same server; %s", shown, toOwnServer)
		https := url.URL{Scheme: "https", Host: strings.TrimSuffix(a.url.Host, ":"+a.url.Port())}
		if server, plain := gitserver.Of(&https); plain {
			why += ", or write it with https, and " + entryFor(server)
		}
		return nil, why
	}
	why = fmt.Sprintf("has the url %q, which is on a different server than the repository; %s", shown, toOwnServer)
	if server, plain := gitserver.Of(&a.url); plain {
		return nil, why + ", or " + entryFor(server)
	}
	return nil, why + "; no entry of `allow` can name that server as it is written here"
}

// toOwnServer is what the author of a commit can do about a submodule on another server.
const toOwnServer = "put it on the repository's own server and write the url relative, as in ../lib.git"

// entryFor says who can allow submodules from a server, and how.
func entryFor(server string) string {
	return fmt.Sprintf("an operator can allow = [%q]", gitserver.Entry+server)
}
