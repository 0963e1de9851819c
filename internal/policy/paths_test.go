package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// tree has a host's symlinks; a path with the target "?" must not be read.
type tree map[string]string

func (t tree) Readlink(path string) (string, error) {
	target := t[path]
	if target == "?" {
		return "", &fs.PathError{Op: "readlink", Path: path, Err: fs.ErrPermission}
	}
	return target, nil
}

// home is a service's place on a host.
var home = Limits{
	Service:   "pgo",
	Checkout:  "/var/lib/pgo/services/pgo/checkout",
	Stage:     "/var/lib/pgo/services/pgo/stage",
	Forbidden: []string{"/var/lib/pgo", "/run/pgo"},
}

// bind is a model of one compose service with these bind mounts. Relative paths are in dir. One
// that ends in :rw is writable.
func bind(dir string, paths ...string) map[string]any {
	var volumes []any
	for _, path := range paths {
		path, writable := strings.CutSuffix(path, ":rw")
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		volumes = append(volumes, map[string]any{"type": "bind", "source": path, "target": "/x", "read_only": !writable})
	}
	return map[string]any{"services": map[string]any{"web": map[string]any{"volumes": volumes}}}
}

// host is a tree in which these paths exist.
type host struct {
	tree
	there map[string]fs.FileMode
}

func (h host) Kind(path string) (fs.FileMode, bool, error) {
	kind, there := h.there[path]
	return kind, there, nil
}

// With z or Z the engine gives the host's file a label with which programs of the host may no longer
// read it, also for a mount that is read-only.
func TestTimeZoneLabelled(t *testing.T) {
	disk := tree{"/etc/localtime": "/usr/share/zoneinfo/UTC"}
	for _, label := range []string{"z", "Z"} {
		model := bind(home.Stage, "/etc/localtime", "/etc/timezone:rw", "data")
		for _, v := range list(object(object(model["services"])["web"])["volumes"]) {
			object(v)["bind"] = map[string]any{"selinux": label}
		}
		var got []string
		for _, r := range Check(home, model, disk) {
			got = append(got, r.String())
		}
		want := []string{
			`services.web.volumes[0].source: /etc/localtime is refused: it leads to /usr/share/zoneinfo/UTC, which is not in the repository; read-only it is allowed, without z and Z (allow = ["bind:/etc/localtime"])`,
			`services.web.volumes[1].source: /etc/timezone is refused: it is not in the repository; read-only it is allowed, without z and Z (allow = ["bind:/etc/timezone"])`,
		}
		if !slices.Equal(got, want) {
			t.Errorf("with %s:\n%s", label, strings.Join(got, "\n"))
		}
	}
}

