package hoststat

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
)

// What pgod writes is what pgoctl and scripts read: the keys keep their names.
func TestSnapshotIsAnInterface(t *testing.T) {
	at, cpu := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC), 12.5
	full := Snapshot{
		Time: at, Host: Host{"web1", "v1", 4, 1 << 30, 0.5}, ConfigError: "bad",
		Services: []Service{
			{Name: "a", State: Starting, Worker: Worker{State: "starting"}},
			{
				Name: "b", State: Unwell, Activity: "idle", Head: "h", Deployed: "d", DeployedAt: at, Outcome: "failed",
				Error: "e", ErrorSince: at, Frozen: "f", Unwell: []string{"u"},
				Worker: Worker{"ready", 7, 1, true},
				Usage:  &Usage{&cpu, 5, 1, 2, []Container{{"b-web-1", "web", "running", "healthy", &cpu, 5, 2}, {Name: "b-job-1", Service: "job", State: "exited"}}},
			},
		},
	}
	want := `{"time":"2026-05-04T12:00:00Z","host":{"name":"web1","version":"v1","cores":4,"memory":1073741824,"load":0.5},"config_error":"bad",` +
		`"services":[{"service":"a","state":"starting","worker":{"state":"starting","restarts":0,"crashloop":false}},` +
		`{"service":"b","state":"unwell","activity":"idle","head":"h","deployed":"d","deployed_at":"2026-05-04T12:00:00Z","outcome":"failed",` +
		`"error":"e","error_since":"2026-05-04T12:00:00Z","frozen":"f","unwell":["u"],"worker":{"state":"ready","pid":7,"restarts":1,"crashloop":true},` +
		`"usage":{"cpu_percent":12.5,"memory":5,"running":1,"restarts":2,"containers":[` +
		`{"name":"b-web-1","service":"web","state":"running","health":"healthy","cpu_percent":12.5,"memory":5,"restarts":2},` +
		`{"name":"b-job-1","service":"job","state":"exited","memory":0,"restarts":0}]}}]}`
	got, err := json.Marshal(full)
	if err != nil || string(got) != want {
		t.Errorf("got  %s\nwant %s (%v)", got, want, err)
	}
	var back Snapshot
	if err := json.Unmarshal(got, &back); err != nil {
		t.Fatal(err)
	}
	if again, err := json.Marshal(back); err != nil || !bytes.Equal(again, got) {
		t.Errorf("read back and written again it is %s (%v)", again, err)
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m01s", 10 * time.Minute: "10m", 59*time.Minute + 59*time.Second: "59m",
		time.Hour + 5*time.Minute: "1h05m", 11*time.Hour + time.Minute: "11h", 47 * time.Hour: "47h", 49 * time.Hour: "2d", 1000 * time.Hour: "41d",
	} {
		if got := Age(d); got != want {
			t.Errorf("%s is shown as %s, not %s", d, got, want)
		}
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0B", 1023: "1023B", 1024: "1.00KiB", 1_040_000: "0.99MiB", 25_000_000: "23.8MiB", 700 << 20: "700MiB", 3 << 30: "3.00GiB", 1 << 50: "1.00PiB", 1<<64 - 1: "16EiB",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("%d is shown as %s, not %s", n, got, want)
		}
	}
}

func TestPercent(t *testing.T) {
	cpu := 123.456
	if got := Percent(&cpu) + " " + Percent(nil); got != "123.5% -" {
		t.Errorf("shown as %s", got)
	}
}

// A colour is around a text and nothing else; what is not known has none.
func TestPaint(t *testing.T) {
	for _, c := range []struct {
		level Level
		want  string
	}{
		{Running.Level(), "\x1b[32mx\x1b[0m"},
		{Frozen.Level(), "\x1b[33mx\x1b[0m"},
		{Refused.Level(), "\x1b[31mx\x1b[0m"},
		{State("of a later build").Level(), "x"},
		{Worker{State: "ready"}.Level(), "\x1b[32mx\x1b[0m"},
		{Worker{State: "draining"}.Level(), "\x1b[33mx\x1b[0m"},
		{Worker{State: "backoff"}.Level(), "\x1b[31mx\x1b[0m"},
		{Worker{State: "ready", Crashloop: true}.Level(), "\x1b[31mx\x1b[0m"},
	} {
		if got := c.level.Paint("x"); got != c.want {
			t.Errorf("%d is painted %q, not %q", c.level, got, c.want)
		}
	}
}
