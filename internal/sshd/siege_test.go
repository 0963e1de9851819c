package sshd

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgo/internal/wait"

	"golang.org/x/crypto/ssh"
)

// siege is a host under attack from many addresses, those of 127.0.0.0/8 from 127.1.0.0 on.
type siege struct {
	*testing.T
	*host
	ctx   context.Context // ends with the attack
	evil  []ssh.Signer    // the keys of a service whose people attack
	done  atomic.Int64    // what the attack has done so far
	going sync.WaitGroup
}

// besieged has a backend of three parties, each with keys: operators, the users of the service
// "valid", and those of "evil". A command of "evil" writes until its client is gone.
type besieged struct{ keys map[string]Party }

func (b besieged) Knows(_ context.Context, key ssh.PublicKey) (Party, bool) {
	party, known := b.keys[string(key.Marshal())]
	return party, known
}

func (b besieged) Run(ctx context.Context, s Command) Exit {
	if s.Command.Operation == "ping" {
		fmt.Fprintln(s.Stdout, "pong!")
		return Exit{}
	}
	for ctx.Err() == nil {
		if _, err := s.Stdout.Write(make([]byte, 32<<10)); err != nil {
			break
		}
	}
	return Exit{Status: 1}
}

// underAttack runs an attack until it has done so much. Meanwhile a client from elsewhere has to
// get its answers, and afterwards nothing of the attack may be left.
func underAttack(t *testing.T, often int64, attack func(s *siege), change ...func(*Limits)) {
	t.Helper()
	valid, operator := newSigner(t), newSigner(t)
	b := besieged{map[string]Party{
		string(valid.PublicKey().Marshal()):    {Services: []string{"valid"}},
		string(operator.PublicKey().Marshal()): {Operator: true},
	}}
	ctx, stop := context.WithCancel(t.Context())
	s := &siege{T: t, ctx: ctx}
	for range 8 {
		key := newSigner(t)
		s.evil = append(s.evil, key)
		b.keys[string(key.PublicKey().Marshal())] = Party{Services: []string{"evil"}}
	}
	// A valid client gets more time than it should need: the machine may be slow.
	patient := func(l *Limits) { l.Stay = 500 * time.Millisecond }
	s.host = startHost(t, b, append(change, patient)...)
	s.ping(t, valid)
	eventually(t, "the host is idle", s.idle)
	goroutines, files := runtime.NumGoroutine(), openFiles(t)

	attack(s)
	var took []time.Duration
	for deadline := time.Now().Add(patience); s.done.Load() < often || len(took) < 4; {
		if t.Failed() || time.Now().After(deadline) {
			t.Fatalf("the attack has done only %d of %d", s.done.Load(), often)
		}
		took = append(took, s.ping(t, valid), s.ping(t, operator))
		s.newcomer(valid, 100+len(took))
	}
	if held := memory(); held > 1<<30 {
		t.Errorf("%d MiB are in use", held>>20)
	}
	t.Logf("%d times, %d MiB; %d clients had their answer within %s, half of them within %s", s.done.Load(), memory()>>20, len(took),
		slices.Max(took).Round(time.Millisecond), slices.Sorted(slices.Values(took))[len(took)/2].Round(time.Millisecond))

	stop()
	s.going.Wait()
	eventually(t, "nothing is counted as open", s.idle)
	eventually(t, "the goroutines are gone", func() bool { return runtime.NumGoroutine() <= goroutines })
	eventually(t, "the files are closed", func() bool { return openFiles(t) <= files })
}

// newcomer is the client of an address from which nobody has ever logged in. Under attack
// from more addresses than can log in at once, it may need more than one try.
func (s *siege) newcomer(key ssh.Signer, address int) {
	s.Helper()
	eventually(s.T, "a newcomer gets its answer", func() bool { return s.pingFrom(address, key) == nil })
}

// ping logs in, gets its answer, and returns how long that took.
func (h *host) ping(t *testing.T, key ssh.Signer) time.Duration {
	t.Helper()
	begun := time.Now()
	if err := h.pingFrom(1, key); err != nil {
		t.Errorf("a valid client, after %s: %v", time.Since(begun), err)
	}
	return time.Since(begun)
}

