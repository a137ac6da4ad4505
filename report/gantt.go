package report

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// A GanttChart shows what runs when, a row for each place.
type GanttChart struct {
	Caption string
	X       string // title of the time axis, with its unit
	Rows    []string
	Bars    []GanttBar
}

// A GanttBar is one thing that runs.
type GanttBar struct {
	Row        int
	Start, End float64
	Label      string // in the bar, where it fits
	Title      string // in words
	Hotness    float64
}

// Chart draws the chart.
func (c GanttChart) Chart() template.HTML {
	last := 0.0
	for _, b := range c.Bars {
		last = math.Max(last, b.End)
	}
	description := fmt.Sprintf("%d bars in %d rows, from 0 to %s", len(c.Bars), len(c.Rows), number(last, 0))
	return figure(c.Caption, description, "", func(b *strings.Builder, width float64) float64 {
		const row = 26.0
		left, right := plotLeft, width-plotRight
		bottom := row * float64(len(c.Rows))
		x := newTightAxis(0, math.Max(last, 1e-300), left, right, ticksIn(right-left))
		x.drawBelow(b, bottom, 0, c.X)
		for i, name := range c.Rows {
			fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="end" dominant-baseline="middle">%s</text>`, left-padding, row*(float64(i)+0.5), escape(name))
		}
		for _, bar := range c.Bars {
			from, okFrom := x.place(bar.Start)
			to, okTo := x.place(bar.End)
			if !okFrom || !okTo {
				continue
			}
			top := row * float64(bar.Row)
			fmt.Fprintf(b, `<rect x="%.2f" y="%.1f" width="%.2f" height="%.1f" fill="%s"><title>%s</title></rect>`, from, top+2, math.Max(to-from-0.6, 0.4), row-4, Scale(bar.Hotness), escape(bar.Title))
			if to-from > 9*float64(len(bar.Label)) {
				fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="middle" dominant-baseline="middle" style="fill:%s">%s</text>`, (from+to)/2, top+row/2, inkOn(bar.Hotness), escape(bar.Label))
			}
		}
		return bottom + axisHeight
	})
}

// inkOn is a colour of text that can be read on the scale.
func inkOn(hotness float64) string {
	if hotness < 0.45 {
		return "#ffffff"
	}
	return "#1c2430"
}
