package report

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// A FloorMap is a plane seen from above, coloured by a quantity: a chip by its
// temperature.
type FloorMap struct {
	Caption       string
	Unit          string  // of the quantity, with its name: "temperature (K)"
	Width, Height float64 // of the plane, in millimetres
	Areas         []Area  // drawn in order
	Low, High     float64 // ends of the scale; equal for those of the areas
}

// An Area is a rectangle of a FloorMap, its corner at the lower left. One without a
// value (NaN) is an outline; one with a name is labelled.
type Area struct {
	Name                string
	X, Y, Width, Height float64 // mm
	Value               float64
}

// Map draws the chart.
func (m FloorMap) Map() template.HTML {
	low, high := math.Inf(1), math.Inf(-1)
	for _, a := range m.Areas {
		if finite(a.Value) {
			low, high = math.Min(low, a.Value), math.Max(high, a.Value)
		}
	}
	if m.Low != m.High {
		low, high = m.Low, m.High
	}
	description := fmt.Sprintf("%s of a plane of %s × %s mm, from %s to %s", m.Unit, number(m.Width, 0), number(m.Height, 0), number(low, 0), number(high, 0))
	return figure(m.Caption, description, "", func(b *strings.Builder, width float64) float64 { return m.draw(b, width, low, high) })
}

func (m FloorMap) draw(b *strings.Builder, width, low, high float64) float64 {
	left, top, bottomSpace := plotLeft, padding, 0.0
	right := width - plotRight
	scale := math.Min((right-left)/m.Width, 480/m.Height)
	right = left + scale*m.Width
	bottom := top + scale*m.Height
	heat := HeatMap{Unit: m.Unit}
	for _, a := range m.Areas {
		x, y, wide, high1 := left+a.X*scale, bottom-(a.Y+a.Height)*scale, a.Width*scale, a.Height*scale
		share, ok := heat.heat(a.Value, low, high)
		if !ok {
			fmt.Fprintf(b, `<rect fill="none" stroke="currentColor" stroke-opacity=".45" stroke-width=".75" x="%.2f" y="%.2f" width="%.2f" height="%.2f"/>`, x, y, wide, high1)
		} else {
			fmt.Fprintf(b, `<rect class="cell" x="%.2f" y="%.2f" width="%.2f" height="%.2f" fill="%s"><title>%s %s</title></rect>`,
				x, y, wide+0.3, high1+0.3, Scale(share), escape(a.Name), number(a.Value, 0))
		}
		if a.Name != "" && wide > 8.5*float64(len([]rune(a.Name))) && high1 > 16 {
			fmt.Fprintf(b, `<text class="onmap" x="%.1f" y="%.1f" text-anchor="middle" dominant-baseline="middle">%s</text>`, x+wide/2, y+high1/2, escape(a.Name))
		}
	}
	newTightAxis(0, m.Width, left, right, ticksIn(right-left)).drawBelow(b, bottom, bottom-4, "mm")
	newTightAxis(0, m.Height, bottom, top, 6).drawLeft(b, left, left, "mm")
	bottomSpace = axisHeight
	return heat.key(b, left, math.Max(right, left+200), bottom+bottomSpace+12, low, high)
}
