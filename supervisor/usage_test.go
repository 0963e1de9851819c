package supervisor

import (
	"math"
	"runtime"
	"slices"
	"testing"
	"time"

	"pgo/internal/hoststat"
	"pgo/proto"
)

func told(at time.Duration, containers ...*proto.ContainerUsage) *proto.UsageReply {
	return &proto.UsageReply{AtNs: at.Nanoseconds(), Containers: containers}
}

func running(name string, cpu time.Duration) *proto.ContainerUsage {
	return &proto.ContainerUsage{Name: name, Service: "web", State: proto.ContainerUsage_STATE_RUNNING, CpuNs: uint64(cpu), Memory: 10, Restarts: 1}
}

// The usage between two readings follows from both, by the worker's own clock.
func TestUsage(t *testing.T) {
	p := &process{}
	before := readings{"web": {p, told(10*time.Second, running("a", time.Second), running("b", 5*time.Second), running("gone", time.Second))}}
	job := &proto.ContainerUsage{Name: "job\n", State: proto.ContainerUsage_STATE_EXITED}
	now := readings{"web": {p, told(12*time.Second,
		running("a", time.Second+500*time.Millisecond), // 25 %
		running("b", 200*time.Millisecond),             // started anew: 10 %
		running("new", 100*time.Millisecond),           // 5 %
		job,
	)}}
	u := now.usage(before, "web")
	if u.CPU == nil || math.Abs(*u.CPU-40) > 1e-9 || u.Memory != 30 || u.Running != 3 || u.Restarts != 3 {
		t.Errorf("got %+v", u)
	}
	var shares []float64
	for _, c := range u.Containers {
		shares = append(shares, math.Round(*c.CPU))
	}
	if !slices.Equal(shares, []float64{25, 10, 5, 0}) || u.Containers[3].Name != `job\n` {
		t.Errorf("got %v, %+v", shares, u.Containers)
	}

	if u := now.usage(nil, "web"); u.CPU != nil || u.Containers[0].CPU != nil || u.Memory != 30 {
		t.Errorf("the first reading reports CPU usage: %+v", u)
	}
	if u := now.usage(now, "web"); u.CPU != nil {
		t.Errorf("the same reading twice reports CPU usage: %+v", u)
	}
	other := readings{"web": {&process{}, before["web"].reply}}
	if u := now.usage(other, "web"); u.CPU != nil {
		t.Errorf("another process's clock counts: %+v", u)
	}
	if u := now.usage(before, "db"); u != nil {
		t.Errorf("a service without a reading is shown with %+v", u)
	}
}

// What an engine cannot measure is not shown as nothing.
func TestUsageThatIsNotKnown(t *testing.T) {
	p, unknown := &process{}, running("a", 0)
	unknown.Memory = 0
	before, now := readings{"web": {p, told(1, unknown)}}, readings{"web": {p, told(2, unknown)}}
	if u := now.usage(before, "web"); u.CPU != nil || u.Containers[0].CPU != nil || u.Running != 1 {
		t.Errorf("got %+v", u)
	}
	table := topTable(hoststat.Snapshot{Services: []hoststat.Service{{Name: "web", Usage: now.usage(before, "web")}}})
	if cpu, memory := table[1][4].Text, table[1][5].Text; cpu != "-" || memory != "-" {
		t.Errorf("shown as %q and %q", cpu, memory)
	}
	both := readings{"web": {p, told(2, unknown, running("b", 1))}}
	if u := both.usage(readings{"web": {p, told(1, running("b", 0))}}, "web"); u.CPU != nil || u.Containers[1].CPU == nil {
		t.Errorf("one of two: %+v", u)
	}
	stopped := hoststat.Service{Name: "web", Usage: &hoststat.Usage{Containers: []hoststat.Container{{}}}}
	if memory := topTable(hoststat.Snapshot{Services: []hoststat.Service{stopped}})[1][5].Text; memory != "0B" {
		t.Errorf("stopped containers use %q", memory)
	}
}

// A lying worker costs others no more than a wrong number.
func TestUsageOfALiar(t *testing.T) {
	p := &process{}
	lie := func(at int64, cpu uint64) readings {
		return readings{"web": {p, &proto.UsageReply{AtNs: at, Containers: slices.Repeat([]*proto.ContainerUsage{{Name: "a", CpuNs: cpu, Memory: 1 << 63}}, 5*maxUsages)}}}
	}
	u := lie(1, math.MaxUint64).usage(lie(0, 0), "web")
	if most := 100 * float64(runtime.NumCPU()); *u.Containers[0].CPU != most || len(u.Containers) != maxUsages {
		t.Errorf("%f%% in %d containers", *u.Containers[0].CPU, len(u.Containers))
	}
	if u := lie(math.MaxInt64, 0).usage(lie(math.MinInt64, 0), "web"); u.CPU != nil {
		t.Errorf("a time that has no number: %f%%", *u.CPU)
	}
}

// A worker that misses one reading is compared with its previous one.
func TestNewestReading(t *testing.T) {
	p := &process{}
	services := []seen{granted("web"), granted("db"), granted("new")}
	before := readings{"web": {p, told(1)}, "db": {p, told(1)}, "removed": {p, told(1)}}
	now := readings{"web": {p, told(2)}}
	newest := now.orBefore(before, services)
	if len(newest) != 2 || newest["web"].reply.GetAtNs() != 2 || newest["db"].reply.GetAtNs() != 1 {
		t.Errorf("got %v", newest)
	}
	if first := now.orBefore(nil, services); len(first) != 1 {
		t.Errorf("the first time: %v", first)
	}
}
