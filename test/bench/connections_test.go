package bench

import (
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"pgo/test/rig"
)

// BenchmarkConnections measures how many clients a second are served, from connecting to
// closing: `ping` by pgod and its worker, and for comparison `true` by an OpenSSH server, which
// starts a process and a shell for each. The client is Go's, in this process, with the same
// algorithms for both, so that both figures include the client's cost. Clients come one after
// the other, or eight at a time, which is as many as pgod lets log in at once from one address.
func BenchmarkConnections(b *testing.B) {
	r := rig.New(b)
	web := r.Service("web")
	commit := web.Push("first", r.Idle())
	pgod := r.Start(web)
	deployed(b, pgod, web, commit)
	server := startOpenSSH(b, r, web.Key)
	for _, clients := range []int{1, 8} {
		name := "one"
		if clients > 1 {
			name = "eight"
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				var pgo, openSSH sample
				for range 5 { // in turns, so that a busy moment affects both
					pgo = append(pgo, connectionRate(b, clients, web.Key, pgod.Address, web.Name+"//ping"))
					openSSH = append(openSSH, connectionRate(b, clients, web.Key, server.address, "true"))
				}
				compare(b, "conn/s", "pgod", pgo, "openssh", openSSH)
			}
		})
	}
}

// connectionRate returns how many connections a second that many clients make, each of which
// runs one command.
func connectionRate(b *testing.B, clients int, key *rig.Key, address, command string) float64 {
	b.Helper()
	const each = 40
	signer, err := ssh.ParsePrivateKey([]byte(key.PEM))
	if err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	var running sync.WaitGroup
	for range clients {
		running.Go(func() {
			for range each / clients {
				if err := connect(signer, address, command); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
	return float64(each/clients*clients) / time.Since(start).Seconds()
}

func connect(signer ssh.Signer, address, command string) error {
	const patience = 30 * time.Second
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	c, channels, requests, err := ssh.NewClientConn(conn, address, &ssh.ClientConfig{
		Config: ssh.Config{
			KeyExchanges: []string{ssh.KeyExchangeCurve25519},
			Ciphers:      []string{ssh.CipherAES128GCM},
		},
		User:              "root",
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
		HostKeyCallback:   ssh.InsecureIgnoreHostKey(), // they are servers of this benchmark's own
	})
	if err != nil {
		return err
	}
	client := ssh.NewClient(c, channels, requests)
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return err
	}
	return session.Run(command)
}
