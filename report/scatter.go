package report

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// A Dot is one point of a ScatterChart, with standard errors (0 if unknown).
type Dot struct {
	Name       string
	X, Y       float64
	ErrX, ErrY float64
	Hotness    float64 // 0 … 1: its colour on the temperature scale
}

// A ScatterChart shows two quantities of many things, with error bars of two
// standard errors. Dots that are not finite are left out, and the caption says
// how many.
type ScatterChart struct {
	Caption  string
	X, Y     string // axis titles, with units
	Dots     []Dot
	Diagonal bool // draws the line on which both are equal

	shares bool // both axes go from 0 to 1
}

// Plot draws the chart.
func (c ScatterChart) Plot() template.HTML {
	shown := make([]Dot, 0, len(c.Dots))
	for _, d := range c.Dots {
		if finite(d.X) && finite(d.Y) {
			shown = append(shown, d)
		}
	}
	notes := ""
	if n := len(c.Dots) - len(shown); n > 0 {
		notes = fmt.Sprintf("Not drawn, because not finite: %d.", n)
	}
	c.Dots = shown
	return figure(c.Caption, fmt.Sprintf("%s against %s, %d points", c.Y, c.X, len(shown)), notes, c.draw)
}

func (c ScatterChart) draw(b *strings.Builder, width float64) float64 {
	height, right := 300.0, width-plotRight
	bottom := padding + height
	lowX, highX, lowY, highY := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, d := range c.Dots {
		ex, ey := known(d.ErrX), known(d.ErrY)
		lowX, highX = math.Min(lowX, d.X-ex), math.Max(highX, d.X+ex)
		lowY, highY = math.Min(lowY, d.Y-ey), math.Max(highY, d.Y+ey)
	}
	if c.Diagonal {
		lowX, highX = math.Min(lowX, lowY), math.Max(highX, highY)
		lowY, highY = lowX, highX
	}
	if c.shares {
		lowX, highX, lowY, highY = 0, 1, 0, 1
	}
	x := newAxis(lowX, highX, plotLeft, right, ticksIn(right-plotLeft))
	y := newAxis(lowY, highY, bottom, padding, 6)
	x.drawBelow(b, bottom, padding, c.X)
	y.drawLeft(b, plotLeft, right, c.Y)
	if c.Diagonal {
		from, to := math.Max(x.low, y.low), math.Min(x.high, y.high)
		fmt.Fprintf(b, `<path class="guide" d="M%.1f %.1fL%.1f %.1f"/>`, x.at(from), y.at(from), x.at(to), y.at(to))
	}
	for _, d := range c.Dots {
		px, py := x.at(d.X), y.at(d.Y)
		if e := known(d.ErrX); e > 0 {
			fmt.Fprintf(b, `<path class="error" d="M%.1f %.1fH%.1f"/>`, x.at(math.Max(d.X-e, x.low)), py, x.at(math.Min(d.X+e, x.high)))
		}
		if e := known(d.ErrY); e > 0 {
			fmt.Fprintf(b, `<path class="error" d="M%.1f %.1fV%.1f"/>`, px, y.at(math.Max(d.Y-e, y.low)), y.at(math.Min(d.Y+e, y.high)))
		}
		fmt.Fprintf(b, `<circle class="mark" cx="%.1f" cy="%.1f" r="4.5" fill="%s"><title>%s</title></circle>`, px, py, Scale(d.Hotness), escape(d.Name))
	}
	return bottom + axisHeight
}

// known returns two standard errors, 0 if they are unknown.
func known(stderr float64) float64 {
	if stderr > 0 && finite(stderr) {
		return 2 * stderr
	}
	return 0
}

// A CalibrationBin is the predictions of nearly one confidence.
type CalibrationBin struct {
	Confidence float64 // their mean
	Accuracy   float64 // the share that was right
	Count      int
}

// Reliability is the chart of accuracy against confidence: on the diagonal where
// predictions are calibrated, below it where they are too sure. Bins without a
// prediction are left out; the errors are binomial, by Agresti and Coull's rule,
// so that a bin that is always right has one too.
func Reliability(caption string, bins []CalibrationBin) ScatterChart {
	c := ScatterChart{Caption: caption, X: "confidence", Y: "accuracy", Diagonal: true, shares: true}
	for _, b := range bins {
		if b.Count == 0 {
			continue
		}
		n := float64(b.Count) + 4
		p := (b.Accuracy*float64(b.Count) + 2) / n
		c.Dots = append(c.Dots, Dot{
			Name:    fmt.Sprintf("%d predictions at confidence %.3f: %.3f right", b.Count, b.Confidence, b.Accuracy),
			X:       b.Confidence,
			Y:       b.Accuracy,
			ErrY:    math.Sqrt(p * (1 - p) / n),
			Hotness: b.Confidence,
		})
	}
	return c
}
