package report

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// A HeatMap shows a quantity of many layers along a run: a row for every layer,
// a column for every stretch of steps. Of one column it is a strip of layers.
type HeatMap struct {
	Caption string
	X       string      // title of the horizontal axis, with its unit; not drawn if X0 equals X1
	X0, X1  float64     // its ends
	Unit    string      // of the quantity, with its name: "temperature (energy/nat)"
	Rows    []string    // names of the layers
	Values  [][]float64 // [row][column]; what is not finite is left grey
	Log     bool        // colours by the logarithm; what is not positive is left grey
}

// maxColumns bounds the cells of a row: more are too thin to be seen.
const maxColumns = 180

// Map draws the chart.
func (m HeatMap) Map() template.HTML {
	low, high, missing := math.Inf(1), math.Inf(-1), 0
	for _, row := range m.Values {
		for _, v := range row {
			if _, ok := m.heat(v, 0, 1); !ok {
				missing++
				continue
			}
			low, high = math.Min(low, v), math.Max(high, v)
		}
	}
	notes := ""
	if missing > 0 {
		notes = fmt.Sprintf("Left grey, because not finite: %d.", missing)
		if m.Log {
			notes = fmt.Sprintf("Left grey, because not finite or not positive: %d.", missing)
		}
	}
	description := fmt.Sprintf("%s of %d layers, from %s to %s", m.Unit, len(m.Rows), number(low, 0), number(high, 0))
	return figure(m.Caption, description, notes, func(b *strings.Builder, width float64) float64 {
		return m.draw(b, width, low, high)
	})
}

// heat returns the place of a value on the scale from low to high.
func (m HeatMap) heat(v, low, high float64) (x float64, ok bool) {
	if m.Log {
		v, low, high = math.Log(v), math.Log(low), math.Log(high)
	}
	if high > low {
		return (v - low) / (high - low), finite(v)
	}
	return 0.5, finite(v)
}

func (m HeatMap) draw(b *strings.Builder, width, low, high float64) float64 {
	left, right, row, most := 150.0, width-plotRight, 22.0, 18
	if width == narrowWidth {
		left, most = 92, 10
	}
	bottom := float64(len(m.Rows)) * row
	labels := distinct(m.Rows, most)
	for i, name := range m.Rows {
		top := float64(i) * row
		fmt.Fprintf(b, `<text x="%g" y="%.1f" text-anchor="end" dominant-baseline="middle">%s<title>%s</title></text>`,
			left-padding, top+row/2, escape(labels[i]), escape(name))
		fmt.Fprintf(b, `<rect class="empty" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, left, top, right-left, row-1)
		if i < len(m.Values) {
			m.drawRow(b, i, left, right, top, row-1, low, high)
		}
	}
	if m.X0 != m.X1 {
		x := newTightAxis(m.X0, m.X1, left, right, ticksIn(right-left))
		x.drawBelow(b, bottom, bottom-4, m.X)
		bottom += axisHeight
	}
	return m.key(b, left, right, bottom+12, low, high)
}

// drawRow draws the cells of a layer. Neighbours of one colour are one rectangle.
func (m HeatMap) drawRow(b *strings.Builder, i int, left, right, top, height, low, high float64) {
	values := means(m.Values[i], maxColumns)
	wide := (right - left) / float64(len(values))
	for j := 0; j < len(values); {
		heat, ok := m.heat(values[j], low, high)
		if !ok {
			j++
			continue
		}
		colour := Scale(heat)
		end := j + 1
		for ; end < len(values); end++ {
			if next, ok := m.heat(values[end], low, high); !ok || Scale(next) != colour {
				break
			}
		}
		fmt.Fprintf(b, `<rect class="cell" x="%.2f" y="%.1f" width="%.2f" height="%.1f" fill="%s"><title>%s: %s</title></rect>`,
			left+float64(j)*wide, top, float64(end-j)*wide+0.3, height, colour, escape(m.Rows[i]), number(values[j], 0))
		j = end
	}
}

// means sums up values in at most n columns, each by the mean of what is finite.
func means(values []float64, n int) []float64 {
	if len(values) <= n {
		return values
	}
	columns := make([]float64, n)
	for j := range columns {
		sum, count := 0.0, 0.0
		for _, v := range values[j*len(values)/n : (j+1)*len(values)/n] {
			if finite(v) {
				sum, count = sum+v, count+1
			}
		}
		columns[j] = sum / count // NaN if there is none
	}
	return columns
}

// key draws the scale of colours and returns where it ends.
func (m HeatMap) key(b *strings.Builder, left, right, top, low, high float64) float64 {
	if !finite(low) {
		return top
	}
	const steps = 48
	wide := math.Min(right-left, 300)
	for i := range steps {
		fmt.Fprintf(b, `<rect class="cell" x="%.2f" y="%.1f" width="%.2f" height="8" fill="%s"/>`,
			left+float64(i)*wide/steps, top, wide/steps+0.3, Scale(float64(i)/(steps-1)))
	}
	unit := m.Unit
	if m.Log {
		unit += ", logarithmic"
	}
	fmt.Fprintf(b, `<text class="soft" x="%.1f" y="%.1f">%s</text><text class="soft" x="%.1f" y="%.1f" text-anchor="end">%s</text><text class="soft" x="%.1f" y="%.1f">%s</text>`,
		left, top+23, short(low), left+wide, top+23, short(high), left, top+41, escape(unit))
	return top + 48
}
