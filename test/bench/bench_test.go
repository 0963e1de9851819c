// Package bench measures pgo from outside: the built programs on the real engine, each figure
// next to one of the bare tools, taken in the same run. docs/benchmarks.md says what the
// figures mean and how to get them.
//
// Each benchmark itself sets how often it measures, whatever -benchtime says: one operation is
// the whole measurement. None fails for being slow.
package bench

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgo/test/rig"
	"pgo/worker/sandbox"
)

func TestMain(m *testing.M) {
	sandbox.Main() // this binary confines the compose of a worker that runs in this process
	rig.Main(m)
}

// sample has the repeated measurements of one thing.
type sample []float64

// median is robust against the moments in which the machine did something else.
func (s sample) median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// report makes a figure part of the benchmark's line, in place of the time that the measurement
// took.
func report(b *testing.B, figure float64, unit string) {
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(figure, unit)
}

// compare reports the medians of the measurement and of its baseline, and their ratio.
func compare(b *testing.B, unit, name string, measured sample, baseName string, baseline sample) {
	report(b, measured.median(), unit+"-"+name)
	report(b, baseline.median(), unit+"-"+baseName)
	report(b, measured.median()/baseline.median(), name+"/"+baseName)
}

// deployed waits until the service has deployed the commit. It reads the log,
// since asking for the status takes time from what is measured.
func deployed(b *testing.B, pgod *rig.Pgod, s *rig.Service, commit string) {
	b.Helper()
	rig.Until(b, s.Name+" to deploy "+commit[:7], func() error {
		for line := range strings.Lines(pgod.Log()) {
			if strings.Contains(line, "deployed:") && strings.Contains(line, "service="+s.Name+" ") && strings.Contains(line, "commit="+commit[:7]) {
				return nil
			}
		}
		return fmt.Errorf("the log does not say so")
	})
}
