package deploy

import (
	"slices"
	"testing"

	"pgo/worker/compose"
)

// What is made anew is rehearsed, and needs no room next to what runs: nothing of it starts first.
func TestChosen(t *testing.T) {
	model, err := compose.Decode([]byte(`{"name": "unit", "services": {"db": {"image": "x"}, "web": {"image": "x", "depends_on": {"db": {"condition": "service_started"}}}, "old": {"image": "x"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	c := &candidate{resolved: model, differing: []string{"db", "web"}, record: &Record{Ways: []Way{
		{Service: "db", StartFirst: true}, {Service: "old", StartFirst: true}, {Service: "web", StartFirst: true},
	}}}
	a := &ahead{}
	if got := a.chosen(c); !slices.Equal(got, []string{"db", "web"}) {
		t.Errorf("what differs starts first, each after what it needs: %v", got)
	}
	c.anew = true
	if got := a.chosen(c); len(got) > 0 {
		t.Errorf("%v start first though all containers are made anew", got)
	}
}
