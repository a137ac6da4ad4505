package main

import (
	"fmt"
	"math"

	"github.com/kelvin-ml/kelvin/ising"
	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/thermo"
)

// page returns the curves that the networks learned, and what they learned.
func (d isingLearnDocument) page() report.Page {
	output := report.LineChart{Caption: "Where the mean output crosses one half is the network's critical temperature. Bands: two standard errors over seeds.",
		X: "temperature (energy/nat)", Y: "mean output, probability of ordered (1)"}
	magnetisation := report.LineChart{Caption: "The mean magnetisation of the same test configurations, and where it crosses the network's threshold m* (dots). Bands: two standard errors over seeds.",
		X: "temperature (energy/nat)", Y: "mean |magnetisation| per spin (1)"}
	table := report.Table{Columns: []string{"size L (sites)", "Tc (energy/nat)", "Tc, two units (energy/nat)", "threshold m* (1)", "T where ⟨|m|⟩ = m* (energy/nat)", "weight cv (1)", "weights of the other sign (1)", "counting (1)", "symmetry (1)", "PCA cosine (1)"}}
	for i, l := range d.Sizes {
		heat := float64(i) / float64(max(1, len(d.Sizes)-1))
		name := fmt.Sprintf("L = %d", l.Size)
		out, m := report.Line{Name: name, Hotness: heat}, report.Line{Name: name, Hotness: heat}
		for k, t := range l.Curve.Temperature {
			out.Add(t, thermo.Reading{Value: l.Curve.Output[k], StdErr: l.Curve.OutputErr[k]})
			m.Add(t, thermo.Reading{Value: l.Curve.AbsM[k], StdErr: l.Curve.AbsMErr[k]})
		}
		output.Lines, magnetisation.Lines = append(output.Lines, out), append(magnetisation.Lines, m)
		if l.ThresholdTc > 0 {
			magnetisation.Lines = append(magnetisation.Lines, report.Line{X: []float64{float64(l.ThresholdTc)}, Y: []float64{float64(l.Threshold)}, Dots: true, Hotness: heat})
		}
		table.Rows = append(table.Rows, []string{fmt.Sprint(l.Size), isingReading(l.Tc), isingReading(l.TwoUnits.Tc),
			isingNumber(l.Threshold, 3), isingNumber(l.ThresholdTc, 3), isingNumber(l.WeightCV, 2), isingNumber(l.Against, 3), isingNumber(l.Counting, 3),
			isingNumber(l.TwoUnits.Symmetry, 2), fmt.Sprintf("%.4f", l.PCA.Uniformity)})
	}
	exact := report.Mark{Name: "exact Tc", From: ising.Tc, To: ising.Tc}
	output.Marks, magnetisation.Marks = []report.Mark{exact}, []report.Mark{exact}
	figure := report.Figure{Label: "critical temperature, extrapolated to infinite size", Value: isingReading(d.Extrapolated), Unit: "energy/nat", Note: fmt.Sprintf("exact: %.6f", d.Exact)}
	if !d.Extrapolated.Valid() {
		figure.Unit, figure.Note = "", d.Extrapolated.Invalid
	}
	page := report.Page{
		Title:   "The critical temperature of the Ising model, learned",
		Facts:   []report.Fact{{Label: "networks", Value: fmt.Sprintf("%d a size, weight decay %g", d.Seeds, d.Decay)}, {Label: "gap", Value: fmt.Sprintf("%g energy/nat", d.Gap)}},
		Figures: []report.Figure{figure},
		Sections: []report.Section{
			{Title: "What was learned", Charts: []report.Chart{output, magnetisation}, Table: &table},
			{Title: "What the networks do", Text: d.Explanation},
		},
	}
	return page
}

