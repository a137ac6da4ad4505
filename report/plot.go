package report

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/kelvin-ml/kelvin/thermo"
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
// Band, when not nil, holds the half-width of a shaded band about every point, or
// with Dots that of an error bar.
type Line struct {
	Name    string // not in the legend if empty
	X, Y    []float64
	Band    []float64
	Dots    bool    // a dot at every point, not joined
	Hotness float64 // 0 … 1: its colour on the temperature scale
}

// Add appends a reading at x, with two standard errors.
func (l *Line) Add(x float64, r thermo.Reading) {
	l.X, l.Y, l.Band = append(l.X, x), append(l.Y, r.Value), append(l.Band, 2*r.StdErr)
}

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

// plot is the document of both.
type plot struct {
	Kind     string     `json:"kind"`
	Caption  string     `json:"caption"`
	X        string     `json:"x"`
	Y        string     `json:"y"`
	LogX     bool       `json:"log_x"`
	LogY     bool       `json:"log_y"`
	Diagonal bool       `json:"diagonal,omitempty"`
	Shares   bool       `json:"shares,omitempty"` // both axes go from 0 to 1
	Lines    []plotLine `json:"lines"`
	Marks    []plotMark `json:"marks"`
	Note     string     `json:"note"`
}

type plotLine struct {
	Name   string   `json:"name"`
	Heat   number   `json:"heat"`
	X      []number `json:"x"`
	Y      []number `json:"y"`
	Band   []number `json:"band,omitempty"`    // half-widths
	Dots   bool     `json:"dots,omitempty"`    // not joined
	ErrX   []number `json:"error_x,omitempty"` // of dots: half-widths of their bars
	ErrY   []number `json:"error_y,omitempty"`
	Heats  []number `json:"heats,omitempty"` // of dots
	Titles []string `json:"titles,omitempty"`
}

type plotMark struct {
	Name string `json:"name"`
	From number `json:"from"`
	To   number `json:"to"`
}

// MarshalJSON implements json.Marshaler.
func (c LineChart) MarshalJSON() ([]byte, error) {
	d := plot{Kind: "plot", Caption: c.Caption, X: c.X, Y: c.Y, LogX: c.LogX, LogY: c.LogY, Lines: []plotLine{}, Marks: []plotMark{}}
	n := 0
	for _, l := range c.Lines {
		if len(l.X) != len(l.Y) || l.Band != nil && len(l.Band) != len(l.Y) {
			return nil, fmt.Errorf("line %q of chart %q: expected as many places as values and half-widths of bands, got %d, %d and %d", l.Name, c.Caption, len(l.X), len(l.Y), len(l.Band))
		}
		l.X, l.Y = slices.Clone(l.X), slices.Clone(l.Y)
		for i := range l.X {
			if !finite(l.X[i]) || !finite(l.Y[i]) || c.LogX && l.X[i] <= 0 || c.LogY && l.Y[i] <= 0 {
				l.Y[i] = math.NaN()
				n++
			}
		}
		l = l.thin(c.LogX)
		drawn := plotLine{Name: l.Name, Heat: number(l.Hotness), X: numbers(l.X), Y: numbers(l.Y), Dots: l.Dots}
		if l.Band != nil {
			drawn.Band = numbers(l.Band)
		}
		d.Lines = append(d.Lines, drawn)
	}
	for _, m := range c.Marks {
		d.Marks = append(d.Marks, plotMark{m.Name, number(m.From), number(m.To)})
	}
	d.Note = missing("Not drawn", n, c.LogX || c.LogY)
	return json.Marshal(d)
}

// thin leaves of a long line what can be seen of it: of the points in each of a
// thousand columns the first, the lowest, the highest and the last.
func (l Line) thin(logX bool) Line {
	const columns = 1000
	if len(l.X) <= 4*columns {
		return l
	}
	place := func(i int) float64 {
		if logX {
			return math.Log(l.X[i])
		}
		return l.X[i]
	}
	low, high := math.Inf(1), math.Inf(-1)
	for i := range l.X {
		if x := place(i); finite(x) && finite(l.Y[i]) {
			low, high = math.Min(low, x), math.Max(high, x)
		}
	}
	column := func(i int) int {
		if !finite(l.Y[i]) {
			return -1
		}
		return int(columns * (place(i) - low) / math.Max(high-low, math.SmallestNonzeroFloat64))
	}
	var keep []int
	for i := 0; i < len(l.X); {
		at, lowest, highest := column(i), i, i
		j := i + 1
		for ; j < len(l.X) && column(j) == at; j++ {
			if l.Y[j] < l.Y[lowest] {
				lowest = j
			}
			if l.Y[j] > l.Y[highest] {
				highest = j
			}
		}
		kept := []int{i, lowest, highest, j - 1}
		slices.Sort(kept)
		keep = append(keep, slices.Compact(kept)...)
		i = j
	}
	pick := func(from []float64) []float64 {
		if from == nil {
			return nil
		}
		out := make([]float64, len(keep))
		for i, k := range keep {
			out[i] = from[k]
		}
		return out
	}
	l.X, l.Y, l.Band = pick(l.X), pick(l.Y), pick(l.Band)
	return l
}

// MarshalJSON implements json.Marshaler.
func (c ScatterChart) MarshalJSON() ([]byte, error) {
	dots := plotLine{Dots: true, X: []number{}, Y: []number{}}
	for _, d := range c.Dots {
		if !finite(d.X) || !finite(d.Y) {
			continue
		}
		dots.X, dots.Y = append(dots.X, number(d.X)), append(dots.Y, number(d.Y))
		dots.ErrX, dots.ErrY = append(dots.ErrX, number(2*d.ErrX)), append(dots.ErrY, number(2*d.ErrY))
		dots.Heats, dots.Titles = append(dots.Heats, number(d.Hotness)), append(dots.Titles, d.Name)
	}
	return json.Marshal(plot{Kind: "plot", Caption: c.Caption, X: c.X, Y: c.Y, Diagonal: c.Diagonal, Shares: c.shares, Lines: []plotLine{dots}, Marks: []plotMark{},
		Note: missing("Not drawn", len(c.Dots)-len(dots.X), false)})
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
	c := ScatterChart{Caption: caption, X: "confidence (1)", Y: "accuracy (1)", Diagonal: true, shares: true}
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
