// Package ports has ranges of host ports. It must know neither who owns them nor how they are
// written in the configuration.
package ports

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Range is the ports from First to Last, inclusive. A worker remembers a hash of its JSON.
type Range struct{ First, Last int }

// One returns the range of a single port.
func One(port int) Range { return Range{port, port} }

// Parse parses n or n-m.
func Parse(text string) (r Range, ok bool) {
	low, high, isRange := strings.Cut(text, "-")
	if !isRange {
		high = low
	}
	first, err1 := strconv.ParseUint(low, 10, 16)
	last, err2 := strconv.ParseUint(high, 10, 16)
	return Range{int(first), int(last)}, err1 == nil && err2 == nil && first <= last
}

// String returns the range in the form that Parse takes.
func (r Range) String() string {
	if r.First == r.Last {
		return strconv.Itoa(r.First)
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// Overlaps reports whether the two ranges have a port in common.
func (r Range) Overlaps(other Range) bool { return r.First <= other.Last && other.First <= r.Last }

// In reports whether every port of r is in one of the others.
func (r Range) In(others []Range) bool {
	for next := r.First; next <= r.Last; {
		i := slices.IndexFunc(others, One(next).Overlaps)
		if i < 0 {
			return false
		}
		next = others[i].Last + 1
	}
	return true
}

// Join lists the ranges, separated by commas.
func Join(all []Range) string {
	texts := make([]string, len(all))
	for i, r := range all {
		texts[i] = r.String()
	}
	return strings.Join(texts, ", ")
}
