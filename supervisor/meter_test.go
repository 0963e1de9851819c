package supervisor

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// sent returns what a peer sends.
func sent(t *testing.T, write func(*http2.Framer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := write(http2.NewFramer(&b, nil)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func pings(n int) func(*http2.Framer) error {
	return func(f *http2.Framer) (err error) {
		for range n {
			err = errors.Join(err, f.WritePing(false, [8]byte{}))
		}
		return err
	}
}

// Frames cost the same in whatever pieces they arrive.
func TestFramesCost(t *testing.T) {
	all := sent(t, func(f *http2.Framer) error {
		return errors.Join(f.WriteSettings(), pings(3)(f), f.WriteData(1, false, make([]byte, frameShare)), f.WriteData(3, true, nil),
			f.WriteWindowUpdate(0, 1), f.WriteRawFrame(0xfa, 0, 0, []byte("whatever this is")))
	})
	want := 8 + 1 + float64(3*8+4+16)/frameShare
	for _, size := range []int{1, 2, 8, 9, 10, 17, 100, len(all)} {
		var f frames
		cost := 0.0
		for rest := all; len(rest) > 0; rest = rest[min(size, len(rest)):] {
			cost += f.cost(rest[:min(size, len(rest))]).all
		}
		if cost < want-0.001 || cost > want+0.001 {
			t.Errorf("in pieces of %d bytes they cost %f, want %f", size, cost, want)
		}
	}
}

// over returns a metered connection to a worker that does as it is told, and how often it was found
// to send too much.
func over(worker func(net.Conn)) (c *metered, floods *int) {
	here, there := net.Pipe()
	floods = new(int)
	c = &metered{Conn: here, meter: newMeter(func() { *floods++ }), closed: make(chan struct{})}
	go func() {
		worker(there)
		_ = there.Close()
	}()
	return c, floods
}

// A worker that sends frames as fast as it can is slowed down to what a worker may send, and in the
// end gives up its life.
func TestFloodsEnd(t *testing.T) {
	for name, write := range map[string]func(*http2.Framer) error{
		"pings":          pings(1000),
		"no data":        func(f *http2.Framer) error { return f.WriteData(7, false, nil) },
		"much data":      func(f *http2.Framer) error { return f.WriteData(7, false, make([]byte, 16<<10)) },
		"small reports":  func(f *http2.Framer) error { return f.WriteData(1, false, make([]byte, 100)) },
		"window updates": func(f *http2.Framer) error { return f.WriteWindowUpdate(1, 1) },
		"settings":       func(f *http2.Framer) error { return f.WriteSettings() },
		"unknown frames": func(f *http2.Framer) error { return f.WriteRawFrame(0xfa, 0, 0, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			piece := sent(t, write)
			synctest.Test(t, func(t *testing.T) {
				c, floods := over(func(conn net.Conn) {
					for {
						if _, err := conn.Write(piece); err != nil {
							return
						}
					}
				})
				began, total, f := time.Now(), 0.0, frames{}
				b := make([]byte, 32<<10)
				for {
					n, err := c.Read(b)
					total += f.cost(b[:n]).all
					if err != nil {
						if !errors.Is(err, errFlood) {
							t.Error(err)
						}
						break
					}
				}
				_ = c.Close()
				took := time.Since(began)
				if took < floodTime || took > 3*floodTime {
					t.Errorf("it was noticed after %s", took)
				}
				if most := sendBurst + sendRate*took.Seconds() + 8000; total > most {
					t.Errorf("frames for %f tokens were read, more than %f", total, most)
				}
				if *floods != 1 || !c.meter.flooded() {
					t.Errorf("it was said %d times", *floods)
				}
			})
		})
	}
}

// What operations print is passed on as fast as it comes, and so is what a worker has to say now
// and then, for as long as it lives.
func TestOutputIsNoFlood(t *testing.T) {
	for name, test := range map[string]struct {
		write func(*http2.Framer) error
		size  int // of a message of output; 0: it is none
		pause time.Duration
	}{
		"large output": {func(f *http2.Framer) error { return f.WriteData(3, false, make([]byte, 16<<10)) }, 16 << 10, 0},
		"small output": {func(f *http2.Framer) error { return f.WriteData(3, false, make([]byte, 20)) }, 12, 0},
		"reports":      {func(f *http2.Framer) error { return f.WriteData(1, false, make([]byte, 2000)) }, 0, 20 * time.Millisecond},
		"pings":        {pings(1), 0, 10 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			const pieces = 30_000
			piece := sent(t, test.write)
			synctest.Test(t, func(t *testing.T) {
				c, floods := over(func(conn net.Conn) {
					for range pieces {
						time.Sleep(test.pause)
						_, _ = conn.Write(piece)
					}
				})
				began, b := time.Now(), make([]byte, len(piece))
				for {
					if _, err := io.ReadFull(c, b); err != nil {
						break
					}
					if test.size > 0 {
						c.meter.passed(test.size)
					}
				}
				if took := time.Since(began) - pieces*test.pause; took > time.Second || *floods > 0 {
					t.Errorf("it took %s longer than it has to; floods: %d", took, *floods)
				}
				_ = c.Close()
			})
		})
	}
}

// A worker that waits is let go when its connection is closed, and a burst is forgotten.
func TestBurstIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter(func() { t.Error("it counts as a flood") })
		for range 20 {
			wait := m.spend(price{all: sendBurst + sendRate}, time.Now())
			if wait <= 0 || wait > 2*time.Second {
				t.Fatalf("it has to wait %s", wait)
			}
			time.Sleep(wait)
			m.wait(wait)
			time.Sleep(sendBurst / sendRate * time.Second)
			m.spend(price{all: 1}, time.Now())
		}

		c, _ := over(func(conn net.Conn) { _, _ = conn.Write(sent(t, pings(1))) })
		c.meter.spend(price{all: 2 * sendBurst}, time.Now())
		go func() {
			time.Sleep(nap / 2)
			_ = c.Close()
		}()
		began := time.Now()
		if _, _ = c.Read(make([]byte, 100)); time.Since(began) > nap {
			t.Errorf("it waited %s for a connection that is closed", time.Since(began))
		}
	})
}

