package supervisor

import (
	"strings"
	"testing"

	protobuf "google.golang.org/protobuf/proto"

	"pgo/internal/config"
	"pgo/proto"
)

var (
	oneID = strings.Repeat("1", 64)
	twoID = strings.Repeat("2", 64)
)

// A service can have the proxies switch what leads to itself, and to containers only.
func TestSwitchboard(t *testing.T) {
	shop := config.Service{Name: "shop", Deploy: config.StartFirst, URLs: []config.Route{
		{URL: "shop.example.org", Targets: []config.Target{{Host: "Web", Port: 80}}},
		{URL: "two.example.org", Targets: []config.Target{{Host: "one", Port: 80}, {Host: "two", Port: 80}}},
	}}
	silent := config.Service{Name: "silent", Deploy: config.StartFirst}
	plain := config.Service{Name: "plain"}
	proxy := config.Service{Name: "proxy", Import: "import"}
	asked := &proto.State{Switches: proto.SwitchList(map[string]string{
		"web": oneID, "one": oneID, "other": oneID, "../web": oneID, "Web": "../../etc", "two": "short",
	})}
	acts := func(switches map[string]string, cannot string) *proto.State {
		return &proto.State{Proxy: &proto.ProxyState{Switched: map[string]*proto.Switches{"shop": proto.SwitchList(switches)}, CannotSwitch: cannot}}
	}
	for name, test := range map[string]struct {
		proxies []*proto.State
		want    lines
	}{
		"no proxy":      {nil, lines{switched: proto.SwitchList(map[string]string{"web": oneID}), cannotSwitch: "no service of this host has `import`"}},
		"not yet":       {[]*proto.State{acts(nil, "")}, lines{switched: &proto.Switches{}}},
		"another":       {[]*proto.State{acts(map[string]string{"web": twoID}, "")}, lines{switched: &proto.Switches{}}},
		"done":          {[]*proto.State{acts(map[string]string{"web": oneID, "more": twoID}, "")}, lines{switched: proto.SwitchList(map[string]string{"web": oneID})}},
		"one of two":    {[]*proto.State{acts(map[string]string{"web": oneID}, ""), acts(nil, "")}, lines{switched: &proto.Switches{}}},
		"cannot":        {[]*proto.State{acts(nil, "it is away\n")}, lines{switched: &proto.Switches{}, cannotSwitch: "the proxy proxy: it is away"}},
		"never started": {[]*proto.State{{}}, lines{switched: &proto.Switches{}, cannotSwitch: "the proxy proxy has not reported yet"}},
	} {
		all := []party{{shop, asked}, {silent, &proto.State{}}, {plain, &proto.State{}}}
		for _, state := range test.proxies {
			all = append(all, party{proxy, state})
		}
		got := linesOf(all[0], all)
		got.cannotSwitch = strings.TrimRight(got.cannotSwitch, ` \n`)
		if !got.same(test.want) {
			t.Errorf("%s: the service is told %v, want %v", name, got, test.want)
		}
		if told := linesOf(all[2], all); !told.same(lines{}) {
			t.Errorf("%s: another service is told %v", name, told)
		}
	}
	told := linesOf(party{proxy, &proto.State{}}, []party{{shop, asked}, {silent, &proto.State{}}, {plain, &proto.State{}}})
	want := lines{switches: map[string]*proto.Switches{"shop": proto.SwitchList(map[string]string{"web": oneID}), "plain": {}}}
	if !told.same(want) {
		t.Errorf("the proxy is told %v, want %v", told, want)
	}
}

// What the switchboard says and what the configuration says replace each other's part only, and
// nothing is told twice.
func TestNeighbourhoodKeepsItsLines(t *testing.T) {
	h := newNeighbourhood(&proto.Neighbours{Services: []string{"a"}})
	h.connect(lines{cannotSwitch: "why"})
	h.configure(&proto.Neighbours{Services: []string{"b"}})
	got, changed := h.get()
	if want := (&proto.Neighbours{Services: []string{"b"}, CannotSwitch: "why"}); !protobuf.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	h.connect(lines{cannotSwitch: "why"})
	h.configure(&proto.Neighbours{Services: []string{"b"}})
	select {
	case <-changed:
		t.Error("what is the same is told again")
	default:
	}
}

// A worker cannot make pgod keep more than a bounded number of switches.
func TestSwitchesAreBounded(t *testing.T) {
	many := &proto.Switches{}
	for range maxSwitches + 1 {
		many.All = append(many.All, &proto.Switch{Host: "a"})
	}
	state := &proto.State{Switches: protobuf.CloneOf(many), Proxy: &proto.ProxyState{Switched: map[string]*proto.Switches{"a": many}}}
	for range maxShownLines + 1 {
		state.Ways = append(state.Ways, &proto.Way{})
	}
	boundSwitches(state)
	if len(state.Switches.All) != maxSwitches || len(state.Proxy.Switched["a"].All) != maxSwitches || len(state.Ways) != maxShownLines {
		t.Errorf("there are %d, %d and %d", len(state.Switches.All), len(state.Proxy.Switched["a"].All), len(state.Ways))
	}
}