func TestExists(t *testing.T) {
	disk := host{
		tree{home.Checkout + "/link": "by-hand/x", home.Checkout + "/dangling": "gone", "/srv/hidden": "?", home.Checkout + "/loop": "loop"},
		map[string]fs.FileMode{home.Checkout + "/by-hand/x": 0, "/srv/x": 0},
	}
	for path, want := range map[string]bool{
		home.Stage + "/by-hand/x": true, home.Stage + "/link": true, home.Stage + "/gone": false, home.Stage + "/dangling": false,
		"/srv/x": true, "/srv/y": false, "/srv/hidden/x": true, home.Stage + "/loop": true,
	} {
		if got := Exists(home, path, disk); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}

// The engine would make a directory of a time zone that is not there.
func TestNoTimeZone(t *testing.T) {
	disk := host{tree{"/etc/localtime": "/usr/share/zoneinfo/UTC"}, map[string]fs.FileMode{"/usr/share/zoneinfo/UTC": 0}}
	refusals := Check(home, bind(home.Stage, "/etc/localtime", "/etc/timezone"), disk)
	if len(refusals) != 1 || refusals[0].Found != "/etc/timezone" {
		t.Errorf("%v", refusals)
	}
}

// What compose may read while it resolves is what the policy lets a container have.
func TestReadable(t *testing.T) {
	disk := tree{"/srv/link.env": "/etc/shadow", "/srv/hidden": "?", "/var/run": "/run"}
	for _, test := range []struct {
		path, allow string
		root        bool
		end, entry  string
	}{
		{path: "/etc/app.env", entry: "bind:/etc/app.env"},
		{path: "/etc/app.env", allow: "bind:/etc/app.env", end: "/etc/app.env"},
		{path: "/etc/app/x.env", allow: "bind:/etc/app", end: "/etc/app/x.env"},
		{path: "/etc/apps.env", allow: "bind:/etc/app", entry: "bind:/etc/apps.env"},
		{path: "/srv/link.env", allow: "bind:/srv", entry: "bind:/etc/shadow"},
		{path: "/srv/hidden/x.env", allow: "bind:/srv"},
		{path: "/var/lib/pgo/services/shop/docker/config.json", allow: "bind:/var/lib/pgo/services/shop/docker/config.json"},
		{path: "/proc/self/environ", allow: "bind:/proc/self/environ"},
		{path: "/etc/app.env", root: true, end: "/etc/app.env"},
	} {
		limits := home
		limits.Allow, limits.Root = []string{test.allow}, test.root
		if end, entry := Readable(limits, test.path, disk); end != test.end || entry != test.entry {
			t.Errorf("%s with %s: %q %q", test.path, test.allow, end, entry)
		}
	}
}

func TestSources(t *testing.T) {
	for _, test := range []struct {
		name  string
		allow []string
		disk  tree
		paths []string
		want  []string // of each refusal: path, why, entry
	}{
		{name: "inside", paths: []string{".", "conf", "conf/not/there"}},
		{name: "links that stay inside", disk: tree{"a": "b/c", "b": "conf"}, paths: []string{"a", "a/d"}},
		{name: "link to the checkout", disk: tree{"a": home.Checkout + "/b", "b": "/etc"}, paths: []string{"a"}, want: []string{"./a: it leads to /etc, which is not in the repository (bind:/etc)"}},
		{name: "link on the way", disk: tree{"a": "/etc"}, paths: []string{"a/shadow"}, want: []string{"./a/shadow: it leads to /etc/shadow, which is not in the repository (bind:/etc/shadow)"}},
		{name: "link through ..", disk: tree{"a": "conf/../../../../../../../etc"}, paths: []string{"a"}, want: []string{"./a: it leads to /etc, which is not in the repository (bind:/etc)"}},
		{name: "link behind ..", disk: tree{"a": "b/../x", "b": "/srv/data"}, paths: []string{"a"}, want: []string{"./a: it leads to /srv/x, which is not in the repository (bind:/srv/x)"}},
		{name: "link to the stage", disk: tree{"a": home.Stage + "/b"}, paths: []string{"a"}, want: []string{"./a: it leads to " + home.Stage + "/b, which is not in the repository, and no entry of allow grants it ()"}},
		{name: "link to the stage by ..", disk: tree{"a": "../stage/b"}, paths: []string{"a/c"}, want: []string{"./a/c: it leads to " + home.Stage + "/b/c, which is not in the repository, and no entry of allow grants it ()"}},
		{name: "loop", disk: tree{"a": "b", "b": "a"}, paths: []string{"a"}, want: []string{"./a: too many symlinks ()"}},
		{name: "next to it", paths: []string{home.Stage + "x", home.Checkout + "-old"}, want: []string{
			home.Checkout + "-old: it is not in the repository, and no entry of allow grants it ()",
			home.Stage + "x: it is not in the repository, and no entry of allow grants it ()"}},
		{name: "pgo's own", allow: []string{"bind:/", "bind:/var/lib", "bind:/var/lib/pgo", "bind:/proc", "bind:/run"},
			paths: []string{"/var/lib", "/var/lib/pgo/services/shop/checkout", "/run", "/proc/1", "/"}, want: []string{
				"/: it is not in the repository, and no entry of allow grants all of it: mount only what is needed there, or have an operator make root the service's user ()",
				"/proc/1: it is not in the repository, and no entry of allow grants it: only a service whose user is root may mount it ()",
				"/run: it is not in the repository, and no entry of allow grants all of it: mount only what is needed there, or have an operator make root the service's user ()",
				"/var/lib/pgo/services/shop/checkout: it is not in the repository, and no entry of allow grants it ()",
				"/var/lib: it is not in the repository, and no entry of allow grants all of it: mount only what is needed there, or have an operator make root the service's user ()"}},
		{name: "granted by another name", allow: []string{"bind:/var/run/docker.sock"}, disk: tree{"/var/run": "/run"}, paths: []string{"/var/run/docker.sock", "/run/docker.sock"}},
		{name: "granted, and led elsewhere", allow: []string{"bind:/srv/data"}, disk: tree{"/srv/data/x": "/etc"}, paths: []string{"/srv/data/x"}, want: []string{"/srv/data/x: it leads to /etc, which is not in the repository (bind:/etc)"}},
		{name: "granted in what is granted, and led elsewhere", allow: []string{"bind:/srv", "bind:/srv/data"}, disk: tree{"/srv/data": "/etc"}, paths: []string{"/srv/data"}, want: []string{"/srv/data: it leads to /etc, which is not in the repository (bind:/etc)"}},
		{name: "granted in the repository, and led elsewhere", allow: []string{"bind:" + home.Checkout + "/a"}, disk: tree{"a": "/etc"}, paths: []string{"a"}, want: []string{"./a: it leads to /etc, which is not in the repository (bind:/etc)"}},
		{name: "out of sight", disk: tree{"/etc/ssl/private": "?"}, paths: []string{"/etc/ssl/private/key"}, want: []string{"/etc/ssl/private/key: this service's user may not see where /etc/ssl/private/key leads (bind:/etc/ssl/private/key)"}},
		{name: "out of sight, granted", allow: []string{"bind:/etc/ssl/private/key"}, disk: tree{"/etc/ssl/private": "?"}, paths: []string{"/etc/ssl/private/key"}},
		{name: "out of sight, in what is granted", allow: []string{"bind:/srv", "bind:/srv/a/b"}, disk: tree{"/srv/a": "?"}, paths: []string{"/srv/a/b", "/srv/a/c"}, want: []string{
			"/srv/a/b: this service's user may not see where /srv/a/b leads ()",
			"/srv/a/c: this service's user may not see where /srv/a/c leads ()"}},
		{name: "out of sight in the repository", disk: tree{"data/sub": "?"}, paths: []string{"data/sub/x"}, want: []string{"./data/sub/x: this service's user may not see where ./data/sub/x leads ()"}},
		{name: "nested", paths: []string{"data:rw", "data/a/b"}, want: []string{"./data/a/b: it is reached through ./data, which services.web.volumes[0].source makes writable (nested-bind)"}},
		{name: "nested, both read-only", paths: []string{"data", "data/a/b:rw"}},
		{name: "the same twice", paths: []string{"data:rw", "data:rw", "data"}},
		{name: "nested by a link to the outer", disk: tree{"a": "data"}, paths: []string{"a:rw", "data/b"}, want: []string{"./data/b: it is reached through ./data, which services.web.volumes[0].source makes writable (nested-bind)"}},
		{name: "through a link in the outer", disk: tree{"a": "data/b", "data/b": "../conf"}, paths: []string{"data:rw", "a"}, want: []string{"./a: it is reached through ./data, which services.web.volumes[0].source makes writable (nested-bind)"}},
		{name: "nested outside", allow: []string{"bind:/srv"}, paths: []string{"/srv:rw", "/srv/data"}, want: []string{"/srv/data: it is reached through /srv, which services.web.volumes[0].source makes writable (nested-bind)"}},
		{name: "nested in what is refused", paths: []string{"/srv:rw", "/srv/data"}, want: []string{
			"/srv/data: it is not in the repository (bind:/srv)", "/srv: it is not in the repository (bind:/srv)",
			"/srv/data: it is reached through /srv, which services.web.volumes[0].source makes writable (nested-bind)"}},
		{name: "nested in what is never granted", paths: []string{"/:rw", "/srv/data"}, want: []string{
			"/srv/data: it is not in the repository (bind:/srv/data)",
			"/: it is not in the repository, and no entry of allow grants all of it: mount only what is needed there, or have an operator make root the service's user ()"}},
		{name: "named as on every host", disk: tree{"/var/run": "/run", "/srv/now": "/srv/2026", "link": "/var/run/docker.sock"},
			paths: []string{"/var/run/docker.sock", "/srv/now/data", "link"}, want: []string{
				"/var/run/docker.sock: it leads to /run/docker.sock, which is not in the repository (bind:/var/run/docker.sock)",
				"/srv/now/data: it leads to /srv/2026/data, which is not in the repository (bind:/srv/now/data)",
				"./link: it leads to /run/docker.sock, which is not in the repository (bind:/run/docker.sock)"}},
		{name: "with a slash", paths: []string{"/srv/"}, want: []string{"/srv/: it is not in the repository (bind:/srv)"}},
		{name: "in what is granted, by a link", allow: []string{"bind:/srv"}, disk: tree{"/srv/a": "/etc"}, paths: []string{"/srv/a/b"}, want: []string{
			"/srv/a/b: it leads to /etc/b, which is not in the repository (bind:/etc/b)"}},
		{name: "the time", disk: tree{"/etc/localtime": "../usr/share/zoneinfo/Europe/Berlin", "zone": "/etc/localtime"},
			paths: []string{"/etc/localtime", "/etc/timezone", "/usr/share/zoneinfo", "/usr/share/zoneinfo/UTC", "zone"}},
		{name: "the time, writable", disk: tree{"/etc/localtime": "/usr/share/zoneinfo/UTC"}, paths: []string{"/etc/localtime:rw", "/etc/timezone:rw"}, want: []string{
			"/etc/localtime: it leads to /usr/share/zoneinfo/UTC, which is not in the repository; read-only it is allowed (bind:/etc/localtime)",
			"/etc/timezone: it is not in the repository; read-only it is allowed (bind:/etc/timezone)"}},
		{name: "the time, and led elsewhere", disk: tree{"/etc/localtime": "/etc/shadow", "/usr/share/zoneinfo/x": "/root", "/etc/timezone": "?"},
			paths: []string{"/etc/localtime", "/usr/share/zoneinfo/x", "/etc/timezone", "/etc/localtime2", "/usr/share/zoneinfo-x"}, want: []string{
				"/etc/localtime: it leads to /etc/shadow, which is not in the repository (bind:/etc/localtime)",
				"/etc/localtime2: it is not in the repository (bind:/etc/localtime2)",
				"/etc/timezone: this service's user may not see where /etc/timezone leads (bind:/etc/timezone)",
				"/usr/share/zoneinfo-x: it is not in the repository (bind:/usr/share/zoneinfo-x)",
				"/usr/share/zoneinfo/x: it leads to /root, which is not in the repository (bind:/usr/share/zoneinfo/x)"}},
		{name: "nested allowed", allow: []string{"nested-bind"}, paths: []string{"data:rw", "data/a/b"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			limits := home
			limits.Allow = test.allow
			// What the second look at the checkout refuses, the first does.
			for dir, check := range map[string]func(Limits, map[string]any, Links) []Refusal{home.Stage: Check, home.Checkout: CheckSources} {
				disk := tree{}
				for path, target := range test.disk {
					if !filepath.IsAbs(path) {
						path = filepath.Join(home.Checkout, path)
					}
					disk[path] = target
				}
				var got []string
				for _, r := range check(limits, bind(dir, test.paths...), disk) {
					got = append(got, r.Found+": "+r.Rule+" ("+r.Allow+")")
				}
				want := map[string]bool{}
				for _, line := range test.want {
					want[line] = true
				}
				for _, line := range got {
					if !want[line] {
						t.Errorf("%s: not expected: %s", dir, line)
					}
					delete(want, line)
				}
				for line := range want {
					t.Errorf("%s: missing: %s", dir, line)
				}
			}
		})
	}
}

// A container put a symlink into what it may write to, or a commit has one: no entry of allow for
// it grants what that leads to, and no message names such an entry.
func TestGrantsThroughSymlinks(t *testing.T) {
	const app, sub = "bind:/var/run/app", "bind:/var/run/app/sub"
	run := func(disk tree) tree {
		disk["/var/run"] = "/run"
		return disk
	}
	led, hidden := run(tree{"/run/app/sub": "/etc/cron.d"}), run(tree{"/run/app/sub": "/root/x", "/root": "?"})
	for _, test := range []struct {
		name   string
		allow  []string
		disk   tree
		source string
		want   string // the entry of the refusal; "-": there is no refusal
	}{
		{"both granted by the link", []string{app, sub}, led, "/var/run/app/sub", "bind:/etc/cron.d"},
		{"the other order", []string{sub, app}, led, "/var/run/app/sub", "bind:/etc/cron.d"},
		{"written as it is on this host", []string{app, sub}, led, "/run/app/sub", "bind:/etc/cron.d"},
		{"the outer granted as it is on this host", []string{"bind:/run/app", sub}, led, "/var/run/app/sub", "bind:/etc/cron.d"},
		{"the inner granted as it is on this host", []string{app, "bind:/run/app/sub"}, led, "/var/run/app/sub", "bind:/etc/cron.d"},
		{"both granted as they are on this host", []string{"bind:/run/app", "bind:/run/app/sub"}, led, "/var/run/app/sub", "bind:/etc/cron.d"},
		{"only the outer granted", []string{app}, led, "/var/run/app/sub", "bind:/etc/cron.d"},
		{"below the symlink", []string{app, sub + "/x"}, led, "/var/run/app/sub/x", "bind:/etc/cron.d/x"},
		{"into what is out of sight", []string{app, sub}, hidden, "/var/run/app/sub", "bind:/root/x"},
		{"into what is out of sight, only the outer granted", []string{app}, hidden, "/var/run/app/sub", "bind:/root/x"},
		{"into what is out of sight, and granted", []string{app, "bind:/root/x"}, hidden, "/var/run/app/sub", "-"},
		{"out of sight in what is granted", []string{app, sub}, run(tree{"/run/app/sub": "?"}), "/var/run/app/sub", ""},
		{"what is granted leads through what is granted", []string{"bind:/srv/a", "bind:/opt/b"}, tree{"/opt/b": "/srv/a/b", "/srv/a/b": "/etc"}, "/opt/b", "bind:/etc"},
		{"a message for what leads through it", []string{"bind:/srv/a"}, tree{"/opt/b": "/srv/a/b", "/srv/a/b": "/etc"}, "/opt/b", "bind:/etc"},
		{"all of it is a symlink", []string{"bind:/srv/app", "bind:/srv/app/sub"}, tree{"/srv": "/mnt/disk", "/mnt/disk/app/sub": "../../../etc"}, "/srv/app/sub", "bind:/etc"},
		{"what is granted leads through the checkout", []string{"bind:/opt/b"}, tree{"/opt/b": home.Checkout + "/data", home.Checkout + "/data": "/etc"}, "/opt/b", "bind:/etc"},
		{"a message for what leads through the checkout", nil, tree{"/opt/b": home.Checkout + "/data", home.Checkout + "/data": "/etc"}, "/opt/b", "bind:/etc"},
		{"by a symlink in the repository", []string{app, sub}, run(tree{home.Checkout + "/l": "/var/run/app/sub", home.Stage + "/l": "/var/run/app/sub", "/run/app/sub": "/etc"}), "l", "bind:/etc"},
		{"nothing is led elsewhere", []string{app, sub}, run(tree{}), "/var/run/app/sub", "-"},
		{"granted by a link of the host", []string{app}, run(tree{}), "/run/app/x", "-"},
		{"granted by a link of the host, next to another", []string{app, "bind:/srv"}, run(tree{}), "/var/run/app", "-"},
		{"out of sight, granted by a link of the host", []string{"bind:/opt/x"}, tree{"/opt": "/root", "/root": "?"}, "/opt/x", "-"},
		{"next to what is granted, out of sight", []string{"bind:/opt/x"}, tree{"/opt": "/root", "/root": "?"}, "/opt/x/y", ""},
	} {
		limits := home
		limits.Allow = test.allow
		for dir, check := range map[string]func(Limits, map[string]any, Links) []Refusal{home.Stage: Check, home.Checkout: CheckSources} {
			source := test.source
			if !filepath.IsAbs(source) {
				source = dir + "/" + source
			}
			for key, model := range sourceModels(source) {
				got := map[string]bool{}
				for _, r := range check(limits, model, test.disk) {
					got[r.Allow] = true
				}
				want := map[string]bool{test.want: true}
				if test.want == "-" {
					want = map[string]bool{}
				}
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%s, %s in %s: entries %v, not %v", test.name, key, dir, got, want)
				}
			}
			if !filepath.IsAbs(test.source) {
				continue
			}
			end, entry := Readable(limits, source, test.disk)
			if (end != "") != (test.want == "-") || entry != strings.TrimPrefix(test.want, "-") {
				t.Errorf("%s, read by compose: %q %q, not %q", test.name, end, entry, test.want)
			}
		}
	}
}

