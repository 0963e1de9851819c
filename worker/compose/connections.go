package compose

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/prometheus/procfs"
)

// The states of a TCP connection, as the kernel numbers them, over which something may still be sent.
const (
	established = 0x01
	closeWait   = 0x08
)

// Connections counts the connections that a container has accepted on any of these ports, as seen
// in its network namespace. It is an error if that cannot be seen: the engine is on another host, or
// the kernel hides the processes of others.
func Connections(ctx context.Context, e *Engine, id string, ports []int) (int, error) {
	c, err := e.connect()
	if err != nil {
		return 0, err
	}
	inspect, err := c.container(ctx, id)
	if err != nil {
		return 0, err
	}
	if inspect.State == nil || inspect.State.Pid == 0 {
		return 0, nil // it has ended
	}
	inside, err := procfs.NewFS(fmt.Sprintf("/proc/%d", inspect.State.Pid))
	if err != nil {
		return 0, err
	}
	if groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", inspect.State.Pid)); err != nil || !bytes.Contains(groups, []byte(id)) {
		return 0, errors.New("its processes cannot be seen on this host")
	}
	count := 0
	//lint:ignore SA1019 slow if there are very many sockets; the alternative that it names needs kernel modules
	for i, table := range []func() (procfs.NetTCP, error){inside.NetTCP, inside.NetTCP6} {
		sockets, err := table()
		if err != nil && i == 0 {
			return 0, err // without IPv6 there is no second table
		}
		for _, s := range sockets {
			if (s.St == established || s.St == closeWait) && slices.Contains(ports, int(s.LocalPort)) {
				count++
			}
		}
	}
	return count, nil
}
