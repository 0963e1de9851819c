package hoststat

import (
	"cmp"
	"fmt"
	"strings"
	"unicode/utf8"

	"pgo/internal/printable"
)

// Cell is one text of a table. Its colour does not count for the width.
type Cell struct {
	Text  string
	Level Level
	Right bool // right-aligned, as numbers are
}

// Table is rows with aligned columns; the first row is the heading. An empty cell is shown as -,
// unless its column has no heading.
type Table [][]Cell

// Texts returns cells without a colour.
func Texts(all ...string) []Cell {
	var cells []Cell
	for _, text := range all {
		cells = append(cells, Cell{Text: text})
	}
	return cells
}

// Lines returns the table, one line for each row.
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
			case n < len(row)-1: // nothing follows the last one
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

// text returns the text that is shown for a row's cell.
func (t Table) text(row []Cell, n int) string {
	if t[0][n].Text == "" {
		return row[n].Text
	}
	return orNone(row[n].Text)
}

// Text returns the table as it is printed.
func (t Table) Text(color bool) string { return text(t.Lines(color)) }

func text(lines []string) string { return strings.Join(lines, "\n") + "\n" }

// Row is a name and a value. A row without a name continues the one before it.
type Row struct {
	Name  string
	Word  Cell // the beginning of the value, if it has a colour
	Value string
}

// Rows are aligned names and values.
type Rows []Row

// Add adds a row.
func (r *Rows) Add(name, format string, args ...any) {
	*r = append(*r, Row{Name: name, Value: printable.Line(fmt.Sprintf(format, args...))})
}

// List adds a row for each text. Only the first one has the name.
func (r *Rows) List(name string, texts []string) {
	for _, text := range texts {
		r.Add(name, "%s", text)
		name = ""
	}
}

// Lines returns one line for each row.
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

// Text returns the rows as they are printed.
func (r Rows) Text(color bool) string { return text(r.Lines(color)) }

// orNone returns - for an empty string.
func orNone[T ~string](s T) T { return cmp.Or(s, "-") }
