package hoststat

import (
	"cmp"
	"fmt"
	"strings"
	"unicode/utf8"

	"pgo/internal/printable"
)

// Cell is one text of a table. Its colour takes no room.
type Cell struct {
	Text  string
	Level Level
	Right bool // it stands at the right of its column: numbers
}

// Table is rows whose columns stand below each other; the first row is the heading. An
// empty cell is shown as -, unless its column has no heading.
type Table [][]Cell

// Texts are cells without a colour.
func Texts(all ...string) []Cell {
	var cells []Cell
	for _, text := range all {
		cells = append(cells, Cell{Text: text})
	}
	return cells
}

// Lines is the table, a line for each row.
func (t Table) Lines(color bool) []string {
	widths := map[int]int{}
	for _, row := range t {
		for n := range row {
			widths[n] = max(widths[n], utf8.RuneCountInString(t.text(row, n)))
		}
	}
	var lines []string
	for _, row := range t {
		var b strings.Builder
		for n, c := range row {
			text := t.text(row, n)
			gap := strings.Repeat(" ", widths[n]-utf8.RuneCountInString(text))
			if color && c.Text != "" {
				text = c.Level.Paint(text)
			}
			switch {
			case c.Right:
				text = gap + text
			case n < len(row)-1: // nothing stands behind the last
				text += gap
			}
			if n < len(row)-1 {
				text += "  "
			}
			b.WriteString(text)
		}
		lines = append(lines, b.String())
	}
	return lines
}

// text is what is shown of a row's cell.
func (t Table) text(row []Cell, n int) string {
	if t[0][n].Text == "" {
		return row[n].Text
	}
	return orNone(row[n].Text)
}

// Text is the table as it is printed.
func (t Table) Text(color bool) string { return text(t.Lines(color)) }

func text(lines []string) string { return strings.Join(lines, "\n") + "\n" }

// Row is a name and a value. One without a name goes on with what the row before it says.
type Row struct {
	Name  string
	Word  Cell // what the value begins with, if that has a colour
	Value string
}

// Rows are names and values below each other.
type Rows []Row

// Add adds a row.
func (r *Rows) Add(name, format string, args ...any) {
	*r = append(*r, Row{Name: name, Value: printable.Line(fmt.Sprintf(format, args...))})
}

// List adds a row for each text. Only the first has the name.
func (r *Rows) List(name string, texts []string) {
	for _, text := range texts {
		r.Add(name, "%s", text)
		name = ""
	}
}

// Lines is a line for each row.
func (r Rows) Lines(color bool) []string {
	var lines []string
	for _, row := range r {
		name, word := row.Name, row.Word.Text
		if name != "" {
			name += ":"
		}
		if color {
			word = row.Word.Level.Paint(word)
		}
		lines = append(lines, fmt.Sprintf("%-10s %s", name, word+row.Value))
	}
	return lines
}

// Text is the rows as they are printed.
func (r Rows) Text(color bool) string { return text(r.Lines(color)) }

// orNone shows that there is nothing.
func orNone[T ~string](s T) T { return cmp.Or(s, "-") }
