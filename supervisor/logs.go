package supervisor

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"pgo/internal/printable"
)

// maxLogLine is how much of a worker's log line pgod keeps, in bytes.
const maxLogLine = 16 << 10

// loggable returns an error, which may contain a worker's text, as one line for the log.
func loggable(err error) string { return printable.Line(printable.Cut(err.Error(), maxLogLine)) }

// copyLog copies a worker's standard error to log: its log lines, which are JSON, as such;
// anything else, a panic for example, as text. All of it is made printable.
func copyLog(r io.Reader, log hclog.Logger) {
	lines := bufio.NewReaderSize(r, maxLogLine)
	for {
		line, err := lines.ReadSlice('\n')
		if len(line) > 0 {
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
		if !strings.HasPrefix(key, "@") {
			fields = append(fields, printable.Line(key), printable.Line(fmt.Sprint(entry[key])))
		}
	}
	log.Log(levelOf(level), printable.Line(message), fields...)
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
