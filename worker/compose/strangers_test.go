package compose

import (
	"fmt"
	"testing"

	"github.com/moby/moby/api/types/container"
)

// A container that was made from the directory of the project, or from one below it, is its own.
func TestStrangers(t *testing.T) {
	var summaries []container.Summary
	for n, dir := range []string{"/srv/web/checkout", "/srv/web/checkout/deploy", "/srv/web", "/srv/web/checkout2", "/home/ada/\x1bweb", ""} {
		summaries = append(summaries, container.Summary{
			ID: fmt.Sprint("id", n), Names: []string{fmt.Sprintf("/web-%d", 9-n)}, Labels: map[string]string{dirLabel: dir},
		})
	}
	summaries[5].Names, summaries[5].Labels = nil, nil
	want := `[{id5 id5 } {id4 web-5 /home/ada/\x1bweb} {id3 web-6 /srv/web/checkout2} {id2 web-7 /srv/web}]`
	if got := fmt.Sprint(strangers(summaries, "/srv/web/checkout")); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestSourceAt(t *testing.T) {
	model, err := Load([]byte(`{"name": "web", "services": {"db": {"volumes": [
		{"type": "bind", "source": "/srv/data", "target": "/data/"},
		{"type": "volume", "source": "store", "target": "/store"},
		{"type": "volume", "target": "/nameless"},
		{"type": "tmpfs", "target": "/tmp"}
	]}}, "volumes": {"store": {"name": "web_store"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{"/data": "/srv/data", "/store": "web_store", "/nameless": "", "/tmp": "", "/none": ""} {
		if got := SourceAt(model, "db", target); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
	if got := SourceAt(model, "none", "/data"); got != "" {
		t.Errorf("of an unknown service: %q", got)
	}
}
