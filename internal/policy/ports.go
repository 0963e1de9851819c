package policy

import (
	"slices"

	"pgo/internal/ports"
)

// port is one entry of ports. It may name a range, from which the engine takes a free port for
// each container: all of it must be allowed, and then the number of containers does not matter.
var port = on("port:", "the service's `ports`; where it has none: any but those of other services and pgod's own", func(c *checker, at place, entry map[string]any) {
	published, scalar := scalarText(entry["published"])
	if entry["published"] != nil && !scalar {
		return // refused for its form
	}
	if published == "" || published == "0" {
		if len(c.Ports) > 0 {
			c.refuse(at.key("published"), "a port of the engine's choice", "only "+ports.Join(c.Ports), "port:any")
		}
		return
	}
	at = at.key("published")
	asked, ok := ports.Parse(published)
	outside := len(c.Ports) > 0 && !asked.In(c.Ports)
	switch taken := slices.ContainsFunc(c.Granted, asked.Overlaps); {
	case !ok:
		c.refuse(at, published, "only a port, or a range such as 9000-9002", "")
	case taken && outside: // no entry lifts it
		c.refuse(at, published, "only "+ports.Join(c.Ports)+"; it belongs to another service or to pgod", "")
	case taken:
		c.refuse(at, published, "it belongs to another service or to pgod", "")
	case outside:
		c.refuse(at, published, "only "+ports.Join(c.Ports), "port:"+asked.String())
	}
})
