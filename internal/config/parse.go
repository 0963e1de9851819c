package config

import (
	"errors"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"

	"pgo/internal/nearest"
	"pgo/internal/policy"
	"pgo/internal/pubkey"
	"pgo/internal/target"
)

// Each function here takes the text of one value and returns what it means, or a mistake.
// A mistake never contains text that may be a secret.

// matching makes a parse function from a regular expression, for texts of at most max
// characters. The pattern does not limit the length: a counted repetition is compiled to as
// many copies.
func matching(pattern string, max int, hint string) func(string) (string, error) {
	valid := regexp.MustCompile(`^(?:` + pattern + `)$`)
	return func(text string) (string, error) {
		if utf8.RuneCountInString(text) > max || !valid.MatchString(text) {
			return "", wrong(hint, "%s is not valid", quote(text))
		}
		return text, nil
	}
}

var (
	// Without "_", so that no other service's names in Docker begin with "<name>_".
	parseName    = matching(`[a-z0-9]([a-z0-9-]*[a-z0-9])?`, 63, `use a to z, 0 to 9 and "-", at most 63 characters, and no "-" at the beginning or the end`)
	parseUser    = matching(`[^-\s:/,[:cntrl:]][^\s:/,[:cntrl:]]*`, 256, "write a user's name as in /etc/passwd")
	parseProfile = matching(`\*|[a-zA-Z0-9][a-zA-Z0-9_.-]*`, 128, "write a profile's name as in the compose file")
	parseNetName = matching(`[a-zA-Z0-9][a-zA-Z0-9_.-]*`, 128, "write a network's name as docker network ls shows it")
)

func parseNetwork(text string) (string, error) {
	switch text {
	case "host", "bridge", "none", "default":
		return "", wrong("name a network made with docker network create", "%s is Docker's own and never joined", quote(text))
	}
	return parseNetName(text)
}

// parseAllow takes an entry as the policy's refusals name it. An entry that lifts no refusal is
// a mistake; checkAllow warns about one that is needless.
func parseAllow(text string) (string, error) {
	entry := policy.Normal(text)
	if why, needless := policy.Complaint(entry); why != "" && !needless {
		return "", wrong("", "%s", why)
	}
	return entry, nil
}

// parseBranch follows git check-ref-format --branch.
func parseBranch(text string) (string, error) {
	refused := func(r rune) bool { return unicode.IsControl(r) || strings.ContainsRune(" ~^:?*[\\", r) }
	bad := strings.IndexFunc(text, refused) >= 0 || strings.Contains(text, "..") || strings.Contains(text, "@{") ||
		strings.HasSuffix(text, ".") || text[0] == '-' || text == "@" || text == "HEAD"
	for part := range strings.SplitSeq(text, "/") {
		bad = bad || part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock")
	}
	if bad {
		return "", wrong("check it with git check-ref-format --branch", "%s is not a branch name", quote(text))
	}
	if short, full := strings.CutPrefix(text, "refs/heads/"); full {
		return "", wrong("write "+quote(short), "%s is a reference, not a branch", quote(text))
	}
	return text, nil
}

// parseRepositoryPath takes the path of a file in a repository.
func parseRepositoryPath(text string) (string, error) {
	path := filepath.Clean(text)
	switch {
	case strings.ContainsFunc(text, unicode.IsControl):
		return "", wrong("", "%s contains a control character", quote(text))
	case !filepath.IsLocal(path):
		return "", wrong("write a path relative to the root of the repository", "%s is outside the repository", quote(text))
	case path == "." || strings.HasSuffix(text, "/"):
		return "", wrong("write the path of a file", "%s is a directory", quote(text))
	case path == ".git" || strings.HasPrefix(path, ".git/"):
		return "", wrong("", "%s belongs to git", quote(text))
	}
	return path, nil
}

func parseAbsolutePath(text string) (string, error) {
	if !filepath.IsAbs(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return "", wrong("write the whole path, from /", "%s is not an absolute path", quote(text))
	}
	return filepath.Clean(text), nil
}