// No more is given back than data has cost, and nothing for nothing.
func TestRefundsCannotBeForged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spent := func(write func(*http2.Framer) error) (m *meter, left func() float64) {
			m = newMeter(func() {})
			m.spend((&frames{}).cost(sent(t, write)), time.Now())
			return m, func() float64 { return sendBurst - m.tokens }
		}
		m, missing := spent(func(f *http2.Framer) error {
			return errors.Join(pings(1000)(f), f.WriteData(3, false, make([]byte, 16<<10)))
		})
		before := missing()
		for range 3000 {
			m.passed(0)
		}
		if missing() != before {
			t.Errorf("empty messages gave back %f", before-missing())
		}
		for range 3000 {
			m.passed(1)
		}
		if missing() < 1000 {
			t.Errorf("one frame of data has paid for %f of 1000 pings", 1000-missing())
		}
		m, missing = spent(func(f *http2.Framer) error { return f.WriteData(3, false, make([]byte, 100)) })
		if m.passed(90); missing() > 0.001 {
			t.Errorf("a message has cost %f", missing())
		}
		m.spend(price{all: 1000}, time.Now())
		if m.passed(90); missing() < 1000 {
			t.Errorf("a message was paid back twice: %f are left", missing())
		}
		// What time has given back is not given back again.
		m, missing = spent(func(f *http2.Framer) error { return f.WriteData(3, false, make([]byte, 16<<10)) })
		time.Sleep(time.Minute)
		m.spend(price{all: 1000}, time.Now())
		if m.passed(16 << 10); missing() < 999 {
			t.Errorf("%f of 1000 are left", missing())
		}
	})
}

// A worker whose output nobody reads is not a flood, for as long as somebody could; another one that
// sends the same is.
func TestStalledReadersAreNoFlood(t *testing.T) {
	for name, test := range map[string]struct {
		outlets, messages int
		then              func(*http2.Framer) error
		flood             bool
	}{
		"stalled":            {3, 3 * 12_000, pings(0), false},
		"nobody should read": {0, 3 * 12_000, pings(0), true},
		"too much for one":   {1, 40_000, pings(0), true},
		"pings":              {1, 1, pings(40_000), true},
	} {
		t.Run(name, func(t *testing.T) {
			message := sent(t, func(f *http2.Framer) error { return f.WriteData(3, false, make([]byte, 20)) })
			then := sent(t, test.then)
			synctest.Test(t, func(t *testing.T) {
				c, floods := over(func(conn net.Conn) {
					for range test.messages {
						_, _ = conn.Write(message)
					}
					_, _ = conn.Write(then)
				})
				for range test.outlets {
					defer c.meter.outlet()()
				}
				b := make([]byte, 1<<10)
				for err := error(nil); err == nil; {
					_, err = c.Read(b)
				}
				_ = c.Close()
				if *floods > 0 != test.flood {
					t.Errorf("floods: %d", *floods)
				}
			})
		})
	}
}
