package supervisor

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"

	"pgo/internal/printable"
)

// maxLogLine is how much of a worker's log line pgod keeps, in bytes.
const maxLogLine = 16 << 10

// loggable returns an error, which may contain a worker's text, as one line for the log.
func loggable(err error) string { return printable.Line(printable.Cut(err.Error(), maxLogLine)) }

// What a worker may log, in bytes: for good, and at once. Each line counts with what pgod adds
// to it.
const (
	logRate     = 64 << 10 // per second
	logBurst    = 1 << 20
	logOverhead = 200
)

// What pgod reads of a worker's standard error, logged or not, in tokens: for good, and at once. A
// line costs one, and so do a read and each readShare bytes. Beyond that pgod does not read for a
// while: the pipe gets full, and the worker waits.
const (
	readRate  = 5000 // per second
	readBurst = 100_000
	readShare = 64
)

// pacedReader reads no faster than its limit allows, until ctx ends: what a worker says at its end
// is read at once.
type pacedReader struct {
	io.Reader
	ctx   context.Context
	limit *rate.Limiter
}

func (r pacedReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.pay(1 + n/readShare)
	return n, err
}

func (r pacedReader) pay(tokens int) {
	if r.ctx.Err() == nil {
		_ = r.limit.WaitN(r.ctx, tokens)
	}
}

// debugLine begins a worker's debug line. Workers always send those, and without --debug they are
// not logged.
const debugLine = `{"@level":"debug",`

// logLimit bounds what a worker logs. Lines beyond that are dropped and counted.
type logLimit struct {
	*rate.Limiter
	dropped int
}

// allows reports whether a line of n bytes is logged. Once lines are dropped, more are until
// there is room for many, so that the log does not alternate between lines and counts.
func (l *logLimit) allows(n int, log hclog.Logger) bool {
	now := time.Now()
	if l.dropped > 0 && l.TokensAt(now) < logBurst/8 || !l.AllowN(now, n) {
		l.dropped++
		return false
	}
	l.count(log)
	return true
}

func (l *logLimit) count(log hclog.Logger) {
	if l.dropped > 0 {
		log.Warn("the worker logs too much: lines were dropped", "lines", l.dropped)
		l.dropped = 0
	}
}

// copyLog copies a worker's standard error to log: its log lines, which are JSON, as such;
// anything else, a panic for example, as text. All of it is made printable. ctx ends with the
// worker.
func copyLog(ctx context.Context, r io.Reader, log hclog.Logger) {
	paced := pacedReader{r, ctx, rate.NewLimiter(readRate, readBurst)}
	lines := bufio.NewReaderSize(paced, maxLogLine)
	limit := &logLimit{Limiter: rate.NewLimiter(logRate, logBurst)}
	defer limit.count(log)
	for {
		line, err := lines.ReadSlice('\n')
		paced.pay(1)
		switch {
		case len(line) == 0, !log.IsDebug() && bytes.HasPrefix(line, []byte(debugLine)):
		case limit.allows(len(line)+logOverhead, log):
			copyLine(line, log)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			err = skipLine(lines)
		}
		if err != nil {
			return
		}
	}
}

// skipLine drops the rest of a line that is too long.
func skipLine(lines *bufio.Reader) error {
	for {
		_, err := lines.ReadSlice('\n')
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

func copyLine(line []byte, log hclog.Logger) {
	var entry map[string]any
	if json.Unmarshal(line, &entry) != nil {
		entry = nil
	}
	message, isLog := entry["@message"].(string)
	if !isLog {
		text := printable.Line(strings.TrimRight(string(line), "\r\n"))
		if text != "" {
			log.Warn("the worker printed", "text", text)
		}
		return
	}
	level, _ := entry["@level"].(string)
	var fields []any
	for _, key := range slices.Sorted(maps.Keys(entry)) {
		if strings.HasPrefix(key, "@") {
			continue
		}
		name := fieldName(key)
		if name == "service" {
			name = "worker_service" // which service it is, is pgod's to say
		}
		fields = append(fields, name, printable.Line(fmt.Sprint(entry[key])))
	}
	message = printable.Line(message)
	if strings.Contains(message, "=") {
		message = strconv.Quote(message) // in a log for people it would look like fields
	}
	log.Log(levelOf(level), message, fields...)
}

// fieldName returns a worker's name of a field as one word that ends where it seems to.
func fieldName(key string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r == '.' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' {
			return r
		}
		return '_'
	}, key)
}

// levelOf returns Warn for any other level: a level must not switch the line off.
func levelOf(name string) hclog.Level {
	switch level := hclog.LevelFromString(name); level {
	case hclog.Trace, hclog.Debug, hclog.Info, hclog.Warn, hclog.Error:
		return level
	default:
		return hclog.Warn
	}
}