// isingRunPage returns what a simulation measured, beside what is known exactly.
func isingRunPage(s *ising.Simulation, points []ising.Point) report.Page {
	c := s.Config
	exact := c.Model.Lattice == ising.Square && c.Model.Coupling == 1 && c.Model.Field == 0
	table := &report.Table{Columns: []string{"temperature (energy/nat)"}}
	for range points {
		table.Rows = append(table.Rows, nil)
	}
	for i, p := range points {
		table.Rows[i] = append(table.Rows[i], fmt.Sprintf("%g", p.Temperature))
	}
	var charts []report.Chart
	m, order := "|magnetisation|", ""
	if points[0].Order == "staggered" {
		m, order = "|staggered magnetisation|", " Magnetisation, susceptibility and Binder cumulant are staggered: of the difference of the two sublattices, the order of an antiferromagnet."
	}
	drawn := "" // said of the exact curves where there are any
	for _, q := range []struct {
		name, unit string
		of         func(ising.Point) thermo.Reading
		law        func(t float64) float64 // nil where none is known
	}{
		{"energy per spin", "energy", func(p ising.Point) thermo.Reading { return p.Energy }, func(t float64) float64 { e, _ := ising.Torus(c.Model.Size, t); return e }},
		{m + " per spin", "1", func(p ising.Point) thermo.Reading { return p.AbsMagnetisation }, nil},
		{"specific heat per spin", "nat", func(p ising.Point) thermo.Reading { return p.SpecificHeat }, func(t float64) float64 { _, h := ising.Torus(c.Model.Size, t); return h }},
		{"susceptibility per spin", "1/energy", func(p ising.Point) thermo.Reading { return p.Susceptibility }, nil},
		{"Binder cumulant", "1", func(p ising.Point) thermo.Reading { return p.Binder }, nil},
		{"measured temperature", "energy/nat", func(p ising.Point) thermo.Reading { return p.MeasuredTemperature }, func(t float64) float64 { return t }},
	} {
		axis := fmt.Sprintf("%s (%s)", q.name, q.unit)
		line := report.Line{Name: "simulated", Hotness: 0.8, Dots: true}
		table.Columns = append(table.Columns, axis)
		for i, p := range points {
			line.Add(p.Temperature, q.of(p))
			table.Rows[i] = append(table.Rows[i], cell(q.of(p)))
		}
		chart := report.LineChart{Caption: upperFirst(q.name) + ", with two standard errors.", X: "temperature (energy/nat)", Y: axis, Lines: []report.Line{line}}
		if law := isingLaw(q.law, points); q.law != nil && (exact || q.unit == "energy/nat") && len(law.X) > 0 {
			if exact {
				drawn = "Exact: of the finite torus (Kaufman 1949). "
			}
			chart.Lines = append([]report.Line{law}, chart.Lines...)
		}
		if exact && q.unit != "energy/nat" {
			chart.Marks = []report.Mark{{Name: "Tc", From: ising.Tc, To: ising.Tc}}
		}
		charts = append(charts, chart)
	}
	return report.Page{
		Title: fmt.Sprintf("Ising model, %s lattice, %d×%d spins", c.Model.Lattice, c.Model.Size, c.Model.Size),
		Lead:  drawn + "The measured temperature is read off the final spins alone. Values that are not valid are in brackets, and dots have no bars where errors are not known." + order,
		Facts: []report.Fact{{Label: "model", Value: fmt.Sprintf("J = %g, H = %g", c.Model.Coupling, c.Model.Field)},
			{Label: "simulation", Value: fmt.Sprintf("%s, %s, %d sweeps after %d of warm-up", c.Algorithm, isingReplicas(c.Replicas), max(0, s.Done()-c.Warmup), c.Warmup)}},
		Sections: []report.Section{{ID: "points", Title: "Measured", Table: table}, {ID: "curves", Title: "Against temperature", Charts: charts}},
	}
}

// isingLaw draws what is known exactly through the temperatures of the points.
func isingLaw(law func(t float64) float64, points []ising.Point) report.Line {
	line := report.Line{Name: "exact", Hotness: 0.1}
	low, high := math.Inf(1), math.Inf(-1)
	for _, p := range points {
		low, high = math.Min(low, p.Temperature), math.Max(high, p.Temperature)
	}
	if law == nil || !(high > low) {
		return line
	}
	const steps = 100
	for i := range steps + 1 {
		t := low + (high-low)*float64(i)/steps
		line.X, line.Y = append(line.X, t), append(line.Y, law(t))
	}
	return line
}
