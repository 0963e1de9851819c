package compose

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// networkEngine answers like an engine with these networks, which it makes and removes. made has the
// names and the subnets of those that it was asked for.
func networkEngine(t *testing.T, there ...network.Summary) (e *Engine, left func() []string, made *[]string) {
	t.Helper()
	made, there = &[]string{}, slices.Clone(there)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, id, _ := strings.Cut(r.URL.Path, "/networks/")
		switch {
		case strings.HasSuffix(r.URL.Path, "/_ping"):
			w.Header().Set("Api-Version", "1.48")
		case r.Method == http.MethodDelete:
			there = slices.DeleteFunc(there, func(n network.Summary) bool { return n.ID == id })
			w.WriteHeader(http.StatusNoContent)
		case id == "create":
			var n network.CreateRequest
			_ = json.NewDecoder(r.Body).Decode(&n)
			text := n.Name
			if n.IPAM != nil {
				text += " " + n.IPAM.Config[0].Subnet.String()
			}
			if n.EnableIPv4 != nil && !*n.EnableIPv4 {
				text += " without IPv4"
			}
			*made = append(*made, text)
			there = append(there, summary(n.Name, n.Labels))
			_, _ = fmt.Fprintf(w, `{"Id": %q}`, n.Name)
		default:
			var asked client.Filters
			_ = json.Unmarshal([]byte(r.URL.Query().Get("filters")), &asked)
			_ = json.NewEncoder(w).Encode(slices.DeleteFunc(slices.Clone(there), func(n network.Summary) bool {
				for label := range asked["label"] {
					if name, value, _ := strings.Cut(label, "="); n.Labels[name] != value {
						return true
					}
				}
				return false
			}))
		}
	}))
	t.Cleanup(server.Close)
	return &Engine{Host: "tcp://" + strings.TrimPrefix(server.URL, "http://")}, func() (names []string) {
		for _, n := range there {
			names = append(names, n.Name)
		}
		return names
	}, made
}

func summary(name string, labels map[string]string) network.Summary {
	return network.Summary{Network: network.Network{ID: name, Name: name, Labels: labels}}
}

func subnets(all ...string) (configs []network.IPAMConfig) {
	for _, subnet := range all {
		configs = append(configs, network.IPAMConfig{Subnet: netip.MustParsePrefix(subnet)})
	}
	return configs
}

// What needs the addresses of a network that goes before is not tried: it would always be in the way.
func TestTryNetworks(t *testing.T) {
	front, back, chosen := Network{Name: "p_front", Subnets: subnets("10.1.0.0/24")}, Network{Name: "p_back", Subnets: subnets("10.2.0.0/24")}, Network{Name: "p_any"}
	all := []Network{{Name: "p_wide", Driver: "overlay"}, front, chosen, back, chosen}
	for name, test := range map[string]struct {
		going []Network
		pools int
		want  []string
	}{
		"nothing goes":               {nil, 0, []string{"pgo-probe-p-0 10.1.0.0/24", "pgo-probe-p-1", "pgo-probe-p-2 10.2.0.0/24", "pgo-probe-p-3"}},
		"one with the same":          {[]Network{{Subnets: subnets("10.1.0.0/24")}}, 0, []string{"pgo-probe-p-0", "pgo-probe-p-1 10.2.0.0/24", "pgo-probe-p-2"}},
		"one with more":              {[]Network{{Subnets: subnets("fd00::/64", "10.0.0.0/8")}}, 0, []string{"pgo-probe-p-0", "pgo-probe-p-1"}},
		"one with an engine's":       {[]Network{{Subnets: subnets("172.18.0.0/16")}}, 1, []string{"pgo-probe-p-0 10.1.0.0/24", "pgo-probe-p-1 10.2.0.0/24", "pgo-probe-p-2"}},
		"more than there are to try": {[]Network{{Subnets: subnets("10.0.0.0/8")}}, 3, nil},
	} {
		e, left, made := networkEngine(t)
		if err := (&Vicinity{e, "p"}).TryNetworks(t.Context(), all, test.going, test.pools); err != nil || !slices.Equal(*made, test.want) {
			t.Errorf("%s: %v, tried are %q", name, err, *made)
		}
		if left := left(); len(left) > 0 {
			t.Errorf("%s: %q are left", name, left)
		}
	}
}

