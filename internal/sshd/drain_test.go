package sshd

import (
	"net"
	"testing"

	"golang.org/x/crypto/ssh"
)

// The library's queue is where drain looks for it, before a login and after.
func TestDrainFindsTheQueue(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client := make(chan *ssh.Client, 1)
	key := newSigner(t)
	go func() {
		c, _ := ssh.Dial("tcp", listener.Addr().String(), &ssh.ClientConfig{
			User: "miek", Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
		})
		client <- c
	}()
	ours, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	var before ssh.ServerPreAuthConn
	config := &ssh.ServerConfig{
		PreAuthConnCallback: func(c ssh.ServerPreAuthConn) { before = c },
		PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
			return &ssh.Permissions{}, nil
		},
	}
	config.AddHostKey(newSigner(t))
	sc, _, _, err := ssh.NewServerConn(ours, config)
	if err != nil {
		t.Fatal(err)
	}
	defer (<-client).Close()
	sc.Close()
	if !drain(before) {
		t.Error("there is no queue in a connection before its login")
	}
	if !drain(sc.Conn) {
		t.Error("there is no queue in a connection after its login")
	}
}
