package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"pgo/internal/policy"
	"pgo/internal/target"
	"pgo/test/rig"
	"pgo/worker/compose"
	"pgo/worker/deploy"
	"pgo/worker/gitrepo"
)

// misreading is a compose that reads a model differently from how it was checked, as one did
// that took a character for the end of a line: it changes some text of the model before it
// makes containers of it.
type misreading struct {
	t                    *testing.T
	plugin, real, change string
}

func newMisreading(t *testing.T, dir string) *misreading {
	t.Helper()
	real, err := compose.FindPlugin()
	if err != nil {
		t.Fatal(err)
	}
	m := &misreading{t: t, plugin: filepath.Join(dir, "compose"), real: real, change: filepath.Join(dir, "change")}
	put(t, m.plugin+".misreads", fmt.Sprintf(`#!/bin/bash
args=()
for arg; do
	case $arg in
	*/start.json) /usr/bin/sed -f %s "$arg" >"$arg.read.json"; arg=$arg.read.json ;;
	esac
	args+=("$arg")
done
exec %s "${args[@]}"
`, m.change, real), 0o755)
	m.step("")
	m.read("", "")
	return m
}

// step makes it misread while containers are made, and at no other time.
func (m *misreading) step(step deploy.Step) {
	m.t.Helper()
	target := m.real
	if step == deploy.StepCreate {
		target = m.plugin + ".misreads"
	}
	if err := errors.Join(os.RemoveAll(m.plugin), os.Symlink(target, m.plugin)); err != nil {
		m.t.Fatal(err)
	}
}

// read makes it take the first match of one text for another.
func (m *misreading) read(from, to string) {
	m.t.Helper()
	script := ""
	if from != "" {
		script = fmt.Sprintf("0,\\|%s|s||%s|\n", from, to)
	}
	put(m.t, m.change, script, 0o644)
}

// openService opens a service in this process, as its worker would.
func openService(t *testing.T, r *rig.Rig, s *rig.Service, log io.Writer, cfg deploy.Config) *deploy.Service {
	t.Helper()
	cfg.Name, cfg.Dir, cfg.Branch = s.Name, filepath.Join(r.Dir, "service"), "main"
	cfg.Remote = gitrepo.Remote{URL: s.Setting("repository").(string)}
	cfg.Timeout, cfg.Gate = childPatience, childPatience
	cfg.Project.Marker = "PGO_SERVICE_DIR=" + cfg.Dir
	if err := os.Mkdir(cfg.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	service, err := deploy.Open(cfg, deploy.NewQueue(), hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: log}), func() {})
	if err != nil {
		t.Fatal(err)
	}
	return service
}

// change takes the service's turn, as an operation would.
func change(service *deploy.Service, do func(*deploy.Turn) error) error {
	return service.Do(context.Background(), "a test", func(string) {}, do)
}

