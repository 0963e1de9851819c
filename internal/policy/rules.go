package policy

import (
	"slices"
	"strings"
)

// rule is the policy's rule for one key. The zero rule: the key is harmless.
type rule struct {
	allowed string // what is allowed, in words; empty: nothing is
	lift    string // the entries of allow that lift it; one with a colon at its end is a prefix
	exempt  bool   // not for root's services
	whole   bool   // checks the whole value: nothing below has a rule of its own
	object  bool   // for an object, not for a scalar
	text    bool   // free text, which only a container reads: it and all below may have any character
	bounds  []bound
	fine    func(value string) bool // of a lift with a value: which values it never refuses; nil: that depends
	paired  bool                    // of a lift with a value: it is name=value
	check   func(c *checker, at place, v any)
}

// The entries of allow that are named in more than one place.
const (
	liftBind       = "bind:"
	liftPrivileged = "privileged"
	liftEngine     = "use_api_socket"
)

var harmless = rule{}

// freeText is for what a container gets and nobody else reads.
var freeText = text(harmless)

func text(r rule) rule {
	r.text = true
	return r
}

// partOf is for keys that the rule of a key above them checks.
func partOf(key string) rule { return rule{allowed: "see `" + key + "`"} }

// gone is for keys that compose acts on while it resolves, and that no resolved model has.
var gone = never("compose resolves it: no resolved model has it")

// unreadable is for what compose cannot read again once it has resolved it: it writes Path where
// it reads path.
var unreadable = never("this version of compose cannot start what it resolves here")

// notRoot exempts root's services from a rule.
func notRoot(r rule) rule {
	r.exempt = true
	return r
}

// refused refuses whatever is not absent, false or empty.
func refused(lift string) rule {
	return rule{lift: lift, whole: true, check: func(c *checker, at place, v any) {
		if set(v) {
			c.refuse(at, v, "", lift)
		}
	}}
}

// never refuses as refused does, and no entry lifts it.
func never(why string) rule {
	return rule{allowed: why, whole: true, check: func(c *checker, at place, v any) {
		if set(v) {
			c.refuse(at, v, why, "")
		}
	}}
}

// each refuses a value that is not ok. The value is appended to lift.
func each(lift, allowed string, ok func(value string) bool) rule {
	return rule{allowed: allowed, lift: lift, fine: ok, check: func(c *checker, at place, v any) {
		if text, scalar := scalarText(v); scalar && text != "" && !ok(text) {
			c.refuse(at, v, only(allowed), lift+text)
		}
	}}
}

// pair is each for a name and its value. name=value is appended to lift.
func pair(lift, allowed string, ok func(name, value string) bool) rule {
	return rule{allowed: allowed, lift: lift, paired: true, check: func(c *checker, at place, v any) {
		if text, scalar := scalarText(v); scalar && !ok(at.name, text) {
			c.refuse(at, v, only(allowed), lift+at.name+"="+text)
		}
	}}
}

// on is a rule for an object as a whole, in addition to those for its keys.
func on(lift, allowed string, check func(c *checker, at place, o map[string]any)) rule {
	return rule{allowed: allowed, lift: lift, object: true, check: func(c *checker, at place, v any) {
		if o := object(v); o != nil {
			check(c, at, o)
		}
	}}
}

// set reports whether a value asks for anything.
func set(v any) bool {
	switch v := v.(type) {
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	text, _ := scalarText(v)
	return text != "" && text != "false"
}

func only(allowed string) string {
	if allowed == "" {
		return ""
	}
	return "only " + allowed
}

func none(string) bool           { return false }
func noPair(string, string) bool { return false }

func oneOf(values ...string) func(string) bool {
	return func(v string) bool { return slices.Contains(values, v) }
}

// ownOr accepts the namespaces of a service of the same file, and the values given.
func ownOr(values ...string) func(string) bool {
	return func(v string) bool { return strings.HasPrefix(v, "service:") || slices.Contains(values, v) }
}

// grantedCaps are the capabilities that the engine gives to every container. It makes sense to
// add one only after dropping all.
var grantedCaps = []string{
	"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
	"NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}

var capabilities = rule{
	allowed: "those that every container has: " + strings.Join(grantedCaps, ", "),
	lift:    "cap_add:",
	fine:    func(name string) bool { return slices.Contains(grantedCaps, name) },
	check: func(c *checker, at place, v any) {
		name := capability(str(v))
		if !slices.Contains(grantedCaps, name) {
			c.refuse(at, v, "", "cap_add:"+name)
		}
	},
}

// capability is a capability's name as the engine reads it.
func capability(name string) string { return strings.TrimPrefix(strings.ToUpper(name), "CAP_") }

var devices = on("devices:", "", func(c *checker, at place, device map[string]any) {
	source := str(device["source"])
	c.refuse(at, source, "", "devices:"+source)
})

var oomScore = each("oom_score_adj:", "0 and more", func(v string) bool { return !strings.HasPrefix(v, "-") })

// hostGateway is what the engine replaces with the host's own address.
const hostGateway = "host-gateway"

func extraHosts(lift string) rule {
	const allowed = "addresses other than " + hostGateway
	return rule{allowed: allowed, lift: lift + hostGateway, check: func(c *checker, at place, v any) {
		host := str(v)
		if i := strings.IndexAny(host, "=:"); i >= 0 && strings.Contains(host[i:], hostGateway) {
			c.refuse(at, v, only(allowed), lift+hostGateway)
		}
	}}
}

// localLogOptions are the options of the drivers that write to this host. An option without a
// driver belongs to the engine's default driver.
var localLogOptions = []string{
	"cache-compress", "cache-disabled", "cache-max-file", "cache-max-size", "compress", "env", "env-regex",
	"labels", "labels-regex", "max-buffer-size", "max-file", "max-size", "mode", "tag",
}

// labelled refuses labels by which compose and pgo recognize their own containers, networks and
// volumes.
var labelled = rule{text: true, allowed: "any but com.docker.compose.* and pgo.*", check: func(c *checker, at place, v any) {
	switch {
	case strings.HasPrefix(at.name, "com.docker.compose."):
		c.refuse(at, v, "compose's own labels are compose's to set", "")
	case strings.HasPrefix(at.name, "pgo."):
		c.refuse(at, v, "pgo's own labels are pgo's to set", "")
	}
}}

var projectName = rule{allowed: "the service's name", check: func(c *checker, at place, v any) {
	if v != c.Service {
		c.refuse(at, v, "the project's name is the service's", "")
	}
}}

func isContainer(v string) bool { return strings.HasPrefix(v, "container:") }

// netSysctl are settings of the container's own network.
func netSysctl(name, _ string) bool {
	return strings.HasPrefix(name, "net.") && !strings.Contains(name, "/")
}

func localLogOption(name, _ string) bool { return slices.Contains(localLogOptions, name) }