// links returns the target of each symlink.
type links func(path string) string

func (l links) Readlink(path string) (string, error) { return l(path), nil }

// What an entry grants is where it led when it was read. That a refusal names the same entry, since
// the way has changed meanwhile, lifts nothing.
func TestGrantsWhileSymlinksChange(t *testing.T) {
	for name, model := range sourceModels("/var/run/app") {
		read := 0
		disk := links(func(path string) string {
			if path != "/var/run" {
				return ""
			}
			if read++; read == 1 {
				return "/run"
			}
			return "/etc"
		})
		limits := home
		limits.Allow = []string{"bind:/var/run/app"}
		if refusals := Check(limits, model, disk); len(refusals) == 0 {
			t.Errorf("%s: /etc/app is not refused", name)
		}
	}
}

// sourceModels has a model for each key that may name a path of the host.
func sourceModels(path string) map[string]map[string]any {
	web := func(key string, v any) map[string]any {
		return map[string]any{"services": map[string]any{"web": map[string]any{key: v}}}
	}
	return map[string]map[string]any{
		"volumes":               web("volumes", []any{map[string]any{"type": "bind", "source": path, "target": "/x"}}),
		"volumes, read-only":    web("volumes", []any{map[string]any{"type": "bind", "source": path, "target": "/x", "read_only": true}}),
		"env_file":              web("env_file", []any{path}),
		"env_file.path":         web("env_file", []any{map[string]any{"path": path}}),
		"label_file":            web("label_file", []any{path}),
		"context":               web("build", map[string]any{"context": path}),
		"additional_contexts":   web("build", map[string]any{"additional_contexts": map[string]any{"a": path}}),
		"cache_from":            web("build", map[string]any{"cache_from": []any{"type=local,src=" + path}}),
		"configs.*.file":        {"configs": map[string]any{"a": map[string]any{"name": "pgo_a", "file": path}}},
		"secrets.*.file":        {"secrets": map[string]any{"a": map[string]any{"name": "pgo_a", "file": path}}},
		"volumes.*.driver_opts": {"volumes": map[string]any{"a": map[string]any{"name": "pgo_a", "driver_opts": map[string]any{"type": "none", "o": "bind", "device": path}}}},
	}
}

