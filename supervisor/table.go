package supervisor

import (
	"strings"
	"unicode/utf8"

	"pgo/internal/hoststat"
)

// cell is one text of a table. Its colour takes no room.
type cell struct {
	text  string // "" is shown as -
	level hoststat.Level
}

// table is rows whose columns stand below each other; the first row is the heading.
type table [][]cell

// texts are cells without a colour.
func texts(all ...string) []cell {
	var cells []cell
	for _, text := range all {
		cells = append(cells, cell{text: text})
	}
	return cells
}

func (t table) text(color bool) string {
	widths := map[int]int{}
	for _, row := range t {
		for n, c := range row {
			widths[n] = max(widths[n], utf8.RuneCountInString(orNone(c.text)))
		}
	}
	var b strings.Builder
	for _, row := range t {
		for n, c := range row {
			text := orNone(c.text)
			gap := widths[n] - utf8.RuneCountInString(text) + 2
			if color && c.text != "" {
				text = c.level.Paint(text)
			}
			b.WriteString(text)
			if n < len(row)-1 { // nothing stands behind the last
				b.WriteString(strings.Repeat(" ", gap))
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}
