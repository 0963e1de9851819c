package policy

import (
	"slices"
	"strconv"
	"strings"

	"pgo/internal/lazyregexp"
	"pgo/internal/printable"
	"pgo/internal/secretword"
)

// hidden replaces a secret. In an entry of allow it stands for any secret.
const hidden = "***"

// secret is the place of a secret in a text.
type secret struct {
	begin, end int
	// plain: every reader takes all of it for the secret's value, so an entry of allow may have
	// *** there.
	plain bool
}

var (
	// namedValue is name=value, where the value may be a secret.
	namedValue = lazyregexp.New(`[A-Za-z0-9_.-]+[ \t]*=`)
	// authority is what may hold user:password@host.
	authority = lazyregexp.New(`//[^/?#\\\s,]*`)
	// login is user:password@host without a scheme.
	login = lazyregexp.New(`^[^\s/@:,=]+:[^\s/@,]+@`)
	// plainUser is a user info that no reader of URLs takes for more.
	plainUser = lazyregexp.New(`^[A-Za-z0-9._~%!$&*+=:-]+$`)
	// notPort matches a host that is followed by something other than a port.
	notPort   = lazyregexp.New(`^[^:]+:.*[^0-9]`)
	plainHost = lazyregexp.New(`^[A-Za-z0-9.:\[\]-]+$`)
	// plainInURL is a value of a URL's query.
	plainInURL = lazyregexp.New(`^[A-Za-z0-9_.~+:-]+$`)
)

// secrets finds the secrets in a text, in order: the user info of URLs, and values whose names
// say that they are secret.
func secrets(text string) []secret {
	found := append(userInfos(text), namedSecrets(text)...)
	slices.SortFunc(found, func(a, b secret) int { return a.begin - b.begin })
	var merged []secret
	for _, s := range found {
		if last := len(merged) - 1; last >= 0 && s.begin < merged[last].end {
			merged[last].end = max(merged[last].end, s.end)
			merged[last].plain = false
			continue
		}
		merged = append(merged, s)
	}
	return merged
}

// Neither finder may take a time that grows with the square of a text's length: a repository
// chooses how long it is.

func userInfos(text string) []secret {
	var found []secret
	last, quoted := strings.LastIndexByte(text, '@'), hasQuote(text)
	for _, place := range authority.FindAllStringIndex(text, -1) {
		begin := place[0] + 2
		host := text[begin:place[1]]
		at := strings.LastIndexByte(host, '@')
		switch {
		case at > 0 && strings.HasPrefix(host[at:], "@sha256:"): // the digest of an image
		case at > 0:
			plain := plainUser.MatchString(host[:at]) && plainHost.MatchString(host[at+1:]) && !quoted
			found = append(found, secret{begin, begin + at, plain})
		case last > place[1] && notPort.MatchString(host):
			return append(found, secret{begin, last, false}) // a password with a slash in it, perhaps
		}
	}
	return found
}

func namedSecrets(text string) []secret {
	var found []secret
	u := urls{text: text, scheme: strings.Index(text, "://"), equal: strings.IndexByte(text, '=')}
	lastQuote := strings.LastIndexAny(text, quotes)
	for _, place := range namedValue.FindAllStringIndex(text, -1) {
		begin := place[1]
		if last := len(found) - 1; last >= 0 && place[0] < found[last].end {
			continue // it is in a secret
		}
		name := strings.TrimRight(text[place[0]:begin-1], " \t")
		if !secretword.In(name) {
			continue
		}
		inURL := u.hold(begin)
		end := len(text)
		if i := strings.IndexAny(text[begin:], ends[inURL]); i >= 0 && lastQuote < begin {
			end = begin + i
		}
		if value := text[begin:end]; isSecret(name, value) && value != "" {
			plain := lastQuote < 0 && (inURL && plainInURL.MatchString(value) || !inURL && beginsMember(text[:place[0]]) && plainValue(value))
			found = append(found, secret{begin, end, plain})
		}
	}
	return found
}

// ends has what ends a value in a list, and in a URL. Before a quote, nothing is sure to end it.
var ends = map[bool]string{false: ",", true: ",&#;? \t\r\n"}

// urls finds the URLs in a text: the text itself is one, or an item of a list.
type urls struct {
	text          string
	scheme, equal int // the first
	seen          int
	inItem        bool // a URL begins in the item before seen
}