// Whatever happens between the check and the engine, such as a compose that reads the model
// differently: what the engine has made is compared with what was checked, and what differs is
// never started.
func TestSecondCheck(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	other := r.Image("other", "FROM "+r.Busybox()+"\nLABEL other=image\n")
	commit := web.Push("a commit without fault", rig.Files{
		"data/file": "x\n", "secret": "y\n",
		"compose.yaml": fmt.Sprintf(`services:
  idle:
    image: %s
    command: [sleep, "86400"]
    init: true
    ports: ["127.0.0.1::8080"]
    volumes: ["./data:/data:ro", "kept:/kept", "/nameless"]
    secrets: [secret]
    labels: {colour: red}
    logging: {driver: json-file, options: {max-size: 1m, tag: "{{.Name}}"}}
    cap_drop: [NET_RAW]
    security_opt: ["no-new-privileges:true"]
  mate:
    image: %[1]s
    command: [sleep, "86400"]
    init: true
    pid: service:idle
    network_mode: service:idle
volumes: {kept: {}}
secrets: {secret: {file: ./secret}}
`, r.Busybox()),
	})
	m := newMisreading(t, r.Dir)
	var log bytes.Buffer
	service := openService(t, r, web, &log, deploy.Config{Project: compose.Project{Plugin: m.plugin}, OnStep: m.step})
	up := func() error {
		anew := target.Args{Given: []target.Given{{Flag: "--force-recreate"}}}
		return change(service, func(turn *deploy.Turn) error {
			return turn.Up(t.Context(), "test", anew, compose.Output{Stdout: &log, Stderr: &log})
		})
	}
	if err := change(service, func(turn *deploy.Turn) error { return turn.Poll(t.Context()) }); err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	wantHealthy := func(when string) {
		t.Helper()
		for _, c := range rig.Containers(t, web.Name) {
			if !c.Running() {
				t.Errorf("%s: %s does not run: %+v", when, c.Name, c.State)
			}
		}
		if got := service.Status(); got.Deployed.String() != commit {
			t.Errorf("%s: deployed is %s, %s", when, got.Deployed, got.Error)
		}
	}
	wantHealthy("with a compose that reads what is there")

	// What was removed had a volume without a name, which is somebody's data and has to be named.
	named := regexp.MustCompile("it is kept: docker volume rm ([0-9a-f]{64})")
	removeNamed := func(when string) {
		t.Helper()
		all := named.FindAllStringSubmatch(log.String(), -1)
		if len(all) == 0 {
			t.Errorf("%s: no volume is named", when)
		}
		for _, m := range all {
			docker(t, "volume", "rm", m[1])
		}
		log.Reset()
	}

	docker(t, "volume", "create", web.Name+"_strange") // compose makes none in place of one that exists
	idle := func(extra string) [2]string { return [2]string{`"idle": {`, `"idle": {` + extra + ","} }
	for _, test := range []struct {
		read [2]string
		want string
	}{
		{idle(`"privileged": true`), "HostConfig.Privileged: true is refused"},
		{idle(`"devices": [{"source": "/dev/null", "target": "/dev/x", "permissions": "rwm"}]`), "HostConfig.Devices"},
		{idle(`"pid": "host"`), "HostConfig.PidMode: host"},
		{idle(`"extra_hosts": ["host=host-gateway"]`), "HostConfig.ExtraHosts"},
		{idle(`"hostname": "db"`), "db is refused"},
		{idle(`"container_name": "` + web.Name + `-other"`), "containers of idle have other names"},
		{[2]string{`"no-new-privileges:true"`, `"seccomp=unconfined"`}, "HostConfig.SecurityOpt: seccomp=unconfined"},
		{[2]string{`"no-new-privileges:true"`, `"systempaths=unconfined"`}, "HostConfig.MaskedPaths"},
		{[2]string{`"source": ".*/data"`, `"source": "/etc"`}, "mount /data: bind of /etc is refused"},
		{[2]string{`"file": ".*/secret"`, `"file": "/etc/shadow"`}, "mount /run/secrets/secret: bind of /etc/shadow"},
		{[2]string{`"host_ip": "127.0.0.1"`, `"host_ip": "0.0.0.0"`}, "HostConfig.PortBindings.8080/tcp"},
		{[2]string{`"default": null`, `"default": {"aliases": ["db"]}`}, "db is refused"},
		{[2]string{`"colour": "red"`, `"colour": "blue"`}, "Labels.colour: blue is refused"},
		{[2]string{`"tag": "{{.Name}}"`, `"tag": "{{.Name}}x"`}, "HostConfig.LogConfig.Config.tag"},
		{[2]string{`"image": "` + r.Busybox() + `"`, `"image": "` + other + `"`}, "Image: sha256:"},
		{[2]string{`"network_mode": "service:idle"`, `"network_mode": "host"`}, "HostConfig.NetworkMode: host"},
		{[2]string{`"ipam": {}`, `"ipam": {}, "driver_opts": {"com.docker.network.bridge.host_binding_ipv4": "127.0.0.1"}`}, "Options.com.docker.network.bridge.host_binding_ipv4"},
		{[2]string{`"name": "` + web.Name + `_kept"`, `"name": "` + web.Name + `_strange"`}, "mount /kept: volume " + web.Name + "_strange"},
	} {
		log.Reset()
		m.read(test.read[0], test.read[1])
		err := up()
		if err == nil || !strings.Contains(err.Error()+strings.Join(deploy.Details(err), "\n"), test.want) {
			t.Errorf("%s: error %v, want %q\n%v", test.read[1], err, test.want, deploy.Details(err))
		}
		if !strings.Contains(log.String(), "attack:") {
			t.Errorf("%s: it is not logged as an attack", test.read[1])
		}
		removeNamed(test.read[1])
		for _, c := range rig.Containers(t, web.Name) {
			t.Errorf("%s: %s is left, %s", test.read[1], c.Name, c.State.Status)
		}
	}

	docker(t, "volume", "rm", web.Name+"_strange") // of a name that pgo does not know

	// A volume that was made for such a commit is removed with it.
	m.read(`"name": "`+web.Name+`_kept"`, `"name": "`+web.Name+`_kept", "driver_opts": {"type": "none", "o": "bind", "device": "/etc"}`)
	docker(t, "volume", "rm", web.Name+"_kept")
	if err := up(); err == nil || !strings.Contains(err.Error(), "it is not in the repository") {
		t.Errorf("a volume of /etc: %v", err)
	}
	if left := docker(t, "volume", "ls", "--quiet", "--filter", "name="+web.Name+"_kept"); left != "" {
		t.Errorf("the volume of /etc is left")
	}
	removeNamed("a volume of /etc")
	m.read("", "")
	if err := up(); err != nil {
		t.Errorf("at last: %v", err)
	}
	wantHealthy("at last")
}

