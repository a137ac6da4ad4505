package report

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// A LineChart shows how quantities change.
type LineChart struct {
	Caption string
	X, Y    string // axis titles, with units
	LogX    bool
	LogY    bool
	Lines   []Line
	Marks   []Mark // drawn behind the lines
}

// A Mark is an interval of x at which something happened.
type Mark struct {
	Name     string
	From, To float64
}

// A Line is one series of a LineChart. A point that is not finite (or, on a
// log axis, not positive) leaves a gap, and the caption says how many there are.
// Band, when not nil, holds the half-width of a shaded band about every point.
type Line struct {
	Name    string // not in the legend if empty
	X, Y    []float64
	Band    []float64
	Dots    bool    // a dot at every point, not joined
	Hotness float64 // 0 … 1: its colour on the temperature scale
}

// Plot draws the chart.
func (c LineChart) Plot() template.HTML {
	var words []string
	missing := 0
	for _, l := range c.Lines {
		low, high, shown := math.Inf(1), math.Inf(-1), 0
		for i, y := range l.Y {
			if finite(l.X[i]) && finite(y) && (!c.LogX || l.X[i] > 0) && (!c.LogY || y > 0) {
				low, high, shown = math.Min(low, y), math.Max(high, y), shown+1
			}
		}
		missing += len(l.Y) - shown
		if shown > 0 {
			words = append(words, fmt.Sprintf("%s: %d points from %s to %s", l.Name, shown, number(low, 0), number(high, 0)))
		}
	}
	for _, m := range c.Marks {
		words = append(words, fmt.Sprintf("%s from %s to %s", m.Name, number(m.From, 0), number(m.To, 0)))
	}
	return figure(c.Caption, c.Y+" against "+c.X+". "+strings.Join(words, "; "), c.missing(missing), c.draw)
}

func (c LineChart) missing(n int) string {
	switch {
	case n == 0:
		return ""
	case c.LogX || c.LogY:
		return fmt.Sprintf("Not drawn, because not finite or not positive: %d.", n)
	}
	return fmt.Sprintf("Not drawn, because not finite: %d.", n)
}

func (c LineChart) draw(b *strings.Builder, width float64) float64 {
	height, right := 240.0, width-plotRight
	top := padding
	if named(c.Lines) > 1 {
		top += legend(b, c.Lines, plotLeft, right)
	}
	bottom := top + height
	x, y := c.axes(right, top, bottom)
	x.drawBelow(b, bottom, top, c.X)
	y.drawLeft(b, plotLeft, right, c.Y)
	for _, m := range c.Marks {
		from, ok1 := x.place(m.From)
		to, ok2 := x.place(m.To)
		if ok1 && ok2 {
			wide := max(to-from, 3)
			fmt.Fprintf(b, `<rect class="interval" x="%.1f" y="%.1f" width="%.1f" height="%.1f"><title>%s</title></rect><text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`,
				from, top, wide, height, escape(m.Name), from+wide/2, top+12, escape(m.Name))
		}
	}
	for _, l := range c.Lines {
		if l.Band != nil {
			fmt.Fprintf(b, `<path class="band" fill="%s" d="%s"/>`, Scale(l.Hotness), band(l, x, y))
		}
	}
	for _, l := range c.Lines {
		thickness := 2.0
		if len(l.X) > int(width) {
			thickness = 1
		}
		if l.Dots {
			for i := range l.X {
				at, okX := x.place(l.X[i])
				height, okY := y.place(l.Y[i])
				if okX && okY {
					fmt.Fprintf(b, `<circle class="mark" cx="%.1f" cy="%.1f" r="4.5" fill="%s"/>`, at, height, Scale(l.Hotness))
				}
			}
			continue
		}
		fmt.Fprintf(b, `<path class="line" stroke="%s" stroke-width="%g" d="%s"/>`, Scale(l.Hotness), thickness, trace(l, x, y))
	}
	return bottom + axisHeight
}

