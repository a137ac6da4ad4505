package report

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"

	"github.com/kelvin-ml/kelvin/thermo"
)

// Every chart is drawn twice, for a page and for a phone; the style sheet shows
// the one that fits. A drawing scales, so these are ratios to its text, which is
// 13 high.
const (
	wideWidth   = 760.0
	narrowWidth = 370.0
	axisHeight  = 46.0
	plotLeft    = 66.0 // room for the labels of a vertical axis
	plotRight   = 24.0 // and for half of the last label of a horizontal one
	padding     = 10.0
)

func escape(s string) string { return template.HTMLEscapeString(s) }

// figure puts two drawings of a chart in a figure. Description says in words what
// they show; notes says what they do not.
func figure(caption, description, notes string, draw func(b *strings.Builder, width float64) (height float64)) template.HTML {
	var b strings.Builder
	b.WriteString("<figure>")
	for _, width := range []float64{wideWidth, narrowWidth} {
		var inner strings.Builder
		height := draw(&inner, width)
		class := "wide"
		if width == narrowWidth {
			class = "narrow"
		}
		fmt.Fprintf(&b, `<svg class="%s" viewBox="0 0 %g %.0f" role="img" aria-label="%s"><desc>%s</desc>%s</svg>`,
			class, width, height, escape(caption), escape(description), inner.String())
	}
	fmt.Fprintf(&b, `<figcaption>%s`, escape(caption))
	if notes != "" {
		fmt.Fprintf(&b, ` <span class="missing">%s</span>`, escape(notes))
	}
	b.WriteString("</figcaption></figure>\n")
	return template.HTML(b.String()) // every text in it was escaped
}

// ticksIn returns how many ticks a horizontal axis has room for.
func ticksIn(width float64) int { return max(3, int(width/85)) }

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
	var words []string
	for _, r := range c.Readings {
		words = append(words, c.label(r)+": "+valueOf(r))
	}
	return figure(c.Caption, c.Axis+". "+strings.Join(words, "; "), "", c.draw)
}

func (c BarChart) label(r thermo.Reading) string {
	if c.Label != nil {
		return c.Label(r)
	}
	return r.Group
}

// draw draws a row of label, bar and value side by side, or, where that is too
// narrow, label and value above the bar.
func (c BarChart) draw(b *strings.Builder, width float64) float64 {
	left, right, row, middle := 150.0, width-170, 28.0, 14.0
	stacked := width == narrowWidth
	if stacked {
		left, right, row, middle = padding, width-padding, 50, 33
	}
	low, high, largest := c.bounds()
	x := newAxis(low, high, left, right, ticksIn(right-left))
	bottom := float64(len(c.Readings)) * row
	x.drawBelow(b, bottom, 0, c.Axis)
	names := make([]string, len(c.Readings))
	for i, r := range c.Readings {
		names[i] = c.label(r)
	}
	most := 18
	if stacked {
		most = 24
	}
	names = distinct(names, most)
	for i, r := range c.Readings {
		top := float64(i) * row
		value := valueOf(r)
		if stacked {
			fmt.Fprintf(b, `<text x="%g" y="%.1f">%s</text><text class="soft" x="%g" y="%.1f" text-anchor="end">%s</text>`,
				left, top+17, escape(names[i]), right, top+17, value)
		} else {
			fmt.Fprintf(b, `<text x="%g" y="%.1f" text-anchor="end" dominant-baseline="middle">%s</text><text class="soft" x="%g" y="%.1f" dominant-baseline="middle">%s</text>`,
				left-padding, top+middle, escape(names[i]), right+padding, top+middle, value)
		}
		if finite(r.Value) {
			c.mark(b, x, r, top+middle, largest)
		}
	}
	return bottom + axisHeight
}

// bounds returns the ends of the value axis, and the largest magnitude.
func (c BarChart) bounds() (low, high, largest float64) {
	if c.Dots {
		low, high = math.Inf(1), math.Inf(-1)
	}
	for _, r := range c.Readings {
		if finite(r.Value) {
			e := errorOf(r)
			low, high = math.Min(low, r.Value-e), math.Max(high, r.Value+e)
			largest = math.Max(largest, math.Abs(r.Value))
		}
	}
	return low, high, largest
}

// mark draws the bar or the dot of a reading, and its error, at height y.
func (c BarChart) mark(b *strings.Builder, x axis, r thermo.Reading, y, largest float64) {
	class := "mark"
	if !r.Valid() {
		class = "mark pale"
	}
	heat := 0.0
	if largest > 0 {
		heat = math.Abs(r.Value) / largest
	}
	tip := fmt.Sprintf("<title>%s: %s</title>", escape(c.label(r)), escape(r.String()))
	if c.Dots {
		fmt.Fprintf(b, `<circle class="%s" cx="%.1f" cy="%.1f" r="5" fill="%s">%s</circle>`, class, x.at(r.Value), y, Scale(heat), tip)
	} else {
		from, to := x.at(math.Min(0, r.Value)), x.at(math.Max(0, r.Value))
		fmt.Fprintf(b, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="18" rx="2" fill="%s">%s</rect>`, class, from, y-9, math.Max(to-from, 1), Scale(heat), tip)
	}
	if e := errorOf(r); e > 0 {
		fmt.Fprintf(b, `<path class="error" d="M%.1f %.1fH%.1fM%.1f %.1fv8M%.1f %.1fv8"/>`,
			x.at(r.Value-e), y, x.at(r.Value+e), x.at(r.Value-e), y-4, x.at(r.Value+e), y-4)
	}
}

// valueOf writes the value of a reading, with its error if that is known.
func valueOf(r thermo.Reading) string {
	switch {
	case !finite(r.Value):
		return "not finite"
	case r.StdErr > 0 && finite(r.StdErr):
		return thermo.FormatError(r.Value, r.StdErr)
	}
	return short(r.Value)
}

// errorOf returns two standard errors, 0 if unknown.
func errorOf(r thermo.Reading) float64 {
	if e := 2 * r.StdErr; finite(e) {
		return e
	}
	return 0
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

// distinct shortens labels of more than most characters: what the dotted names of
// all have in common goes first, at both ends.
func distinct(labels []string, most int) []string {
	longest := 0
	parts := make([][]string, len(labels))
	for i, l := range labels {
		longest = max(longest, len([]rune(l)))
		parts[i] = strings.Split(l, ".")
	}
	short := slices.Clone(labels)
	if longest > most && len(labels) > 1 {
		from, to := 0, 0 // parts that go at the front and at the back
		for same(parts, func(p []string) (string, bool) { return at(p, from), from < len(p)-1 }) {
			from++
		}
		for same(parts, func(p []string) (string, bool) { return at(p, len(p)-1-to), from+to < len(p)-1 }) {
			to++
		}
		for i, p := range parts {
			short[i] = strings.Join(p[from:len(p)-to], ".")
			if from > 0 {
				short[i] = "…" + short[i]
			}
			if to > 0 {
				short[i] += "…"
			}
		}
	}
	for i, l := range short {
		short[i] = shorten(l, most)
	}
	return short
}

func at(p []string, i int) string {
	if i < 0 || i >= len(p) {
		return ""
	}
	return p[i]
}

// same reports whether get finds one and the same thing in all of parts.
func same(parts [][]string, get func([]string) (string, bool)) bool {
	first, _ := get(parts[0])
	for _, p := range parts {
		if s, ok := get(p); !ok || s != first {
			return false
		}
	}
	return true
}
