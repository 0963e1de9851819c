package policy

import (
	"math"
	"strconv"
	"strings"
	"time"

	"pgo/internal/lazyregexp"
)

// unlimited is more than any bound.
const unlimited = math.MaxInt64

// measure reads and writes numbers of one kind, in a model and in an entry of allow. Text that it
// cannot read is refused.
type measure struct {
	kind   string // in words, with an example
	parse  func(text string) (int64, bool)
	format func(n int64) string
}

var (
	counts    = &measure{"a whole number such as 200", parseCount, formatCount}
	limits    = &measure{"a whole number such as 2000000, or -1 for no limit", orUnlimited(parseCount), orNone("-1", formatCount)}
	sizes     = &measure{"a size such as 8g or 512m", parseSize, formatSize}
	logSizes  = &measure{"a size such as 8g or 512m, or -1 for no limit", orUnlimited(parseSize), orNone("-1", formatSize)}
	fileSizes = &measure{"a size such as 8g or 512m, or 0 for no limit", parseFileSize, orNone("0", formatSize)}
	inodes    = &measure{"a number such as 2m, or 0 for no limit", parseFileSize, orNone("0", formatSize)}
	percents  = &measure{"a percentage such as 75%", parsePercent, func(n int64) string { return formatCount(n) + "%" }}
	durations = &measure{"a duration such as 90s or 2h", parseDuration, formatDuration}
)

var plainCount = lazyregexp.New(`^[0-9]{1,18}$`)

func parseCount(text string) (int64, bool) {
	if !plainCount.MatchString(text) {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

func formatCount(n int64) string { return strconv.FormatInt(n, 10) }

// orUnlimited returns parse with -1 for no limit.
func orUnlimited(parse func(string) (int64, bool)) func(string) (int64, bool) {
	return func(text string) (int64, bool) {
		if text == "-1" {
			return unlimited, true
		}
		return parse(text)
	}
}

// orNone returns format with a text for no limit.
func orNone(text string, format func(int64) string) func(int64) string {
	return func(n int64) string {
		if n == unlimited {
			return text
		}
		return format(n)
	}
}

var units = map[string]int64{"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}

var plainSize = lazyregexp.New(`^([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([kmgtp]?)(?:i?b)?$`)

// parseSize reads a size as the engine and compose do, in units of 1024. Where the engine uses
// units of 1000, the real size is smaller.
func parseSize(text string) (int64, bool) {
	match := plainSize.FindStringSubmatch(strings.ToLower(text))
	if match == nil {
		return 0, false
	}
	if n, err := strconv.ParseInt(match[1], 10, 64); err == nil {
		return product(n, units[match[2]])
	}
	f, err := strconv.ParseFloat(match[1], 64)
	f *= float64(units[match[2]])
	return int64(math.Ceil(f)), err == nil && f < 1<<62
}

func product(n, unit int64) (int64, bool) { return n * unit, n <= (1<<62)/unit }

func formatSize(n int64) string {
	for _, unit := range []string{"p", "t", "g", "m", "k"} {
		if n > 0 && n%units[unit] == 0 {
			return formatCount(n/units[unit]) + unit
		}
	}
	return formatCount(n)
}

var plainFileSize = lazyregexp.New(`^([1-9][0-9]{0,17})([kmgtp]?)$`)

// parseFileSize reads a size as the kernel does for a file system: a leading zero would make it
// octal, and zero alone means no limit.
func parseFileSize(text string) (int64, bool) {
	if text == "0" {
		return unlimited, true
	}
	match := plainFileSize.FindStringSubmatch(strings.ToLower(text))
	if match == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(match[1], 10, 64)
	if err != nil {
		return 0, false
	}
	return product(n, units[match[2]])
}

func parsePercent(text string) (int64, bool) {
	number, found := strings.CutSuffix(text, "%")
	n, ok := parseCount(number)
	return n, found && ok
}

func parseDuration(text string) (int64, bool) {
	d, err := time.ParseDuration(text)
	return int64(d), err == nil && d >= 0
}

func formatDuration(n int64) string {
	text := time.Duration(n).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
