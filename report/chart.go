package report

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/kelvin-ml/kelvin/thermo"
)

// A Chart is a picture in a Section: a BarChart, FloorMap, FlowChart, GanttChart,
// HeatMap, LineChart or ScatterChart. Of its data it becomes a JSON document, which
// the components in web/ui draw. What is not finite is null there and not drawn,
// and a note under the picture says how much that is.
type Chart interface {
	json.Marshaler
	chart()
}

func (BarChart) chart()     {}
func (FloorMap) chart()     {}
func (FlowChart) chart()    {}
func (GanttChart) chart()   {}
func (HeatMap) chart()      {}
func (LineChart) chart()    {}
func (ScatterChart) chart() {}

// A number is a float64 that JSON can hold: to nine digits, what is not finite as
// null.
type number float64

// MarshalJSON implements json.Marshaler.
func (x number) MarshalJSON() ([]byte, error) {
	if !finite(float64(x)) {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, float64(x), 'g', 9, 64), nil
}

func numbers(list []float64) []number {
	out := make([]number, len(list))
	for i, x := range list {
		out[i] = number(x)
	}
	return out
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// missing says how many values a chart cannot show.
func missing(how string, n int, log bool) string {
	switch {
	case n == 0:
		return ""
	case log:
		return fmt.Sprintf("%s, because not finite or not positive: %d.", how, n)
	}
	return fmt.Sprintf("%s, because not finite: %d.", how, n)
}

// A BarChart compares readings of one unit, one row each, with error bars of two
// standard errors. A reading that is not valid is drawn pale.
type BarChart struct {
	Caption  string
	Axis     string // title of the value axis, with its unit
	Readings []thermo.Reading
	Label    func(thermo.Reading) string // of a row; nil takes the group
	Dots     bool                        // a dot instead of a bar from 0: for comparing, not for adding up
}

// MarshalJSON implements json.Marshaler.
func (c BarChart) MarshalJSON() ([]byte, error) {
	type row struct {
		Label   string `json:"label"`
		Group   string `json:"group"`
		Value   number `json:"value"`
		StdErr  number `json:"stderr"`
		Text    string `json:"text,omitempty"`
		Invalid string `json:"invalid,omitempty"`
	}
	rows := make([]row, len(c.Readings))
	for i, r := range c.Readings {
		label := r.Group
		if c.Label != nil {
			label = c.Label(r)
		}
		rows[i] = row{label, r.Group, number(r.Value), number(r.StdErr), valueOf(r), r.Invalid}
	}
	return json.Marshal(struct {
		Kind    string `json:"kind"`
		Caption string `json:"caption"`
		Axis    string `json:"axis"`
		Dots    bool   `json:"dots"`
		Rows    []row  `json:"rows"`
	}{"bars", c.Caption, c.Axis, c.Dots, rows})
}

// valueOf writes the value of a reading with its error; "" where that is unknown.
func valueOf(r thermo.Reading) string {
	switch {
	case !finite(r.Value):
		return "not finite"
	case r.StdErr > 0 && finite(r.StdErr):
		return thermo.FormatError(r.Value, r.StdErr)
	}
	return ""
}

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
const maxColumns = 300

// MarshalJSON implements json.Marshaler.
func (m HeatMap) MarshalJSON() ([]byte, error) {
	values := make([][]number, len(m.Rows))
	n := 0
	for i := range values {
		values[i] = []number{}
		if i >= len(m.Values) {
			continue
		}
		row := slices.Clone(m.Values[i])
		for j, v := range row {
			if !finite(v) || m.Log && v <= 0 {
				row[j] = math.NaN()
				n++
			}
		}
		values[i] = numbers(means(row, maxColumns))
	}
	return json.Marshal(struct {
		Kind    string     `json:"kind"`
		Caption string     `json:"caption"`
		X       string     `json:"x"`
		From    number     `json:"from"`
		To      number     `json:"to"`
		Unit    string     `json:"unit"`
		Rows    []string   `json:"rows"`
		Values  [][]number `json:"values"`
		Log     bool       `json:"log"`
		Note    string     `json:"note"`
	}{"heatmap", m.Caption, m.X, number(m.X0), number(m.X1), m.Unit, append([]string{}, m.Rows...), values, m.Log, missing("Left grey", n, m.Log)})
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

// MarshalJSON implements json.Marshaler.
func (c FlowChart) MarshalJSON() ([]byte, error) {
	type stage struct {
		Name string `json:"name"`
		In   number `json:"in"`
		Out  number `json:"out"`
		Note string `json:"note"`
	}
	stages, n := []stage{}, 0
	for _, s := range c.Stages {
		if finite(s.In) && finite(s.Out) {
			stages = append(stages, stage{s.Name, number(s.In), number(s.Out), s.Note})
		} else {
			n++
		}
	}
	return json.Marshal(struct {
		Kind    string  `json:"kind"`
		Caption string  `json:"caption"`
		Unit    string  `json:"unit"`
		Stages  []stage `json:"stages"`
		Note    string  `json:"note"`
	}{"flow", c.Caption, c.Unit, stages, missing("Left out", n, false)})
}

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

// MarshalJSON implements json.Marshaler.
func (c GanttChart) MarshalJSON() ([]byte, error) {
	type bar struct {
		Row   int    `json:"row"`
		Start number `json:"start"`
		End   number `json:"end"`
		Label string `json:"label"`
		Title string `json:"title"`
		Heat  number `json:"heat"`
	}
	bars := []bar{}
	for _, b := range c.Bars {
		if finite(b.Start) && finite(b.End) {
			bars = append(bars, bar{b.Row, number(b.Start), number(b.End), b.Label, b.Title, number(b.Hotness)})
		}
	}
	return json.Marshal(struct {
		Kind    string   `json:"kind"`
		Caption string   `json:"caption"`
		X       string   `json:"x"`
		Rows    []string `json:"rows"`
		Bars    []bar    `json:"bars"`
		Note    string   `json:"note"`
	}{"gantt", c.Caption, c.X, append([]string{}, c.Rows...), bars, missing("Left out", len(c.Bars)-len(bars), false)})
}

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

// MarshalJSON implements json.Marshaler.
func (m FloorMap) MarshalJSON() ([]byte, error) {
	low, high := m.Low, m.High
	if low == high {
		low, high = math.Inf(1), math.Inf(-1)
		for _, a := range m.Areas {
			if finite(a.Value) {
				low, high = math.Min(low, a.Value), math.Max(high, a.Value)
			}
		}
	}
	// An area is [x, y, width, height, value], or with its name behind: there are
	// many thousands of them.
	areas := make([][]any, len(m.Areas))
	for i, a := range m.Areas {
		areas[i] = []any{number(a.X), number(a.Y), number(a.Width), number(a.Height), number(a.Value)}
		if a.Name != "" {
			areas[i] = append(areas[i], a.Name)
		}
	}
	return json.Marshal(struct {
		Kind    string  `json:"kind"`
		Caption string  `json:"caption"`
		Unit    string  `json:"unit"`
		Width   number  `json:"width"`
		Height  number  `json:"height"`
		Low     number  `json:"low"`
		High    number  `json:"high"`
		Areas   [][]any `json:"areas"`
	}{"floor", m.Caption, m.Unit, number(m.Width), number(m.Height), number(low), number(high), areas})
}
