package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
)

// madeModel is what was checked, and inspected what an engine prints about the container that it
// made of it, with the keys of HostConfig that every container has.
const madeModel = `{"services": {"web": {
	"image": "x", "networks": {"default": {"aliases": ["www"]}}, "labels": {"colour": "red"},
	"volumes": [{"type": "bind", "source": "/c/data", "target": "/data", "read_only": true}, {"type": "volume", "source": "db", "target": "/db/"}, {"type": "volume", "target": "/nameless"}],
	"ports": [{"target": 80, "published": "8080", "protocol": "tcp"}],
	"secrets": [{"source": "key"}]
}, "side": {"image": "x", "network_mode": "service:web", "volumes_from": ["web:ro"]}},
"networks": {"default": {"name": "pgo_default"}}, "volumes": {"db": {"name": "pgo_db"}}, "secrets": {"key": {"file": "/c/key"}}}`

const inspected = `{
	"Id": "0123456789abcdef", "Name": "/pgo-web-1", "Image": "sha256:1",
	"HostConfig": {
		"AutoRemove": false, "Binds": ["/c/data:/data:ro"], "CapAdd": null, "CgroupnsMode": "private", "ConsoleSize": [0, 0], "Devices": null,
		"IpcMode": "private", "LogConfig": {"Type": "json-file", "Config": {}}, "MaskedPaths": ["/proc/kcore"], "NetworkMode": "pgo_default",
		"OomScoreAdj": 0, "PidMode": "", "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}, "Privileged": false,
		"ReadonlyPaths": ["/proc/sys"], "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "Runtime": "runc", "ShmSize": 67108864
	},
	"Mounts": [
		{"Type": "bind", "Source": "/c/data", "Destination": "/data", "RW": false, "Propagation": "rprivate"},
		{"Type": "bind", "Source": "/c/key", "Destination": "/run/secrets/key", "RW": false, "Propagation": "rprivate"},
		{"Type": "volume", "Name": "pgo_db", "Source": "/v/pgo_db", "Destination": "/db", "Driver": "local", "RW": true},
		{"Type": "volume", "Name": "0000000000000000000000000000000000000000000000000000000000000000", "Destination": "/nameless", "Driver": "local", "RW": true},
		{"Type": "volume", "Name": "1111111111111111111111111111111111111111111111111111111111111111", "Destination": "/of-the-image", "Driver": "local", "RW": true}
	],
	"Config": {"Hostname": "0123456789ab", "Labels": {"colour": "red", "of": "the image", "com.docker.compose.project": "pgo", "com.docker.compose.service": "web"}},
	"NetworkSettings": {"Networks": {"pgo_default": {"Aliases": ["pgo-web-1", "web", "www", "0123456789ab"], "IPAMConfig": {}, "MacAddress": "", "DriverOpts": null}}}
}`

// madeOf returns CheckMade's refusals of the container, and of others, with some text replaced in
// what the engine printed.
func madeOf(t *testing.T, others []map[string]any, replace ...string) string {
	t.Helper()
	text := strings.NewReplacer(replace...).Replace(inspected)
	if len(replace) > 0 && text == inspected {
		t.Fatalf("%q is not in what the engine printed", replace[0])
	}
	made := Made{
		Containers: append([]map[string]any{decode(t, text)}, others...), Services: map[string]string{"0123456789abcdef": "web"},
		Runtime: "runc", Cgroupns: "private", LogDriver: "json-file",
	}
	var lines []string
	for _, r := range CheckMade(Limits{Service: "pgo"}, decode(t, madeModel), made, map[string]string{"web": "sha256:1"}) {
		lines = append(lines, r.String())
	}
	return strings.Join(lines, "\n")
}

