package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/term"
)

// A Table has a header and rows of as many cells. The first column names the
// row; the others are numbers, aligned to the right, unless they are in Words.
type Table struct {
	Columns []string     // with units: "temperature (energy/nat)"
	Words   map[int]bool // columns that hold text
	Rows    [][]string
	Heat    []float64 // of every row, 0 … 1 on the temperature scale, to be shown beside its name; nil for none
}

// MarshalJSON implements json.Marshaler.
func (t Table) MarshalJSON() ([]byte, error) {
	words := make([]bool, len(t.Columns))
	for i := range words {
		words[i] = i == 0 || t.Words[i]
	}
	document := struct {
		Columns []string   `json:"columns"`
		Words   []bool     `json:"words"`
		Rows    [][]string `json:"rows"`
		Heat    []number   `json:"heat,omitempty"`
	}{append([]string{}, t.Columns...), words, append([][]string{}, t.Rows...), nil}
	if t.Heat != nil {
		document.Heat = numbers(t.Heat)
	}
	return json.Marshal(document)
}

// Print writes the table in aligned columns. On a terminal it colours by Heat
// (unless NO_COLOR is set) and shortens texts until its lines fit; anywhere else
// it is plain and whole. Control characters in cells are replaced.
func (t Table) Print(w io.Writer) error {
	width, colours := terminal(w)
	_, err := io.WriteString(w, t.render(width, colours))
	return err
}

// terminal returns the width of the terminal that w is, 0 if it is none, and
// whether to use colours.
func terminal(w io.Writer) (width int, colours bool) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		width = 0
	}
	return width, os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// render lays the table out, in lines of at most width columns if possible and
// width is not 0.
func (t Table) render(width int, colours bool) string {
	const gap = 2
	lines := make([][]string, 0, len(t.Rows)+1)
	lines = append(lines, t.Columns)
	lines = append(lines, t.Rows...)
	wide := make([]int, len(t.Columns))
	cells := make([][]string, len(lines))
	for i, line := range lines {
		cells[i] = make([]string, len(wide))
		for j := range wide {
			if j < len(line) {
				cells[i][j] = printable(line[j])
			}
			wide[j] = max(wide[j], columns(cells[i][j]))
		}
	}
	colours = colours && t.Heat != nil
	if width > 0 {
		total := gap * (len(wide) - 1)
		for _, w := range wide {
			total += w
		}
		if colours {
			total += 2
		}
		t.shrink(wide, total-width)
	}
	var b strings.Builder
	for i, line := range cells {
		if colours {
			b.WriteString(t.swatch(i - 1))
		}
		var row strings.Builder
		for j, cell := range line {
			if j > 0 {
				row.WriteString(strings.Repeat(" ", gap))
			}
			cell = shorten(cell, wide[j])
			pad := strings.Repeat(" ", max(0, wide[j]-columns(cell)))
			if j == 0 || t.Words[j] {
				row.WriteString(cell + pad)
			} else {
				row.WriteString(pad + cell)
			}
		}
		b.WriteString(strings.TrimRight(row.String(), " ") + "\n")
	}
	return b.String()
}

// shrink makes columns of text narrower, the widest first, until excess is gone
// or all are of 8 columns. Numbers stay whole.
func (t Table) shrink(wide []int, excess int) {
	for ; excess > 0; excess-- {
		widest := -1
		for j, w := range wide {
			if (j == 0 || t.Words[j]) && w > 8 && (widest < 0 || w > wide[widest]) {
				widest = j
			}
		}
		if widest < 0 {
			return
		}
		wide[widest]--
	}
}

// swatch is a square in the colour of a row, as wide as two columns.
func (t Table) swatch(row int) string {
	if row < 0 || row >= len(t.Heat) || !finite(t.Heat[row]) {
		return "  "
	}
	return fmt.Sprintf("\x1b[38;5;%dm■\x1b[0m ", terminalColour(t.Heat[row]))
}

// terminalColour returns the colour nearest to that of the scale in the cube of
// 6×6×6 that terminals of 256 colours have.
func terminalColour(x float64) int {
	rgb, err := strconv.ParseUint(Scale(x)[1:], 16, 32)
	if err != nil {
		panic(err) // Scale writes six digits
	}
	levels := []float64{0, 95, 135, 175, 215, 255}
	colour := 16
	for i, weight := range []int{36, 6, 1} {
		c := float64(rgb >> (16 - 8*i) & 255)
		nearest := slices.MinFunc([]int{0, 1, 2, 3, 4, 5}, func(a, b int) int {
			return int(math.Abs(levels[a]-c)) - int(math.Abs(levels[b]-c))
		})
		colour += weight * nearest
	}
	return colour
}

// printable replaces what would move the cursor: names come from files.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '�'
		}
		return r
	}, s)
}

// columns is the number of columns that s takes: marks that combine take none,
// the wide characters of East Asia two.
func columns(s string) int {
	n := 0
	for _, r := range s {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		case unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana):
			n += 2
		default:
			n++
		}
	}
	return n
}

// shorten cuts the middle out of a long label: what layers differ by is at the
// ends of their names.
func shorten(s string, most int) string {
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	return string(r[:most/2-1]) + "…" + string(r[len(r)-most/2:])
}
