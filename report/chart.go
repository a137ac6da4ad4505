package report

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"

	"github.com/kelvin-ml/kelvin/thermo"
)

// Sizes of a chart in SVG units; it scales with the page.
const (
	chartWidth  = 760.0
	labelWidth  = 150.0
	valueWidth  = 170.0
	rowHeight   = 28.0
	axisHeight  = 44.0
	plotHeight  = 230.0
	plotLeft    = 62.0
	plotPadding = 10.0
)

// A BarChart compares readings of one unit, one row each, with error bars of two
// standard errors. A reading that is not valid is drawn pale.
type BarChart struct {
	Caption  string
	Axis     string // title of the value axis, with its unit
	Readings []thermo.Reading
	Label    func(thermo.Reading) string // of a row; nil takes the group
	Dots     bool                        // a dot instead of a bar from 0: for comparing, not for adding up
}

// Bars draws the chart.
func (c BarChart) Bars() template.HTML {
	low, high := 0.0, 0.0
	if c.Dots {
		low, high = math.Inf(1), math.Inf(-1)
	}
	largest := 0.0
	for _, r := range c.Readings {
		if finite(r.Value) {
			e := errorOf(r)
			low, high = math.Min(low, r.Value-e), math.Max(high, r.Value+e)
			largest = math.Max(largest, math.Abs(r.Value))
		}
	}
	x := newAxis(low, high, labelWidth, chartWidth-valueWidth)
	height := float64(len(c.Readings))*rowHeight + axisHeight
	var b strings.Builder
	open(&b, chartWidth, height, c.Caption)
	bottom := height - axisHeight
	x.draw(&b, bottom, 0, c.Axis)
	for i, r := range c.Readings {
		y := (float64(i) + 0.5) * rowHeight
		label := r.Group
		if c.Label != nil {
			label = c.Label(r)
		}
		fmt.Fprintf(&b, `<text x="%g" y="%.1f" text-anchor="end" dominant-baseline="middle">%s</text>`, labelWidth-plotPadding, y, template.HTMLEscapeString(label))
		fmt.Fprintf(&b, `<text class="soft" x="%g" y="%.1f" dominant-baseline="middle">%s</text>`, chartWidth-valueWidth+plotPadding, y, thermo.FormatError(r.Value, r.StdErr))
		if !finite(r.Value) {
			continue
		}
		opacity := 1.0
		if !r.Valid() {
			opacity = 0.35
		}
		colour := Scale(math.Abs(r.Value) / largest)
		if c.Dots {
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="5" fill="%s" opacity="%g"/>`, x.at(r.Value), y, colour, opacity)
		} else {
			from, to := x.at(math.Min(0, r.Value)), x.at(math.Max(0, r.Value))
			fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%g" rx="2" fill="%s" opacity="%g"/>`, from, y-9, math.Max(to-from, 1), 18.0, colour, opacity)
		}
		if e := errorOf(r); e > 0 {
			fmt.Fprintf(&b, `<path class="error" d="M%.1f %.1fH%.1fM%.1f %.1fv8M%.1f %.1fv8" opacity="%g"/>`,
				x.at(r.Value-e), y, x.at(r.Value+e), x.at(r.Value-e), y-4, x.at(r.Value+e), y-4, opacity)
		}
	}
	return end(&b, c.Caption)
}

// errorOf returns two standard errors, 0 if unknown.
func errorOf(r thermo.Reading) float64 {
	if e := 2 * r.StdErr; finite(e) {
		return e
	}
	return 0
}

// A LineChart shows how quantities change.
type LineChart struct {
	Caption string
	X, Y    string // axis titles, with units
	LogY    bool
	Lines   []Line
}

// A Line is one series of a LineChart. A point that is not finite (or, with
// LogY, not positive) leaves a gap. Band, when not nil, holds the half-width of
// a shaded band about every point.
type Line struct {
	Name    string
	X, Y    []float64
	Band    []float64
	Hotness float64 // 0 … 1: its colour on the temperature scale
}

// Plot draws the chart.
func (c LineChart) Plot() template.HTML {
	transform := func(y float64) float64 { return y }
	if c.LogY {
		transform = math.Log10
	}
	lowX, highX, lowY, highY := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, l := range c.Lines {
		for i, x := range l.X {
			if y := transform(l.Y[i]); finite(x) && finite(y) {
				lowX, highX = math.Min(lowX, x), math.Max(highX, x)
				lowY, highY = math.Min(lowY, y), math.Max(highY, y)
			}
		}
	}
	x := newAxis(lowX, highX, plotLeft, chartWidth-plotPadding)
	y := newAxis(lowY, highY, plotHeight, plotPadding)
	var b strings.Builder
	open(&b, chartWidth, plotHeight+axisHeight, c.Caption)
	x.draw(&b, plotHeight, plotPadding, c.X)
	y.drawVertical(&b, c.Y, c.LogY)
	for _, l := range c.Lines {
		colour := Scale(l.Hotness)
		if l.Band != nil {
			fmt.Fprintf(&b, `<path fill="%s" opacity="0.25" d="%s"/>`, colour, band(l, x, y, transform))
		}
		fmt.Fprintf(&b, `<path fill="none" stroke="%s" stroke-width="2" stroke-linejoin="round" d="%s"/>`, colour, path(l, x, y, transform))
	}
	if len(c.Lines) > 1 {
		for i, l := range c.Lines {
			at := plotPadding + float64(i)*18 + 8
			fmt.Fprintf(&b, `<rect x="%g" y="%g" width="12" height="12" rx="2" fill="%s"/><text x="%g" y="%g" dominant-baseline="middle">%s</text>`,
				chartWidth-180, at-6, Scale(l.Hotness), chartWidth-162, at, template.HTMLEscapeString(l.Name))
		}
	}
	return end(&b, c.Caption)
}

