package caddyfile

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"pgo/internal/config"
)

// fragments make URLs that are nearly valid, which random bytes seldom are.
var fragments = []string{
	"a", "B", "a.b", ".", "-", "--", "xn--", "xn--bcher-kva", "*.", "*", "_", "1", "127.0.0.1", "1.2.3", "0x7f", "[::1]", "[::FFFF:1.2.3.4]", "localhost",
	"http://", "https://", ":", ":80", ":443", ":8080", ":08080", ":8081", ":2019", "/", "/a", "/A", "/a/b", "/ab", "/a.", "/..", "/.", "/~", "/+",
	"/%2F", "/%zz", "/%", "/a%20b", "//", "?a", "#a", " ", "\t", "\n", "{", "}", "{$HOME}", "{host}", "\"", "`", "\\", ",", "@", "(", "é", "\u212a",
}

// urls makes keys of urls: those in text, separated by carriage returns, and one for each run of
// picks.
func urls(text string, picks []byte) []string {
	const most = 5
	list := strings.Split(text, "\r")
	for run := range strings.SplitSeq(string(picks), "\xff") {
		var url strings.Builder
		for _, pick := range []byte(run) {
			url.WriteString(fragments[int(pick)%len(fragments)])
		}
		list = append(list, url.String())
	}
	return list[:min(len(list), most)]
}

// configuration returns one with these urls, those with an odd index in a second service.
func configuration(urls []string, targets string) string {
	var b strings.Builder
	for i, name := range []string{"one", "two"} {
		fmt.Fprintf(&b, "[[services]]\nname = %q\nuser = %q\nrepository = \"https://git.example.org/x.git\"\n[services.urls]\n", name, name)
		for j, url := range urls {
			if target := fmt.Sprintf("%s%d:80", name, j); j%2 == i && url != "" {
				if i == 0 && targets != "" {
					target = targets
				}
				fmt.Fprintf(&b, "%s = %s\n", quoted(url), quoted(target))
			}
		}
	}
	return b.String()
}

// quoted returns a TOML string.
func quoted(s string) string {
	var b strings.Builder
	for _, r := range s {
		fmt.Fprintf(&b, "\\U%08x", r)
	}
	return `"` + b.String() + `"`
}

// FuzzSnippet looks for urls that the configuration accepts, but that Caddy refuses or routes
// differently.
func FuzzSnippet(f *testing.F) {
	f.Add("a.example.org\rb.example.org/api\rhttp://a.example.org:8080\r*.example.org\ra.example.org/a", "web:80 web2:81", []byte(nil))
	f.Add("x.org/a\rx.org/A/\rx.org/a/b\rx.org/ab", "", []byte{0, 27, 255, 8, 0, 3, 2})
	f.Add("http://[::1]\rhttp://10.0.0.1:80\r10.0.0.1:80/a", "a_b.c-d:1", []byte(nil))
	f.Add("x.org:8080\rhttp://x.org:8080", "x:80", []byte(nil))
	f.Add("a.x.org\rhttp://*.x.org/a\r*.x.org:8080\rhttp://b.x.org/a\rb.x.org:8081", "", []byte(nil))
	f.Add("a.x.org:8081\ra.x.org:8080\r*.x.org\rhttp://b.x.org/b\rb.x.org/c", "", []byte(nil))
	for i := range fragments {
		f.Add("", "", []byte{0, byte(i), 255, 0, byte(i), 0, 255, byte(i), 0, 255, 0, byte(i), byte(i)})
		f.Add("", "", []byte{18, 0, byte(i), 255, 19, 0, byte(i), 27, 255, 8, 0, byte(i), 28})
	}
	c := startCaddy(f)
	f.Fuzz(func(t *testing.T, text, targets string, picks []byte) {
		if !utf8.ValidString(text) || !utf8.ValidString(targets) || len(text)+len(picks)+len(targets) > 300 {
			return
		}
		// All at once are seldom valid; a single one is more often.
		all := urls(text, picks)
		for _, some := range append(singles(all), all) {
			file := config.File{Path: "pgo.toml", Content: []byte(configuration(some, targets))}
			loaded, err := config.Load("", config.Options{Remote: []config.File{file}})
			if err != nil || len(loaded.Services[0].URLs)+len(loaded.Services[1].URLs) == 0 {
				continue
			}
			snippet := Render(loaded.Services, "/etc/caddy/.urls.switch.")
			c.checkRouting(t, loaded.Services, c.adaptQuickly(t, snippet))
			if t.Failed() {
				t.Logf("%q\n%s", some, snippet)
			}
		}
	})
}

func singles(all []string) (lists [][]string) {
	for _, url := range all {
		lists = append(lists, []string{url})
	}
	return lists
}