// pingFrom gets the answer to a ping from 127.0.0.n.
func (h *host) pingFrom(n int, key ssh.Signer) error {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(n))}}
	conn, err := dialer.Dial("tcp", h.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	c, channels, asked, err := ssh.NewClientConn(conn, h.addr, &ssh.ClientConfig{
		User: "miek", Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.FixedHostKey(h.hostKey.PublicKey()),
	})
	if err != nil {
		return err
	}
	client := ssh.NewClient(c, channels, asked)
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	answer, err := session.Output("valid//ping")
	if err == nil && string(answer) != "pong!\n" {
		err = fmt.Errorf("the answer is %q", answer)
	}
	return err
}

// idle reports whether a host counts nothing as open.
func (h *host) idle() bool {
	h.lobby.mu.Lock()
	visitors := len(h.lobby.inside) + len(h.lobby.waiting)
	h.lobby.mu.Unlock()
	for _, shares := range []*shares{h.connections, h.sessions} {
		shares.mu.Lock()
		visitors += shares.all + shares.others + len(shares.byKey) + len(shares.byService)
		shares.mu.Unlock()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return visitors+len(h.open) == 0
}

func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

func memory() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// soldiers starts so many parts of an attack, which run until it is over. Each gets its number,
// and is called again when it returns.
func (s *siege) soldiers(n int, part func(soldier int)) {
	for soldier := range n {
		s.going.Go(func() {
			for s.ctx.Err() == nil {
				part(soldier)
				_ = wait.For(s.ctx, 10*time.Millisecond) // the processor is the victim's, too
			}
		})
	}
}

// dial connects from the n-th address. The connection ends when the attack does, if not before;
// nil means that the attack is over.
func (s *siege) dial(n int) net.Conn {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, byte(1+n>>16), byte(n>>8), byte(n))}}
	conn, err := dialer.DialContext(s.ctx, "tcp", s.addr)
	if err != nil {
		if s.ctx.Err() == nil {
			s.Errorf("an attacker cannot connect: %v", err)
		}
		return nil
	}
	// Otherwise the kernel would keep what is left of an attack for long.
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.(*net.TCPConn).SetWriteBuffer(8 << 10)
	stop := context.AfterFunc(s.ctx, func() { conn.Close() })
	return attackerConn{conn, stop}
}

// attackerConn is a connection that, once closed, no longer waits for the end of the attack.
type attackerConn struct {
	net.Conn
	stop func() bool
}

func (c attackerConn) Close() error {
	c.stop()
	return c.Conn.Close()
}

// raw exchanges keys from the n-th address, and logs in if there is a signer. It returns nil
// if it was not let in.
func (s *siege) raw(n int, signer ssh.Signer) *rawClient {
	conn := s.dial(n)
	if conn == nil {
		return nil
	}
	c, err := newRawClient(conn)
	if err == nil && signer != nil {
		err = c.login(signer)
	}
	if err != nil {
		conn.Close()
		return nil
	}
	return c
}

// client logs in properly. It returns nil if the attack is over.
func (s *siege) client(n int) *ssh.Client {
	conn := s.dial(n)
	if conn == nil {
		return nil
	}
	c, channels, requests, err := ssh.NewClientConn(conn, s.addr, &ssh.ClientConfig{
		User: "eve", Auth: []ssh.AuthMethod{ssh.PublicKeys(s.key(n))}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		if s.ctx.Err() == nil {
			s.Errorf("an attacker with a key cannot log in: %v", err)
		}
		conn.Close()
		return nil
	}
	return ssh.NewClient(c, channels, requests)
}

// may counts one more step of an attack, and limits their rate.
func (s *siege) may() bool {
	if s.done.Add(1)%100 == 0 {
		_ = wait.For(s.ctx, 10*time.Millisecond)
	}
	return s.ctx.Err() == nil
}

func (s *siege) key(n int) ssh.Signer { return s.evil[n%len(s.evil)] }

// linger holds a connection until the host closes it.
func linger(conn net.Conn) {
	_, _ = io.Copy(io.Discard, conn)
	conn.Close()
}
