package supervisor

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"

	"pgo/proto"
)

// What a worker may send without being asked, in tokens: for good, at once, and how long it may be
// made to wait before it is killed. A frame of HTTP/2 costs one, and one more for each frameShare
// bytes. The output of operations does not count: what its frames have cost is given back as it is
// passed on, and a worker that only waits for its readers is not killed.
const (
	sendRate   = 500 // per second
	sendBurst  = 10_000
	frameShare = 4 << 10
	floodTime  = 10 * time.Second
)

// wholeFrame is the size of gRPC's frames when there is much to send.
const wholeFrame = 16 << 10

// meter bounds what the frames of one worker cost pgod: handling a PING, a report or a frame that
// belongs to nothing takes time, and a worker could send them as fast as it can.
type meter struct {
	flood func() // called once, when the worker has sent too much for too long

	mu      sync.Mutex // guards what follows
	tokens  float64    // less than 0: the worker has to wait
	at      time.Time  // of tokens
	tally   float64    // what data has cost that may be output which is not passed on yet; at most what is missing of tokens
	size    int        // of that data
	outlets int        // operations whose output is being passed on
	waited  time.Duration
	full    bool // flood was called
}

func newMeter(flood func()) *meter { return &meter{flood: flood, tokens: sendBurst, at: time.Now()} }

// price is what frames cost.
type price struct {
	all  float64
	data float64 // the part of it that was for frames with data, which may be output
	size int     // of that data
}

// spend charges the worker, and returns how long it has to wait.
func (m *meter) spend(p price, now time.Time) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(now.Sub(m.at).Seconds() * sendRate)
	m.tokens -= p.all
	m.tally += p.data
	m.size += p.size
	m.at = now
	if m.tokens >= sendBurst/2 {
		m.waited = 0
	}
	return time.Duration(max(-m.tokens, 0) / sendRate * float64(time.Second))
}

// add adds tokens. What the worker has again need not be given back. The lock is held.
func (m *meter) add(tokens float64) {
	m.tokens = min(m.tokens+tokens, sendBurst)
	if m.tally = min(m.tally, sendBurst-m.tokens); m.tally <= 0 {
		m.size = 0
	}
}

// earn gives the worker what it has to answer to so many bytes.
func (m *meter) earn(tokens float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(tokens)
}

// outlet counts an operation whose output is being passed on, until done is called.
func (m *meter) outlet() (done func()) {
	count := func(n int) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.outlets += n
	}
	count(1)
	return func() { count(-1) }
}

// passed counts a message of an operation's output, which has been passed on: it gives back what
// the message has cost if it had frames of its own, and no more than data has cost. One frame may
// have thousands of tiny messages.
func (m *meter) passed(size int) {
	if size == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	back := min(2+float64(size)*(1.0/frameShare+1.0/wholeFrame), m.tally)
	m.tally -= back
	m.size = max(m.size-size, 0)
	m.add(back)
}

// stalled reports whether the worker has to wait only because nobody reads its output: output that
// is still here, of which gRPC takes a window for each operation, has cost all that is missing. The
// lock is held.
func (m *meter) stalled() bool {
	return m.tally >= -m.tokens && m.size <= m.outlets*2*proto.StreamWindow
}

// wait counts time that the worker had to wait, and reports whether it is too much.
func (m *meter) wait(time time.Duration) (tooMuch bool) {
	m.mu.Lock()
	if !m.stalled() {
		m.waited += time
	}
	tooMuch = m.waited >= floodTime
	first := tooMuch && !m.full
	m.full = m.full || tooMuch
	m.mu.Unlock()
	if first {
		m.flood()
	}
	return tooMuch
}

// flooded reports whether the worker has sent too much.
func (m *meter) flooded() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.full
}

var errFlood = errors.New("the worker sends far more than it has to say")

// dataFrame is the type of HTTP/2's DATA frames.
const dataFrame = 0

// frames finds the frames in what an HTTP/2 peer sends, in pieces of any size.
type frames struct {
	header [9]byte
	have   int // of header
	skip   int // of the frame's content
}

// cost returns what the frames cost that begin in b, or whose header ends there.
func (f *frames) cost(b []byte) (cost price) {
	for len(b) > 0 {
		if f.skip > 0 {
			n := min(f.skip, len(b))
			f.skip -= n
			b = b[n:]
			continue
		}
		n := copy(f.header[f.have:], b)
		f.have += n
		b = b[n:]
		if f.have == len(f.header) {
			f.have, f.skip = 0, int(f.header[0])<<16|int(f.header[1])<<8|int(f.header[2])
			one := 1 + float64(f.skip)/frameShare
			cost.all += one
			if f.header[3] == dataFrame && f.skip > 0 {
				cost.data += one
				cost.size += f.skip
			}
		}
	}
	return cost
}

// metered is a connection to a worker that is read no faster than its meter allows.
type metered struct {
	net.Conn
	meter  *meter
	frames frames // only the reader uses it
	closed chan struct{}
	once   sync.Once
}

// nap is how often a reader that has to wait looks whether it still has to.
const nap = 100 * time.Millisecond

func (c *metered) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	for wait := c.meter.spend(c.frames.cost(b[:n]), time.Now()); wait > 0; wait = c.meter.spend(price{}, time.Now()) {
		wait = min(wait, nap)
		select {
		case <-time.After(wait):
		case <-c.closed:
			return n, err
		}
		if c.meter.wait(wait) {
			return 0, errFlood
		}
	}
	return n, err
}

// Write lets the worker answer: it says when it has room for more.
func (c *metered) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.meter.earn(float64(n) / frameShare)
	return n, err
}

func (c *metered) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// meteredCredentials puts the meter at the end of the handshake.
type meteredCredentials struct {
	credentials.TransportCredentials
	meter *meter
}

func (m meteredCredentials) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := m.TransportCredentials.ClientHandshake(ctx, authority, conn)
	if err != nil {
		return nil, nil, err
	}
	return &metered{Conn: conn, meter: m.meter, closed: make(chan struct{})}, info, nil
}

func (m meteredCredentials) Clone() credentials.TransportCredentials {
	return meteredCredentials{m.TransportCredentials.Clone(), m.meter}
}
