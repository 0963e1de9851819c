package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// copied returns what a worker's output becomes in pgod's log.
func copied(written string) string {
	var out bytes.Buffer
	copyLog(context.Background(), strings.NewReader(written), hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Debug, DisableTime: true}))
	return out.String()
}

func TestCopyLog(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"log line": {`{"@level":"info","@message":"deployed","@timestamp":"x","commit":"abc","n":3}` + "\n", "[INFO]  deployed: commit=abc n=3\n"},
		"text":     {"panic: oh\n", "[WARN]  the worker printed: text=\"panic: oh\"\n"},
		"no end":   {"panic: oh", "[WARN]  the worker printed: text=\"panic: oh\"\n"},
		"empty":    {"\n\n", ""},
		// This one panics go-plugin's own reader.
		"odd JSON":              {`{"@level":5,"@message":"m","@timestamp":7}` + "\n", "[WARN]  m\n"},
		"no message":            {`{"a":1}` + "\n", `[WARN]  the worker printed: text="{\"a\":1}"` + "\n"},
		"JSON array":            {"[1]\n", "[WARN]  the worker printed: text=[1]\n"},
		"level off":             {`{"@level":"off","@message":"m"}` + "\n", "[WARN]  m\n"},
		"forged line":           {`{"@level":"info","@message":"a\nb","k\n":"c\nd"}` + "\n", `[INFO]  a\nb: k_=c\nd` + "\n"},
		"fields in the message": {`{"@message":"m: service=victim","@level":"info"}` + "\n", `[INFO]  "m: service=victim"` + "\n"},
		"fields in a name":      {`{"@message":"m","@level":"info","x service":"victim","service=a b":1}` + "\n", "[INFO]  m: service_a_b=1 x_service=victim\n"},
		"fields in a value":     {`{"@message":"m","@level":"info","x":"a service=victim"}` + "\n", "[INFO]  m: x=\"a service=victim\"\n"},
		"control bytes":         {"\x1b[2Jx\xff\n", `[WARN]  the worker printed: text=\x1b[2Jx\xff` + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := copied(c.in); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestCopyLogCutsLongLines(t *testing.T) {
	got := copied(strings.Repeat("x", 10*maxLogLine) + "\nnext\n")
	if len(got) > 2*maxLogLine || !strings.Contains(got, "next") {
		t.Errorf("%d bytes, ending in %q", len(got), got[max(0, len(got)-80):])
	}
}

// A worker cannot pass off its lines as those of another service.
func TestCopyLogKeepsTheService(t *testing.T) {
	var out bytes.Buffer
	log := hclog.New(&hclog.LoggerOptions{Output: &out, JSONFormat: true}).With("service", "web")
	copyLog(context.Background(), strings.NewReader(`{"@level":"info","@message":"m","service":"victim","@timestamp":"x"}`+"\n"), log)
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line["service"] != "web" || line["worker_service"] != "victim" || strings.Count(out.String(), `"service"`) != 1 {
		t.Errorf("logged %s, %v", out.String(), err)
	}
}

// A worker that logs without end does not fill the disk.
func TestCopyLogIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, worker := io.Pipe()
		var out bytes.Buffer
		done := make(chan struct{})
		go func() {
			defer close(done)
			copyLog(t.Context(), in, hclog.New(&hclog.LoggerOptions{Output: &out, DisableTime: true}))
		}()
		write := func(text string) {
			if _, err := io.WriteString(worker, text); err != nil {
				t.Error(err)
			}
		}
		const line = 1 << 10
		write(strings.Repeat(strings.Repeat("x", line-1)+"\n", 5*logBurst/line))
		time.Sleep(time.Second) // in the bubble's time
		write("too soon\n")
		time.Sleep(time.Minute)
		write("later\n")
		write(strings.Repeat(strings.Repeat("y", line-1)+"\n", 2*logBurst/line))
		_ = worker.Close()
		<-done
		text := out.String()
		if strings.Contains(text, "too soon") || !strings.Contains(text, "later") || len(text) > 3*logBurst {
			t.Errorf("%d bytes are logged", len(text))
		}
		if want := "lines were dropped: lines=4265\n"; !strings.Contains(text, want) || strings.Count(text, "lines were dropped") != 2 {
			t.Errorf("there is no %q, or not two such lines", want)
		}
	})
}

// Short lines become long ones, and what is not logged does not count.
func TestShortLogLinesAreBounded(t *testing.T) {
	var out bytes.Buffer
	log := hclog.New(&hclog.LoggerOptions{Output: &out, JSONFormat: true}).With("service", "web")
	debug := `{"@level":"debug","@message":"` + strings.Repeat("x", 1000) + `"}` + "\n"
	copyLog(context.Background(), strings.NewReader(strings.Repeat(debug, 2*logBurst/len(debug))+"important\n"+strings.Repeat("a\n", 50_000)), log)
	if out.Len() > 2*logBurst || strings.Contains(out.String(), "xxx") || !strings.Contains(out.String(), "important") {
		t.Errorf("%d bytes are logged", out.Len())
	}
}

// However much a worker writes, and whatever becomes of it, pgod reads it at a bounded rate: the
// worker waits. An honest burst is read at once, and so is all that is left when it has ended.
func TestReadingIsBounded(t *testing.T) {
	const many = 300_000
	debug := debugLine + `"@message":"x"}` + "\n"
	for name, test := range map[string]struct {
		piece string
		count int
		least time.Duration
		ended bool
	}{
		"empty lines":   {strings.Repeat("\n", 10_000), many / 10_000, (many - readBurst) / readRate * time.Second, false},
		"debug lines":   {debug, many, (many - readBurst) / readRate * time.Second, false},
		"no lines":      {"x", many, (many - readBurst) / readRate * time.Second, false},
		"much":          {strings.Repeat("x", 16<<10), 2000, (2000*256 - readBurst) / readRate * time.Second, false},
		"a burst":       {strings.Repeat(strings.Repeat("x", 99)+"\n", 10_000), 1, 0, false},
		"when it ended": {strings.Repeat("\n", 10_000), many / 10_000, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if test.ended {
					cancel()
				}
				in, worker := io.Pipe()
				go func() {
					for range test.count {
						_, _ = io.WriteString(worker, test.piece)
					}
					_ = worker.Close()
				}()
				began := time.Now()
				copyLog(ctx, in, hclog.New(&hclog.LoggerOptions{Output: io.Discard}))
				if took := time.Since(began); took < test.least || took > 3*test.least {
					t.Errorf("it was read in %s, and at least %s are needed", took, test.least)
				}
			})
		})
	}
	// The end ends the wait, too.
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	copyLog(ctx, strings.NewReader(strings.Repeat("\n", 2*many)), hclog.NewNullLogger())
}

func FuzzCopyLog(f *testing.F) {
	f.Add([]byte(`{"@level":"info","@message":"m","a":{"b":[1,null]}}`))
	f.Add([]byte("text\n\xff\x00"))
	f.Fuzz(func(t *testing.T, written []byte) {
		for _, c := range strings.TrimSuffix(copied(string(written)), "\n") {
			if c < ' ' && c != '\n' {
				t.Fatalf("control character %q in the log", c)
			}
		}
	})
}