func path(l Line, x, y axis, transform func(float64) float64) string {
	var b strings.Builder
	pen := "M"
	for i := range l.X {
		v := transform(l.Y[i])
		if !finite(l.X[i]) || !finite(v) {
			pen = "M"
			continue
		}
		fmt.Fprintf(&b, "%s%.1f %.1f", pen, x.at(l.X[i]), y.at(v))
		pen = "L"
	}
	return b.String()
}

// band is the outline of the band about a line, without its gaps: forth along
// its upper edge, back along its lower one.
func band(l Line, x, y axis, transform func(float64) float64) string {
	var edge []string
	for i := range l.X {
		if up := transform(l.Y[i] + l.Band[i]); finite(l.X[i]) && finite(up) {
			edge = append(edge, fmt.Sprintf("%.1f %.1f", x.at(l.X[i]), y.at(up)))
		}
	}
	for i := len(l.X) - 1; i >= 0; i-- {
		if down := transform(l.Y[i] - l.Band[i]); finite(l.X[i]) && finite(down) {
			edge = append(edge, fmt.Sprintf("%.1f %.1f", x.at(l.X[i]), y.at(down)))
		}
	}
	return "M" + strings.Join(edge, "L") + "Z"
}

func open(b *strings.Builder, width, height float64, title string) {
	fmt.Fprintf(b, `<figure><svg viewBox="0 0 %g %g" role="img"><title>%s</title>`, width, height, template.HTMLEscapeString(title))
}

func end(b *strings.Builder, caption string) template.HTML {
	fmt.Fprintf(b, `</svg><figcaption>%s</figcaption></figure>`, template.HTMLEscapeString(caption))
	return template.HTML(b.String()) // every text in it was escaped
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// An axis maps values from low to high to places from from to to.
type axis struct {
	low, high, from, to float64
	ticks               []float64
}

// newAxis returns an axis whose ends are ticks, with about five of them.
func newAxis(low, high, from, to float64) axis {
	if !finite(low) || !finite(high) {
		low, high = 0, 1
	}
	if low == high {
		low, high = low-math.Max(math.Abs(low), 1)/2, high+math.Max(math.Abs(high), 1)/2
	}
	step := math.Pow(10, math.Floor(math.Log10((high-low)/5)))
	for _, factor := range []float64{1, 2, 5, 10} {
		if (high-low)/(factor*step) <= 6 {
			step *= factor
			break
		}
	}
	a := axis{low: math.Floor(low/step) * step, high: math.Ceil(high/step) * step, from: from, to: to}
	for i := 0.0; a.low+i*step <= a.high+step/2; i++ {
		a.ticks = append(a.ticks, a.low+i*step)
	}
	return a
}

func (a axis) at(v float64) float64 { return a.from + (v-a.low)/(a.high-a.low)*(a.to-a.from) }

// draw draws a horizontal axis at y, its grid up to top.
func (a axis) draw(b *strings.Builder, y, top float64, title string) {
	for _, t := range a.ticks {
		fmt.Fprintf(b, `<path class="grid" d="M%.1f %.1fV%.1f"/><text class="soft" x="%.1f" y="%.1f" text-anchor="middle">%s</text>`,
			a.at(t), top, y, a.at(t), y+17, a.label(t))
	}
	fmt.Fprintf(b, `<text class="soft" x="%.1f" y="%.1f" text-anchor="middle">%s</text>`, (a.from+a.to)/2, y+36, template.HTMLEscapeString(title))
}

// drawVertical draws a vertical axis at the left of a plot.
func (a axis) drawVertical(b *strings.Builder, title string, log bool) {
	for _, t := range a.ticks {
		label := a.label(t)
		if log {
			label = strconv.FormatFloat(math.Pow(10, t), 'g', 2, 64)
		}
		fmt.Fprintf(b, `<path class="grid" d="M%g %.1fH%g"/><text class="soft" x="%g" y="%.1f" text-anchor="end" dominant-baseline="middle">%s</text>`,
			plotLeft, a.at(t), chartWidth-plotPadding, plotLeft-6, a.at(t), label)
	}
	fmt.Fprintf(b, `<text class="soft" transform="translate(12 %.1f) rotate(-90)" text-anchor="middle">%s</text>`, (a.from+a.to)/2, template.HTMLEscapeString(title))
}

func (a axis) label(t float64) string {
	if math.Abs(t) < 1e-9*(a.high-a.low) {
		return "0"
	}
	return strconv.FormatFloat(t, 'g', 4, 64)
}
