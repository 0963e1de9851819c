package sshd

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"

	"golang.org/x/crypto/ssh"
)

// rawClient breaks the rules of SSH: it sends any packet at any time, and reads only when it is
// told to.
type rawClient struct {
	conn      net.Conn
	in        *bufio.Reader
	sessionID []byte
	seal      *sealer // nil before the first key exchange
	open      *sealer
	versions  [2]string
}

// The messages of RFC 4250 that a rawClient knows.
const (
	msgServiceRequest = 5
	msgKexInit        = 20
	msgNewKeys        = 21
	msgKexECDHInit    = 30
	msgAuthRequest    = 50
	msgAuthSuccess    = 52
	msgGlobalRequest  = 80
	msgChannelOpen    = 90
	msgChannelRequest = 98
)

// sealer is AES-128-GCM as in RFC 5647, for one direction.
type sealer struct {
	aead  cipher.AEAD
	nonce [12]byte
}

func newSealer(key, nonce []byte) *sealer {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return &sealer{aead, [12]byte(nonce)}
}

func (s *sealer) next() []byte {
	nonce := s.nonce
	binary.BigEndian.PutUint64(s.nonce[4:], binary.BigEndian.Uint64(s.nonce[4:])+1)
	return nonce[:]
}

// newRawClient exchanges versions and keys.
func newRawClient(conn net.Conn) (*rawClient, error) {
	c := &rawClient{conn: conn, in: bufio.NewReader(conn)}
	c.versions[0] = "SSH-2.0-raw"
	if _, err := io.WriteString(conn, c.versions[0]+"\r\n"); err != nil {
		return nil, err
	}
	version, err := c.in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	c.versions[1] = strings.TrimRight(version, "\r\n")
	return c, c.exchangeKeys()
}

func kexInit() []byte {
	return ssh.Marshal(struct {
		ID                                   byte
		Cookie                               [16]byte
		Kex, Key, C1, C2, M1, M2, Z1, Z2, L1 []string
		L2                                   []string
		Follows                              bool
		Reserved                             uint32
	}{
		ID: msgKexInit, Kex: []string{ssh.KeyExchangeCurve25519}, Key: []string{ssh.KeyAlgoED25519},
		C1: []string{ssh.CipherAES128GCM}, C2: []string{ssh.CipherAES128GCM},
		M1: []string{ssh.HMACSHA256}, M2: []string{ssh.HMACSHA256}, Z1: []string{"none"}, Z2: []string{"none"},
	})
}

// exchangeKeys does RFC 8731.
func (c *rawClient) exchangeKeys() error {
	mine := kexInit()
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	public := private.PublicKey().Bytes()
	_ = c.send(mine)
	_ = c.send(ssh.Marshal(struct {
		ID byte
		Q  []byte
	}{msgKexECDHInit, public}))
	theirs, err := c.expect(msgKexInit)
	if err != nil {
		return err
	}
	packet, err := c.expect(31)
	if err != nil {
		return err
	}
	var reply struct {
		ID                 byte
		Host, Q, Signature []byte
	}
	if err := ssh.Unmarshal(packet, &reply); err != nil {
		return err
	}
	peer, err := ecdh.X25519().NewPublicKey(reply.Q)
	if err != nil {
		return err
	}
	shared, err := private.ECDH(peer)
	if err != nil {
		return err
	}
	k := new(big.Int).SetBytes(shared)
	hash := sha256.Sum256(ssh.Marshal(struct {
		V1, V2               string
		I1, I2, Host, Q1, Q2 []byte
		K                    *big.Int
	}{c.versions[0], c.versions[1], mine, theirs, reply.Host, public, reply.Q, k}))
	if c.sessionID == nil {
		c.sessionID = hash[:]
	}
	derive := func(letter byte, size int) []byte {
		key := sha256.Sum256(append(append(append(ssh.Marshal(struct{ K *big.Int }{k}), hash[:]...), letter), c.sessionID...))
		return key[:size]
	}
	_ = c.send([]byte{msgNewKeys})
	c.seal = newSealer(derive('C', 16), derive('A', 12))
	if _, err := c.expect(msgNewKeys); err != nil {
		return err
	}
	c.open = newSealer(derive('D', 16), derive('B', 12))
	return nil
}

// login authenticates with a signature at once, without asking whether the key would be accepted.
func (c *rawClient) login(signer ssh.Signer) error {
	_ = c.send(append([]byte{msgServiceRequest}, marshalText("ssh-userauth")...))
	if _, err := c.expect(6); err != nil {
		return err
	}
	algorithm := signer.PublicKey().Type()
	if algorithm == ssh.KeyAlgoRSA {
		algorithm = ssh.KeyAlgoRSASHA512
	}
	type request struct {
		ID                    byte
		User, Service, Method string
		Signed                bool
		Algorithm             string
		Key                   []byte
	}
	r := request{msgAuthRequest, "miek", "ssh-connection", "publickey", true, algorithm, signer.PublicKey().Marshal()}
	signature, err := signer.Sign(rand.Reader, append(ssh.Marshal(struct{ ID []byte }{c.sessionID}), ssh.Marshal(r)...))
	if err != nil {
		return err
	}
	_ = c.send(append(ssh.Marshal(r), ssh.Marshal(struct{ S []byte }{ssh.Marshal(signature)})...))
	_, err = c.expect(msgAuthSuccess)
	return err
}

// expect reads a packet of this kind.
func (c *rawClient) expect(kind byte) ([]byte, error) {
	packet, err := c.read()
	if err == nil && packet[0] != kind {
		err = fmt.Errorf("packet %d instead of %d", packet[0], kind)
	}
	return packet, err
}

// send sends a packet.
func (c *rawClient) send(payload []byte) error {
	const header, tag = 4, 16
	block, covered := 8, header+1
	if c.seal != nil {
		block, covered = 16, 1
	}
	padding := 2*block - (covered+len(payload))%block
	packet := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)+padding))
	packet = append(append(append(packet, byte(padding)), payload...), make([]byte, padding)...)
	if c.seal != nil {
		packet = c.seal.aead.Seal(packet[:header], c.seal.next(), packet[header:], packet[:header])
	}
	_, err := c.conn.Write(packet)
	return err
}

// openChannel asks for a channel for sessions, whose window is as large as can be.
func (c *rawClient) openChannel(number uint32) error {
	return c.send(ssh.Marshal(struct {
		ID                     byte
		Kind                   string
		Number, Window, Packet uint32
	}{msgChannelOpen, "session", number, 1<<31 - 1, 32 << 10}))
}

// request sends a request on a channel.
func (c *rawClient) request(channel uint32, kind string, wantReply bool, payload []byte) error {
	return c.send(ssh.Marshal(struct {
		ID        byte
		Channel   uint32
		Kind      string
		WantReply bool
		Payload   []byte `ssh:"rest"`
	}{msgChannelRequest, channel, kind, wantReply, payload}))
}

func (c *rawClient) read() ([]byte, error) {
	length := make([]byte, 4)
	if _, err := io.ReadFull(c.in, length); err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint32(length))
	if c.open != nil {
		size += c.open.aead.Overhead()
	}
	packet := make([]byte, size)
	_, err := io.ReadFull(c.in, packet)
	if err == nil && c.open != nil {
		packet, err = c.open.aead.Open(nil, c.open.next(), packet, length)
	}
	if err != nil {
		return nil, err
	}
	if len(packet) < 2 || len(packet) < 2+int(packet[0]) {
		return nil, errors.New("a packet without content")
	}
	return packet[1 : len(packet)-int(packet[0])], nil
}
