package policy

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestMask(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "",
		"a=b,c=d":                     "a=b,c=d",
		"password=":                   "password=",
		"compass=x":                   "compass=x",
		"/x/y@z:w=1":                  "/x/y@z:w=1",
		"username=a,password=hunter2": "username=a,password=***",
		"password=hunter2,user=b":     "password=***,user=b",
		"password = hunter2":          "password =***",
		"pass=hunter2,ro":             "pass=***,ro",
		"o=password=hunter2":          "o=password=***",
		`a,"secret_access_key=hunter2,hunter2",b`:                              `a,"secret_access_key=***`,
		"password=hun\"ter2,hunter2":                                           "password=***",
		"token=token=hunter2":                                                  "token=***",
		"https://user:hunter2@host/x":                                          "https://***@host/x",
		"https://hunter2@host":                                                 "https://***@host",
		"https://user:hun@ter2@host/x":                                         "https://***@host/x",
		"https://user:hun/ter2@host/x":                                         "https://***@host/x",
		"https://user:hunter2,hunter2@host/x":                                  "https://***@host/x",
		"//user:hunter2@nas/x":                                                 "//***@nas/x",
		"https://host:8080/x@v1":                                               "https://host:8080/x@v1",
		"https://host/x?token=hunter2&a=b#c":                                   "https://host/x?token=***&a=b#c",
		"docker-image://alpine@sha256:0123":                                    "docker-image://alpine@sha256:0123",
		"type=s3,endpoint_url=https://minio:9000,secret_access_key=hun/ter2+=": "type=s3,endpoint_url=https://minio:9000,secret_access_key=***",
		"credentials=/etc/cifs":                                                "credentials=/etc/cifs",
		"secretfile=/etc/ceph/x":                                               "secretfile=/etc/ceph/x",
		"password=/hunter2":                                                    "password=***",
		"tokenfile=hunter2":                                                    "tokenfile=***",
		"//nas,o=a,password=p@ss":                                              "//nas,o=a,password=***",
	} {
		if got := masked(text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestMaskLogin(t *testing.T) {
	for text, want := range map[string]string{
		"user:hunter2@registry.example.org/x": "***@registry.example.org/x", "alpine:3@sha256:0123": "alpine:3@sha256:0123",
		"git@git.example.org:x": "git@git.example.org:x", "TOKEN=hunter2,hunter2": "TOKEN=***",
	} {
		if got := show(text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// An entry of allow with a hidden secret lifts what differs only in the secret's value.
func TestMaskedEntries(t *testing.T) {
	cifs := func(o string) string {
		return `{"name": "pgo", "volumes": {"v": {"name": "pgo_v", "driver_opts": {"type": "cifs", "device": "//nas/x", "o": ` + quoteJSON(o) + `}}}}`
	}
	build := func(context string) string {
		return `{"name": "pgo", "services": {"web": {"build": {"context": ` + quoteJSON(context) + `}}}}`
	}
	cache := func(entry string) string {
		return `{"name": "pgo", "services": {"web": {"build": {"context": "/var/lib/pgo/services/pgo/stage", "cache_to": [` + quoteJSON(entry) + `]}}}}`
	}
	option := func(key, value string) string {
		return `{"name": "pgo", "services": {"web": {"logging": {"options": {` + quoteJSON(key) + `: ` + quoteJSON(value) + `}}}}}`
	}
	const nas = "volume.driver_opts:device=//nas/x,o=username=a,password=***,type=cifs"
	for _, test := range []struct {
		entry, model string
		lifted       bool
	}{
		{nas, cifs("username=a,password=hunter2"), true},
		{nas, cifs("username=a,password=hunter3"), true},
		{nas, cifs("username=a,password=/+=%&ü "), true},
		{nas, cifs("username=a,password=***"), true},
		{"volume.driver_opts:device=//nas/x,o=username=a,password=hunter2,type=cifs", cifs("username=a,password=hunter2"), true},
		{"volume.driver_opts:device=//nas/x,o=username=a,password=hunter2,type=cifs", cifs("username=a,password=hunter3"), false},
		{`volume.driver_opts:device=//nas/x,o=username=a,password=hun"ter2,type=cifs`, cifs(`username=a,password=hun"ter2`), true},
		{nas, cifs("username=b,password=hunter2"), false},
		{nas, cifs("username=a,password="), false},
		{nas, cifs("username=a,password=x,setuids"), false},
		{nas, cifs("username=a,password=x;setuids"), false},
		{nas, cifs(`username=a,password="x,setuids"`), false},
		{nas, cifs(`username=a,password=x\`), false},
		{nas, cifs("username=a,password=x,type=cifs"), false},
		{nas, cifs("username=a,password=token=x"), true},
		{nas, cifs("username=***,password=x"), false},
		{nas, cifs("username=a,password=x\nb"), false},
		{nas, `{"name": "pgo", "volumes": {"v": {"name": "pgo_v", "driver_opts": {"device": "//nas/x,o=username=a,password=x", "type": "cifs"}}}}`, false},
		{nas, `{"name": "pgo", "volumes": {"v": {"name": "pgo_v", "driver_opts": {"device": "//nas/x", "o": "username=a,password=x,type=cifs"}}}}`, false},
		{"volume.driver_opts:device=/srv/token=***,type=ext4", `{"name": "pgo", "volumes": {"v": {"name": "pgo_v", "driver_opts": {"device": "/srv/token=x/../../etc", "type": "ext4"}}}}`, false},

		{"build.context:https://***@host/x.git", build("https://user:hunter2@host/x.git"), true},
		{"build.context:https://***@host/x.git", build("https://hunter2@host/x.git"), true},
		{"build.context:https://***@host/x.git", build("https://evil/x@host/x.git"), false},
		{"build.context:https://***@host/x.git", build("https://evil#@host/x.git"), false},
		{"build.context:https://***@host/x.git", build(`https://evil\@host/x.git`), false},
		{"build.context:https://***@host/x.git", build("https://a@evil@host/x.git"), false},
		{"build.context:https://***@host/x.git", build("https://user:x@host/x.git#evil"), false},
		{"build.context:https://***@host/x.git", build("https://user:x@evil/x.git"), false},
		{"build.context:https://host/x?token=***", build("https://host/x?token=hunter2"), true},
		{"build.context:https://host/x?token=***", build("https://host/x?token=a&b=c"), false},
		{"build.context:https://host/x?token=***", build("https://host/x?token=a#evil:dir"), false},
		{"build.context:https://host/token=***", build("https://host/token=x/../evil"), false},
		{"build.context:https://host/a,token=***", build("https://host/a,token=x/../../evil"), false},

		{"build.cache_to:type=s3,secret_access_key=***,bucket=b", cache("type=s3,secret_access_key=a/b+c=,bucket=b"), true},
		{"build.cache_to:type=s3,secret_access_key=***,bucket=b", cache("type=s3,secret_access_key=a,bucket=c,bucket=b"), false},
		{"build.cache_to:type=s3,secret_access_key=***", cache(`type=s3,secret_access_key="a,bucket=c"`), false},

		{"logging.options:splunk-token=***", option("splunk-token", `hunter2,"x`), true},
		{"logging.options:splunk-token=***", option("splunk-url", "token=x"), false},
		{"logging.options:a=b_token=***", option("a=b_token", "x"), false},
		{"logging.options:splunk-token=hunter2", option("splunk-token", "hunter2"), true},
		{"logging.options:splunk-token=hunter2", option("splunk-token", "hunter3"), false},
		{"pid:token=***", `{"name": "pgo", "services": {"web": {"pid": "token=x"}}}`, false},
		{"key:services.*.token=***", `{"name": "pgo", "services": {"web": {"token=x": 1}}}`, false},
		{"bind:/srv/token=***", bindModel("/srv/token=x"), false},
	} {
		limits := home
		limits.Allow = []string{test.entry}
		refusals := Check(limits, decode(t, test.model), tree{})
		if lifted := len(refusals) == 0; lifted != test.lifted {
			t.Errorf("%s, %s: %v", test.entry, test.model, refusals)
		}
		limits.Allow = nil
		for _, r := range Check(limits, decode(t, test.model), tree{}) {
			if strings.Contains(r.String(), "hunter") {
				t.Errorf("a secret is shown: %s", r)
			}
		}
	}
}

func bindModel(path string) string {
	return `{"name": "pgo", "services": {"web": {"volumes": [{"type": "bind", "source": ` + quoteJSON(path) + `, "target": "/x"}]}}}`
}

func quoteJSON(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(quoted)
}

// A repository chooses how much there is to be hidden.
func TestMaskIsFast(t *testing.T) {
	for _, part := range []string{"token=", "//a:b", "://", "a=", "//a@b", "token=x,", "token=x://,", "'token=", "@//a:b "} {
		begin := time.Now()
		mask(strings.Repeat(part, 1<<18/len(part)))
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("%s: %s", part, took)
		}
	}
}
