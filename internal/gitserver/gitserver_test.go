package gitserver

import (
	"net/url"
	"strings"
	"testing"
)

func TestOf(t *testing.T) {
	for raw, want := range map[string]string{
		"https://git.example.org/team/app.git":       "https://git.example.org",
		"HTTPS://GIT.Example.ORG:443/x":              "https://git.example.org",
		"https://git.example.org:/x":                 "https://git.example.org",
		"https://user:token@git.example.org/x":       "https://git.example.org",
		"https://own.example.org@evil.example.org/x": "https://evil.example.org",
		"https://own.example.org:443@evil/x":         "https://evil",
		"https://own.example.org%2f@evil/x":          "https://evil",
		"https://git.example.org:80/x":               "https://git.example.org:80",
		"http://git.example.org:80/x":                "http://git.example.org",
		"git://git.example.org:9418/x":               "git://git.example.org",
		"ssh://git@git.example.org:22/x":             "ssh://git.example.org",
		"ssh://git@git.example.org:2222/x":           "ssh://git.example.org:2222",
		"https://127.0.0.1:8443/x":                   "https://127.0.0.1:8443",
		"https://127.1/x":                            "https://127.1",
		"https://[::1]/x":                            "https://[::1]",
		"https://[0:0::0:1]:443/x":                   "https://[::1]",
		"https://[::FFFF:127.0.0.1]/x":               "https://[::ffff:127.0.0.1]",
		"https://xn--mller-kva.example/x":            "https://xn--mller-kva.example",
		"https://a_b.example/x":                      "https://a_b.example",
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got, plain := Of(u); got != want || !plain {
			t.Errorf("%s leads to %s (plain: %v), want %s", raw, got, plain, want)
		}
	}
}

// A URL whose host not every program reads the same way leads to the same server as itself, and
// as no other URL.
func TestOfWhatIsNotPlain(t *testing.T) {
	for _, raw := range []string{
		"https://git.example.org./x", "https://.git.example.org/x", "https://git..example.org/x", "https://-git.example.org/x",
		"https://git.example.org:0443/x", "https://git.example.org:0/x", "https://git.example.org:65536/x", "https://git.example.org:65979/x",
		"https://müller.example/x", "https://m%C3%BCller.example/x", "https://\u212Bit.example.org/x", "https://\u212A.example.org/x", "https://git.example\u3002org/x",
		"https://ﬁ.example/x", "https://git\u200b.example.org/x", "https://git.example.org;evil/x", "https://git.example.org,evil/x", "https://git'example/x",
		"https://[fe80::1%25eth0]/x", "https://" + strings.Repeat("a.", 127) + "example/x", "https:///x", "https:git.example.org/x", "file:///srv", "ftp://git.example.org/x",
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if got, plain := Of(u); plain || got != u.Scheme+"://"+u.Host {
			t.Errorf("%s leads to %s (plain: %v)", raw, got, plain)
		}
		upper := *u
		upper.Host = strings.ToUpper(u.Host)
		if one, _ := Of(u); upper.Host != u.Host {
			if two, _ := Of(&upper); one == two {
				t.Errorf("%s and %s lead to the same server", raw, upper.String())
			}
		}
	}
	// Go does not accept these as hosts, whatever others do.
	for _, raw := range []string{
		`https://own.example.org\@evil/x`, `https://own.example.org\evil/x`, "https://%6fwn.example.org/x", "https://evil%00.own.example.org/x",
		"https://[own.example.org]/x", "https://own.example.org:443:80/x", "https://own.example.org :443/x", "https://::1/x", "https://own.example.org:x/x",
	} {
		if u, err := url.Parse(raw); err == nil {
			if got, plain := Of(u); plain {
				t.Errorf("%s leads to %s", raw, got)
			}
		}
	}
	// Hosts as in git's short form, which is taken apart elsewhere.
	for _, host := range []string{"own@evil", "own\\evil", "own#evil", "own?evil", "own%41"} {
		if got, plain := Of(&url.URL{Scheme: "ssh", Host: host}); plain {
			t.Errorf("%q leads to %s", host, got)
		}
	}
}

func TestParse(t *testing.T) {
	const form = "write submodule: and a server's scheme, host and port alone, such as submodule:https://lib.example.org"
	for text, want := range map[string]string{
		"https://lib.example.org":      "https://lib.example.org",
		"HTTPS://LIB.example.org:443":  "https://lib.example.org",
		"http://lib.example.org:8080":  "http://lib.example.org:8080",
		"git://lib.example.org":        "git://lib.example.org",
		"https://[0::1]:8443":          "https://[::1]:8443",
		"https://lib.example.org/":     "write submodule:https://lib.example.org",
		"https://lib.example.org/x":    "write submodule:https://lib.example.org",
		"https://u:p@lib.example.org":  "write submodule:https://lib.example.org",
		"https://@lib.example.org:444": "write submodule:https://lib.example.org:444",
		"https://lib.example.org?":     "write submodule:https://lib.example.org",
		"https://lib.example.org#":     "write submodule:https://lib.example.org",
		"ssh://git@lib.example.org":    "pgo has no key for another ssh server; " + form,
		"file:///srv/lib.git":          "submodules come from this machine only where `repository` does; " + form,
		"git@lib.example.org:x":        form,
		"/srv/lib.git":                 form,
		"lib.example.org":              form,
		"lib.example.org:443":          form,
		"":                             form,
		"https://":                     form,
		"https://*":                    form,
		"https://*.example.org":        form,
		"https://lib.example.org.":     form,
		"https://lib.example.org:0443": form,
		"https://müller.example":       form,
		"ftp://lib.example.org":        form,
	} {
		server, why := Parse(text)
		if server+why != want || (server == "") == (why == "") {
			t.Errorf("%s is %q, %q, want %q", text, server, why, want)
		}
	}
}

func TestWithoutUser(t *testing.T) {
	for text, want := range map[string]string{
		"https://u:p@lib.example.org/x@y": "https://lib.example.org/x@y",
		"https://u:p'@\"x@lib":            "https://lib",
		"submodule:https://t@lib":         "submodule:https://lib",
		"https://lib/x":                   "https://lib/x",
		"../lib@2":                        "../lib@2",
		"privileged":                      "privileged",
	} {
		if got := WithoutUser(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

// A listed server has one spelling, and is read back as it was written.
func FuzzParse(f *testing.F) {
	f.Add("https://lib.example.org:8443")
	f.Add("git://[::1%25eth0]:1")
	f.Fuzz(func(t *testing.T, text string) {
		server, why := Parse(text)
		if (server == "") == (why == "") {
			t.Fatalf("%q is %q, %q", text, server, why)
		}
		if again, _ := Parse(server); why == "" && again != server {
			t.Errorf("%q is %q, and that is %q", text, server, again)
		}
	})
}