func TestCheckMade(t *testing.T) {
	if got := madeOf(t, nil); got != "" {
		t.Fatalf("what was asked for: %s", got)
	}
	for _, test := range []struct{ from, to, want string }{
		{`"AutoRemove": false`, `"AutoRemove": true`, "HostConfig.AutoRemove: true"},
		{`"AutoRemove": false`, `"PublishAllPorts": true`, "HostConfig.PublishAllPorts: true"},
		{`"AutoRemove": false`, `"VolumeDriver": "x"`, "HostConfig.VolumeDriver: x"},
		{`"AutoRemove": false`, `"OomKillDisable": true`, "HostConfig.OomKillDisable"},
		{`"AutoRemove": false`, `"SomethingNew": "x"`, `HostConfig.SomethingNew: x is refused: this version of pgo does not know this key (allow = ["key:engine.HostConfig.SomethingNew"])`},
		{`"AutoRemove": false`, `"DeviceRequests": [{"Driver": "", "Count": -1}]`, "HostConfig.DeviceRequests"},
		{`"AutoRemove": false`, `"StorageOpt": {"size": "1"}`, "HostConfig.StorageOpt.size"},
		{`"AutoRemove": false`, `"Annotations": {"a": "b"}`, "HostConfig.Annotations.a"},
		{`"AutoRemove": false`, `"Isolation": "hyperv"`, "HostConfig.Isolation"},
		{`"AutoRemove": false`, `"SecurityOpt": ["label=disable"]`, "HostConfig.SecurityOpt: label=disable"},
		{`"AutoRemove": false`, `"VolumesFrom": ["0123456789abcdef"]`, "HostConfig.VolumesFrom"},
		{`"AutoRemove": false`, `"GroupAdd": ["0"]`, "HostConfig.GroupAdd: 0"},
		{`"CapAdd": null`, `"CapAdd": ["ALL"]`, "HostConfig.CapAdd: ALL"},
		{`"CgroupnsMode": "private"`, `"CgroupnsMode": "host"`, "HostConfig.CgroupnsMode: host"},
		{`"Devices": null`, `"Devices": [{"PathOnHost": "/dev/kvm", "PathInContainer": "/dev/kvm", "CgroupPermissions": "rwm"}]`, "HostConfig.Devices"},
		{`"IpcMode": "private"`, `"IpcMode": "container:0123456789abcdef"`, "HostConfig.IpcMode"},
		{`{"Type": "json-file", "Config": {}}`, `{"Type": "json-file", "Config": {"tag": "{{pad}}"}}`, "HostConfig.LogConfig.Config.tag"},
		{`"Type": "json-file"`, `"Type": "syslog"`, "HostConfig.LogConfig.Type: syslog"},
		{`"MaskedPaths": ["/proc/kcore"]`, `"MaskedPaths": []`, "HostConfig.MaskedPaths: []"},
		{`"MaskedPaths": ["/proc/kcore"], `, ``, "HostConfig.MaskedPaths"},
		{`"ReadonlyPaths": ["/proc/sys"]`, `"ReadonlyPaths": null`, "HostConfig.ReadonlyPaths"},
		{`"NetworkMode": "pgo_default"`, `"NetworkMode": "container:ffff"`, "HostConfig.NetworkMode: container:ffff"},
		{`"NetworkMode": "pgo_default"`, `"NetworkMode": "none"`, "HostConfig.NetworkMode: none"},
		{`"PidMode": ""`, `"PidMode": "host"`, "HostConfig.PidMode: host"},
		{`"HostPort": "8080"`, `"HostPort": "22"`, "HostConfig.PortBindings.80/tcp"},
		{`"80/tcp"`, `"80/udp"`, "HostConfig.PortBindings.80/udp"},
		{`"Privileged": false`, `"Privileged": true`, "HostConfig.Privileged: true"},
		{`"Runtime": "runc"`, `"Runtime": "other"`, "HostConfig.Runtime: other"},
		{`"Source": "/c/data"`, `"Source": "/c/dat"`, "mount /data: bind of /c/dat is refused"},
		{`"Destination": "/data", "RW": false`, `"Destination": "/data", "RW": true`, "mount /data: bind of /c/data, writable"},
		{`"Destination": "/data", "RW": false, "Propagation": "rprivate"`, `"Destination": "/data", "RW": false, "Propagation": "rshared"`, "mount /data"},
		{`"Destination": "/data"`, `"Destination": "/etc"`, "mount /etc"},
		{`"Name": "pgo_db"`, `"Name": "shop_db"`, "mount /db: volume shop_db"},
		{`"Name": "pgo_db"`, `"Name": "2222222222222222222222222222222222222222222222222222222222222222"`, "mount /db"},
		{`"Destination": "/nameless", "Driver": "local"`, `"Destination": "/nameless", "Driver": "nfs"`, "mount /nameless"},
		{`"Source": "/c/key"`, `"Source": "/etc/shadow"`, "mount /run/secrets/key: bind of /etc/shadow"},
		{`"Hostname": "0123456789ab"`, `"Hostname": "db"`, "Config.Hostname: db"},
		{`"colour": "red"`, `"colour": "blue"`, "Labels.colour: blue is refused"},
		{`"com.docker.compose.project": "pgo"`, `"com.docker.compose.project": "shop"`, "there is no such compose service"},
		{`"com.docker.compose.service": "web"`, `"com.docker.compose.service": "db"`, "there is no such compose service"},
		{`"/pgo-web-1"`, `"/pgo-web-1x"`, "containers of web have other names"},
		{`"/pgo-web-1"`, `"/shop-web-1"`, "containers of web have other names"},
		{`"pgo_default": {`, `"shop_default": {`, "network shop_default: shop_default is refused"},
		{`["pgo-web-1", "web", "www", "0123456789ab"]`, `["api"]`, "Aliases: api is refused"},
		{`"Aliases": [`, `"DNSNames": ["api"], "Aliases": [`, "DNSNames: api is refused"},
		{`"IPAMConfig": {}`, `"IPAMConfig": {"IPv4Address": "10.0.0.1"}`, "IPv4Address: 10.0.0.1"},
		{`"IPAMConfig": {}`, `"IPAMConfig": {"LinkLocalIPs": ["169.254.1.1"]}`, "LinkLocalIPs: 169.254.1.1"},
		{`"MacAddress": ""`, `"MacAddress": "02:42:00:00:00:01"`, "MacAddress: 02:42:00:00:00:01"},
		{`"DriverOpts": null`, `"DriverOpts": {"a": "b"}`, "DriverOpts.a: b"},
		{`"Image": "sha256:1"`, `"Image": "sha256:2"`, "Image: sha256:2 is refused: the image that was checked is sha256:1"},
	} {
		if got := madeOf(t, nil, test.from, test.to); !strings.Contains(got, "container ") || !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want %q", test.to, got, test.want)
		}
	}
}

