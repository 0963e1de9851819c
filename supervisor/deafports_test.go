package supervisor

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgo/internal/sockets"
	"pgo/proto"
)

// at is a socket that listens at the port.
func at(ip string, port int) sockets.Socket {
	return sockets.Socket{IP: ip, Port: port, Protocol: "tcp"}
}

// idle makes the service one that rests.
func (s seen) idle() seen {
	s.report.Activity = proto.State_ACTIVITY_IDLE
	return s
}

// A port counts as deaf when nothing listens there in two looks in a row, and the engine is known
// to listen at that address for its containers: it need not.
func TestDeafPorts(t *testing.T) {
	web := granted("web").uses(used("0.0.0.0", 80, "tcp", "web-1"), used("::", 80, "tcp", "web-1")).idle()
	db := granted("db").uses(used("0.0.0.0", 5432, "tcp", "db-1"), used("127.0.0.1", 6000, "udp", "db-1"), used("0.0.0.0", 7000, "sctp", "db-1")).idle()
	other := granted("other").uses(used("0.0.0.0", 90, "tcp", "other-1")).idle()
	other.service.DockerHost = "unix:///run/other.sock"
	busy := granted("busy").uses(used("0.0.0.0", 91, "tcp", "busy-1"))
	busy.report.Activity = proto.State_ACTIVITY_BUSY
	gone := granted("gone").uses(used("0.0.0.0", 92, "tcp", "gone-1")).idle()
	gone.state = backoff
	all := []seen{web, db, other, busy, gone}

	type look struct {
		listeners []sockets.Socket
		deaf      string // containers and ports
		soon      bool
	}
	for name, looks := range map[string][]look{
		"no engine listens": {{deaf: ""}, {deaf: ""}},
		"all is well": {
			{listeners: []sockets.Socket{at("0.0.0.0", 80), at("::", 80), at("0.0.0.0", 5432)}},
			{listeners: []sockets.Socket{at("0.0.0.0", 80), at("::", 80), at("0.0.0.0", 5432)}},
		},
		"one was killed": {
			{listeners: []sockets.Socket{at("0.0.0.0", 80), at("::", 80), at("0.0.0.0", 5432)}},
			{listeners: []sockets.Socket{at("::", 80), at("0.0.0.0", 5432)}, soon: true},
			{listeners: []sockets.Socket{at("::", 80), at("0.0.0.0", 5432)}, deaf: "web-1 0.0.0.0:80"},
			{listeners: []sockets.Socket{at("::", 80), at("0.0.0.0", 5432)}, deaf: "web-1 0.0.0.0:80"},
			{listeners: []sockets.Socket{at("0.0.0.0", 80), at("::", 80), at("0.0.0.0", 5432)}},
		},
		"all were killed": {
			{listeners: []sockets.Socket{at("0.0.0.0", 80)}, soon: true},
			{deaf: "db-1 0.0.0.0:5432", soon: true},
			{deaf: "db-1 0.0.0.0:5432, web-1 0.0.0.0:80"},
		},
		"it was only late": {
			{listeners: []sockets.Socket{at("0.0.0.0", 80)}, soon: true},
			{listeners: []sockets.Socket{at("0.0.0.0", 80), at("0.0.0.0", 5432)}},
			{listeners: []sockets.Socket{at("0.0.0.0", 80)}, soon: true},
		},
	} {
		var watch portWatch
		for n, look := range looks {
			deaf, soon := watch.look(all, look.listeners)
			texts := map[string]bool{}
			for _, p := range deaf {
				texts[fmt.Sprintf("%s %s:%d", p.container, p.ip, p.port)] = true
			}
			wanted := 0
			for text := range strings.SplitSeq(look.deaf, ", ") {
				if text != "" && !texts[text] {
					t.Errorf("%s, look %d: %s is not among %v", name, n, text, deaf)
				} else if text != "" {
					wanted++
				}
			}
			if len(texts) != wanted || soon != look.soon {
				t.Errorf("%s, look %d: %v, again soon: %v", name, n, deaf, soon)
			}
		}
	}
}

// A deaf port is in the status of its service as long as it is deaf.
func TestDeafPortsAreShown(t *testing.T) {
	s := newSupervisor(t)
	defer s.Close(t.Context())
	web := granted("web").service
	v := newInstance(s.launcher, web, nil).view
	deaf := []hostPort{{"web", "web-1", "::", 80, "tcp"}}
	if !v.setDeaf(deaf) || v.setDeaf(slices.Clone(deaf)) {
		t.Error("what is new is not told apart from what was known")
	}
	if got := (seen{web, v.get()}).status(time.Now()).Unwell; len(got) != 1 || !strings.Contains(got[0], "nothing listens at the host port [::]:80/tcp of web-1") {
		t.Errorf("the status has %q", got)
	}
	if v.setDeaf(nil); len((seen{web, v.get()}).status(time.Now()).Unwell) > 0 {
		t.Error("it is shown for ever")
	}
}
