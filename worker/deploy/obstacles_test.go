package deploy

import (
	"fmt"
	"slices"
	"testing"

	"pgo/worker/compose"
)

// What a switch removes before gives its addresses back, and nothing else does. In place, it is in
// the way.
func TestNetworksThatGo(t *testing.T) {
	model := func(networks string) *compose.Model {
		m, err := compose.Load([]byte(`{"name": "unit", "services": {"web": {"networks": {"a": null, "b": null, "front": null}}}, "networks": {` + networks + `}}`))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	type object map[string]any
	made := func(key, name, subnet string) object {
		return object{"Id": name, "Name": name, "IPAM": object{"Config": []object{{"Subnet": subnet}}},
			"Labels": object{"com.docker.compose.project": "unit", "com.docker.compose.network": key}}
	}
	const a, b, fixed = `"a": {"name": "unit_a"}`, `"b": {"name": "unit_b"}`, `, "ipam": {"config": [{"subnet": "10.1.0.0/24"}]}}`
	for name, test := range map[string]struct {
		deployed, candidate string
		there               []object
		others              string // on this network
		going               []string
		pools               int
		inPlace             []string // what is in the way
	}{
		"nothing":                     {a, a, []object{made("a", "unit_a", "172.18.0.0/16")}, "", nil, 0, nil},
		"one more":                    {a, a + ", " + b, []object{made("a", "unit_a", "172.18.0.0/16")}, "", nil, 0, nil},
		"one fewer":                   {a + ", " + b, a, []object{made("a", "unit_a", "172.18.0.0/16"), made("b", "unit_b", "172.19.0.0/16")}, "", []string{"unit_b"}, 1, nil},
		"renamed":                     {a, b, []object{made("a", "unit_a", "172.18.0.0/16")}, "", []string{"unit_a"}, 1, []string{"unit_a"}},
		"renamed with its subnet":     {`"a": {"name": "unit_a"` + fixed, `"front": {"name": "unit_front"` + fixed, []object{made("a", "unit_a", "10.1.0.0/24")}, "", []string{"unit_a"}, 0, []string{"unit_a"}},
		"renamed, others are on it":   {a, b, []object{made("a", "unit_a", "172.18.0.0/16")}, "unit_a", nil, 0, []string{"unit_a"}},
		"redefined":                   {a, `"a": {"name": "unit_a", "internal": true}`, []object{made("a", "unit_a", "172.18.0.0/16")}, "", []string{"unit_a"}, 0, []string{"unit_a"}},
		"with another key":            {a, `"front": {"name": "unit_a"}`, []object{made("a", "unit_a", "172.18.0.0/16")}, "", []string{"unit_a"}, 0, []string{"unit_a"}},
		"with a key that nobody knew": {"", `"front": {"name": "unit_a"}`, []object{made("a", "unit_a", "172.18.0.0/16")}, "", []string{"unit_a"}, 0, []string{"unit_a"}},
		"external now":                {a, `"a": {"name": "unit_a", "external": true}`, []object{made("a", "unit_a", "172.18.0.0/16")}, "", nil, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			engine := newFakeEngine(t)
			engine.answers("GET /{version}/networks", test.there)
			for _, n := range test.there {
				if n["Name"] == test.others {
					n["Containers"] = object{"x": object{"Name": "other"}}
				}
				engine.answers(fmt.Sprintf("GET /{version}/networks/%s", n["Name"]), n)
			}
			d := open(t, t.TempDir()).work
			d.engine.Host = engine.host
			if test.deployed != "" {
				if err := d.files.save(deployedModel, model(test.deployed).Encode()); err != nil {
					t.Fatal(err)
				}
			}
			c := &candidate{resolved: model(test.candidate)}
			going, pools, err := d.obstacles.givenBack(t.Context(), c)
			if err != nil || !slices.Equal(namesOf(going), test.going) || pools != test.pools {
				t.Errorf("%v: %q go, and give back %d", err, namesOf(going), pools)
			}
			if names, err := d.obstacles.redefined(t.Context(), c); err != nil || !slices.Equal(names, test.inPlace) {
				t.Errorf("%v: %q are in the way in place", err, names)
			}
		})
	}
}