// What an engine chooses by itself is not the commit's doing.
func TestCheckMadeByTheEngine(t *testing.T) {
	for from, to := range map[string]string{
		`{"Type": "json-file", "Config": {}}`:                            `{"Type": "json-file", "Config": {"tag": "{{.Name}}", "max-size": "10m"}}`,
		`"Destination": "/data", "RW": false, "Propagation": "rprivate"`: `"Destination": "/data", "RW": false, "Propagation": "rslave"`,
		`"Name": "/pgo-web-1"`:                                           `"Name": "/0123456789ab_pgo-web-1"`, // compose was killed while it replaced it
	} {
		if got := madeOf(t, nil, from, to); got != "" {
			t.Errorf("%s: %s", to, got)
		}
	}
	for _, same := range [][2]string{{"02:42:AC:11:00:01", "02:42:ac:11:00:01"}, {"2001:DB8::1", "2001:db8:0::1"}, {"", ""}} {
		if !sameAddress(same[0], same[1]) {
			t.Errorf("%q is not %q", same[0], same[1])
		}
	}
	for _, other := range [][2]string{{"", "0.0.0.0"}, {"10.0.0.1", "10.0.0.2"}, {"x", "y"}} {
		if sameAddress(other[0], other[1]) {
			t.Errorf("%q is %q", other[0], other[1])
		}
	}
}

