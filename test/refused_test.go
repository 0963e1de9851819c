package test

import (
	"bytes"
	"strings"
	"testing"

	"pgo/internal/policy"
	"pgo/test/rig"
	"pgo/worker/deploy"
)

// Each of these got past pgo once, or would have hurt the engine. Each is refused
// before anything that runs is touched.
func TestRefusedBeforeTheSwitch(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	web := r.Service("web")
	image := "    image: " + r.Busybox() + "\n    command: [sleep, \"86400\"]\n    init: true\n"
	app := func(extra string) string { return "services:\n  web:\n" + image + extra }
	commit := web.Push("a good one", rig.Files{"compose.yaml": app(""), "a\u0085b/file": "x\n", "Dockerfile": "FROM " + r.Busybox() + "\n"})
	link(t, web.Repo.Dir, "a b", "/etc")
	var log bytes.Buffer
	service := openService(t, r, web, &log, deploy.Config{Limits: policy.Limits{
		Others: []string{"victim", "b"}, Reserved: map[string]string{"api": "victim", strings.ToLower(web.Name) + "-api-web-1": "victim"},
	}})
	if err := change(service, func(turn *deploy.Turn) error { return turn.Poll(t.Context()) }); err != nil || service.Status().Deployed.String() != commit {
		t.Fatalf("%v\n%s", err, &log)
	}
	before := startedAt(t, web)
	for _, test := range []struct{ name, file, want string }{
		{"source", app(`    volumes: [{type: bind, source: "./a\Nb", target: /x}]` + "\n"), "U+0085"},
		{"device", app("    volumes: [\"vol:/x\"]\n") + `volumes: {vol: {driver_opts: {type: none, o: bind, device: "${PWD}/a\Nb"}}}` + "\n", "U+0085"},
		{"secret", app("    secrets: [s]\n") + `secrets: {s: {file: "./a\Lb"}}` + "\n", "U+2028"},
		{"config", app("    configs: [c]\n") + `configs: {c: {file: "./a\Pb"}}` + "\n", "U+2029"},
		{"context", app(`    build: {context: "./a\Nb"}` + "\n"), "U+0085"},
		{"key", app(`    labels: {"a\Nb": x}` + "\n"), "U+0085"},
		{"tag", app(`    logging: {driver: json-file, options: {tag: '{{pad "x" 1000000000000 0}}'}}` + "\n"), "logging.options.tag"},
		{"tag by a variable", app(`    logging: {driver: local, options: {tag: '{{$x := .Name}}{{$x}}'}}` + "\n"), "logging.options.tag"},
		{"max-file", app(`    logging: {driver: json-file, options: {max-size: 1k, max-file: "2000000000"}}` + "\n"), "max-file"},
		{"max-buffer-size", app(`    logging: {options: {mode: non-blocking, max-buffer-size: 100g}}` + "\n"), "max-buffer-size"},
		{"scale", app("    scale: 5000000\n"), "containers:5000000"},
		{"replicas", app("    deploy: {replicas: 101}\n"), "containers:101"},
		{"interval", app("    healthcheck: {test: [CMD, 'true'], interval: 1ms}\n"), "healthcheck.interval"},
		{"grace", app("    stop_grace_period: 87600h\n"), "stop_grace_period"},
		{"shm", app("    shm_size: 500g\n"), "shm_size"},
		{"tmpfs", app("    tmpfs: ['/x:size=99%']\n"), "tmpfs"},
		{"folded alias", app(`    networks: {v: {aliases: ["ap\u0130"]}}`+"\n") + "networks: {v: {external: true, name: elsewhere}}\n", "aliases"},
		{"folded name", "services:\n  API-web:\n" + image + "    networks: [v]\nnetworks: {v: {external: true, name: elsewhere}}\n", "-api-web-1"},
		{"network of another", app("    networks: [v]\n") + "networks: {v: {external: true, name: victim_default}}\n", "network:victim_default"},
		{"image of another", "services:\n  web:\n    build: .\n    image: b/" + web.Name + ":1\n", "image:b/" + web.Name},
		{"password", app("    volumes: [\"vol:/x\"]\n") + "volumes: {vol: {driver_opts: {type: cifs, o: \"username=a,password=hunter2hunter2\", device: //nas/x}}}\n", "password=***"},
	} {
		web.Push(test.name, rig.Files{"compose.yaml": test.file})
		err := change(service, func(turn *deploy.Turn) error { return turn.Poll(t.Context()) })
		if err == nil {
			t.Errorf("%s: it is deployed", test.name)
			continue
		}
		said := err.Error() + "\n" + strings.Join(deploy.Details(err), "\n")
		if service.Status().Outcome != deploy.Refused || !strings.Contains(said, test.want) || strings.Contains(said, "hunter2") {
			t.Errorf("%s: %s: %s, want %q", test.name, service.Status().Outcome, said, test.want)
		}
		stays(t, web, before, test.name)
	}
	if strings.Contains(log.String(), "hunter2") {
		t.Errorf("a password is in the log:\n%s", &log)
	}
	web.Push("the good one again", rig.Files{"compose.yaml": app("")})
	if err := change(service, func(turn *deploy.Turn) error { return turn.Poll(t.Context()) }); err != nil {
		t.Error(err)
	}
	stays(t, web, before, "what was there already")
}
