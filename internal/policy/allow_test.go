package policy

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestComplaints(t *testing.T) {
	for entry, want := range map[string]string{
		"privileged": "", "cap_add:NET_ADMIN": "", "port:80": "", "port:9000-9002": "", "port:any": "", "bind:/etc": "", "nested-bind": "",
		"extra_hosts:host-gateway": "", "network:shop": "", "name:a.example.org": "", "ipv4_address:10.0.0.1": "", "key:services.*.umask": "",
		"security_opt:seccomp:unconfined": "", "volume.driver_opts:device=:/x,type=nfs": "",

		"shm_size:8g": "", "shm_size:8589934592": "", "tmpfs.size:75%": "", "tmpfs.size:0": "", "healthcheck.interval:100ms": "", "healthcheck.interval:48h": "",
		"ulimits.nofile:-1": "", "containers:101": "", "logging.options.max-size:-1": "", "logging.options:tag={{.Name}}": "",
		"shm_size:":                 "lifts nothing: write shm_size:… as a refusal names it",
		"shm_size:8gigs":            "lifts nothing: write shm_size: and a size such as 8g or 512m",
		"shm_size:1g":               "lifts nothing: at most 4g is allowed without it",
		"healthcheck.interval:soon": "lifts nothing: write healthcheck.interval: and a duration such as 90s or 2h",
		"healthcheck.interval:30s":  "lifts nothing: at least 500ms, at most 24h is allowed without it",
		"containers:many":           "lifts nothing: write containers: and a whole number such as 200",
		"container:3":               "is not a rule of the policy; did you mean containers?",

		"nonsense":             "is not a rule of the policy; a refusal names the entry that lifts it",
		"":                     "is not a rule of the policy; a refusal names the entry that lifts it",
		"network_mod:host":     "is not a rule of the policy; did you mean network_mode?",
		"cap-add:NET_ADMIN":    "is not a rule of the policy; did you mean cap_add?",
		"Privileged":           "is not a rule of the policy; did you mean privileged?",
		"cap_add":              "lifts nothing: write cap_add:… as a refusal names it",
		"cap_add:":             "lifts nothing: write cap_add:… as a refusal names it",
		"key":                  "lifts nothing: write key:… as a refusal names it",
		"privileged:true":      "lifts nothing: write privileged",
		"extra_hosts":          "lifts nothing: write extra_hosts:host-gateway",
		"extra_hosts:a":        "lifts nothing: write extra_hosts:host-gateway",
		"port:x":               "lifts nothing: write port: and a port, a range such as 9000-9002, or any",
		"port:080":             "lifts nothing: write port: and a port, a range such as 9000-9002, or any",
		"cap_add:net_admin":    "lifts nothing: write cap_add:NET_ADMIN",
		"cap_add:CAP_NET_RAW":  "lifts nothing: write cap_add:NET_RAW",
		"nested-bind:/srv/www": "lifts nothing: write nested-bind",

		"bind:/srv/data/": "", "network:0123": "", "sysctls:kernel.x=1": "", "volumes_from:container:a": "",
		"bind:data":              "lifts nothing: write the whole path, from /",
		"bind:/":                 "lifts nothing: / is never mounted; name the directory that is needed",
		"bind:/srv/..":           "lifts nothing: / is never mounted; name the directory that is needed",
		"bind:/proc/sys":         "lifts nothing: /proc/sys is never mounted; name the directory that is needed",
		"network:host":           "lifts nothing: it is the engine's own and never joined",
		"network:a b":            "lifts nothing: write network: and a name of letters, digits and _.-",
		"volume:/etc":            "lifts nothing: write volume: and a name of letters, digits and _.-",
		"secret:*":               "lifts nothing: write secret: and a name of letters, digits and _.-",
		"sysctls:kernel.x":       "lifts nothing: write sysctls: and name=value",
		"restart:always":         "lifts nothing: it is allowed without it",
		"cap_add:CHOWN":          "lifts nothing: it is allowed without it",
		"volumes_from:container": "lifts nothing: it is allowed without it",
		"security_opt:label:":    "lifts nothing: write it without control characters, and without the colon at the end",
		"security_opt:a\nb":      "lifts nothing: write it without control characters, and without the colon at the end",

		"submodule:https://lib.example.org": "", "submodule:HTTP://lib.example.org:8080": "", "submodule:git://[::1]": "",

		"submodule":                             "lifts nothing: write submodule:… as a refusal names it",
		"submodule:":                            "lifts nothing: write submodule:… as a refusal names it",
		"submodul:https://lib.example.org":      "is not a rule of the policy; did you mean submodule?",
		"submodule:https://lib.example.org/lib": "lifts nothing: write submodule:https://lib.example.org",
		"submodule:lib.example.org":             "lifts nothing: write submodule: and a server's scheme, host and port alone, such as submodule:https://lib.example.org",
		"submodule:ssh://lib.example.org": "lifts nothing: pgo has no key for another ssh server; " +
			"write submodule: and a server's scheme, host and port alone, such as submodule:https://lib.example.org",
		"submodule:file:///srv/lib": "lifts nothing: submodules come from this machine only where `repository` does; " +
			"write submodule: and a server's scheme, host and port alone, such as submodule:https://lib.example.org",
	} {
		got := strings.Join(Complaints([]string{entry}), "")
		if want != "" {
			want = strconv.Quote(entry) + " " + want
		}
		if got != want {
			t.Errorf("%s: %s, want %s", entry, got, want)
		}
	}
}

