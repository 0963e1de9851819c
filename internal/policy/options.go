package policy

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"pgo/internal/lazyregexp"
)

// plainTag matches text with names of fields in it. The engine executes the tag of its log
// messages as a template, in which functions could use up all of its memory.
var plainTag = lazyregexp.New(`^(?:[^{}]|\{\{ *\.(?:ID|FullID|Name|ImageID|ImageFullID|ImageName|DaemonName) *\}\})*$`)

// maxTag and maxRegexp bound what the engine is given to evaluate.
const (
	maxTag    = 256
	maxRegexp = 256
)

func logTag(_, tag string) bool {
	return len(tag) <= maxTag && (plainTag.MatchString(tag) || !strings.Contains(tag, "{{"))
}

// logRegexp accepts a regular expression that costs the engine hardly any memory: one without
// counted repetitions.
func logRegexp(_, text string) bool {
	if len(text) > maxRegexp || strings.Contains(text, "{") {
		return false
	}
	_, err := regexp.Compile(text)
	return err == nil
}

// variableName is the name of the variable that compose takes a secret or a config from. Compose
// writes name=value to the environment of the builder: a name with a = in it could tell the
// builder where to find programs, or another engine.
var variableName = rule{allowed: "a variable's name: letters, digits and _", check: func(c *checker, at place, v any) {
	if name, scalar := scalarText(v); scalar && name != "" && !plainVariable.MatchString(name) {
		c.refuse(at, v, "only letters, digits and _ in the name of a variable", "")
	}
}}

var plainVariable = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_]*$`)

// maxCPU is the highest processor number that a kernel supports.
const maxCPU = 8191

// cpus accepts a list of processors, which the engine may write out one by one.
func cpus(text string) bool {
	return len(text) <= 1024 && !slices.ContainsFunc(strings.Split(text, ","), func(part string) bool {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		low, ok1 := parseCount(first)
		high, ok2 := parseCount(last)
		return !ok1 || !ok2 || low > high || high > maxCPU
	})
}

func matches(pattern string) func(string) bool {
	re := lazyregexp.New("^(?:" + pattern + ")$")
	return func(v string) bool { return len(v) <= 128 && re.MatchString(v) }
}

var (
	platform   = matches(`[A-Za-z0-9_.()+-]+(?:/[A-Za-z0-9_.()+-]+)*`)
	restart    = matches(`no|always|unless-stopped|none|any|on-failure(?::[0-9]{1,9})?`)
	pullPolicy = matches(`always|never|missing|if_not_present|build|refresh|daily|weekly|every_[0-9a-z.]{1,32}`)
	stopSignal = matches(`[0-9]{1,3}|[A-Za-z][A-Za-z0-9]*(?:[+-][0-9]{1,2})?`)
	resolver   = matches(`[A-Za-z0-9_.:%-]+`)
)

// quoteMember writes a member of options for an entry of allow. It quotes what could be taken for
// more than one member.
func quoteMember(key, value string) string {
	ambiguous := strings.HasPrefix(value, `"`) || strings.ContainsAny(key, `,="`)
	for _, item := range strings.Split(value, ",")[1:] {
		name, _, isMember := strings.Cut(item, "=")
		ambiguous = ambiguous || isMember && (key != "o" || slices.Contains(localOptions, name))
	}
	if ambiguous {
		return strconv.Quote(key) + "=" + strconv.Quote(value)
	}
	return key + "=" + value
}
