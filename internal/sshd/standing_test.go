package sshd

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// numbered returns the n-th of many sources.
func numbered(n int) netip.Prefix {
	var ip [4]byte
	binary.BigEndian.PutUint32(ip[:], uint32(n))
	return netip.PrefixFrom(netip.AddrFrom4(ip), 32)
}

func TestFailuresSlowDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecords(DefaultLimits())
		source, other := numbered(1), numbered(2)
		expect := func(when string, of netip.Prefix, standing standing, delay time.Duration) {
			t.Helper()
			if s, d := r.of(of); s != standing || d != delay {
				t.Errorf("%s: standing %v, the next login waits %s", when, s, d)
			}
		}
		for i, want := range []time.Duration{0, 0, 0, 0, 100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000, 10000} {
			if got := r.fails(source); got != want*time.Millisecond {
				t.Errorf("after failure %d, the next login waits %s", i+1, got)
			}
		}
		expect("after many failures", source, failing, 10*time.Second)
		r.fails(other)
		expect("after one failure", other, unknown, 0)
		expect("a stranger", numbered(3), unknown, 0)
		time.Sleep(3 * time.Minute)
		expect("three minutes later", source, failing, 1600*time.Millisecond)
		r.fails(source)
		expect("after one more failure", source, failing, 3200*time.Millisecond)
		time.Sleep(time.Hour)
		expect("an hour later", source, unknown, 0)
		for range 100 {
			r.fails(source)
		}
		r.works(source)
		expect("after a login that worked", source, proven, 0)
		r.fails(source)
		expect("after a slip", source, proven, 0)
		for range 4 {
			r.fails(source)
		}
		expect("after five of them", source, failing, 100*time.Millisecond)
		time.Sleep(time.Minute)
		expect("when one is forgotten", source, proven, 0)
	})
}

// Failures are not forgotten because of a few from each of many other addresses.
func TestRecordsAreBounded(t *testing.T) {
	r := newRecords(DefaultLimits())
	bad, good := numbered(0), numbered(1)
	for range 12 {
		r.fails(bad)
	}
	r.works(good)
	for n := range 5 * maxRecords {
		r.fails(numbered(n + 2))
		r.fails(numbered(n + 2))
	}
	if len(r.by) > maxRecords || len(r.by) < maxRecords/2 {
		t.Errorf("it remembers %d sources", len(r.by))
	}
	if got, delay := r.of(bad); got != failing || delay != 10*time.Second {
		t.Errorf("a source with many failures has the standing %v and waits %s", got, delay)
	}
	if got, _ := r.of(good); got != proven {
		t.Errorf("a source with a login that worked has the standing %v", got)
	}
}

func TestRation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r ration
		var summaries []int
		flood := func(n int) (lines int) {
			for range n {
				if r.allows(func(n int) { summaries = append(summaries, n) }) {
					lines++
				}
			}
			time.Sleep(rationPeriod + time.Second)
			synctest.Wait()
			return lines
		}
		for _, n := range []int{1000, 3, rationLines, 0, 11} {
			if got := flood(n); got != min(n, rationLines) {
				t.Errorf("of %d events, %d are logged", n, got)
			}
		}
		if len(summaries) != 2 || summaries[0] != 1000-rationLines || summaries[1] != 11-rationLines {
			t.Errorf("the summaries are %v", summaries)
		}
	})
}
