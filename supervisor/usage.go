package supervisor

import (
	"context"
	"runtime"
	"sync"
	"time"

	"pgo/internal/hoststat"
	"pgo/proto"
)

const (
	// usageTimeout is how long a worker has to report what its containers use. It is less than
	// the time between two snapshots, so that a worker that hangs delays nobody.
	usageTimeout = hoststat.Interval * 3 / 4
	// usagePatience is the same for a single snapshot.
	usagePatience = 5 * time.Second
	// maxUsages bounds how many containers of one service count.
	maxUsages = 200
)

// reading is what one worker has reported at one moment.
type reading struct {
	process *process // the one that reported it: another process has another clock
	reply   *proto.UsageReply
}

// readings are those of all services that have reported, by name.
type readings map[string]reading

// readUsages asks all workers at the same time, and returns what they have reported when the last
// one has, or when the time is up.
func readUsages(ctx context.Context, services []seen, patience time.Duration) readings {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	all := readings{}
	var mu sync.Mutex // guards all
	var asking sync.WaitGroup
	for _, s := range services {
		if s.process == nil || s.state != ready && s.state != draining {
			continue
		}
		asking.Go(func() {
			reply, err := s.process.rpc.Usage(ctx, &proto.UsageRequest{})
			if err != nil {
				return // shown as not known
			}
			mu.Lock()
			defer mu.Unlock()
			all[s.service.Name] = reading{s.process, reply}
		})
	}
	asking.Wait()
	return all
}

// orBefore returns the newest reading of each service: the previous one, if it has not reported
// this time.
func (r readings) orBefore(before readings, services []seen) readings {
	newest := readings{}
	for _, s := range services {
		name := s.service.Name
		if one, ok := r[name]; ok {
			newest[name] = one
		} else if one, ok := before[name]; ok {
			newest[name] = one
		}
	}
	return newest
}

// usage returns what the containers of a service use, from this reading and the previous one, or
// nil if that was not reported.
func (r readings) usage(before readings, service string) *hoststat.Usage {
	now, ok := r[service]
	if !ok {
		return nil
	}
	then, elapsed := before[service], time.Duration(0)
	if then.process == now.process {
		elapsed = time.Duration(now.reply.GetAtNs() - then.reply.GetAtNs())
	}
	spent := map[string]uint64{}
	for _, c := range then.reply.GetContainers() {
		spent[c.GetName()] = c.GetCpuNs()
	}
	u := &hoststat.Usage{Containers: []hoststat.Container{}}
	if elapsed > 0 {
		u.CPU = new(float64)
	}
	containers := now.reply.GetContainers()
	for _, c := range containers[:min(len(containers), maxUsages)] {
		one := container(c)
		running := c.GetState() == proto.ContainerUsage_STATE_RUNNING
		if running {
			u.Running++
		}
		switch {
		case running && c.GetMemory() == 0: // the engine cannot measure it
			u.CPU = nil
		case elapsed > 0:
			one.CPU = new(share(c.GetCpuNs(), spent[c.GetName()], elapsed))
			if u.CPU != nil {
				*u.CPU += *one.CPU
			}
		}
		u.Memory += one.Memory
		u.Restarts += one.Restarts
		u.Containers = append(u.Containers, one)
	}
	return u
}

func container(c *proto.ContainerUsage) hoststat.Container {
	return hoststat.Container{
		Name: brief(c.GetName()), Service: brief(c.GetService()), State: proto.Word(c.GetState()), Health: proto.Word(c.GetHealth()),
		Memory: c.GetMemory(), Restarts: int(c.GetRestarts()),
	}
}

// share returns how much of one core was used within the time, in percent. A counter that went
// backwards belongs to a container that has been started since.
func share(now, before uint64, elapsed time.Duration) float64 {
	if now >= before {
		now -= before
	}
	return min(100*float64(now)/float64(elapsed), 100*float64(runtime.NumCPU()))
}
