package compose

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/moby/moby/client"
)

// pool is a range of addresses from which the engine takes those of networks that have none of
// their own in the file, in pieces of a size.
type pool struct {
	Base string
	Size int // the length of a piece's prefix, in bits
}

// builtInPools are those of an engine without default-address-pools. The engine's own bridge has a
// piece as well. They have been the same from 20.10 to 29.
var builtInPools = []pool{
	{"172.17.0.0/16", 16}, {"172.18.0.0/16", 16}, {"172.19.0.0/16", 16},
	{"172.20.0.0/14", 16}, {"172.24.0.0/14", 16}, {"172.28.0.0/14", 16},
	{"192.168.0.0/16", 20},
}

// maxPieces bounds how many pieces are counted: nobody runs out of more.
const maxPieces = 10_000

// Room is how many networks fit an engine.
type Room struct {
	Free     int      // how many more; at most: the engine also leaves out what the host has routes to
	Projects []string // of compose that have a network, sorted
}

// Room finds out how many networks fit.
func (e *Engine) Room(ctx context.Context) (Room, error) {
	said, err := e.info(ctx)
	if err != nil {
		return Room{}, err
	}
	c, err := e.connect()
	if err != nil {
		return Room{}, err
	}
	networks, err := c.networks(ctx, client.Filters{})
	if err != nil {
		return Room{}, err
	}
	var room Room
	var taken []netip.Prefix
	for _, n := range networks {
		if project := n.Labels[projectLabel]; project != "" {
			room.Projects = append(room.Projects, project)
		}
		for _, one := range n.subnets() {
			taken = append(taken, one.Subnet)
		}
	}
	slices.Sort(room.Projects)
	room.Projects = slices.Compact(room.Projects)
	pools := said.DefaultAddressPools
	if len(pools) == 0 {
		pools = builtInPools
	}
	room.Free, err = free(pools, taken)
	return room, err
}

// free counts the pieces of the pools for IPv4 that no network has any of.
func free(pools []pool, taken []netip.Prefix) (n int, err error) {
	for _, p := range pools {
		base, err := netip.ParsePrefix(p.Base)
		if err != nil {
			return 0, fmt.Errorf("cannot read the engine's address pools: %w", err)
		}
		if !base.Addr().Is4() || p.Size < base.Bits() || p.Size > 32 {
			continue
		}
		step := uint64(1) << (32 - p.Size)
		last := base.Masked().Addr().As4()
		at := uint64(last[0])<<24 | uint64(last[1])<<16 | uint64(last[2])<<8 | uint64(last[3])
		end := at + uint64(1)<<(32-base.Bits())
		for ; at < end && n < maxPieces; at += step {
			piece := netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(at >> 24), byte(at >> 16), byte(at >> 8), byte(at)}), p.Size)
			if !slices.ContainsFunc(taken, piece.Overlaps) {
				n++
			}
		}
	}
	return n, nil
}
