package worker

import (
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	protobuf "google.golang.org/protobuf/proto"

	"pgo/internal/printable"
	"pgo/proto"
	"pgo/worker/compose"
	"pgo/worker/deploy"
	"pgo/worker/gitrepo"
)

// board holds the last report, for whoever wants to see it and each change of it.
type board struct {
	mu     sync.Mutex
	report *proto.ReportReply // never modified, only replaced
	next   chan struct{}      // closed when report is replaced
}

func newBoard() *board {
	return &board{report: &proto.ReportReply{State: &proto.State{}}, next: make(chan struct{})}
}

func (b *board) get() (*proto.ReportReply, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.report, b.next
}

// edit replaces the report with a changed copy.
func (b *board) edit(change func(*proto.ReportReply)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	report := protobuf.CloneOf(b.report)
	change(report)
	if protobuf.Equal(report, b.report) {
		return
	}
	b.report = report
	close(b.next)
	b.next = make(chan struct{})
}

func (b *board) nextPoll(at time.Time) {
	b.edit(func(r *proto.ReportReply) { r.State.NextPoll = at.Unix() })
}

// broken reports a service that could not even be opened, and returns whether the error is new.
func (b *board) broken(err error) (news bool) {
	b.edit(func(r *proto.ReportReply) {
		if news = r.State.Error != text(err.Error()); news {
			r.State.Error, r.State.ErrorSince = text(err.Error()), time.Now().Unix()
		}
	})
	return news
}

// report puts the service's current state on the board. It reads the keys again if the head
// has moved.
func (w *Worker) report() {
	service := w.service.Load()
	if service == nil {
		return
	}
	w.board.edit(func(r *proto.ReportReply) {
		status := service.Status() // read in here, so that an older status never replaces it
		if !r.KeysKnown || r.State.Head != status.Head.String() {
			var keys []gitrepo.Key
			if keys, w.keyWarnings, r.KeysKnown = service.Keys(); r.KeysKnown {
				r.Keys = blobs(keys)
			}
		}
		r.State = &proto.State{
			Details:    texts(status.Details),
			Frozen:     text(status.Frozen.String()),
			Trigger:    text(status.Trigger),
			Unwell:     unwell(status),
			Wanted:     proto.Value[proto.State_Wanted](string(status.Wanted)),
			Head:       status.Head.String(),
			Deployed:   status.Deployed.String(),
			Activity:   activity(status.Activity),
			Outcome:    proto.Value[proto.State_Outcome](string(status.Outcome)),
			Reason:     text(status.Reason),
			Error:      text(status.Error),
			ErrorSince: seconds(status.ErrorSince),
			DeployedAt: seconds(status.DeployedAt),
			NextPoll:   r.State.NextPoll,
			Ports:      usedPorts(status.Ports),
			OnHost:     hostContainers(status.OnHost),
			Warnings:   texts(slices.Concat(status.Warnings, w.keyWarnings)),
			Proxy:      w.proxyState(status),
			Switches:   proto.SwitchList(status.Switches),
			Ways:       ways(status.Ways),
			Unswitched: text(status.Unswitched),
		}
		if r.State.Activity == proto.State_ACTIVITY_BUSY {
			r.State.Step = text(status.Activity)
		}
		if why := r.State.GetProxy().GetError(); why != "" {
			r.State.Unwell = append(r.State.Unwell, why)
		}
		if status.Frozen != nil {
			r.State.FrozenSince = seconds(status.Frozen.At)
		}
		if status.Pin != nil {
			r.State.Pinned, r.State.PinnedUntil = status.Pin.Commit.String(), seconds(status.Pin.Until)
		}
	})
}

// unwell returns what is not as it should be. Without the engine, what is known of containers is
// what was.
func unwell(status deploy.Status) []string {
	if status.EngineAway == "" {
		return texts(status.Unwell)
	}
	return texts(append([]string{status.EngineAway}, status.Unwell...))
}

// activity returns the kind of activity that a step is.
func activity(step string) proto.State_Activity {
	switch step {
	case "":
		return proto.State_ACTIVITY_UNSPECIFIED
	case deploy.Idle:
		return proto.State_ACTIVITY_IDLE
	}
	return proto.State_ACTIVITY_BUSY
}

// proxyState returns the state of a reverse proxy's snippet, or nil if the service is not a
// reverse proxy.
func (w *Worker) proxyState(status deploy.Status) *proto.ProxyState {
	s := status.Snippet
	if s == nil {
		return nil
	}
	switched := map[string]*proto.Switches{}
	for service, switches := range status.Switched {
		switched[service] = proto.SwitchList(switches)
	}
	return &proto.ProxyState{
		Switched: switched, CannotSwitch: text(status.CannotSwitch),
		Import: w.cfg.GetProxy().GetImport(), WrittenAt: seconds(s.WrittenAt),
		Reload: proto.Value[proto.ProxyState_Reload](string(s.Reload)), ReloadedAt: seconds(s.At), Error: text(s.Error),
	}
}

func ways(all []deploy.Way) []*proto.Way {
	var sent []*proto.Way
	for _, way := range all[:min(len(all), maxTexts)] {
		sent = append(sent, &proto.Way{Service: name(way.Service), StartFirst: way.StartFirst, Note: name(way.Note)})
	}
	return sent
}

func blobs(keys []gitrepo.Key) [][]byte {
	var all [][]byte
	for _, key := range keys {
		all = append(all, key.Blob)
	}
	return all
}

func usedPorts(ports []compose.Published) []*proto.UsedPort {
	var all []*proto.UsedPort
	for _, p := range ports {
		all = append(all, &proto.UsedPort{Ip: name(p.IP), Port: uint32(p.Port), Protocol: proto.Value[proto.UsedPort_Protocol](p.Protocol), Container: name(p.Container)})
	}
	return all
}

func hostContainers(containers []compose.HostContainer) []*proto.HostContainer {
	var all []*proto.HostContainer
	for _, c := range containers {
		all = append(all, &proto.HostContainer{Id: name(c.ID), Name: name(c.Name)})
	}
	return all
}

// text returns a valid, bounded string for what a program printed or a repository holds,
// which may be any bytes: a message that is not valid UTF-8 could not be sent at all.
func text(s string) string { return strings.ToValidUTF8(printable.Cut(s, maxText), "\uFFFD") }

// maxText bounds a text that is only displayed. A report that is too large could not be
// sent, and a worker without reports is considered broken.
const maxText = 8 << 10

// name is text with a smaller bound, for one of very many texts.
func name(s string) string { return text(printable.Cut(s, maxName)) }

// maxName bounds a name; a message can have hundreds of them.
const maxName = 256

// maxTexts bounds the length of a list that is only displayed.
const maxTexts = 200

func texts(list []string) []string {
	var all []string
	for i, s := range list {
		if i == maxTexts {
			return append(all, "…")
		}
		all = append(all, text(s))
	}
	return all
}

// seconds returns a time in Unix seconds, or 0 for the zero time.
func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// Report streams the current report and each later one. A report that is replaced before it
// could be sent is skipped.
func (w *Worker) Report(_ *proto.ReportRequest, stream grpc.ServerStreamingServer[proto.ReportReply]) error {
	<-w.configured
	for {
		report, next := w.board.get()
		if err := stream.Send(report); err != nil {
			return err
		}
		select {
		case <-next:
		case <-stream.Context().Done():
			return nil
		}
	}
}
