package test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"pgo/internal/policy"
	"pgo/test/rig"
)

// project is a compose file of a popular project, one of those of the policy's tests, and what
// has to be known of it to deploy it.
type project struct {
	name string
	// ports are where its files name a port of the host: it is between < and >.
	ports []string
	// With the second commit, old becomes new in its files, and service gets the variable.
	old, new, service, variable string
	// broken are the images which do not work with the third commit.
	broken string
	// more are files that upstream's repository has, too.
	more rig.Files

	s     *rig.Service
	free  []int
	files rig.Files
	kept  map[string]string
}

var projects = []*project{
	{name: "airflow", ports: []string{"<8080>:8080"}, broken: "apache/airflow",
		old: "CeleryExecutor", new: "LocalExecutor", service: "airflow-webserver", variable: "AIRFLOW__CORE__EXECUTOR=LocalExecutor"},
	{name: "authelia", ports: []string{"'<80>:80'", "'<443>:443'"}, broken: "authelia/authelia",
		old: "FILE: '/run/secrets/SESSION_SECRET'", new: "FILE: '/run/secrets/JWT_SECRET'", service: "authelia", variable: "AUTHELIA_SESSION_SECRET_FILE=/run/secrets/JWT_SECRET"},
	{name: "erpnext", ports: []string{"<8080>:8080"}, broken: "mariadb",
		old: "X-Forwarded-For", new: "X-Real-IP", service: "frontend", variable: "UPSTREAM_REAL_IP_HEADER=X-Real-IP"},
	{name: "listmonk", ports: []string{"<9000>:9000\"]", "127.0.0.1:<5432>:5432"}, broken: "listmonk",
		old: "Etc/UTC", new: "Europe/Paris", service: "app", variable: "TZ=Europe/Paris"},
	{name: "matomo", ports: []string{"<8080>:80"}, broken: "nginx",
		old: "DATABASE_HOST=db", new: "DATABASE_HOST=mariadb", service: "app", variable: "MATOMO_DATABASE_HOST=mariadb"},
	{name: "mattermost", ports: []string{"\"<8065>:8065", "\"<8443>:8443"}, broken: "postgres",
		old: "TZ=UTC", new: "TZ=Europe/Paris", service: "postgres", variable: "TZ=Europe/Paris"},
	{name: "n8n", ports: []string{"<5678>:5678"}, broken: "postgres", more: rig.Files{"init-data.sh": "#!/bin/sh\n"},
		old: "ENCRYPTION_KEY=k\n", new: "ENCRYPTION_KEY=another\n", service: "n8n-worker", variable: "N8N_ENCRYPTION_KEY=another"},
	{name: "posthog", ports: []string{"'<80>:80'", "'<443>:443'"}, broken: "clickhouse",
		more: rig.Files{"posthog/docker/clickhouse/config.xml": "<clickhouse/>\n", "compose/start": "#!/bin/sh\n"},
		old:  "RETENTION_HOURS: 24", new: "RETENTION_HOURS: 48", service: "kafka", variable: "KAFKA_LOG_RETENTION_HOURS=48"},
	{name: "searxng", ports: []string{"127.0.0.1:<8080>:8080"}, broken: "searxng", more: rig.Files{"Caddyfile": ":80\n"},
		old: "LETSENCRYPT_EMAIL:-internal", new: "LETSENCRYPT_EMAIL:-me@example.com", service: "caddy", variable: "SEARXNG_TLS=me@example.com"},
	{name: "umami", ports: []string{"<3000>:3000"}, broken: "umami",
		old: "replace-me-with-a-random-string", new: "secret", service: "umami", variable: "APP_SECRET=secret"},
}

