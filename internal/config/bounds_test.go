package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestManySharedPorts checks ranges that all overlap: the cost of finding them grows neither with
// the number of pairs nor with the mistakes that are not listed.
func TestManySharedPorts(t *testing.T) {
	const services, ranges = 800, 70
	var b strings.Builder
	for i := range services {
		b.WriteString(minimal(fmt.Sprintf("s%d", i), "ports = ["+strings.Repeat(`"1-9",`, ranges)+"]"))
	}
	r := &reader{refs: testReferences()}
	r.read(source{path: "pgo.toml", text: b.String()})
	r.problems = nil
	allocations := testing.AllocsPerRun(1, func() {
		r.problems = nil
		r.checkPorts(r.services)
	})
	if len(r.problems) != maxProblems+1 {
		t.Errorf("%d problems", len(r.problems))
	}
	if allocations > 50*maxProblems {
		t.Errorf("%v allocations", allocations)
	}
	if got := r.problems[0].Message; got != `service "s0" (pgo.toml:1) has 1-9 already` {
		t.Error(got)
	}
}

// A service may have a port twice. A port that several services have belongs to the first.
func TestOwnersOfPorts(t *testing.T) {
	text := minimal("a", `ports = ["80", "80", "1-100", "65535"]`) + minimal("b", `ports = ["90-110", "1-200"]`) + minimal("c", `ports = ["90-65535"]`)
	_, problems := parse([]source{{path: "x", text: text}}, Options{}, testReferences())
	want := `x:10: services[1] "b": ports[0]: service "a" (x:1) has 90-100 already
x:10: services[1] "b": ports[1]: service "a" (x:1) has 1-100 already
x:15: services[2] "c": ports[0]: service "a" (x:1) has 90-100, 65535 already
x:15: services[2] "c": ports[0]: service "b" (x:6) has 101-200 already`
	if problems.Error() != want {
		t.Errorf("got:\n%s\nwant:\n%s", problems.Error(), want)
	}
}

func TestMostEntriesOfAList(t *testing.T) {
	for key, entry := range map[string]string{
		"profiles": `"%d"`, "env": `"A%d=x"`, "ports": `"%d"`, "networks": `"n%d"`, "registries": `"u:t@h%d"`, "allow": `"bind:/srv/%d"`, "machine": `"h%d"`,
	} {
		for _, many := range []int{maxEntries, maxEntries + 1} {
			var entries []string
			for i := range many {
				entries = append(entries, fmt.Sprintf(entry, i+1))
			}
			_, problems := parse([]source{{path: "x", text: minimal("a", key+" = ["+strings.Join(entries, ",")+"]")}}, Options{}, testReferences())
			want := ""
			if many > maxEntries {
				want = `x:5: services[0] "a": ` + key + ": more than 1000 entries"
			}
			if problems.Error() != want {
				t.Errorf("%d %s: %.300s", many, key, problems.Error())
			}
		}
	}
}

func TestMostWarnings(t *testing.T) {
	text := minimal("a", "allow = ["+strings.Repeat(`"privileged",`, maxEntries)+"]") + minimal("b", `allow = ["privileged", "privileged"]`)
	config, problems := parse([]source{{path: "x", text: text}}, Options{}, testReferences())
	if len(problems) > 0 || len(config.Warnings) != maxProblems+1 {
		t.Fatalf("%d problems and %d warnings", len(problems), len(config.Warnings))
	}
	if got := config.Warnings[maxProblems].Message; got != "and more warnings; those after the first 1000 are not listed" {
		t.Error(got)
	}
}

func TestMostURLs(t *testing.T) {
	urls := func(n, targets int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "\"u%d.example.org\" = \"%s\"\n", i, strings.TrimSpace(strings.Repeat("web:80 ", targets)))
		}
		return minimal("a", "[services.urls]\n"+b.String())
	}
	for name, test := range map[string]struct{ text, want string }{
		"URLs":             {urls(maxEntries, 1), ""},
		"too many URLs":    {urls(maxEntries+1, 1), `x:5: services[0] "a": urls: more than 1000 URLs`},
		"targets":          {urls(2, maxEntries/2), ""},
		"too many targets": {urls(3, maxEntries/2), `x:5: services[0] "a": urls: more than 1000 targets`},
		"at one URL":       {urls(1, maxEntries+1), `x:5: services[0] "a": urls: more than 1000 targets`},
	} {
		_, problems := parse([]source{{path: "x", text: test.text}}, Options{}, testReferences())
		if problems.Error() != test.want {
			t.Errorf("%s: %.300s", name, problems.Error())
		}
	}
}

// TestMostTogether checks services that each are within the limits, but not together. Services of
// other machines do not count.
func TestMostTogether(t *testing.T) {
	const each, services = 500, maxTogether/500 + 1
	for key, want := range map[string]string{
		"urls":    "more than 10000 URLs in total for the services of this host",
		"targets": "more than 10000 targets in total for the services of this host",
		"ports":   "more than 10000 ranges of ports in total for the services of this host",
	} {
		for _, elsewhere := range []bool{false, true} {
			var b strings.Builder
			for i := range services {
				var extra strings.Builder
				if elsewhere && i > 0 {
					extra.WriteString("machine = [\"other\"]\n")
				}
				switch key {
				case "targets":
					fmt.Fprintf(&extra, "urls.\"h%d.example.org\" = \"%s\"", i, strings.TrimSpace(strings.Repeat(fmt.Sprintf("h%d:80 ", i), each)))
				case "ports":
					extra.WriteString("ports = [" + strings.Repeat(fmt.Sprintf("\"%d\",", i+1), each) + "]")
				default:
					extra.WriteString("[services.urls]\n")
					for j := range each {
						fmt.Fprintf(&extra, "\"h%d.example.org/%d\" = \"h%d:80\"\n", i, j, i)
					}
				}
				b.WriteString(minimal(fmt.Sprintf("s%d", i), extra.String()))
			}
			_, problems := parse([]source{{path: "x", text: b.String()}}, testOptions, testReferences())
			switch {
			case elsewhere && len(problems) > 0:
				t.Errorf("%s elsewhere: %.300s", key, problems.Error())
			case !elsewhere && !strings.Contains(problems.Error(), want):
				t.Errorf("%s: %.300s", key, problems.Error())
			}
			for _, p := range problems {
				if !strings.Contains(p.Key, `"s20"`) {
					t.Errorf("%s: %s", key, p)
				}
			}
		}
	}
}

// TestMostTold checks a host with many services that have few ports each.
func TestMostTold(t *testing.T) {
	for services, want := range map[int]string{
		1000: "",
		1001: `x:4996: services[999] "s999": more than 4995 targets and ranges of ports for 1001 services of this host; give the services fewer of them, or move some services to another host`,
	} {
		var b strings.Builder
		for i := range services {
			ports := make([]string, 5)
			for j := range ports {
				ports[j] = fmt.Sprintf("%q", fmt.Sprint(1+i*5+j))
			}
			b.WriteString(minimal(fmt.Sprint("s", i), "ports = ["+strings.Join(ports, ",")+"]"))
		}
		_, problems := parse([]source{{path: "x", text: b.String()}}, Options{}, testReferences())
		if got := problems.Error(); got != want {
			t.Errorf("%d services: %.300s", services, got)
		}
	}
}