// The second check accepts everything that a compose file may ask for: what every service may,
// and what an operator has allowed.
func TestSecondCheckLetsPass(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	shared := network(t, r, web, "shared")
	port := r.Port()
	image := "    image: " + r.Busybox() + "\n    command: [sleep, \"86400\"]\n    init: true\n"
	commit := web.Push("all that there is", rig.Files{
		"data/file": "x\n", "file": "y\n", "profile.json": `{"defaultAction": "SCMP_ACT_ALLOW"}` + "\n",
		"compose.yaml": fmt.Sprintf(`services:
  all:
%[1]s    container_name: %[2]s-named
    hostname: host.example.org
    domainname: example.org
    ports: ["127.0.0.1:%[3]d:8080", "127.0.0.1::8081/udp", {target: 8082, mode: host}]
    expose: ["9000"]
    volumes:
    - ./data:/data
    - ./data:/data-ro:ro
    - {type: bind, source: ./data, target: /long, bind: {propagation: private, create_host_path: false}}
    - kept:/kept
    - /etc/localtime:/etc/localtime:ro
    - {type: volume, source: kept, target: /kept-ro, read_only: true, volume: {nocopy: true}}
    - bound:/bound
    - /nameless
    - {type: tmpfs, target: /memory, tmpfs: {size: 1m}}
    tmpfs: [/run, "/scratch:size=1m,mode=1777"]
    secrets: [secret, {source: token, target: renamed}, {source: secret, target: /absolute/secret}]
    configs: [{source: config, target: /etc/config.txt}, inlined]
    networks: {default: {aliases: [one, two]}, inner: {aliases: [three]}, %[4]s: {aliases: [four]}}
    extra_hosts: ["a.example.org:192.0.2.1", "b=192.0.2.2"]
    dns: [192.0.2.53]
    links: ["pair:other"]
    sysctls: {net.core.somaxconn: 1024}
    cap_add: [CHOWN, CAP_KILL]
    cap_drop: [ALL]
    security_opt: ["no-new-privileges"]
    logging: {driver: json-file, options: {max-size: 1m, max-file: "2", tag: "{{.Name}}/{{.ID}}"}}
    labels: {colour: red, size: "5", on: "true"}
    ulimits: {nofile: {soft: 1000, hard: 2000}, nproc: 500}
    shm_size: 32m
    stop_grace_period: 1s
    healthcheck: {test: ["CMD", "true"], interval: 1s}
    ipc: shareable
    cgroup: private
    oom_score_adj: 100
    mem_limit: 64m
    pids_limit: 100
    restart: on-failure:3
  pair:
%[1]s    scale: 2
    read_only: true
    deploy: {resources: {limits: {cpus: "0.5", memory: 64m}}}
  mate:
%[1]s    network_mode: service:all
    ipc: service:all
    pid: service:all
  alone:
%[1]s    network_mode: none
    volumes_from: ["files:ro"]
  files:
%[1]s    volumes: ["./data:/data", "kept:/kept"]
  job:
    image: %[5]s
    command: [echo, done]
  trusted:
%[1]s    pid: host
    ipc: host
    uts: host
    network_mode: host
    userns_mode: host
    cgroup: host
  devices:
%[1]s    cap_add: [SYS_PTRACE, cap_net_admin]
    devices: ["/dev/null:/dev/nothing", "/dev/zero:/dev/zero:r"]
    device_cgroup_rules: ["c 1:3 rmw"]
    group_add: ["44", "45"]
    security_opt: ["seccomp:./profile.json", "systempaths=unconfined", "apparmor=unconfined"]
    sysctls: {kernel.msgmax: 65536}
    extra_hosts: ["host:host-gateway"]
    volumes: ["/etc/hostname:/host-name:ro"]
    cgroup_parent: /%[2]s-parent
    runtime: runc
    logging: {driver: syslog, options: {syslog-address: "udp://127.0.0.1:5514"}}
    mac_address: 02:42:ac:11:ff:01
networks:
  default: {labels: {colour: red}}
  inner: {internal: true, driver: bridge}
  %[4]s: {external: true}
volumes:
  kept: {labels: {colour: red}}
  bound: {driver: local, driver_opts: {type: none, o: bind, device: "${PWD}/data"}}
secrets: {secret: {file: ./file}, token: {environment: TOKEN}}
configs: {config: {file: ./file}, inlined: {content: text}}
`, image, web.Name, port, shared, r.Busybox()),
	})
	var log bytes.Buffer
	service := openService(t, r, web, &log, deploy.Config{
		InPlace: true,
		Project: compose.Project{Env: []string{"TOKEN=x"}},
		Limits: policy.Limits{Allow: []string{
			"pid:host", "ipc:host", "uts:host", "network_mode:host", "userns_mode:host", "cgroup:host", "cap_add:SYS_PTRACE", "cap_add:NET_ADMIN",
			"devices:/dev/null", "devices:/dev/zero", "device_cgroup_rules:c 1:3 rmw", "group_add:44", "group_add:45", "security_opt:seccomp:./profile.json",
			"security_opt:systempaths=unconfined", "security_opt:apparmor=unconfined", "sysctls:kernel.msgmax=65536", "extra_hosts:host-gateway",
			"bind:/etc/hostname", "cgroup_parent:/" + web.Name + "-parent", "runtime:runc", "logging.driver:syslog", "logging.options:syslog-address=udp://127.0.0.1:5514",
			"nested-bind", "name:host.example.org",
		}},
	})
	if err := change(service, func(turn *deploy.Turn) error { return turn.Poll(t.Context()) }); err != nil {
		t.Fatalf("%v\n%s\n%s", err, strings.Join(deploy.Details(err), "\n"), &log)
	}
	if got := service.Status(); got.Deployed.String() != commit {
		t.Fatalf("deployed is %s: %s", got.Deployed, got.Error)
	}
	// The same in every way in which it is started again.
	for _, args := range []target.Args{
		{Given: []target.Given{{Flag: "--force-recreate"}}},
		{Given: []target.Given{{Flag: "--force-recreate"}}, Services: []string{"mate", "devices"}},
	} {
		if err := change(service, func(turn *deploy.Turn) error {
			return turn.Up(t.Context(), "test", args, compose.Output{Stdout: &log, Stderr: &log})
		}); err != nil {
			t.Fatalf("%v\n%s\n%s", err, strings.Join(deploy.Details(err), "\n"), &log)
		}
	}
	if strings.Contains(log.String(), "attack") {
		t.Errorf("%s", &log)
	}
}