// standIns are the images that stand in for upstream's: the first whose expression matches. They
// have what these projects rely on: ports, volumes without a name, a directory to begin in.
var standIns = []struct {
	name     string
	upstream *regexp.Regexp
	lines    []string
}{
	{"postgres", regexp.MustCompile(`\bpostgres:`), []string{"ENV PORTS=5432", "VOLUME /var/lib/postgresql/data"}},
	{"redis", regexp.MustCompile(`\b(redis|valkey):`), []string{"ENV PORTS=6379", "VOLUME /data"}},
	{"mariadb", regexp.MustCompile(`\bmariadb:`), []string{"ENV PORTS=3306", "VOLUME /var/lib/mysql"}},
	{"erpnext", regexp.MustCompile(`erpnext`), []string{"ENV PORTS=8080", "WORKDIR /home/frappe/frappe-bench", "VOLUME /home/frappe/frappe-bench/sites /home/frappe/frappe-bench/logs"}},
	{"listmonk", regexp.MustCompile(`listmonk`), []string{"ENV PORTS=9000", "WORKDIR /listmonk"}},
	{"caddy", regexp.MustCompile(`/caddy:`), []string{"VOLUME /config /data"}}, // it has the host's network, where ports are not to be had
	{"web", regexp.MustCompile(``), []string{"ENV PORTS=\"80 443 3000 5678 8065 8080 8443\"", "VOLUME /config /data"}},
}

var (
	upstreamImage = regexp.MustCompile(`(image: *)(\S+)`)
	containerName = regexp.MustCompile(`(container_name: *['"]?)`)
	grantOf       = regexp.MustCompile(`\(allow = \["(.*)"\]\)`)
)

