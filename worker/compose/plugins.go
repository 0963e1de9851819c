package compose

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"pgo/internal/atomicfile"
)

// plugin is a file that is executed, as it was when it said its version. To ask it takes as much CPU
// time as all else that the start of a worker needs.
type plugin struct {
	Inode   uint64    `json:"inode"`
	Size    int64     `json:"size"`
	Changed time.Time `json:"changed"` // which no tool can set
	Version string    `json:"version"`
}

// identify returns the file at a path, without its version.
func identify(path string) (plugin, error) {
	var info unix.Stat_t
	if err := unix.Stat(path, &info); err != nil {
		return plugin{}, err
	}
	return plugin{Inode: info.Ino, Size: info.Size, Changed: time.Unix(info.Ctim.Unix()).UTC()}, nil
}

// versionOf returns what the plugin at a path has said of its version, and asks it only if it is not
// known yet. What it says in error is not kept.
func (p *Project) versionOf(path string, ask func() (string, error)) (string, error) {
	now, err := identify(path)
	if err != nil || p.Versions == "" {
		return ask()
	}
	known := map[string]plugin{}
	if raw, err := os.ReadFile(p.Versions); err == nil {
		_ = json.Unmarshal(raw, &known) // damaged: they are asked again
	}
	if then, there := known[path]; there {
		now.Version = then.Version
		if then == now && now.Version != "" {
			return now.Version, nil
		}
	}
	if now.Version, err = ask(); err != nil {
		return "", err
	}
	for other := range known {
		if _, err := os.Stat(other); err != nil {
			delete(known, other)
		}
	}
	known[path] = now
	if raw, err := json.Marshal(known); err == nil {
		_ = atomicfile.Replace(filepath.Clean(p.Versions), raw, 0o600) // otherwise it is asked again
	}
	return now.Version, nil
}
