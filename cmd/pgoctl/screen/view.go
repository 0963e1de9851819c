package screen

import (
	"fmt"
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
	levels  = map[hoststat.Level]lipgloss.Style{
		hoststat.Fine:   lipgloss.NewStyle().Foreground(lipgloss.Green),
		hoststat.Notice: lipgloss.NewStyle().Foreground(lipgloss.Yellow),
		hoststat.Bad:    lipgloss.NewStyle().Foreground(lipgloss.Red),
	}
)

// silence is how long a host may say nothing before that is told.
const silence = 3 * hoststat.Interval

func painted(level hoststat.Level, text string) string { return levels[level].Render(text) }

// View draws the screen.
func (m *model) View() tea.View {
	v := tea.NewView("")
	v.AltScreen = true
	v.WindowTitle = "pgo top"
	if m.width == 0 {
		return v // it is not known yet how large it is
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

// head is a line for each host, and one for each trouble.
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
				lines = append(lines, painted(hoststat.Notice, "  "+host+" says nothing: this is "+hoststat.Age(age)+" old"))
			}
			if text := u.Snapshot.ConfigError; text != "" {
				lines = append(lines, painted(hoststat.Bad, "  the configuration on disk is not in force: "+text))
			}
		}
		if u.Err != nil {
			lines = append(lines, painted(hoststat.Bad, "  "+host+": "+strings.ReplaceAll(u.Err.Error(), "\n", " ")))
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
			states = append(states, painted(state.Level(), fmt.Sprintf("%d %s", n, state)))
		}
	}
	if len(states) == 0 {
		states = append(states, "no services")
	}
	return fmt.Sprintf("%s  %s  load %.2f of %d cores  %s", bold.Render(host), s.Time.Local().Format(time.TimeOnly), s.Host.Load, s.Host.Cores, strings.Join(states, ", "))
}

// column is one of the table's. All but the last are as wide as what is in them.
type column struct {
	name  string
	right bool // numbers
	cell  func(m *model, r row) string
}

var columns = []column{
	{"SERVICE", false, func(_ *model, r row) string { return r.name }},
	{"STATE", false, func(_ *model, r row) string { return painted(r.service.State.Level(), string(r.service.State)) }},
	{"COMMIT", false, func(_ *model, r row) string { return shownCommit(r.service) }},
	{"CPU", true, func(_ *model, r row) string {
		if r.service.Usage == nil {
			return "-"
		}
		return hoststat.Percent(r.service.Usage.CPU)
	}},
	{"MEMORY", true, func(_ *model, r row) string {
		if r.service.Usage == nil {
			return "-"
		}
		return hoststat.Bytes(r.service.Usage.Memory)
	}},
	{"RUNNING", true, func(_ *model, r row) string {
		if u := r.service.Usage; u != nil {
			return fmt.Sprintf("%d/%d", u.Running, len(u.Containers))
		}
		return "-"
	}},
	{"RESTARTS", true, func(_ *model, r row) string { return fmt.Sprint(restarts(r.service)) }},
	{"DEPLOYED", true, func(m *model, r row) string { return m.age(r.host, r.service.DeployedAt) }},
	{"", false, func(_ *model, r row) string { return remark(r) }},
}

var hostColumn = column{"HOST", false, func(_ *model, r row) string { return r.host }}

func (m *model) columns() []column {
	if len(m.hosts) > 1 {
		return append([]column{hostColumn}, columns...)
	}
	return columns
}

func shownCommit(s hoststat.Service) string {
	switch {
	case s.Deployed == "":
		return "-"
	case s.Head != "" && s.Head != s.Deployed:
		return short(s.Deployed) + " → " + short(s.Head)
	}
	return short(s.Deployed)
}

func short(commit string) string { return commit[:min(len(commit), 7)] }

// remark is what there is to say of a service beside its figures.
func remark(r row) string {
	s := r.service
	switch {
	case r.gone:
		return "(not known any more)"
	case s.Error != "":
		return s.Error
	case len(s.Unwell) > 0:
		return strings.Join(s.Unwell, "; ")
	case s.Frozen != "":
		return s.Frozen
	case s.Activity != "" && s.Activity != "idle":
		return s.Activity
	}
	return ""
}

// age is how long something is ago, by the host's own clock.
func (m *model) age(host string, at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return hoststat.Age(m.last[host].Snapshot.Time.Sub(at))
}

// table is the names of the columns and the rows that there is room for.
func (m *model) table() []string {
	columns := m.columns()
	shown := m.rows[m.top:min(m.top+m.visible(), len(m.rows))]
	cells := make([][]string, len(shown)+1)
	widths := make([]int, len(columns))
	for i, c := range columns {
		cells[0] = append(cells[0], bold.Render(c.name))
		for j, r := range shown {
			cells[j+1] = append(cells[j+1], c.cell(m, r))
		}
		for _, line := range cells {
			widths[i] = max(widths[i], ansi.StringWidth(line[i]))
		}
	}
	at := m.index() - m.top
	var lines []string
	for j, line := range cells {
		text := align(columns, widths, line)
		if j-1 == at {
			text = reverse.Render(pad(ansi.Strip(ansi.Truncate(text, m.width, "…")), m.width))
		}
		lines = append(lines, text)
	}
	return lines
}

func align(columns []column, widths []int, cells []string) string {
	var b strings.Builder
	for i, cell := range cells {
		gap := strings.Repeat(" ", widths[i]-ansi.StringWidth(cell))
		if columns[i].right {
			cell = gap + cell
		} else {
			cell += gap
		}
		b.WriteString(cell + "  ")
	}
	return strings.TrimRight(b.String(), " ")
}

func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(width-ansi.StringWidth(text), 0))
}

// detailed is all that is known of one service.
func (m *model) detailed(r row) []string {
	s := r.service
	lines := []string{bold.Render(r.name) + "  " + painted(s.State.Level(), string(s.State))}
	say := func(name, text string) {
		if text != "" {
			lines = append(lines, fmt.Sprintf("%-10s %s", name+":", text))
		}
	}
	if len(m.hosts) > 1 {
		say("host", r.host)
	}
	say("commit", shownCommit(s))
	if !s.DeployedAt.IsZero() {
		say("deployed", m.age(r.host, s.DeployedAt)+" ago")
	}
	say("last", s.Outcome)
	say("now", s.Activity)
	say("frozen", s.Frozen)
	say("worker", painted(s.Worker.Level(), s.Worker.State)+fmt.Sprintf(", pid %d, restarts: %d", s.Worker.PID, s.Worker.Restarts))
	if s.Error != "" {
		say("error", painted(hoststat.Bad, s.Error))
	}
	for _, text := range s.Unwell {
		say("unwell", text)
	}
	if s.Usage != nil {
		lines = append(lines, "", bold.Render(fmt.Sprintf("%-40s %-12s %8s %10s %9s", "CONTAINER", "STATE", "CPU", "MEMORY", "RESTARTS")))
		for _, c := range s.Usage.Containers {
			state := c.State
			if c.Health != "" {
				state = c.Health
			}
			lines = append(lines, fmt.Sprintf("%-40s %-12s %8s %10s %9d", c.Name, state, hoststat.Percent(c.CPU), hoststat.Bytes(c.Memory), c.Restarts))
		}
	}
	return lines
}

// keys is what can be pressed.
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