// A network without IPv4 takes none of the addresses that another one gives back.
func TestTryNetworkWithoutIPv4(t *testing.T) {
	model, err := Load([]byte(`{"services": {"web": {"networks": {"any": null, "six": null}}}, "networks": {
		"any": {"name": "p_any", "enable_ipv4": true}, "six": {"name": "p_six", "enable_ipv4": false, "enable_ipv6": true}}}`))
	if err != nil {
		t.Fatal(err)
	}
	e, _, made := networkEngine(t)
	if err := (&Vicinity{e, "p"}).TryNetworks(t.Context(), NetworksOf(model), []Network{{Name: "p_gone"}}, 2); err != nil || !slices.Equal(*made, []string{"pgo-probe-p-0 without IPv4"}) {
		t.Errorf("%v, tried are %q", err, *made)
	}
}

// What a killed worker has left is removed even if there is nothing to try, and nothing that only
// has the label.
func TestOnlyProbesAreProbes(t *testing.T) {
	probe := func(name, of, project string) network.Summary {
		labels := map[string]string{probeLabel: of}
		if project != "" {
			labels[projectLabel] = project
		}
		return summary(name, labels)
	}
	there := []network.Summary{probe("pgo-probe-p-0", "p", ""), probe("p_default", "p", ""), probe("pgo-probe-p-1", "p", "q"), probe("pgo-probe-q-0", "q", "")}
	e, left, _ := networkEngine(t, there...)
	v := &Vicinity{e, "p"}
	if err := v.TryNetworks(t.Context(), nil, nil, 0); err != nil {
		t.Fatal(err)
	}
	if got := left(); !slices.Equal(got, []string{"p_default", "pgo-probe-p-1", "pgo-probe-q-0"}) {
		t.Errorf("left are %q", got)
	}
	var hidden []string
	for _, n := range there {
		if isProbe(networkSaid{Name: n.Name, Labels: n.Labels}, n.Labels[probeLabel]) {
			hidden = append(hidden, n.Name)
		}
	}
	if !slices.Equal(hidden, []string{"pgo-probe-p-0", "pgo-probe-q-0"}) {
		t.Errorf("hidden are %q", hidden)
	}
}

// A network whose key in the file has changed is the service's own.
func TestOwnNetworkWithAnotherKey(t *testing.T) {
	made := func(name, project, key string) network.Summary {
		labels := map[string]string{projectLabel: project}
		if key != "" {
			labels[networkLabel] = key
		}
		return summary(name, labels)
	}
	e, _, _ := networkEngine(t, made("one", "p", "default"), made("two", "q", "two"), made("three", "p", ""))
	foreign, missing, err := (&Vicinity{e, "p"}).Networks(t.Context(), []Network{{Key: "front", Name: "one"}, {Key: "two", Name: "two"}, {Key: "three", Name: "three"}, {Key: "four", Name: "four"}})
	if err != nil || !slices.Equal(foreign, []string{"two", "three"}) || len(missing) != 1 || missing[0].Name != "four" {
		t.Errorf("%v, foreign are %q, missing %v", err, foreign, missing)
	}
}

// Compose does not check the addresses of a network, and the engine cannot be asked for one that is none.
func TestNetworkWithoutAddress(t *testing.T) {
	for pool, want := range map[string]string{
		`{"subnet": "10.1.0.0/24", "gateway": "10.1.0.1", "ip_range": "10.1.0.128/25"}`: "",
		`{"subnet": "fd00::/64"}`: "",
		`{}`:                      "",
		`{"subnet": "10.1.0.0", "gateway": "here"}`:      `the engine cannot make the network p_front: subnet: "10.1.0.0" is not an address`,
		`{"subnet": "10.1.0.0/24", "gateway": "here"}`:   `the engine cannot make the network p_front: gateway: "here" is not an address`,
		`{"subnet": "10.1.0.0/24", "ip_range": "10.1."}`: `the engine cannot make the network p_front: ip_range: "10.1." is not an address`,
	} {
		model, err := Load([]byte(`{"services": {"web": {"networks": {"front": null}}}, "networks": {"front": {"name": "p_front", "ipam": {"config": [` + pool + `]}}}}`))
		if err != nil {
			t.Fatal(err)
		}
		e, left, made := networkEngine(t)
		said := ""
		if err := (&Vicinity{e, "p"}).TryNetworks(t.Context(), NetworksOf(model), nil, 0); err != nil {
			said = err.Error()
		}
		if said != want || len(*made) > 1 || len(left()) > 0 {
			t.Errorf("%s: %q, want %q; made are %q", pool, said, want, *made)
		}
	}
}
