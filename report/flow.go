package report

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// A FlowChart shows what passes through a row of stages: into and out of each, as
// a band whose width is the amount, coloured by what it loses.
type FlowChart struct {
	Caption string
	Unit    string // of the amounts, with their name
	Stages  []Stage
}

// A Stage is one stage of a FlowChart.
type Stage struct {
	Name    string
	In, Out float64
	Note    string // below it
}

// Flow draws the chart. Stages that do not fit beside each other go on below.
func (c FlowChart) Flow() template.HTML {
	most, missing := 0.0, 0
	for _, s := range c.Stages {
		if !finite(s.In) || !finite(s.Out) {
			missing++
			continue
		}
		most = math.Max(most, math.Max(s.In, s.Out))
	}
	notes := ""
	if missing > 0 {
		notes = fmt.Sprintf("Left out, because not finite: %d.", missing)
	}
	description := fmt.Sprintf("%s through %d stages", c.Unit, len(c.Stages))
	return figure(c.Caption, description, notes, func(b *strings.Builder, width float64) float64 { return c.draw(b, width, most) })
}

func (c FlowChart) draw(b *strings.Builder, width, most float64) float64 {
	const wide, gap, high, row = 104.0, 14.0, 90.0, 150.0
	perRow := max(1, int((width+gap)/(wide+gap)))
	shown := 0
	for _, s := range c.Stages {
		if !finite(s.In) || !finite(s.Out) || most == 0 {
			continue
		}
		x, y := float64(shown%perRow)*(wide+gap), float64(shown/perRow)*row+22
		in, out := high*s.In/most, high*s.Out/most
		loss := 0.5
		if s.In > 0 {
			loss = math.Max(0, math.Min(1, 0.5+0.5*(s.Out/s.In-1)))
		}
		middle := y + high/2
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f">%s</text>`, x, y-7, escape(distinct([]string{s.Name}, 14)[0]))
		fmt.Fprintf(b, `<path fill="%s" d="M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1fV%.1fC%.1f %.1f %.1f %.1f %.1f %.1fZ"><title>%s: %s in, %s out</title></path>`,
			Scale(loss), x, middle-in/2, x+wide/2, middle-in/2, x+wide/2, middle-out/2, x+wide, middle-out/2, middle+out/2,
			x+wide/2, middle+out/2, x+wide/2, middle+in/2, x, middle+in/2, escape(s.Name), number(s.In, 0), number(s.Out, 0))
		fmt.Fprintf(b, `<text class="soft" x="%.1f" y="%.1f">%s</text>`, x, y+high+16, escape(s.Note))
		shown++
	}
	return float64((shown+perRow-1)/perRow) * row
}
