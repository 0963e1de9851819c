package screen

import (
	"cmp"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"pgo/internal/hoststat"
)

// model is what is shown, and what the user has chosen to see of it.
type model struct {
	hosts         []string
	last          map[string]Update    // of each host
	heard         map[string]time.Time // when its last snapshot came
	now           time.Time
	rows          []row // of all hosts, in the order chosen
	width, height int

	order    int // index into orders
	reversed bool
	selected rowKey
	top      int  // the first row that is shown
	details  bool // of the selected one, instead of all
	scrolled int  // lines of the details that are above the terminal
}

// row is one service of a host.
type row struct {
	rowKey
	service hoststat.Service
	gone    bool // the host no longer answers: this is its last report
}

type rowKey struct{ host, name string }

// orders are what rows can be sorted by; the first is the default.
var orders = []struct {
	key, name string
	compare   func(a, b row) int
}{
	{"n", "name", func(a, b row) int { return 0 }},
	{"s", "state", func(a, b row) int { return cmp.Compare(urgency(a.service.State), urgency(b.service.State)) }},
	{"c", "CPU", func(a, b row) int { return cmp.Compare(cpu(b.service), cpu(a.service)) }},
	{"m", "memory", func(a, b row) int { return cmp.Compare(memory(b.service), memory(a.service)) }},
	{"r", "restarts", func(a, b row) int { return cmp.Compare(restarts(b.service), restarts(a.service)) }},
	{"d", "last deploy", func(a, b row) int { return b.service.DeployedAt.Compare(a.service.DeployedAt) }},
}

func urgency(s hoststat.State) int {
	if i := slices.Index(hoststat.States(), s); i >= 0 {
		return i
	}
	return len(hoststat.States())
}

func cpu(s hoststat.Service) float64 {
	if s.Usage == nil || s.Usage.CPU == nil {
		return -1
	}
	return *s.Usage.CPU
}

func memory(s hoststat.Service) uint64 {
	if s.Usage == nil {
		return 0
	}
	return s.Usage.Memory
}

func restarts(s hoststat.Service) int {
	if s.Usage == nil {
		return s.Worker.Restarts
	}
	return s.Usage.Restarts + s.Worker.Restarts
}

func newModel(hosts []string) *model {
	return &model{hosts: hosts, last: map[string]Update{}, heard: map[string]time.Time{}, now: time.Now()}
}

// tick is the passing of a second: what is shown has become older.
type tick time.Time

func nextTick() tea.Cmd {
	return tea.Tick(time.Second, func(now time.Time) tea.Msg { return tick(now) })
}

// Init starts looking at the clock. Updates come by themselves.
func (m *model) Init() tea.Cmd { return nextTick() }

// Update takes news of a host, a key, or another size of the terminal.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case Update:
		m.take(msg)
	case tick:
		m.now = time.Time(msg)
		return m, nextTick()
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		if m.press(msg.String()) {
			return m, tea.Quit
		}
	}
	m.scroll()
	return m, nil
}

// take keeps a host's last report, also when the host falls silent.
func (m *model) take(u Update) {
	if u.Snapshot == nil {
		u.Snapshot = m.last[u.Host].Snapshot
	} else {
		m.now = time.Now()
		m.heard[u.Host] = m.now
	}
	m.last[u.Host] = u
	m.sort()
}

func (m *model) sort() {
	m.rows = m.rows[:0]
	for _, host := range m.hosts {
		u := m.last[host]
		if u.Snapshot == nil {
			continue
		}
		for _, s := range u.Snapshot.Services {
			m.rows = append(m.rows, row{rowKey{host, s.Name}, s, u.Err != nil})
		}
	}
	slices.SortStableFunc(m.rows, func(a, b row) int {
		byName := cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.host, b.host))
		by := cmp.Or(orders[m.order].compare(a, b), byName)
		if m.reversed {
			return -by
		}
		return by
	})
}

// press handles a key, and reports whether it is one to leave by.
func (m *model) press(key string) (leave bool) {
	at := m.index()
	switch key {
	case "q", "ctrl+c", "ctrl+d":
		return true
	case "esc":
		leave = !m.details
		m.details = false
		return leave
	case "enter", "space", "right", "l":
		m.details = len(m.rows) > 0 && (key == "right" || key == "l" || !m.details)
	case "left", "h":
		m.details = false
	case "pgup", "pgdown":
		m.turnPage(key == "pgdown")
		return false
	case "up", "k":
		m.choose(at - 1)
	case "down", "j":
		m.choose(at + 1)
	case "home", "g":
		m.choose(0)
	case "end", "G":
		m.choose(len(m.rows) - 1)
	default:
		m.chooseOrder(key)
	}
	m.scrolled = 0
	return false
}

// turnPage moves by as much as is shown at once, in the details or in the list.
func (m *model) turnPage(down bool) {
	step := m.visible()
	if !down {
		step = -step
	}
	if m.details {
		m.scrolled += step // the view knows how far that can go
		return
	}
	m.choose(m.index() + step)
}

// chooseOrder sorts by the key's column; the same key once more reverses the order.
func (m *model) chooseOrder(key string) {
	for i, o := range orders {
		if o.key == key {
			m.reversed = i == m.order && !m.reversed
			m.order = i
			m.sort()
		}
	}
}

// index returns the current place of the selected row; the first one if it is gone.
func (m *model) index() int {
	return max(slices.IndexFunc(m.rows, func(r row) bool { return r.rowKey == m.selected }), 0)
}

func (m *model) choose(i int) {
	if len(m.rows) > 0 {
		m.selected = m.rows[min(max(i, 0), len(m.rows)-1)].rowKey
	}
}

// scroll keeps the selected row in view.
func (m *model) scroll() {
	at := m.index()
	m.choose(at)
	m.top = min(m.top, at)
	m.top = max(m.top, at-m.visible()+1, 0)
}

// visible returns how many rows there is room for, next to the head, the names of the columns,
// hosts' troubles and the keys.
func (m *model) visible() int {
	return max(m.height-len(m.head())-3, 1)
}
