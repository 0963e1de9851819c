package compose

import (
	"slices"
	"strings"
	"testing"
)

func TestStays(t *testing.T) {
	for _, test := range []struct {
		name, volume string
		made         Volume
		want         string // the keys; empty: it is as the model says
	}{
		{"plain", `{}`, Volume{Driver: "local", Project: "p"}, ""},
		{"the default driver by name", `{"driver": "local"}`, Volume{Driver: "local", Project: "p"}, ""},
		{"the same options", `{"driver_opts": {"type": "tmpfs", "o": "size=1m"}}`, Volume{Driver: "local", Options: map[string]string{"type": "tmpfs", "o": "size=1m"}}, ""},
		{"an option with another value", `{"driver_opts": {"type": "tmpfs", "o": "size=2m,password=secret"}}`, Volume{Driver: "local", Options: map[string]string{"type": "tmpfs", "o": "size=1m"}}, "driver_opts.o"},
		{"an option more and one less", `{"driver_opts": {"device": "tmpfs"}}`, Volume{Driver: "local", Options: map[string]string{"o": "size=1m"}}, "driver_opts.device, driver_opts.o"},
		{"another driver", `{"driver": "nfs"}`, Volume{Driver: "local"}, "driver"},
		{"other labels", `{"labels": {"n": "2"}}`, Volume{Driver: "local", Project: "p", Labels: map[string]string{"n": "1"}}, "labels.n"},
		{"made by hand, without the labels", `{"labels": {"n": "2"}}`, Volume{Driver: "local"}, ""},
		{"of somebody else", `{"external": true}`, Volume{Driver: "nfs"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, err := Load([]byte(`{"volumes": {"data": ` + test.volume + `, "absent": {"name": "p_absent", "driver": "nfs"}}}`))
			if err != nil {
				t.Fatal(err)
			}
			objects(m.root["volumes"])["data"]["name"] = "p_data"
			got := Stays(m, map[string]Volume{"p_data": test.made}, "p")
			if test.want == "" {
				if len(got) != 0 {
					t.Errorf("it says %q", got)
				}
				return
			}
			if len(got) != 1 || !strings.Contains(got[0], "("+test.want+")") || strings.Contains(got[0], "secret") {
				t.Errorf("it says %q", got)
			}
		})
	}
}

// Compose is told nothing about a volume that exists.
func TestTakeVolumes(t *testing.T) {
	m, err := Load([]byte(`{"volumes": {"old": {"name": "p_old", "driver_opts": {"o": "x"}}, "new": {"name": "p_new", "driver_opts": {"o": "x"}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	m.TakeVolumes(map[string]Volume{"p_old": {}})
	if got := m.Outside("volumes"); len(got) != 0 {
		t.Errorf("without a use: %v", got)
	}
	text := strings.Join(strings.Fields(string(m.Text())), "")
	for _, want := range []string{`"old":{"external":true,"name":"p_old"}`, `"new":{"driver_opts":{"o":"x"},"name":"p_new"}`} {
		if !strings.Contains(text, want) {
			t.Errorf("it has no %s: %s", want, text)
		}
	}
	if names := m.VolumeNames(); !slices.Equal(names, []string{"p_new", "p_old"}) {
		t.Errorf("the volumes are %v", names)
	}
}
