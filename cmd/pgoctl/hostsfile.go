package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"pgo/internal/nearest"
	"pgo/internal/printable"
	"pgo/internal/target"
	"pgo/internal/tomllines"
)

// hostsFile is a user's hosts.toml.
type hostsFile struct {
	path     string
	defaults hostEntry
	hosts    map[string]hostEntry
	groups   map[string][]string
}

// hostEntry is what it says about one host, or about all. What it does not say is empty.
type hostEntry struct {
	host        string
	port        uint16
	login       string
	identities  []string
	fingerprint string
	knownHosts  string
	services    []string
}

// names returns every name that can be typed for a host.
func (f *hostsFile) names() []string {
	return slices.Concat(slices.Sorted(maps.Keys(f.hosts)), slices.Sorted(maps.Keys(f.groups)))
}

// or returns the entry, completed by another one.
func (e hostEntry) or(other hostEntry) hostEntry {
	if e.port == 0 {
		e.port = other.port
	}
	if e.login == "" {
		e.login = other.login
	}
	if e.identities == nil {
		e.identities = other.identities
	}
	if e.knownHosts == "" {
		e.knownHosts = other.knownHosts
	}
	return e
}

// readHostsFile reads the user's hosts.toml, if there is one.
func (c *client) readHostsFile() (*hostsFile, error) {
	path := filepath.Join(c.configDir(), "hosts.toml")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &hostsFile{path: path}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the file of hosts: %w", err)
	}
	return parseHostsFile(path, string(text), c.env("HOME"))
}

// hostsReader gathers what the file says and everything that is wrong with it.
type hostsReader struct {
	file     *hostsFile
	home     string
	lines    map[string]int
	problems []hostsProblem
}

type hostsProblem struct {
	line int
	text string
}

func parseHostsFile(path, text, home string) (*hostsFile, error) {
	root, lines, mistake := tomllines.Decode(text, func(name string) bool {
		return name == "defaults" || name == "hosts" || name == "groups" || slices.ContainsFunc(hostKeys, func(k hostKey) bool { return k.name == name })
	})
	if mistake != nil {
		return nil, target.Usagef("%s:%s", path, mistake)
	}
	r := &hostsReader{
		file:  &hostsFile{path: path, hosts: map[string]hostEntry{}, groups: map[string][]string{}},
		home:  home,
		lines: lines,
	}
	r.root(root)
	if len(r.problems) == 0 {
		return r.file, nil
	}
	slices.SortStableFunc(r.problems, func(a, b hostsProblem) int { return a.line - b.line })
	var all []string
	for _, p := range r.problems {
		all = append(all, fmt.Sprintf("%s:%d: %s", path, p.line, printable.Line(p.text)))
	}
	return nil, target.Usagef("%s", strings.Join(all, "\n"))
}

func (r *hostsReader) complain(path string, format string, args ...any) {
	r.problems = append(r.problems, hostsProblem{r.lines[path], path + ": " + fmt.Sprintf(format, args...)})
}

// table returns the keys of a table, in a fixed order. Anything else has no keys.
func (r *hostsReader) table(path string, raw any) (map[string]any, []string) {
	table, ok := raw.(map[string]any)
	if !ok {
		r.complain(path, "this must be a table: write [%s]", path)
	}
	return table, slices.Sorted(maps.Keys(table))
}

func (r *hostsReader) unknown(path, key string, known []string) {
	hint := "the keys are " + strings.Join(known, ", ")
	if near, ok := nearest.Word(key, known); ok {
		hint = "did you mean " + near + "?"
	}
	r.complain(path, "there is no such key; %s", hint)
}

func (r *hostsReader) root(root map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(root)) {
		switch path := tomllines.Member("", key); key {
		case "defaults":
			r.file.defaults = r.entry(path, root[key], false)
		case "hosts":
			r.hosts(path, root[key])
		case "groups": // which are checked against the hosts
		default:
			r.unknown(path, key, []string{"defaults", "hosts", "groups"})
		}
	}
	if groups, ok := root["groups"]; ok {
		r.groups("groups", groups)
	}
}

func (r *hostsReader) hosts(path string, raw any) {
	table, names := r.table(path, raw)
	for _, name := range names {
		path := tomllines.Member(path, name)
		r.checkName(path, name)
		entry := r.entry(path, table[name], true)
		if entry.host == "" {
			entry.host = name
		}
		r.file.hosts[name] = entry
	}
}

// checkName checks that the name can be typed in a target.
func (r *hostsReader) checkName(path, name string) {
	if strings.HasPrefix(name, "[") || target.CheckHost(name) != nil {
		r.complain(path, "this name cannot be typed in a target: letters, digits, dots, dashes and underscores")
	}
}

