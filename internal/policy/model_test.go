package policy

import (
	"encoding/json"
	"strings"
	"testing"

	"pgo/internal/ports"
)

// TestModels has models that today's compose does not print, but that yesterday's or tomorrow's
// may, and some that no compose should print.
func TestModels(t *testing.T) {
	for _, test := range []struct{ name, model, want string }{
		{"env files kept", `{"services": {"web": {"env_file": ["/etc/environment", {"path": "/etc/passwd", "required": false, "format": "raw"}], "label_file": ["/etc/hosts"]}}}`, `
services.web.env_file[0]: /etc/environment is refused: it is not in the repository (allow = ["bind:/etc/environment"])
services.web.env_file[1].path: /etc/passwd is refused: it is not in the repository (allow = ["bind:/etc/passwd"])
services.web.label_file[0]: /etc/hosts is refused: it is not in the repository (allow = ["bind:/etc/hosts"])`},
		{"env files inside", `{"services": {"web": {"env_file": ["/var/lib/pgo/services/pgo/stage/web.env"]}}}`, ``},
		{"hooks before the start", `{"services": {"web": {"pre_start": [{"command": ["id"], "privileged": true}, {"command": ["id"], "volumes": []}]}}}`, `
services.web.pre_start[0].privileged: true is refused (allow = ["hook.privileged"])
services.web.pre_start[1].volumes: [] is refused: unknown key (allow = ["key:services.*.pre_start[].volumes"])`},
		{"jobs", `{"jobs": {"migrate": {"privileged": true}}}`, `
jobs: {"migrate":{"privileged":true}} is refused: unknown key (allow = ["key:jobs"])`},
		{"allowed key", `{"services": {"web": {"umask": "022"}}}`, ``},
		{"extensions", `{"x-a": {"privileged": true}, "services": {"web": {"x-b": 1, "build": {"x-c": [{}]}}}}`, ``},
		{"an extension where names are", `{"services": {"x-web": {"privileged": true}}, "networks": {"x-net": {"name": "host"}}}`, `
networks.x-net.name: host is refused: it is the engine's own
services.x-web.privileged: true is refused (allow = ["privileged"])`},
		{"not resolved", `{"version": "3", "include": ["a"], "services": {"web": {"extends": {"service": "x"}, "extra_hosts": {"a": "host-gateway"}}}}`, `
include: ["a"] is refused: compose resolves it: no resolved model has it
services.web.extends: {"service":"x"} is refused: compose resolves it: no resolved model has it
services.web.extra_hosts.a: host-gateway is refused: compose resolves it: no resolved model has it
version: 3 is refused: compose resolves it: no resolved model has it`},
		{"two keys in one", `{"services.web": {}, "services": {"web": {"build.context": "/etc", "volumes[]": {}, "*": 1, "[]": 2}}}`, `
"services.web": {} is refused: unknown key (allow = ["key:services.web"])
services.web."*": 1 is refused: unknown key (allow = ["key:services.*.*"])
services.web."[]": 2 is refused: unknown key (allow = ["key:services.*.[]"])
services.web."build.context": /etc is refused: unknown key (allow = ["key:services.*.build.context"])
services.web."volumes[]": {} is refused: unknown key (allow = ["key:services.*.volumes[]"])`},
		{"other forms", `{"services": {"web": {"build": ".", "ports": ["80:80"], "networks": ["host"], "volumes": "/:/", "command": {"a": 1}, "user": ["root"], "pid": {"host": 1}, "deploy": []}}}`, `
services.web.build: . is refused: compose does not resolve it to this form
services.web.command: {"a":1} is refused: compose does not resolve it to this form
services.web.deploy: [] is refused: compose does not resolve it to this form
services.web.networks: ["host"] is refused: compose does not resolve it to this form
services.web.pid: {"host":1} is refused: compose does not resolve it to this form
services.web.ports[0]: 80:80 is refused: compose does not resolve it to this form
services.web.user: ["root"] is refused: compose does not resolve it to this form
services.web.volumes: /:/ is refused: compose does not resolve it to this form`},
		{"invalid ports", `{"services": {"web": {"ports": [{"published": "80-79"}, {"published": "+80"}, {"published": "65536"}, {"published": "80-"}, {"published": 443}, {"published": {}}]}}}`, `
services.web.ports[0].published: 80-79 is refused: only a port, or a range such as 9000-9002
services.web.ports[1].published: +80 is refused: only a port, or a range such as 9000-9002
services.web.ports[2].published: 65536 is refused: only a port, or a range such as 9000-9002
services.web.ports[3].published: 80- is refused: only a port, or a range such as 9000-9002
services.web.ports[5].published: {} is refused: compose does not resolve it to this form`},
		{"no names", `{"networks": {"a": {}, "b": null}, "volumes": {"a": {"name": 3}}, "services": {"web": {"networks": {"gone": null}, "volumes": [{"type": "volume", "source": "gone", "target": "/x"}, {"type": "volume", "target": "/y"}, {}]}}}`, `
networks.a.name: "" is refused: not a valid network name
services.web.volumes[0].source: gone is refused: not a volume of the same file
services.web.volumes[2].type: "" is refused: only bind, volume and tmpfs
volumes.a.name: 3 is refused: not a valid name`},
		{"labels of compose and of pgo", `{"services": {"web": {"labels": {"com.docker.compose.project": "x", "pgo.inputs": "x", "pgo": "x", "pgo-x": "x", "org.pgo.x": "x"},
			"deploy": {"labels": {"pgo.inputs": "x"}}, "build": {"labels": {"pgo.inputs": "x"}}, "volumes": [{"type": "volume", "target": "/x", "volume": {"labels": {"pgo.later": "x"}}}]}},
			"networks": {"a": {"name": "pgo_a", "labels": {"pgo.probe": "x"}}}, "volumes": {"a": {"name": "pgo_a", "labels": {"pgo.probe": ""}}},
			"configs": {"a": {"name": "pgo_a", "content": "x", "labels": {"pgo.x": "x"}}}, "secrets": {"a": {"name": "pgo_a", "environment": "A", "labels": {"pgo.x": "x"}}}}`, `
configs.a.labels."pgo.x": x is refused: pgo's own labels are pgo's to set
networks.a.labels."pgo.probe": x is refused: pgo's own labels are pgo's to set
secrets.a.labels."pgo.x": x is refused: pgo's own labels are pgo's to set
services.web.build.labels."pgo.inputs": x is refused: pgo's own labels are pgo's to set
services.web.deploy.labels."pgo.inputs": x is refused: pgo's own labels are pgo's to set
services.web.labels."com.docker.compose.project": x is refused: compose's own labels are compose's to set
services.web.labels."pgo.inputs": x is refused: pgo's own labels are pgo's to set
services.web.volumes[0].volume.labels."pgo.later": x is refused: pgo's own labels are pgo's to set
volumes.a.labels."pgo.probe": "" is refused: pgo's own labels are pgo's to set`},
		{"another project", `{"name": "shop"}`, `
name: shop is refused: the project's name is the service's`},
		{"what a terminal would obey", `{"services": {"\u001b[2J\n": {"pid": "\u001b[31mhost\nservices.web: fine"}}}`, `
services."\\x1b[2J\\n": \x1b[2J\n is refused: only letters, digits and _.- in a name
services."\\x1b[2J\\n": \x1b[2J\n is refused: the key holds a control character (U+001B)
services."\\x1b[2J\\n".pid: \x1b[31mhost\nservices.web: fine is refused: it holds a control character (U+001B)
services."\\x1b[2J\\n".pid: \x1b[31mhost\nservices.web: fine is refused: only service:NAME`},
		{"nothing", `{}`, ``},
	} {
		t.Run(test.name, func(t *testing.T) {
			limits := home
			if test.name == "allowed key" {
				limits.Allow = []string{"key:services.*.umask"}
			}
			var got strings.Builder
			for _, r := range Check(limits, decode(t, test.model), tree{}) {
				got.WriteString("\n" + r.String())
				if complaints := Complaints([]string{r.Allow}); r.Allow != "" && complaints != nil {
					t.Errorf("Complaints rejects the entry that a refusal names: %q", complaints)
				}
			}
			if got.String() != test.want {
				t.Errorf("got:%s\nwant:%s", got.String(), test.want)
			}
		})
	}
}