// hold reports whether a place is in a URL. It must be called with places in their order.
func (u *urls) hold(place int) bool {
	before := u.text[max(u.seen-2, 0):place] // it may have the end of ://
	if comma := strings.LastIndexByte(before, ','); comma >= 0 {
		u.inItem, before = false, before[comma:]
	}
	u.inItem = u.inItem || strings.Contains(before, "://")
	u.seen = place
	return u.scheme >= 0 && u.scheme < place && (u.scheme < u.equal || u.inItem)
}

// plainValue reports whether a value in a list of options is one value to every reader.
func plainValue(value string) bool {
	return !strings.Contains(value, ";") && !strings.Contains(value, "://") && !strings.ContainsFunc(value, func(r rune) bool { return !strconv.IsPrint(r) })
}

// beginsMember reports whether what follows is an option of its own in an entry of allow, and not
// a part of another's value, such as a path.
func beginsMember(before string) bool {
	before = strings.TrimSuffix(before, "o=")
	return strings.HasSuffix(before, ",") || strings.IndexByte(before, ':') == len(before)-1
}

const quotes = "\"'`\\"

func hasQuote(text string) bool { return strings.ContainsAny(text, quotes) }

// isSecret reports whether the value of that name is a secret, and not the path of one.
func isSecret(name, value string) bool {
	if !secretword.In(name) || name == "secrets" { // a list of their names
		return false
	}
	lower := strings.ToLower(name)
	file := strings.HasSuffix(lower, "file") || strings.HasSuffix(lower, "path") || strings.Contains(lower, "credential")
	return !file || !strings.HasPrefix(value, "/")
}

// mask hides the secrets of a text. plain reports whether the result can be compared with another
// text whose secrets are hidden.
func mask(text string) (masked string, plain bool) {
	var b strings.Builder
	rest := 0
	plain = true
	for _, s := range secrets(text) {
		b.WriteString(text[rest:s.begin] + hidden)
		rest = s.end
		plain = plain && s.plain
	}
	b.WriteString(text[rest:])
	return b.String(), plain
}

func masked(text string) string {
	text, _ = mask(text)
	return text
}

// loginEnd returns where the host begins in user:password@host, with its @.
func loginEnd(text string) int {
	place := login.FindStringIndex(text)
	if place == nil || strings.HasPrefix(text[place[1]:], "sha256:") { // name:tag@sha256:…
		return 0
	}
	return place[1] - 1
}

var variable = lazyregexp.New(`^[A-Za-z0-9_.-]+=`)

// maskValue returns a value of a model with its secrets hidden, for people.
func maskValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for key, e := range v {
			if text, scalar := scalarText(e); secretword.In(key) && (!scalar || isSecret(key, text)) {
				e = hidden
			}
			m[masked(key)] = maskValue(e)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			l[i] = maskValue(e)
		}
		return l
	case string:
		v = printable.Cut(v, maxText) // less is shown
		// VARIABLE=value is one value to its end.
		if name := variable.FindString(v); name != "" && isSecret(strings.TrimSuffix(name, "="), v[len(name):]) {
			return name + hidden
		}
		if end := loginEnd(v); end > 0 {
			return hidden + masked(v[end:])
		}
		return masked(v)
	}
	return v
}

// secretAt reports whether a place's key says that its value is a secret.
func (p place) secretAt(v any) bool {
	text, _ := scalarText(v)
	return !p.chosen && text != "" && isSecret(p.name, text)
}

// maskedEntries are the beginnings of the entries of allow in which *** may stand for a secret:
// options and URLs follow, and nothing that is a path or a name.
var maskedEntries = []string{
	"build.additional_contexts:", "build.cache_from:", "build.cache_to:", "build.context:", "logging.options:",
	"network.driver_opts:", "network.ipam.options:", "networks.driver_opts:", "secret.driver_opts:", "volume.driver_opts:",
}

// maskEntry returns an entry of allow with its secrets hidden, and whether that still lifts the
// refusal.
func maskEntry(at place, found any, entry string) (hiding string, plain bool) {
	text, _ := scalarText(found)
	if loginEnd(text) > 0 {
		return "", false
	}
	if at.secretAt(found) {
		if rest, found := strings.CutSuffix(entry, at.name+"="+text); found {
			return rest + at.name + "=" + hidden, !strings.Contains(at.name, "=")
		}
		if rest, found := strings.CutSuffix(entry, ":"+text); found {
			return rest + ":" + hidden, false
		}
	}
	if len(entry) > 2*maxText {
		return "", false
	}
	hiding, plain = mask(entry)
	return hiding, plain && slices.ContainsFunc(maskedEntries, func(begin string) bool { return strings.HasPrefix(entry, begin) })
}
