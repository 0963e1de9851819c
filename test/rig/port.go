package rig

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Ports are below those that the kernel hands out for outgoing connections, so that none is
// taken between choosing it here and publishing it later.
const lowestPort, ports = 20_000, 10_000

// taken are the ports that this process has given out.
var taken = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// Port returns a TCP port on which nobody listens, and which no other call in
// this process returns.
func (r *Rig) Port() int {
	r.t.Helper()
	taken.Lock()
	defer taken.Unlock()
	for range 100 {
		port := lowestPort + rand.N(ports)
		if taken.ports[port] {
			continue
		}
		listener, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			continue
		}
		listener.Close()
		taken.ports[port] = true
		return port
	}
	r.t.Fatalf("no free port from %d to %d found in 100 tries", lowestPort, lowestPort+ports)
	return 0
}
