package screen

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"pgo/internal/hoststat"
)

var (
	bold    = lipgloss.NewStyle().Bold(true)
	faint   = lipgloss.NewStyle().Faint(true)
	reverse = lipgloss.NewStyle().Reverse(true)
)

// silence is how long a host may be silent before the screen says so.
const silence = 3 * hoststat.Interval

// View draws the screen.
func (m *model) View() tea.View {
	v := tea.NewView("")
	v.AltScreen = true
	v.WindowTitle = "pgo top"
	if m.width == 0 {
		return v // the size is not known yet
	}
	lines := m.head()
	if m.details && len(m.rows) > 0 {
		all := m.detailed(m.rows[m.index()])
		m.scrolled = max(0, min(m.scrolled, len(lines)+len(all)-(m.height-1)))
		lines = append(lines, all[m.scrolled:]...)
	} else {
		lines = append(lines, m.table()...)
	}
	room := m.height - 1
	if len(lines) > room {
		lines = lines[:room]
	}
	for len(lines) < room {
		lines = append(lines, "")
	}
	lines = append(lines, m.keys())
	for i, line := range lines {
		lines[i] = ansi.Truncate(line, m.width, "…")
	}
	v.SetContent(strings.Join(lines, "\n"))
	return v
}

// head returns a line for each host, and one for each trouble.
func (m *model) head() []string {
	var lines []string
	for _, host := range m.hosts {
		u := m.last[host]
		if u.Snapshot == nil && u.Err == nil {
			lines = append(lines, bold.Render(host)+"  waiting for its first answer…")
			continue
		}
		if u.Snapshot != nil {
			lines = append(lines, hostLine(host, u.Snapshot))
			if age := m.now.Sub(m.heard[host]); u.Err == nil && age > silence {
				lines = append(lines, hoststat.Notice.Paint("  "+host+" does not answer: this is "+hoststat.Age(age)+" old"))
			}
			if bad := u.Snapshot.ConfigError; bad != nil {
				lines = append(lines, hoststat.Bad.Paint("  the newest configuration is not in force: "+bad.Text))
			}
		}
		if u.Err != nil {
			lines = append(lines, hoststat.Bad.Paint("  "+host+": "+strings.ReplaceAll(u.Err.Error(), "\n", " ")))
		}
	}
	return append(lines, "")
}

func hostLine(host string, s *hoststat.Snapshot) string {
	counts := map[hoststat.State]int{}
	for _, service := range s.Services {
		counts[service.State]++
	}
	var states []string
	for _, state := range hoststat.States() {
		if n := counts[state]; n > 0 {
			states = append(states, state.Level().Paint(fmt.Sprintf("%d %s", n, state)))
		}
	}
	if len(states) == 0 {
		states = append(states, "no services")
	}
	return fmt.Sprintf("%s  %s  load %.2f of %d cores  %s", bold.Render(host), s.Time.Local().Format(time.TimeOnly), s.Host.Load, s.Host.Cores, strings.Join(states, ", "))
}

// heading has the names of the columns. The last one may be absent.
var heading = []hoststat.Cell{
	{Text: "SERVICE"}, {Text: "STATE"}, {Text: "COMMIT"}, {Text: "CPU", Right: true}, {Text: "MEMORY", Right: true},
	{Text: "RUNNING", Right: true}, {Text: "RESTARTS", Right: true}, {Text: "DEPLOYED", Right: true}, {},
}

// cells returns a service's cells, below the heading.
func (m *model) cells(r row) []hoststat.Cell {
	s := r.service
	cpu, memory, running := "", "", ""
	if u := s.Usage; u != nil {
		cpu, memory = hoststat.Percent(u.CPU), hoststat.Memory(u.Memory, u.Running > 0)
		running = fmt.Sprintf("%d/%d", u.Running, len(u.Containers))
	}
	deployed := ""
	if !s.DeployedAt.IsZero() {
		deployed = hoststat.Age(m.clock(r.host).Sub(s.DeployedAt))
	}
	return []hoststat.Cell{
		{Text: r.name}, s.State.Cell(), {Text: commit(s)}, {Text: cpu, Right: true}, {Text: memory, Right: true},
		{Text: running, Right: true}, {Text: strconv.Itoa(restarts(s)), Right: true}, {Text: deployed, Right: true}, {Text: remark(r)},
	}
}

func commit(s hoststat.Service) string {
	if s.Deployed != "" && s.Head != "" && s.Head != s.Deployed {
		return hoststat.Short(s.Deployed) + " → " + hoststat.Short(s.Head)
	}
	return hoststat.Short(s.Deployed)
}

// remark returns what is notable about a service in addition to its figures.
func remark(r row) string {
	s := r.service
	switch trouble := s.Trouble(); {
	case r.gone:
		return "(no longer known)"
	case trouble != "":
		return trouble
	case s.Frozen != nil:
		return s.Frozen.Reason
	case s.Activity != hoststat.Idle:
		return s.Activity
	}
	return ""
}

// clock returns the host's own time at the moment of its snapshot.
func (m *model) clock(host string) time.Time { return m.last[host].Snapshot.Time }

// table returns the heading and the rows that there is room for.
func (m *model) table() []string {
	shown := m.rows[m.top:min(m.top+m.visible(), len(m.rows))]
	several := len(m.hosts) > 1
	table := hoststat.Table{heading}
	for _, r := range shown {
		table = append(table, m.cells(r))
	}
	if several {
		table[0] = append([]hoststat.Cell{{Text: "HOST"}}, heading...)
		for i, r := range shown {
			table[i+1] = append([]hoststat.Cell{{Text: r.host}}, table[i+1]...)
		}
	}
	lines := table.Lines(true)
	lines[0] = bold.Render(lines[0])
	if at := m.index() - m.top + 1; at < len(lines) {
		lines[at] = reverse.Render(pad(ansi.Truncate(ansi.Strip(lines[at]), m.width, "…"), m.width))
	}
	return lines
}

func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(width-ansi.StringWidth(text), 0))
}

// detailed returns everything that is known about one service: its status, and its containers.
func (m *model) detailed(r row) []string {
	s := r.service
	rows := s.Rows(m.clock(r.host))
	if len(m.hosts) > 1 {
		rows = append(hoststat.Rows{{Name: "host", Value: r.host}}, rows...)
	}
	lines := rows.Lines(true)
	if s.Usage == nil {
		return lines
	}
	table := hoststat.Table{{
		{Text: "CONTAINER"}, {Text: "STATE"}, {Text: "CPU", Right: true}, {Text: "MEMORY", Right: true}, {Text: "RESTARTS", Right: true},
	}}
	for _, c := range s.Usage.Containers {
		table = append(table, []hoststat.Cell{
			{Text: c.Name}, {Text: cmp.Or(c.Health, c.State)}, {Text: hoststat.Percent(c.CPU), Right: true},
			{Text: hoststat.Memory(c.Memory, c.State == "running"), Right: true}, {Text: strconv.Itoa(c.Restarts), Right: true},
		})
	}
	containers := table.Lines(true)
	containers[0] = bold.Render(containers[0])
	return append(append(lines, ""), containers...)
}

// keys returns the line of keys that can be pressed.
func (m *model) keys() string {
	if m.details {
		return faint.Render("q quit  esc back  ↑↓ another service  pgup pgdn scroll")
	}
	var by []string
	for i, o := range orders {
		text := o.key + " " + o.name
		if i == m.order {
			text = bold.Render(text)
		}
		by = append(by, text)
	}
	return faint.Render("q quit  ↑↓ choose  enter details  sort: ") + strings.Join(by, faint.Render(" · "))
}
