package main

import (
	"net"
	"strconv"
)

// place is a host to be talked to, with all that is known of it before it is.
type place struct {
	name        string // as it was typed
	host        string // its name or address
	port        uint16
	login       string
	identities  []string // files of private keys; none: those that are found
	knownHosts  string   // a file; empty: the usual ones
	fingerprint string   // of the host's key; empty: the files of known hosts tell
}

// address is what is connected to.
func (p place) address() string { return net.JoinHostPort(p.host, strconv.Itoa(int(p.port))) }

// place returns what the flags say of a host.
func (c *client) place(name string) place {
	return place{
		name:        name,
		host:        name,
		port:        c.flags.port,
		login:       c.flags.login,
		identities:  c.flags.identities,
		knownHosts:  c.flags.knownHosts,
		fingerprint: c.flags.fingerprint,
	}
}
