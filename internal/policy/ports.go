package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// port is one entry of ports. It may name a range, of which the engine takes
// what is free, one for each container: all of it must be allowed, and then
// the number of containers does not matter.
var port = on("port:", "the service's `ports`; where it has none: any but those of other services and pgod's own", func(c *checker, at place, entry map[string]any) {
	published, scalar := scalarText(entry["published"])
	if entry["published"] != nil && !scalar {
		return // refused for its form
	}
	if published == "" || published == "0" {
		if len(c.Ports) > 0 {
			c.refuse(at.key("published"), "a port of the engine's choice", "only "+ranges(c.Ports), "port:any")
		}
		return
	}
	at = at.key("published")
	asked, ok := parsePorts(published)
	outside := len(c.Ports) > 0 && !covered(asked, c.Ports)
	switch taken := slices.ContainsFunc(c.Granted, asked.overlaps); {
	case !ok:
		c.refuse(at, published, "only a port, or a range such as 9000-9002", "")
	case taken && outside: // no entry lifts it
		c.refuse(at, published, "only "+ranges(c.Ports)+"; it belongs to another service or to pgod", "")
	case taken:
		c.refuse(at, published, "it belongs to another service or to pgod", "")
	case outside:
		c.refuse(at, published, "only "+ranges(c.Ports), "port:"+asked.String())
	}
})

func parsePorts(text string) (PortRange, bool) {
	low, high, isRange := strings.Cut(text, "-")
	if !isRange {
		high = low
	}
	first, err1 := strconv.ParseUint(low, 10, 16)
	last, err2 := strconv.ParseUint(high, 10, 16)
	return PortRange{int(first), int(last)}, err1 == nil && err2 == nil && first <= last
}

// covered tells whether every port of asked is in one of the granted ranges.
func covered(asked PortRange, granted []PortRange) bool {
	for next := asked.First; next <= asked.Last; {
		i := slices.IndexFunc(granted, PortRange{next, next}.overlaps)
		if i < 0 {
			return false
		}
		next = granted[i].Last + 1
	}
	return true
}

func (p PortRange) overlaps(q PortRange) bool { return p.First <= q.Last && q.First <= p.Last }

func (p PortRange) String() string {
	if p.First == p.Last {
		return strconv.Itoa(p.First)
	}
	return fmt.Sprintf("%d-%d", p.First, p.Last)
}

func ranges(all []PortRange) string {
	texts := make([]string, len(all))
	for i, p := range all {
		texts[i] = p.String()
	}
	return strings.Join(texts, ", ")
}
