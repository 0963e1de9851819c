package main

import (
	"net"
	"slices"
	"strconv"
)

// defaultPort is pgod's.
const defaultPort = 2222

// place is a host to connect to, with everything that is known about it before.
type place struct {
	name        string // as it was typed
	host        string // its name or address
	port        uint16
	login       string
	identities  []string // files of private keys; none: those that pgoctl finds
	knownHosts  string   // a file; empty: the usual ones
	fingerprint string   // of the host's key; empty: use the files of known hosts
	saidBy      string   // where the fingerprint is from
}

// address is the address to connect to.
func (p place) address() string { return net.JoinHostPort(p.host, strconv.Itoa(int(p.port))) }

// places returns the hosts that were typed, and the members of typed groups.
func (c *client) places(file *hostsFile, typed []string) []place {
	var all []place
	for _, name := range typed {
		members, ok := file.groups[name]
		if !ok {
			members = []string{name}
		}
		for _, member := range members {
			if !slices.ContainsFunc(all, func(p place) bool { return p.name == member }) {
				all = append(all, c.place(file, member))
			}
		}
	}
	return all
}

// place returns what is known about a host: from flags first, then from the file.
func (c *client) place(file *hostsFile, name string) place {
	entry := file.hosts[name].or(file.defaults).or(hostEntry{port: defaultPort, login: c.localUser()})
	p := place{
		name:        name,
		host:        entry.host,
		port:        entry.port,
		login:       entry.login,
		identities:  entry.identities,
		knownHosts:  entry.knownHosts,
		fingerprint: entry.fingerprint,
		saidBy:      file.path,
	}
	if p.host == "" { // it is not in the file
		p.host = name
	}
	if c.flags.port != 0 {
		p.port = c.flags.port
	}
	if c.flags.login != "" {
		p.login = c.flags.login
	}
	if len(c.flags.identities) > 0 || c.env("PGOCTL_ID") != "" {
		p.identities = c.flags.identities
	}
	if c.flags.knownHosts != "" {
		p.knownHosts, p.fingerprint = c.flags.knownHosts, ""
	}
	if c.flags.fingerprint != "" {
		p.fingerprint, p.saidBy = c.flags.fingerprint, "--fingerprint"
	}
	return p
}
