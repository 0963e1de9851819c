package supervisor

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/procfs"

	"pgo/internal/hoststat"
	"pgo/internal/printable"
	"pgo/internal/sshd"
	"pgo/internal/target"
	"pgo/internal/version"
)

// onceAfter is the time between the two readings for a single snapshot.
const onceAfter = time.Second

// home clears a terminal and moves the cursor to its top left.
const home = "\x1b[H\x1b[2J"

// top shows what all services do and use, again and again until the client disconnects. A client
// that reads slowly gets fewer snapshots.
func (h *host) top(ctx context.Context, session sshd.Command, args target.Args) sshd.Exit {
	once := args.Has("--no-stream")
	interval, patience := hoststat.Interval, usageTimeout
	if once {
		interval, patience = onceAfter, usagePatience
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var before readings // nil: the first reading
	for {
		services := h.supervisor.overview()
		now := readUsages(ctx, services, patience)
		if before != nil || !once {
			shown := h.look(services, before, now)
			if _, err := io.WriteString(session.Stdout, topText(shown, args.Has("--json"), session.Color, once)); err != nil || once {
				return sshd.Exit{}
			}
		}
		before = now.orBefore(before, services)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return sshd.Exit{}
		case <-h.supervisor.ending:
			return stopping
		}
	}
}

// topText formats one snapshot.
func topText(s hoststat.Snapshot, asJSON, color, once bool) string {
	if asJSON {
		return hoststat.Encode(s)
	}
	text := topTable(s).Text(color)
	if s.ConfigError != nil {
		text += "\nThe newest configuration is not in force: " + s.ConfigError.Text + "\n"
	}
	if once {
		return text
	}
	text = fmt.Sprintf("%s, %s, load %.2f\n\n%s", s.Host.Name, s.Time.Format(time.RFC3339), s.Host.Load, text)
	if color {
		return home + text
	}
	return text + "\n"
}

// look returns what all services do and use.
func (h *host) look(services []seen, before, now readings) hoststat.Snapshot {
	_, bad := h.configuration.get()
	all := h.snapshot(services, bad, time.Now())
	for n := range all.Services {
		one := &all.Services[n]
		one.Usage = now.usage(before, one.Name)
	}
	return all
}

// thisHost describes the machine. Values that cannot be read are omitted.
func thisHost() hoststat.Host {
	this := hoststat.Host{Version: version.String(), Cores: runtime.NumCPU()}
	this.Name, _ = os.Hostname()
	proc, err := procfs.NewDefaultFS()
	if err != nil {
		return this
	}
	if memory, err := proc.Meminfo(); err == nil && memory.MemTotalBytes != nil {
		this.Memory = *memory.MemTotalBytes
	}
	if load, err := proc.LoadAvg(); err == nil {
		this.Load = load.Load1
	}
	return this
}

// topTable has one line per service.
func topTable(s hoststat.Snapshot) hoststat.Table {
	t := hoststat.Table{hoststat.Texts("SERVICE", "STATE", "COMMIT", "AGE", "CPU", "MEMORY", "RUNNING", "RESTARTS", "WORKER", "ERROR")}
	for _, one := range s.Services {
		cpu, memory, running, restarts := "", "", "", ""
		if u := one.Usage; u != nil {
			cpu, memory = hoststat.Percent(u.CPU), hoststat.Memory(u.Memory, u.Running > 0)
			running, restarts = fmt.Sprintf("%d/%d", u.Running, len(u.Containers)), strconv.Itoa(u.Restarts)
		}
		t = append(t, []hoststat.Cell{
			{Text: one.Name}, one.State.Cell(), {Text: hoststat.Short(one.Deployed)}, {Text: age(one.DeployedAt, s.Time)},
			{Text: cpu}, {Text: memory}, {Text: running}, {Text: restarts},
			one.Worker.Cell(), {Text: printable.Cut(one.Trouble(), maxTrouble)},
		})
	}
	return t
}