func parseDeploy(text string) (DeployMode, error) {
	modes := []string{string(Recreate), string(InPlace), string(StartFirst)}
	if slices.Contains(modes, text) {
		return DeployMode(text), nil
	}
	hint := `write "recreate", "in-place" or "start-first"`
	if word, near := nearest.Word(text, modes); near {
		hint = "did you mean " + quote(word) + "?"
	}
	return "", wrong(hint, "%s is not a way to deploy", quote(text))
}

// parseDuration takes durations within bounds that suit every key.
func parseDuration(text string) (time.Duration, error) {
	const shortest, longest = 100 * time.Millisecond, 7 * 24 * time.Hour
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, wrong(`write a number and its unit, such as "90s", "10m" or "1h30m"`, "%s is not a duration", quote(text))
	}
	if d < shortest || d > longest {
		return 0, wrong("", "%s is not between %s and %s", quote(text), shortest, "168h")
	}
	return d, nil
}

// upstreamReload matches upstream's form, an operation of pgoctl. The name in it is also the
// compose service's, which does not follow after exec.
var upstreamReload = regexp.MustCompile(`^[^:\s]*:([^/\s]+)//exec\s+(\S.*)$`)

// parseReload takes a compose service and a command, quoted as in a shell.
func parseReload(text string) (Reload, error) {
	if m := upstreamReload.FindStringSubmatch(text); m != nil {
		text = m[1] + " " + m[2]
	}
	const form = `write a compose service and a command, such as "caddy caddy reload --config /etc/caddy/Caddyfile"`
	words, err := target.SplitWords(text)
	switch {
	case err != nil:
		return Reload{}, wrong(form, "%s", err)
	case strings.ContainsFunc(text, unicode.IsControl) || len(words) < 2 || words[1] == "":
		return Reload{}, wrong(form, "%s is not a compose service and a command", quote(text))
	case !target.ComposeService.MatchString(words[0]):
		return Reload{}, wrong(form, "%s is not the name of a compose service", quote(words[0]))
	}
	return Reload{words[0], words[1:]}, nil
}

// envVar parses VAR=VALUE. Even text without "=" may be a password.
func envVar(refs references) func(string) (EnvVar, error) {
	return func(text string) (EnvVar, error) {
		name, content, found := strings.Cut(text, "=")
		if !found || !variable.MatchString(name) {
			return EnvVar{}, wrong("begin it with a letter, and use letters, digits and _ before the =", "not of the form VAR=VALUE")
		}
		if form, half := halfReference(content); half {
			return EnvVar{}, wrong("write "+form+"; to set a text that begins like this, put it in a file and refer to the file",
				"the value of %s begins like a reference but is not one", name)
		}
		content, err := refs.resolve(content)
		if err != nil {
			return EnvVar{}, err
		}
		if strings.Contains(content, "\x00") {
			return EnvVar{}, wrong("", "the value of %s contains a NUL, which an environment variable cannot", name)
		}
		return EnvVar{name, NewSecret(content)}, nil
	}
}

// gitKey reads the private key at the path that it parses.
func gitKey(refs references) func(string) (Secret, error) {
	return func(text string) (Secret, error) {
		path, err := parseAbsolutePath(text)
		if err != nil {
			return Secret{}, err
		}
		key, err := refs.file(path)
		if err != nil {
			return Secret{}, err
		}
		_, err = ssh.ParsePrivateKey([]byte(key)) // as the worker does
		if missing := (*ssh.PassphraseMissingError)(nil); errors.As(err, &missing) {
			return Secret{}, wrong("ssh-keygen -p -f "+path+" removes it", "%s is protected by a passphrase", path)
		}
		if pubkey.IsPuTTYs(key) {
			return Secret{}, wrong(pubkey.ConvertPuTTYs, "%s is a private key of PuTTY", path)
		}
		if err != nil {
			return Secret{}, wrong("ssh-keygen -t ed25519 creates one", "%s is not a private SSH key", path)
		}
		return NewSecret(key), nil
	}
}