func (r *hostsReader) groups(path string, raw any) {
	table, names := r.table(path, raw)
	for _, name := range names {
		path := tomllines.Member(path, name)
		r.checkName(path, name)
		if _, ok := r.file.hosts[name]; ok {
			r.complain(path, "a host has this name already")
		}
		members, err := parseTexts(table[name])
		if err == nil && len(members) == 0 {
			err = errors.New("a group is a list of hosts")
		}
		if err != nil {
			r.complain(path, "%v", err)
			continue
		}
		for i, member := range members {
			path := tomllines.Element(path, i)
			if _, ok := table[member]; ok {
				r.complain(path, "%q is a group: a group is a list of hosts", member)
			} else if err := checkAddress(member); err != nil {
				r.complain(path, "%v", err)
			}
			members[i] = strings.Trim(member, "[]")
		}
		r.file.groups[name] = members
	}
}

// entry reads what the file says about one host, or about all.
func (r *hostsReader) entry(path string, raw any, one bool) hostEntry {
	var known []string
	for _, k := range hostKeys {
		if one || !k.one {
			known = append(known, k.name)
		}
	}
	var entry hostEntry
	table, keys := r.table(path, raw)
	for _, key := range keys {
		path := tomllines.Member(path, key)
		i := slices.IndexFunc(hostKeys, func(k hostKey) bool { return k.name == key })
		if i < 0 {
			r.unknown(path, key, known)
			continue
		}
		if !slices.Contains(known, key) {
			r.complain(path, "this is for one host: write it below [hosts.NAME]")
			continue
		}
		if err := hostKeys[i].read(r, &entry, table[key]); err != nil {
			r.complain(path, "%v", err)
		}
	}
	return entry
}

// hostKey is a key of a host's table.
type hostKey struct {
	name string
	one  bool // it is about one host, and not a default
	read func(*hostsReader, *hostEntry, any) error
}

var hostKeys = []hostKey{
	{"host", true, func(_ *hostsReader, e *hostEntry, raw any) (err error) {
		if e.host, err = parseText(raw); err == nil {
			err = checkAddress(e.host)
		}
		e.host = strings.Trim(e.host, "[]")
		return err
	}},
	{"port", false, func(_ *hostsReader, e *hostEntry, raw any) error {
		number, ok := raw.(int64)
		if !ok || number < 1 || number > 65535 {
			return errors.New("a port is a number from 1 to 65535")
		}
		e.port = uint16(number)
		return nil
	}},
	{"login", false, func(_ *hostsReader, e *hostEntry, raw any) (err error) {
		if e.login, err = parseText(raw); err == nil && strings.ContainsFunc(e.login, unicode.IsControl) {
			err = errors.New("a login name has no control characters")
		}
		return err
	}},
	{"identity", false, func(r *hostsReader, e *hostEntry, raw any) (err error) {
		if e.identities, err = parseTexts(raw); err != nil {
			return err
		}
		for i, path := range e.identities {
			if e.identities[i], err = r.expand(path); err != nil {
				return err
			}
		}
		return nil
	}},
	{"fingerprint", true, func(_ *hostsReader, e *hostEntry, raw any) (err error) {
		if e.fingerprint, err = parseText(raw); err == nil {
			err = checkFingerprint(e.fingerprint)
		}
		return err
	}},
	{"known-hosts", false, func(r *hostsReader, e *hostEntry, raw any) error {
		path, err := parseText(raw)
		if err == nil {
			e.knownHosts, err = r.expand(path)
		}
		return err
	}},
	{"services", true, func(_ *hostsReader, e *hostEntry, raw any) (err error) {
		e.services, err = parseTexts(raw)
		for _, name := range e.services {
			if !target.IsService(name) {
				return fmt.Errorf("%q is not the name of a service: lower-case letters, digits and dashes, at most 63 of them", printable.Cut(name, 64))
			}
		}
		return err
	}},
}

// expand returns the path of a file.
func (r *hostsReader) expand(path string) (string, error) {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(r.home, rest), nil
	}
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("%q is a relative path: begin with / or ~/", printable.Cut(path, 64))
	}
	return path, nil
}

func parseText(raw any) (string, error) {
	if s, ok := raw.(string); ok && s != "" {
		return s, nil
	}
	return "", errors.New("this must be a text in quotes")
}

// parseTexts reads a text, or a list of them.
func parseTexts(raw any) ([]string, error) {
	list, ok := raw.([]any)
	if !ok {
		s, err := parseText(raw)
		if err != nil {
			return nil, errors.New(`this must be a text in quotes, or a list of them: ["a", "b"]`)
		}
		return []string{s}, nil
	}
	var all []string
	for _, element := range list {
		s, err := parseText(element)
		if err != nil {
			return nil, errors.New(`this must be a list of texts: ["a", "b"]`)
		}
		all = append(all, s)
	}
	return all, nil
}

// checkAddress accepts the name of a host or its address, an IPv6 one with or without brackets.
func checkAddress(host string) error {
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	return target.CheckHost(host)
}
