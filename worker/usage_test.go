package worker

import (
	"context"
	"errors"
	"testing"
	"time"

	"pgo/proto"
	"pgo/worker/compose"
)

// Calls at the same time, or soon after, share one reading. A caller that leaves does not
// wait for it.
func TestReadingsAreShared(t *testing.T) {
	m := newMeter()
	readings := 0
	begun, release := make(chan struct{}), make(chan struct{})
	first := make(chan error)
	go func() {
		_, err := m.read(t.Context(), func(context.Context) ([]compose.Usage, error) {
			readings++
			close(begun)
			<-release
			return []compose.Usage{{Container: compose.Container{Name: "\xff", State: "running", Restarts: 2}, CPU: 7, Memory: 9}}, nil
		})
		first <- err
	}()
	<-begun
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := m.read(gone, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that left got %v", err)
	}
	close(release)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	m.last.AtNs += time.Hour.Nanoseconds() // however slow this machine is
	again, err := m.read(t.Context(), nil)
	if err != nil || readings != 1 {
		t.Fatalf("the next caller got %v after %d readings", err, readings)
	}
	if c := again.GetContainers()[0]; c.GetName() != "�" || c.GetCpuNs() != 7 || c.GetMemory() != 9 || c.GetRestarts() != 2 || c.GetState() != proto.ContainerUsage_STATE_RUNNING {
		t.Errorf("it got %v", c)
	}
}

// A reading that is old, or failed, is not given to the next caller.
func TestReadingsAreFresh(t *testing.T) {
	m := newMeter()
	fails := errors.New("the engine is away")
	if _, err := m.read(t.Context(), func(context.Context) ([]compose.Usage, error) { return nil, fails }); !errors.Is(err, fails) {
		t.Errorf("a failed reading: %v", err)
	}
	readings := 0
	for range 2 {
		_, err := m.read(t.Context(), func(context.Context) ([]compose.Usage, error) { readings++; return nil, nil })
		if err != nil {
			t.Error(err)
		}
		m.last.AtNs -= usageFresh.Nanoseconds()
	}
	if readings != 2 {
		t.Errorf("%d readings, not 2", readings)
	}
}
