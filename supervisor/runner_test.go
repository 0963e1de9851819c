package supervisor

import "testing"

func TestOnlyTheWorkersOwnSocket(t *testing.T) {
	r := &runner{socket: "/run/pgo/1/plugin-dir2"}
	if _, _, err := r.PluginToHost("unix", "/run/pgo/1/plugin-dir2/plugin3"); err != nil {
		t.Error(err)
	}
	for _, a := range [][2]string{
		{"tcp", "127.0.0.1:22"},
		{"unix", "/run/docker.sock"},
		{"unix", "/run/pgo/1/plugin-dir2/../plugin-dir3/x"},
		{"unix", "/run/pgo/1/plugin-dir2"},
		{"unix", ""},
	} {
		if _, _, err := r.PluginToHost(a[0], a[1]); err == nil {
			t.Errorf("%s %s is accepted", a[0], a[1])
		}
	}
}