// An image may bring what a compose file must not ask for.
func TestCheckMadeOfImages(t *testing.T) {
	var ports, mounts []string
	for i := range 501 {
		ports = append(ports, fmt.Sprintf(`"%d/tcp": {}`, i+1))
		mounts = append(mounts, fmt.Sprintf(`{"Type": "volume", "Name": "%064x", "Destination": "/v%d", "Driver": "local", "RW": true}`, i, i))
	}
	for want, change := range map[string][2]string{
		`Config.ExposedPorts: a total of 501 exposed ports is refused: at most 500 (allow = ["expose.count:501"])`:                   {`"Hostname"`, `"ExposedPorts": {` + strings.Join(ports, ", ") + `}, "Hostname"`},
		`containers: a total of 503 volumes without a name is refused: at most 100 (allow = ["volumes.count:503"])`:                  {`"Mounts": [`, `"Mounts": [` + strings.Join(mounts, ", ") + ", "},
		`Config.Healthcheck.Interval: 1ms is refused: at least 500ms, at most 24h (allow = ["healthcheck.interval:1ms"])`:            {`"Hostname"`, `"Healthcheck": {"Interval": 1000000}, "Hostname"`},
		`Config.Healthcheck.StartInterval: 1ns is refused: at least 500ms, at most 24h (allow = ["healthcheck.start_interval:1ns"])`: {`"Hostname"`, `"Healthcheck": {"StartInterval": 1}, "Hostname"`},
	} {
		if got := madeOf(t, nil, change[0], change[1]); !strings.Contains(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got := madeOf(t, nil, `"Hostname"`, `"Healthcheck": {"Interval": 30000000000, "StartInterval": 0}, "ExposedPorts": {"80/tcp": {}}, "Hostname"`); got != "" {
		t.Errorf("what an image usually has: %s", got)
	}
}

// A container may share with one of its own project, and with no other.
func TestCheckMadeShared(t *testing.T) {
	side := func(mode, from string) string {
		words := decode(t, strings.NewReplacer("pgo-web-1", "pgo-side-1", `"service": "web"`, `"service": "side"`, `"compose.service": "web"`, `"compose.service": "side"`).Replace(inspected))
		host := object(words["HostConfig"])
		host["NetworkMode"], host["VolumesFrom"], host["PortBindings"] = mode, []any{from}, nil
		labels := object(object(words["Config"])["Labels"])
		labels["com.docker.compose.service"] = "side"
		delete(labels, "colour")
		words["NetworkSettings"] = map[string]any{}
		return madeOf(t, []map[string]any{words})
	}
	if got := side("container:0123456789abcdef", "0123456789abcdef:ro"); got != "" {
		t.Errorf("as asked for: %s", got)
	}
	for _, other := range []string{"container:ffff", "host", "pgo_default", "none"} {
		if got := side(other, "0123456789abcdef:ro"); !strings.Contains(got, "NetworkMode") {
			t.Errorf("%s: %q", other, got)
		}
	}
	if got := side("container:0123456789abcdef", "ffff"); !strings.Contains(got, "VolumesFrom: ffff") {
		t.Errorf("the volumes of another: %q", got)
	}
}

func TestCheckMadeNetworks(t *testing.T) {
	network := map[string]any{
		"Name": "pgo_default", "Driver": "bridge", "Attachable": false, "Ingress": false, "Options": map[string]any{}, "ConfigFrom": map[string]any{"Network": ""},
		"IPAM": map[string]any{"Driver": "default", "Options": nil, "Config": []any{map[string]any{"Subnet": "172.18.0.0/16"}}},
	}
	check := func(key string, value any) string {
		changed := maps.Clone(network)
		if key != "" {
			changed[key] = value
		}
		var lines []string
		for _, r := range CheckMade(Limits{Service: "pgo"}, decode(t, madeModel), Made{Networks: []map[string]any{changed}}, nil) {
			lines = append(lines, r.String())
		}
		return strings.Join(lines, "\n")
	}
	if got := check("", nil); got != "" {
		t.Errorf("as asked for: %s", got)
	}
	if got := check("Options", map[string]any{"com.docker.network.driver.mtu": "1450"}); got != "" {
		t.Errorf("with the choices of the engine's administrator: %s", got)
	}
	if got := check("Name", "pgo_left-over"); got != "" {
		t.Errorf("one that the model no longer has: %s", got)
	}
	for key, value := range map[string]any{
		"Driver": "macvlan", "Attachable": true, "Ingress": true, "ConfigOnly": true, "ConfigFrom": map[string]any{"Network": "x"},
		"Options": map[string]any{"com.docker.network.bridge.name": "docker0"}, "IPAM": map[string]any{"Driver": "other"},
	} {
		if got := check(key, value); !strings.Contains(got, "network pgo_default: "+key) {
			t.Errorf("%s: %q", key, got)
		}
	}
}

// Nothing that an engine prints does any harm.
func FuzzCheckMade(f *testing.F) {
	f.Add(inspected, madeModel)
	f.Add(`{"HostConfig": [], "Mounts": {}, "Config": {"Labels": {"com.docker.compose.service": "web", "com.docker.compose.project": "pgo"}}}`, madeModel)
	f.Fuzz(func(t *testing.T, words, model string) {
		var w, m map[string]any
		if json.Unmarshal([]byte(words), &w) != nil || json.Unmarshal([]byte(model), &m) != nil {
			return
		}
		CheckMade(Limits{Service: "pgo"}, m, Made{Containers: []map[string]any{w}, Networks: []map[string]any{w}}, nil)
	})
}
