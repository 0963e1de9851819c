package config

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"pgo/internal/nearest"
	"pgo/internal/tomllines"
)

// A value is what a file has in one place.
type value struct {
	raw     any    // as the toml package decodes it; nil: there is nothing
	path    string // services[2].ports[0]
	line    int
	service string // quoted name of the service that it belongs to; empty: none
	refs    references
	file    *file
}

// file is a source that is being read.
type file struct {
	source
	lines     map[string]int
	reader    *reader
	disclosed bool // there has been a warning
}

// key is the place of a table's key, whether or not the key is set.
func (v value) key(name string) value {
	table, _ := v.raw.(map[string]any)
	return v.at(tomllines.Member(v.path, name), table[name])
}

// element is the place of a list's i'th element.
func (v value) element(i int) value {
	var raw any
	if list, _ := v.list(); i < len(list) {
		raw = list[i]
	}
	return v.at(tomllines.Element(v.path, i), raw)
}

// at is a place within v. A place without a line of its own has its parent's.
func (v value) at(path string, raw any) value {
	v.path, v.raw = path, raw
	if line, known := v.file.lines[path]; known {
		v.line = line
	}
	return v
}

// list returns a list's elements; the toml package has two types for lists.
func (v value) list() ([]any, bool) {
	tables, ok := v.raw.([]map[string]any)
	if !ok {
		list, ok := v.raw.([]any)
		return list, ok
	}
	list := make([]any, len(tables))
	for i, table := range tables {
		list[i] = table
	}
	return list, true
}

// name is the path as it is shown: services[2] "web": ports[0].
func (v value) name() string {
	if v.service == "" {
		return v.path
	}
	index, key, _ := strings.Cut(v.path, "]")
	if key == "" {
		return index + "] " + v.service
	}
	return index + "] " + v.service + ": " + strings.TrimPrefix(key, ".")
}

func (v value) problem(err error) Problem {
	p := problemOf(v.file.path, v.line, err)
	p.Key = v.name()
	return p
}

func (v value) complain(err error) {
	r := v.file.reader
	switch {
	case errors.Is(err, errElsewhere), r.full():
	case len(r.problems) == maxProblems:
		r.problems = append(r.problems, v.problem(wrong("", "and more mistakes; those after the first %d are not listed", maxProblems)))
	default:
		r.problems = append(r.problems, v.problem(err))
	}
}

// full reports whether another mistake would not be listed.
func (r *reader) full() bool { return len(r.problems) > maxProblems }

func (v value) warn(err error) {
	r := v.file.reader
	switch {
	case len(r.warnings) > maxProblems:
	case len(r.warnings) == maxProblems:
		r.warnings = append(r.warnings, v.problem(wrong("", "and more warnings; those after the first %d are not listed", maxProblems)))
	default:
		r.warnings = append(r.warnings, v.problem(err))
	}
}

// disclose warns, once for each file, about a secret in a file that others can read.
func (v value) disclose() {
	text, _ := v.raw.(string)
	if _, _, ok := reference(text); ok || !v.file.public || v.file.disclosed {
		return
	}
	v.file.disclosed = true
	if v.file.remote {
		v.warn(wrong("write file:/path and keep it there, on the host", "a secret, and anyone who can read the repository of this file can read it"))
		return
	}
	v.warn(wrong("chmod 600 "+v.file.path+", or write file:/path and keep it there",
		"a secret, and other users can read this file"))
}

// isNot complains that a value does not have the wanted type.
func (v value) isNot(wanted string) {
	found, hint := "something else", ""
	switch v.raw.(type) {
	case string:
		found = "a string"
		if wanted == aBoolean {
			hint = "leave out the quotes"
		} else if wanted == aList {
			hint = "put it in brackets"
		}
	case bool:
		found = "a boolean"
	case int64, float64:
		found = "a number"
		if wanted == aString {
			hint = "put it in quotes"
		}
	case time.Time:
		found = "a date"
	case []any, []map[string]any:
		found = "a list"
	case map[string]any:
		found = "a table"
	}
	v.complain(wrong(hint, "expected %s, found %s", wanted, found))
}

// The types that isNot may want.
const (
	aString  = "a string"
	aBoolean = "a boolean"
	aList    = "a list of strings"
	aTable   = "a table"
)

// read applies parse to a string.
func read[T any](v value, parse func(string) (T, error)) (none T) {
	text, ok := v.raw.(string)
	if !ok {
		v.isNot(aString)
		return none
	}
	if text == "" {
		v.complain(wrong("leave it out", "empty"))
		return none
	}
	parsed, err := parse(text)
	if err != nil {
		v.complain(err)
		return none
	}
	return parsed
}

// readList reads a list of strings. It returns a zero value for a wrong element, so that the
// others keep their indexes.
func readList[T any](v value, parse func(string) (T, error)) []T {
	list, ok := v.list()
	if !ok {
		v.isNot(aList)
	}
	if len(list) > maxEntries {
		v.complain(wrong("", "more than %d entries", maxEntries))
		return nil
	}
	if len(list) == 0 {
		return nil
	}
	parsed := make([]T, len(list))
	for i := range list {
		parsed[i] = read(v.element(i), parse)
	}
	return parsed
}

func readBool(v value) bool {
	b, ok := v.raw.(bool)
	if !ok {
		v.isNot(aBoolean)
	}
	return b
}

// A key is one of the keys that a table may have.
type key[T any] struct {
	name     string
	required string // what to write; empty: it may be left out
	read     func(into *T, v value)
}

// readTable reads a table that may have these keys. The section is the table's prefix in
// unsupported.
func readTable[T any](v value, section string, keys []key[T], into *T) {
	table, ok := v.raw.(map[string]any)
	if !ok {
		v.isNot(aTable)
		return
	}
	known := make([]string, len(keys))
	for i, key := range keys {
		known[i] = key.name
		if _, set := table[key.name]; !set {
			if key.required != "" {
				v.complain(wrong("write "+key.required, "%s is missing", key.name))
			}
			continue
		}
		at := v.key(key.name)
		if at.raw == "" && key.required != "" {
			at.complain(wrong("write "+key.required, "empty"))
			continue
		}
		key.read(into, at)
		if asks, ok := unsupported[section+key.name]; ok && asks(at.raw) {
			at.complain(errUnsupported)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(table)) {
		if slices.Contains(known, name) {
			continue
		}
		if now, ok := replaced[section+name]; ok {
			v.key(name).complain(now)
			continue
		}
		hint := ""
		if word, near := nearest.Word(strings.ToLower(name), known); near {
			hint = "did you mean " + quote(word) + "?"
		}
		v.key(name).complain(wrong(hint, "unknown key"))
	}
}