// read makes a service of the project: the file as upstream has it, but with ports of this host
// that are free, and names of containers that are the test's own. It is granted what the policy's
// tests say that it needs.
func (p *project) read(t *testing.T, r *rig.Rig) {
	t.Helper()
	text, err := os.ReadFile("../worker/compose/testdata/policy/project-" + p.name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	input, verdict, _ := strings.Cut(string(text), "-----\n")
	p.s, p.free, p.files, p.kept = r.Service(p.name), nil, maps.Clone(p.more), map[string]string{}
	if p.files == nil {
		p.files = rig.Files{}
	}
	archive := txtar.Parse([]byte(input))
	archive.Files = append(archive.Files, txtar.File{Name: "compose.yaml", Data: archive.Comment})
	for _, file := range archive.Files {
		content := containerName.ReplaceAllString(string(file.Data), "${1}"+p.s.Name+"-")
		p.files[file.Name] = content
	}
	for _, port := range p.ports {
		before, rest, _ := strings.Cut(port, "<")
		number, after, _ := strings.Cut(rest, ">")
		p.free = append(p.free, r.Port())
		p.replace(t, p.files, before+number+after, fmt.Sprint(before, p.free[len(p.free)-1], after))
	}
	var allow []string
	for _, grant := range grantOf.FindAllStringSubmatch(verdict, -1) {
		allow = append(allow, grant[1])
	}
	slices.Sort(allow)
	p.s.Set("allow", slices.Compact(allow)).Set("gate", "9m")
}

// replace replaces a part of the project's files, which must be there.
func (p *project) replace(t *testing.T, files rig.Files, old, new string) {
	t.Helper()
	found := false
	for name, content := range files {
		found = found || strings.Contains(content, old)
		files[name] = strings.ReplaceAll(content, old, new)
	}
	if !found {
		t.Fatalf("%s has no %q", p.name, old)
	}
}

// push commits the files with what stands in for the images; a broken one for those of upstream
// that contain the word, if there is one.
func (p *project) push(message, broken string, images map[string]string) string {
	files := rig.Files{}
	for name, content := range p.files {
		files[name] = upstreamImage.ReplaceAllStringFunc(content, func(found string) string {
			parts := upstreamImage.FindStringSubmatch(found)
			for _, standIn := range standIns {
				if !standIn.upstream.MatchString(parts[2]) {
					continue
				}
				if broken != "" && strings.Contains(parts[2], broken) {
					return parts[1] + images["broken-"+standIn.name]
				}
				return parts[1] + images[standIn.name]
			}
			return found
		})
	}
	return p.s.Push(message, files)
}

// shows waits until the service's status has all of the words. That takes longer than with other
// tests: all projects begin at once.
func (p *project) shows(t *testing.T, pgod *rig.Pgod, words ...string) {
	t.Helper()
	rig.Within(t, 10*time.Minute, fmt.Sprintf("the status of %s to have %q", p.name, words), func() error {
		return has(pgod.SSH(p.s.Key, p.s.Op("status")).Stdout, words...)
	})
}

// data returns the directories of this host in which the containers keep data, by what a
// container calls them.
func (p *project) data(t *testing.T, pgod *rig.Pgod) (dirs map[string]string, unnamed []string) {
	t.Helper()
	dirs = map[string]string{}
	for _, c := range rig.Containers(t, p.s.Name) {
		for _, m := range c.Mounts {
			info, err := os.Stat(m.Source)
			if err != nil {
				t.Fatal(err)
			}
			if !m.RW || !info.IsDir() || m.Type == "bind" && !strings.HasPrefix(m.Source, checkout(pgod, p.s, "")) {
				continue
			}
			dirs[c.Service()+m.Destination] = m.Source
			if policy.Anonymous(m.Name) {
				unnamed = append(unnamed, m.Name)
			}
		}
	}
	return dirs, unnamed
}

// note returns the file in which the test notes that it has been there.
func note(dir, place string) string {
	return filepath.Join(dir, "note-"+strings.ReplaceAll(place, "/", "-"))
}

// keeps reports data that the containers had and have not any more. It returns the volumes without
// a name that they have.
func (p *project) keeps(t *testing.T, pgod *rig.Pgod, after string) (unnamed []string) {
	t.Helper()
	now, unnamed := p.data(t, pgod)
	for place := range p.kept {
		if _, err := os.Stat(note(now[place], place)); err != nil {
			t.Errorf("%s after %s: the data of %s is gone: %v", p.s.Name, after, place, err)
		}
	}
	return unnamed
}

// looks describes what there is of the service's containers.
func (p *project) looks(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, c := range rig.Containers(t, p.s.Name) {
		// A job may have ended since.
		slices.Sort(c.Config.Env)
		found[c.Name] = fmt.Sprint(c.Config.Image, c.Config.Env, c.Running() || c.State.Status == "exited" && c.State.ExitCode == 0)
	}
	return found
}

// someProjects are those that every run of the tests deploys. All ten take more than five minutes:
// PGO_TEST_PROJECTS=all asks for them.
var someProjects = []string{"listmonk", "matomo", "umami"}

// Projects as people run them at home, with stand-ins for their images: a deploy, another one that
// keeps the data, one that does not work and is taken back, and the end.
func TestPopularProjects(t *testing.T) {
	t.Parallel()
	projects := projects
	if os.Getenv("PGO_TEST_PROJECTS") != "all" {
		projects = slices.DeleteFunc(slices.Clone(projects), func(p *project) bool { return !slices.Contains(someProjects, p.name) })
	}
	var unnamed []string
	t.Cleanup(func() { // when the containers are gone
		if len(unnamed) > 0 {
			docker(t, append([]string{"volume", "rm", "--force"}, unnamed...)...)
		}
	})
	r := rig.New(t)
	images := standInImages(t, r)
	var services []*rig.Service
	first, second, third := map[*project]string{}, map[*project]string{}, map[*project]string{}
	for _, p := range projects {
		p.read(t, r)
		services = append(services, p.s)
		first[p] = p.push("first", "", images)
	}
	pgod := r.Start(services...)

	for _, p := range projects {
		p.shows(t, pgod, "deployed:  "+first[p][:7])
		isFine(t, pgod, p.s)
		for _, port := range p.free {
			rig.Until(t, fmt.Sprintf("%s to answer on port %d", p.name, port), func() error {
				_, err := rig.Get(port)
				return err
			})
		}
		kept, names := p.data(t, pgod)
		p.kept, unnamed = kept, append(unnamed, names...)
		for place, dir := range p.kept {
			put(t, note(dir, place), "", 0o644)
		}
		p.replace(t, p.files, p.old, p.new)
		second[p] = p.push("another environment", "", images)
	}
	before := map[*project]map[string]string{}
	for _, p := range projects {
		p.shows(t, pgod, "deployed:  "+second[p][:7])
		isFine(t, pgod, p.s)
		if c := byService(t, p.s)[p.service]; !slices.Contains(c.Config.Env, p.variable) {
			t.Errorf("%s has the environment %v, not %s", c.Name, c.Config.Env, p.variable)
		}
		unnamed = append(unnamed, p.keeps(t, pgod, "a deploy")...)
		var names []string
		for name := range byService(t, p.s) {
			names = append(names, name)
		}
		says(t, pgod.Pgoctl(p.s.Key, p.s.Op("ps"), "--all", "--services").Exits(t, 0).Stdout, names...)
		before[p] = p.looks(t)
		third[p] = p.push("does not work", p.broken, images)
	}
	for _, p := range projects {
		p.shows(t, pgod, "deployed:  "+second[p][:7], third[p][:7]+" did not become healthy: ", "went back to "+second[p][:7])
		says(t, pgod.SSH(p.s.Key, p.s.Op("history")).Exits(t, 0).Stdout, third[p][:7])
		if now := p.looks(t); !maps.Equal(now, before[p]) {
			t.Errorf("%s was %v\nand after %s is %v", p.s.Name, before[p], third[p][:7], now)
		}
		unnamed = append(unnamed, p.keeps(t, pgod, "going back")...)
		pgod.Pgoctl(p.s.Key, p.s.Op("logs"), "--tail", "5").Exits(t, 0)
	}
	for _, p := range projects {
		pgod.Pgoctl(p.s.Key, p.s.Op("down")).Exits(t, 0)
		left := docker(t, "ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project="+p.s.Name) +
			docker(t, "network", "ls", "--quiet", "--filter", "label=com.docker.compose.project="+p.s.Name)
		if left != "" {
			t.Errorf("after its end, %s has %s", p.s.Name, left)
		}
		for place, dir := range p.kept {
			if _, err := os.Stat(note(dir, place)); err != nil {
				t.Errorf("%s after down: the data of %s is gone: %v", p.s.Name, place, err)
			}
		}
	}
}

// standInImages makes the stand-ins, and a broken one of each.
func standInImages(t *testing.T, r *rig.Rig) map[string]string {
	t.Helper()
	files := rig.Files{
		"www/index.html":                    "a stand-in\n",
		"www/api/heartbeat":                 "ok\n",
		"home/frappe/frappe-bench/apps/erp": "",
		"etc/caddy/Caddyfile":               "",
	}
	for file, program := range map[string]string{
		"bin/server": "server", "bin/bash": "bash", "bin/ends": "ends", "bin/curl": "curl", "bin/pg_isready": "pg_isready", "bin/redis-cli": "redis-cli",
		"bin/mysqladmin": "mysqladmin", "listmonk/listmonk": "listmonk", "bin/bench": "ends", "bin/serve": "serve", "bin/caddy": "serve", "entrypoint": "ends",
	} {
		content, err := os.ReadFile(filepath.Join("images", "standin", program))
		if err != nil {
			t.Fatal(err)
		}
		files[file] = string(content)
	}
	content, err := os.ReadFile(filepath.Join("images", "standin", "broken"))
	if err != nil {
		t.Fatal(err)
	}
	broken := files.With("bin/server", string(content)).With("entrypoint", string(content))
	images := map[string]string{}
	for _, standIn := range standIns {
		lines := append([]string{"ENTRYPOINT [\"server\"]"}, standIn.lines...)
		images[standIn.name] = r.StandIn(standIn.name, files, lines...)
		images["broken-"+standIn.name] = r.StandIn("broken-"+standIn.name, broken, lines...)
	}
	return images
}