// axes fits the axes to the points and their bands.
func (c LineChart) axes(right, top, bottom float64) (x, y axis) {
	lowX, highX, lowY, highY := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, l := range c.Lines {
		for i := range l.X {
			for _, half := range halves(l, i) {
				u, v := l.X[i], l.Y[i]+half
				if c.LogX {
					u = math.Log10(u)
				}
				if c.LogY {
					v = math.Log10(v)
				}
				if finite(u) && finite(v) {
					lowX, highX = math.Min(lowX, u), math.Max(highX, u)
					lowY, highY = math.Min(lowY, v), math.Max(highY, v)
				}
			}
		}
	}
	if x = newTightAxis(lowX, highX, plotLeft, right, ticksIn(right-plotLeft)); c.LogX {
		x = newLogAxis(lowX, highX, plotLeft, right, ticksIn(right-plotLeft))
	}
	if c.LogY {
		return x, newLogAxis(lowY, highY, bottom, top, 6)
	}
	return x, newAxis(lowY, highY, bottom, top, 6)
}

// halves are the distances from a point to where it must be seen.
func halves(l Line, i int) []float64 {
	if l.Band == nil {
		return []float64{0}
	}
	return []float64{0, -l.Band[i], l.Band[i]}
}

// named counts the lines with names.
func named(lines []Line) int {
	n := 0
	for _, l := range lines {
		if l.Name != "" {
			n++
		}
	}
	return n
}

// legend names the lines above the plot, unless they have no names, and returns the height it takes.
func legend(b *strings.Builder, lines []Line, left, right float64) float64 {
	x, y := left, padding
	for _, l := range lines {
		if l.Name == "" {
			continue
		}
		name := shorten(l.Name, 32)
		wide := 34 + 7.2*float64(len([]rune(name)))
		if x > left && x+wide > right {
			x, y = left, y+20
		}
		fmt.Fprintf(b, `<rect class="mark" x="%.1f" y="%.1f" width="12" height="12" rx="2" fill="%s"/><text x="%.1f" y="%.1f" dominant-baseline="middle">%s</text>`,
			x, y-6, Scale(l.Hotness), x+18, y, escape(name))
		x += wide
	}
	return y + 8
}

// trace is the path of a line. Where many points share a column of the drawing,
// it goes by the first, the lowest, the highest and the last of them: nothing
// that could be seen is lost.
func trace(l Line, x, y axis) string {
	const column = 0.8
	var b strings.Builder
	pen := byte('M')
	for i := 0; i < len(l.X); {
		px, okX := x.place(l.X[i])
		py, okY := y.place(l.Y[i])
		if !okX || !okY {
			pen = 'M'
			i++
			continue
		}
		first, last, low, high := py, py, py, py
		j := i + 1
		for ; j < len(l.X); j++ {
			qx, okX := x.place(l.X[j])
			qy, okY := y.place(l.Y[j])
			if !okX || !okY || math.Abs(qx-px) >= column {
				break
			}
			last, low, high = qy, math.Min(low, qy), math.Max(high, qy)
		}
		fmt.Fprintf(&b, "%c%.1f %.1f", pen, px, first)
		if j > i+2 {
			fmt.Fprintf(&b, "V%.1fV%.1f", low, high)
		}
		if j > i+1 {
			fmt.Fprintf(&b, "V%.1f", last)
		} else if alone := j == len(l.X) || !finite(l.Y[j]); pen == 'M' && alone {
			b.WriteString("h.1") // a point between gaps: round caps make a dot of it
		}
		pen, i = 'L', j
	}
	return b.String()
}

// band is the outline of the band about a line, one for every stretch without
// gaps: forth along its upper edge, back along its lower one.
func band(l Line, x, y axis) string {
	var b strings.Builder
	var up, down []string
	flush := func() {
		if len(up) > 1 {
			for i, j := 0, len(down)-1; i < j; i, j = i+1, j-1 {
				down[i], down[j] = down[j], down[i]
			}
			b.WriteString("M" + strings.Join(up, "L") + "L" + strings.Join(down, "L") + "Z")
		}
		up, down = nil, nil
	}
	for i := range l.X {
		at, okX := x.place(l.X[i])
		upper, okU := y.place(l.Y[i] + l.Band[i])
		lower, okL := y.place(l.Y[i] - l.Band[i])
		if okU && !okL && y.log {
			lower, okL = y.from, true // it reaches below every power of ten
		}
		if !okX || !okU || !okL {
			flush()
			continue
		}
		up = append(up, fmt.Sprintf("%.1f %.1f", at, upper))
		down = append(down, fmt.Sprintf("%.1f %.1f", at, lower))
	}
	flush()
	return b.String()
}
