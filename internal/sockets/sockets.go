// Package sockets reports the ports of this host that programs listen on, and which programs
// these are. It reads the kernel's tables: trying a port would need privileges, and would take
// the port for a moment. It must not know whose port is whose.
package sockets

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
)

// Socket is a socket that a program of this host listens on.
type Socket struct {
	IP       string // "0.0.0.0" and "::": all addresses
	Port     int
	Protocol string // tcp, udp

	inode uint64
}

// listening is the state of a TCP socket that waits for connections.
const listening = 0x0a

// Listening returns the sockets that programs listen on, in the network namespace of this
// process. A table that cannot be read counts as empty.
func Listening() []Socket {
	proc, err := procfs.NewDefaultFS()
	if err != nil {
		return nil
	}
	var all []Socket
	//lint:ignore SA1019 slow if there are very many sockets; the alternative that it names needs kernel modules
	for _, table := range []func() (procfs.NetTCP, error){proc.NetTCP, proc.NetTCP6} {
		sockets, _ := table()
		for _, s := range sockets {
			if s.St == listening {
				all = append(all, Socket{s.LocalAddr.String(), int(s.LocalPort), "tcp", s.Inode})
			}
		}
	}
	for _, table := range []func() (procfs.NetUDP, error){proc.NetUDP, proc.NetUDP6} {
		sockets, _ := table()
		for _, s := range sockets {
			if s.RemPort == 0 {
				all = append(all, Socket{s.LocalAddr.String(), int(s.LocalPort), "udp", s.Inode})
			}
		}
	}
	return all
}

// connected is the state of a TCP connection whose two ends are open.
const connected = 0x01

// IsRoots reports whether the client's end of a connection, at remote, belongs to root and is in the
// network namespace of this process. local is the server's end. A connection that is not found, for
// example because a table cannot be read, is not root's, and neither is an end that a program has
// closed: the kernel shows root as the owner of all those.
func IsRoots(local, remote *net.TCPAddr) bool {
	proc, err := procfs.NewDefaultFS()
	if err != nil {
		return false
	}
	found := false
	//lint:ignore SA1019 slow if there are very many sockets; the alternative that it names needs kernel modules
	for _, table := range []func() (procfs.NetTCP, error){proc.NetTCP, proc.NetTCP6} {
		sockets, _ := table()
		for _, s := range sockets {
			if int(s.LocalPort) != remote.Port || int(s.RemPort) != local.Port || !s.LocalAddr.Equal(remote.IP) || !s.RemAddr.Equal(local.IP) {
				continue
			}
			if s.UID != 0 || s.St != connected || s.Inode == 0 {
				return false
			}
			found = true
		}
	}
	return found
}

// Passing reports whether the kernel may have chosen the socket's port: the port of a UDP client,
// such as a resolver, looks like that of a server.
func (s Socket) Passing() bool {
	const first, last = 32768, 60999 // if ip_local_port_range cannot be read
	low, high := first, last
	if raw, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		_, _ = fmt.Sscan(string(raw), &low, &high)
	}
	return s.Protocol == "udp" && low <= s.Port && s.Port <= high
}

// Overlap reports whether two addresses to listen on are in conflict; an empty one is all of both
// families. An IPv4 address does not conflict with all of IPv6.
func Overlap(a, b string) bool {
	every := func(ip string) bool { return ip == "" || ip == "0.0.0.0" || ip == "::" }
	switch {
	case a == b, every(a) && every(b):
		return true
	case every(a):
		return a == "" || (a == "::") == strings.Contains(b, ":")
	case every(b):
		return Overlap(b, a)
	}
	return false
}

// Program is a process of this host.
type Program struct {
	PID       int
	Name      string // what it calls itself: any bytes
	Container string // ID of the container that it runs in, 64 hex digits; empty: none is visible
}

// containerOf finds the container that a process runs in by the names of its control groups; if
// containers are nested, the innermost.
func containerOf(process procfs.Proc) string {
	groups, _ := process.Cgroups() // it may be gone by now
	for _, group := range groups {
		if id := innermost(group.Path); id != "" {
			return id
		}
	}
	return ""
}

// innermost returns the last part of a control group's path that is, or ends in, the ID of a
// container: engines put the ID there alone, or as in docker-ID.scope.
func innermost(group string) string {
	id := ""
	for part := range strings.SplitSeq(group, "/") {
		part = strings.TrimSuffix(part, ".scope")
		part = part[strings.LastIndexByte(part, '-')+1:]
		if raw, err := hex.DecodeString(part); err == nil && len(raw) == sha256.Size && part == strings.ToLower(part) {
			id = part
		}
	}
	return id
}

// Programs finds the programs that have the sockets, as far as this process may see them. If
// several share a socket, it is the first.
func Programs(of []Socket) map[Socket]Program {
	found := map[Socket]Program{}
	if len(of) == 0 {
		return found
	}
	wanted := map[string][]Socket{}
	for _, s := range of {
		name := "socket:[" + strconv.FormatUint(s.inode, 10) + "]"
		wanted[name] = append(wanted[name], s)
	}
	processes, err := procfs.AllProcs()
	if err != nil {
		return found
	}
	for _, process := range processes {
		files, _ := process.FileDescriptorTargets() // it may be gone by now
		for _, file := range files {
			for _, s := range wanted[file] {
				if _, known := found[s]; !known {
					name, _ := process.Comm()
					found[s] = Program{process.PID, name, containerOf(process)}
				}
			}
		}
	}
	return found
}
