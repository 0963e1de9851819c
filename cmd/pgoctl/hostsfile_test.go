package main

import (
	"errors"
	"strings"
	"testing"

	"pgo/internal/target"
)

// Any file is understood, or each mistake is reported with its line.
func FuzzHostsFile(f *testing.F) {
	f.Add("[defaults]\nport = 1\n[hosts.a]\nhost = '[::1]'\nidentity = ['~/x', '/y']\n[groups]\ng = ['a', '::1']")
	f.Add("hosts = [1]\n[groups.x]\ny = {}")
	f.Add("[hosts.'a.b']\nservices = ['x']\n'\\u001b' = 1")
	f.Add("a = ")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4<<10 || strings.Count(text, "{")+strings.Count(text, ".") > 200 {
			return // nested tables could cost the toml package gigabytes
		}
		file, err := parseHostsFile("hosts.toml", text, "/home/a")
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !errors.As(err, new(*target.UsageError)) || !strings.HasPrefix(line, "hosts.toml:") || strings.HasPrefix(line, "hosts.toml:0") || strings.ContainsRune(line, 0x1b) {
					t.Errorf("%q: %q", text, line)
				}
			}
			return
		}
		for _, name := range file.names() {
			if _, err := target.ParseTarget([]string{name + ":a//ps"}); err != nil {
				t.Errorf("%q names a host that cannot be typed: %v", text, err)
			}
		}
	})
}