// TestSourcesChange is the gap between check and mount: the commit is as
// harmless as before, but a container has put a symlink into the checkout.
func TestSourcesChange(t *testing.T) {
	if refusals := Check(home, bind(home.Stage, "data:rw"), tree{}); len(refusals) != 0 {
		t.Errorf("there is no symlink, but: %v", refusals)
	}
	disk := tree{home.Checkout + "/data": "/etc"}
	refusals := CheckSources(home, bind(home.Checkout, "data:rw"), disk)
	if len(refusals) != 1 || refusals[0].Allow != "bind:/etc" {
		t.Errorf("the checkout's symlink is not seen: %v", refusals)
	}
}

func TestDisk(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Symlink("file", link)); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, path := range []string{dir, file, link, file + "/below", filepath.Join(dir, "missing")} {
		target, err := Disk{}.Readlink(path)
		if err != nil {
			t.Error(err)
		}
		got[path] = target
	}
	want := map[string]string{dir: "", file: "", link: "file", file + "/below": "", filepath.Join(dir, "missing"): ""}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	if _, err := (Disk{}).Readlink(filepath.Join(dir, strings.Repeat("x", 300))); err == nil {
		t.Error("a name that is too long counts as missing")
	}
}

// A build reads what is there now, and not what the checkout will be.
func TestBuildReadsTheStage(t *testing.T) {
	model := map[string]any{"services": map[string]any{"web": map[string]any{"build": map[string]any{"context": home.Stage + "/link", "dockerfile": "Dockerfile"}}}}
	for target, want := range map[string]bool{"app": true, home.Stage + "/app": true, home.Checkout + "/app": false, home.Checkout: false, "/etc": false} {
		refusals := Check(home, model, tree{home.Stage + "/link": target})
		if (len(refusals) == 0) != want {
			t.Errorf("a context that leads to %s: %v", target, refusals)
		}
	}
	model = map[string]any{
		"services": map[string]any{"web": map[string]any{"build": map[string]any{"context": home.Stage, "secrets": []any{map[string]any{"source": "key"}}}}},
		"secrets":  map[string]any{"key": map[string]any{"name": "pgo_key", "file": home.Stage + "/link"}},
	}
	if refusals := Check(home, model, tree{home.Stage + "/link": home.Checkout + "/key"}); len(refusals) != 1 {
		t.Errorf("a build's secret in the checkout: %v", refusals)
	}
}

// A repository cannot have paths looked up without end.
func TestStepsAreBounded(t *testing.T) {
	disk := tree{}
	for i := range 60 {
		disk[fmt.Sprint(home.Checkout, "/l", i)] = strings.Repeat("a/../", 800) + fmt.Sprint("l", i+1)
	}
	var paths []string
	for i := range 2000 {
		paths = append(paths, fmt.Sprint("l0/", i))
	}
	if refusals := Check(home, bind(home.Stage, paths...), disk); len(refusals) == 0 {
		t.Error("nothing is refused")
	}
}
