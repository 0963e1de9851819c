package compose

import (
	"encoding/json"
	"maps"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"pgo/internal/atomicfile"
)

// known is what a service's workers remember of Docker. To find it out takes more CPU time than all
// else that the start of a worker needs.
type known struct {
	Plugins map[string]plugin `json:"plugins"` // by path
	Engine  engineFacts       `json:"engine"`
}

// plugin is a file that is executed, as it was when it said its version.
type plugin struct {
	Inode   uint64    `json:"inode"`
	Size    int64     `json:"size"`
	Changed time.Time `json:"changed"` // which no tool can set
	Version string    `json:"version"`
}

// engineFacts is what an engine has said about itself, and when that was.
type engineFacts struct {
	Host  string `json:"host"`
	Boot  string `json:"boot"` // see Engine.Boot
	API   string `json:"api"`
	Found Found  `json:"found"`
}

// remembered returns what is remembered; a file that is damaged or missing has nothing.
func (p *Project) remembered() known {
	var k known
	if raw, err := os.ReadFile(p.Remembered); err == nil && json.Unmarshal(raw, &k) != nil {
		k = known{}
	}
	return k
}

// remember changes what is remembered. Without room for it, it is found out again.
func (p *Project) remember(change func(*known)) {
	if p.Remembered == "" {
		return
	}
	k := p.remembered()
	change(&k)
	if raw, err := json.Marshal(k); err == nil {
		_ = atomicfile.Replace(p.Remembered, raw, 0o600)
	}
}

// identify returns the file at a path, without its version.
func identify(path string) (plugin, error) {
	var info unix.Stat_t
	if err := unix.Stat(path, &info); err != nil {
		return plugin{}, err
	}
	return plugin{Inode: info.Ino, Size: info.Size, Changed: time.Unix(info.Ctim.Unix()).UTC()}, nil
}

// versionOf returns the version of the plugin at a path, and asks it only if that is not known yet,
// or it is another file now.
func (p *Project) versionOf(path string, ask func() (string, error)) (string, error) {
	now, err := identify(path)
	if err != nil {
		return ask()
	}
	then := p.remembered().Plugins[path]
	now.Version = then.Version
	if then == now && now.Version != "" {
		return now.Version, nil
	}
	if now.Version, err = ask(); err != nil {
		return "", err
	}
	p.remember(func(k *known) {
		maps.DeleteFunc(k.Plugins, func(path string, _ plugin) bool {
			_, err := os.Stat(path)
			return err != nil
		})
		if k.Plugins == nil {
			k.Plugins = map[string]plugin{}
		}
		k.Plugins[path] = now
	})
	return now.Version, nil
}

// engineOf returns what the engine has said about itself in this boot of it, and asks it only if that
// is not known yet.
func (p *Project) engineOf(boot, api string, ask func() (Found, error)) (Found, error) {
	then := p.remembered().Engine
	if then.Host == p.Host && then.Boot == boot && then.API == api && then.Found.API == api {
		return then.Found, nil
	}
	found, err := ask()
	if err != nil {
		return Found{}, err
	}
	p.remember(func(k *known) { k.Engine = engineFacts{p.Host, boot, api, found} })
	return found, nil
}
