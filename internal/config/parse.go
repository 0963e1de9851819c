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
	"pgo/internal/target"
)

// Each function here takes the text of one value and returns what it means, or a mistake.
// None of them puts a text into its mistake that may be a secret.

// matching makes a parse function of a regular expression, for texts of at most max
// characters: a pattern that counts them is compiled to as many copies of itself.
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
	// Without "_", so that "<name>_" is the prefix of nobody else's names in Docker.
	parseName    = matching(`[a-z0-9]([a-z0-9-]*[a-z0-9])?`, 63, `use a to z, 0 to 9 and "-", at most 63 of them, and no "-" in front or at the end`)
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

// parseAllow takes an entry as the policy's refusals name it. One that would lift none is a
// mistake, and one that is needless is warned of later.
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
		return "", wrong("git check-ref-format --branch tells which names are", "%s is no name of a branch", quote(text))
	}
	if short, full := strings.CutPrefix(text, "refs/heads/"); full {
		return "", wrong("write "+quote(short), "%s is a reference, not a branch", quote(text))
	}
	return text, nil
}

// parseRepositoryPath takes the path of a file inside a repository.
func parseRepositoryPath(text string) (string, error) {
	path := filepath.Clean(text)
	switch {
	case strings.ContainsFunc(text, unicode.IsControl):
		return "", wrong("", "%s holds a control character", quote(text))
	case !filepath.IsLocal(path):
		return "", wrong("write a path relative to the repository's top", "%s leaves the repository", quote(text))
	case path == "." || strings.HasSuffix(text, "/"):
		return "", wrong("write the path of a file", "%s is a directory", quote(text))
	case path == ".git" || strings.HasPrefix(path, ".git/"):
		return "", wrong("", "%s belongs to git", quote(text))
	}
	return path, nil
}

func parseAbsolutePath(text string) (string, error) {
	if !filepath.IsAbs(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return "", wrong("write the whole path, from /", "%s is no absolute path", quote(text))
	}
	return filepath.Clean(text), nil
}

func parseDeploy(text string) (DeployMode, error) {
	modes := []string{string(Recreate), string(InPlace)}
	if slices.Contains(modes, text) {
		return DeployMode(text), nil
	}
	hint := `write "recreate" or "in-place"`
	if word, near := nearest.Word(text, modes); near {
		hint = "did you mean " + quote(word) + "?"
	}
	return "", wrong(hint, "%s is no way to deploy", quote(text))
}

// parseDuration takes what is sensible for any of the durations here.
func parseDuration(text string) (time.Duration, error) {
	const shortest, longest = 100 * time.Millisecond, 7 * 24 * time.Hour
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, wrong(`write a number and its unit, such as "90s", "10m" or "1h30m"`, "%s is no duration", quote(text))
	}
	if d < shortest || d > longest {
		return 0, wrong("", "%s is not between %s and %s", quote(text), shortest, "168h")
	}
	return d, nil
}

// parseReload takes a compose service and a command, with the quotes of a shell.
func parseReload(text string) (Reload, error) {
	const form = `write a compose service and a command, such as "caddy caddy reload --config /etc/caddy/Caddyfile"`
	words, err := target.SplitWords(text)
	switch {
	case err != nil:
		return Reload{}, wrong(form, "%s", err)
	case strings.ContainsFunc(text, unicode.IsControl) || len(words) < 2 || words[1] == "":
		return Reload{}, wrong(form, "%s is no command in a service", quote(text))
	case !target.ComposeService.MatchString(words[0]):
		return Reload{}, wrong(form, "%s is no name of a compose service", quote(words[0]))
	}
	return Reload{words[0], words[1:]}, nil
}

// envVar parses VAR=VALUE. Even a text without "=" may be a password.
func envVar(refs references) func(string) (EnvVar, error) {
	return func(text string) (EnvVar, error) {
		name, content, found := strings.Cut(text, "=")
		if !found || !variable.MatchString(name) {
			return EnvVar{}, wrong("begin it with a letter, and use letters, digits and _ before the =", "not of the form VAR=VALUE")
		}
		if form, half := halfReference(content); half {
			return EnvVar{}, wrong("write "+form+"; to set a text that begins so, put it into a file and refer to that",
				"the value of %s begins like a reference and is none", name)
		}
		content, err := refs.resolve(content)
		if err != nil {
			return EnvVar{}, err
		}
		if strings.Contains(content, "\x00") {
			return EnvVar{}, wrong("", "the value of %s holds a NUL, which no environment can", name)
		}
		return EnvVar{name, NewSecret(content)}, nil
	}
}

// gitKey parses the path of a private key into the key.
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
		if err != nil {
			return Secret{}, wrong("ssh-keygen -t ed25519 makes one", "%s is no private SSH key", path)
		}
		return NewSecret(key), nil
	}
}
