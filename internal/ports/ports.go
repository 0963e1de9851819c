// Package ports is ranges of host ports. It must not know who has them, nor in which forms
// the configuration takes them.
package ports

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Range is the ports from First to Last, both included. Its JSON is an interface of pgo.
type Range struct {
	First int `json:"first"`
	Last  int `json:"last"`
}

// One is the range of a single port.
func One(port int) Range { return Range{port, port} }

// Parse takes n and n-m.
func Parse(text string) (r Range, ok bool) {
	low, high, isRange := strings.Cut(text, "-")
	if !isRange {
		high = low
	}
	first, err1 := strconv.ParseUint(low, 10, 16)
	last, err2 := strconv.ParseUint(high, 10, 16)
	return Range{int(first), int(last)}, err1 == nil && err2 == nil && first <= last
}

// String is the range as Parse takes it.
func (r Range) String() string {
	if r.First == r.Last {
		return strconv.Itoa(r.First)
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// Overlaps tells whether the two have a port in common.
func (r Range) Overlaps(other Range) bool { return r.First <= other.Last && other.First <= r.Last }

// In tells whether every port is in one of the others.
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

// Join names the ranges, with commas between.
func Join(all []Range) string {
	texts := make([]string, len(all))
	for i, r := range all {
		texts[i] = r.String()
	}
	return strings.Join(texts, ", ")
}