// TestLong: only the beginning of a long value is shown, and no entry is named that is too long
// for the configuration.
func TestLong(t *testing.T) {
	long := strings.Repeat("x", 600)
	refusals := Check(home, map[string]any{"services": map[string]any{"web": map[string]any{"pid": long}}}, tree{})
	if len(refusals) != 1 || refusals[0].Allow != "" || len(refusals[0].Found) > 200 {
		t.Errorf("%v", refusals)
	}
}

// FuzzCheck tries documents that are not models: none panics, each is judged alike each time, and
// a key that is not in the table is refused wherever it is.
func FuzzCheck(f *testing.F) {
	f.Add(`{"services": {"web": {"image": "x", "build": {"context": "/a", "tags": ["x"], "cache_from": ["type=local,src=/a"]}, "volumes": [{"type": "bind", "source": "/a"}], "networks": {"a": null}}}, "networks": {"a": {"name": "b"}}}`, "key", uint(3))
	f.Add(`{"services": {"web": {"ports": [{"published": "1-2"}], "env_file": ["a"], "deploy": {"labels": {"a": "b"}}}}, "volumes": {"v": {"driver_opts": {"o": "bind"}}}}`, "x", uint(0))
	f.Fuzz(func(t *testing.T, document, key string, pick uint) {
		d := json.NewDecoder(strings.NewReader(document))
		d.UseNumber()
		var model map[string]any
		if d.Decode(&model) != nil {
			return
		}
		limits := home
		limits.Ports = []ports.Range{{First: 1, Last: 2}}
		limits.Reserved = map[string]string{"a": "shop"}
		before := Check(limits, model, tree{"/a": "b"})
		CheckSources(limits, model, tree{"/a": "b"})
		for _, r := range before {
			if complaints := Complaints([]string{r.Allow}); r.Allow != "" && complaints != nil {
				t.Errorf("Complaints rejects the entry that a refusal names: %q", complaints)
			}
		}
		objects := fixedObjects(schema(), model)
		if len(objects) == 0 || strings.HasPrefix(key, "x-") {
			return
		}
		chosen := objects[pick%uint(len(objects))]
		if _, taken := chosen[key]; taken || known(schema(), key) {
			return
		}
		chosen[key] = true
		if after := Check(limits, model, tree{"/a": "b"}); len(after) <= len(before) {
			t.Errorf("a key %q is not refused: %v", key, after)
		}
	})
}

// known reports whether the table has a key of that name anywhere.
func known(n *node, key string) bool {
	if n == nil {
		return false
	}
	for name, child := range n.keys {
		if name == key || known(child, key) {
			return true
		}
	}
	return known(n.names, key) || known(n.items, key)
}
