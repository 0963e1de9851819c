package proto

import "pgo/internal/ports"

// PortRanges returns ranges in the form in which they are sent.
func PortRanges(all []ports.Range) []*PortRange {
	var sent []*PortRange
	for _, r := range all {
		sent = append(sent, &PortRange{First: uint32(r.First), Last: uint32(r.Last)})
	}
	return sent
}

// Ranges is the inverse of PortRanges.
func Ranges(sent []*PortRange) []ports.Range {
	var all []ports.Range
	for _, r := range sent {
		all = append(all, ports.Range{First: int(r.GetFirst()), Last: int(r.GetLast())})
	}
	return all
}