// An entry for what is allowed anyway is needless, but not a mistake.
func TestNeedless(t *testing.T) {
	for entry, want := range map[string]bool{
		"shm_size:1g": true, "healthcheck.interval:30s": true, "restart:always": true, "cap_add:CHOWN": true, "pull_policy:never": true,
		"shm_size:8gigs": false, "privilegd": false, "restart:": false, "cap_add:chown": false,
	} {
		if text, needless := Complaint(entry); text == "" || needless != want {
			t.Errorf("%s: %v, %s", entry, needless, text)
		}
	}
}

func TestHandsOverEngine(t *testing.T) {
	for entry, want := range map[string]bool{
		"privileged": true, "use_api_socket": true, "bind:/var/run/docker.sock": true, "bind:/run": true, "bind:/srv/x/docker.sock": true, "bind:/run/containerd": true,
		"bind:/srv/run": false, "bind:/ru": false, "cap_add:SYS_ADMIN": false, "hook.privileged": false,
	} {
		if got := HandsOverEngine(entry); got != want {
			t.Errorf("%s: %v", entry, got)
		}
	}
}

// An entry that is too long for the configuration is neither compared nor shown in full.
func TestLongEntry(t *testing.T) {
	for _, entry := range []string{strings.Repeat("x", 1<<20), "bind:/" + strings.Repeat("x", maxEntry)} {
		if text, _ := Complaint(entry); len(text) > 200 || !strings.HasSuffix(text, "lifts nothing: it is longer than 512 bytes") {
			t.Error(text)
		}
	}
}

// An entry may have a token in it, by mistake.
func TestComplaintsShowNoUser(t *testing.T) {
	got := Complaints([]string{"submodule:https://ada:s3cret@lib.example.org"})
	if want := `"submodule:https://lib.example.org" lifts nothing: write submodule:https://lib.example.org`; !slices.Equal(got, []string{want}) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Every entry in docs/policy.md is accepted.
func TestNoComplaints(t *testing.T) {
	values := map[string]string{
		"port:": "80", "cap_add:": "SYS_ADMIN", "bind:": "/value", "platform:": "*", "stop_signal:": "*", "dns:": "*", "volumes_from:": "container:a",
		"oom_score_adj:": "-1", "build.platforms:": "*",
	}
	for _, s := range sections {
		for _, row := range s.rows {
			for _, lift := range strings.Fields(row.rule.lift) {
				entry := lift
				if strings.HasSuffix(lift, ":") {
					entry += "value"
				}
				if value, found := values[lift]; found {
					entry = lift + value
				} else if row.rule.paired {
					entry = lift + "name=value"
				} else if bounds := boundsOf()[strings.TrimSuffix(lift, ":")]; bounds != nil {
					entry = lift + bounds[0].format(bounds[0].most+1)
				}
				if got := Complaints([]string{entry}); got != nil {
					t.Errorf("%v", got)
				}
			}
		}
	}
	if got := Complaints([]string{"privileged", "nonsense", "gpus", "port"}); !slices.Equal(got, []string{
		`"nonsense" is not a rule of the policy; a refusal names the entry that lifts it`, `"port" lifts nothing: write port:… as a refusal names it`,
	}) {
		t.Errorf("%q", got)
	}
}
