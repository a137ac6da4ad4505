package main

import (
	"fmt"
	"math"
	"strconv"

	"github.com/kelvin-ml/kelvin/report"
	runs "github.com/kelvin-ml/kelvin/run"
	"github.com/kelvin-ml/kelvin/thermo"
)

// page returns the reading as a page.
func (d *measureDocument) page() report.Page {
	g := d.Global
	page := report.Page{
		Title: "Temperature of " + d.Model,
		Lead:  fmt.Sprintf("The %s state, by %s: %s.", d.State, d.Method, d.Why),
		Facts: []report.Fact{
			{Label: "model", Value: fmt.Sprintf("%s, %d parameters", d.Model, g.Parameters)},
			{Label: "data", Value: fmt.Sprintf("%s, %d examples", d.Data, g.Examples)},
			{Label: "draws", Value: fmt.Sprint(d.Draws)},
			{Label: "entropy of", Value: g.Resolution},
		},
		Figures: []report.Figure{
			report.FigureOf("temperature", g.Temperature),
			report.FigureOf("energy", g.Energy),
			report.FigureOf("entropy", g.Entropy),
		},
		Findings: d.Findings,
		Sections: []report.Section{d.layerSection(), d.engineSection(), d.thermometerSection()},
	}
	if d.Partial {
		page.Lead += " Interrupted: fewer draws than asked."
	}
	if t := d.Transition; t != nil {
		page.Figures = append(page.Figures, report.FigureOf("transition, init → trained", t.Temperature))
	}
	if section, ok := d.runSection(); ok {
		page.Sections = append(page.Sections, section)
	}
	return page
}

func (d *measureDocument) layerSection() report.Section {
	table := &report.Table{Columns: []string{"layer", "parameters (count)", "temperature (energy/nat)", "heat k·T (energy)", "gradient-noise scale (examples)"}}
	temperatures := report.BarChart{Caption: "Local temperature T = ⟨(θ − m)·∇E⟩/k of every layer, with two standard errors.", Axis: "temperature (energy/nat)"}
	heats := report.BarChart{Caption: "Heat k·T: the energy that the fluctuations of every layer hold.", Axis: "heat (energy)"}
	for _, l := range d.Layers {
		noise := "–"
		if l.NoiseScale != nil && l.NoiseScale.Valid() {
			noise = thermo.FormatError(l.NoiseScale.Value, l.NoiseScale.StdErr)
		}
		table.Rows = append(table.Rows, []string{l.Name, strconv.Itoa(l.Parameters),
			readOrDash(l.Temperature), readOrDash(l.Heat), noise})
		if math.IsNaN(l.Temperature.Value) {
			continue // none of its parameters is drawn
		}
		temperatures.Readings = append(temperatures.Readings, named(l.Temperature, "layer "+l.Name))
		heats.Readings = append(heats.Readings, named(l.Heat, "layer "+l.Name))
	}
	return report.Section{ID: "layers", Title: "Layers", Charts: []report.Chart{temperatures, heats}, Table: table}
}

func named(r thermo.Reading, group string) thermo.Reading {
	r.Group = group
	return r
}

func (d *measureDocument) engineSection() report.Section {
	table := &report.Table{
		Columns: []string{"layer", "activation", "energy in ⟨z²⟩ (signal²)", "energy out ⟨φ²⟩ (signal²)", "work efficiency (1)", "engine", "dead (units)", "saturated (units)"},
		Words:   map[int]bool{1: true, 5: true},
	}
	efficiency := report.BarChart{Caption: "Work efficiency η = 1 − ⟨φ(z)²⟩/⟨z²⟩ of every activation on these data, with two standard errors.", Axis: "work efficiency (1)"}
	for _, l := range d.Layers {
		if l.EnergyIn == nil {
			continue
		}
		table.Rows = append(table.Rows, []string{l.Name, l.Activation,
			thermo.FormatError(l.EnergyIn.Value, l.EnergyIn.StdErr), thermo.FormatError(l.EnergyOut.Value, l.EnergyOut.StdErr),
			thermo.FormatError(l.Efficiency.Value, l.Efficiency.StdErr), fmt.Sprintf("type %s, %s", l.Engine, l.Regime),
			ofUnits(l.Dead, l.Units), ofUnits(l.Saturated, l.Units)})
		efficiency.Readings = append(efficiency.Readings, named(l.Efficiency, "layer "+l.Name))
	}
	s := report.Section{ID: "engine", Title: "Heat engine", Table: table, Shows: []string{"signal-energy", "dead-units", "saturated-units"},
		Text: fmt.Sprintf("All activations in a row keep %.3g of the signal energy that enters them.", 1-d.Global.Cascade)}
	if len(efficiency.Readings) == 0 {
		s.Table, s.Text = nil, "The network has no activations: no engine."
		return s
	}
	s.Charts = []report.Chart{efficiency}
	return s
}

func (d *measureDocument) thermometerSection() report.Section {
	table := &report.Table{Columns: []string{"thermometer", "reading", "effective draws (count)", "not valid because"}, Words: map[int]bool{1: true, 3: true}}
	chart := report.BarChart{
		Caption: "In equilibrium the thermometers of one temperature agree. Two standard errors; pale where not valid.",
		Axis:    "temperature (energy/nat)", Dots: true,
		Label: func(r thermo.Reading) string { return r.Name },
	}
	for _, t := range d.Thermometers {
		ess := "–"
		if t.ESS > 0 {
			ess = strconv.FormatFloat(t.ESS, 'f', 0, 64)
		}
		table.Rows = append(table.Rows, []string{t.Name, thermo.Reading{Value: t.Value, StdErr: t.StdErr, Unit: t.Unit}.String(), ess, t.Invalid})
		if t.Name == "virial" || t.Name == "kinetic" || t.Name == "sgd noise" {
			chart.Readings = append(chart.Readings, t)
		}
	}
	s := report.Section{ID: "thermometers", Title: "Thermometers", Table: table, Shows: []string{"equilibrium", "calibration"},
		Text: fmt.Sprintf("Zeroth law: %s. %s.", d.ZerothLaw.Verdict, d.ZerothLaw.Reason)}
	if len(chart.Readings) > 1 {
		s.Charts = []report.Chart{chart}
	}
	return s
}

// runSection shows how the run went; ok is false for weights alone.
func (d *measureDocument) runSection() (section report.Section, ok bool) {
	if d.Stationarity == nil {
		return section, false
	}
	var points []runs.Point
	index, _, err := runs.OpenIndex(d.Model)
	if err == nil {
		defer index.Close()
		points, err = index.Series("", "loss")
	}
	if err != nil {
		return report.Section{ID: "run", Title: "The run", Shows: []string{"not-stationary"}, Text: "Its records cannot be read: " + err.Error() + "."}, true
	}
	if len(points) == 0 {
		return section, false
	}
	line := report.Line{Name: "minibatch energy"}
	for _, p := range points {
		line.X, line.Y = append(line.X, float64(p.Step)), append(line.Y, p.Value)
	}
	chart := report.LineChart{Caption: "Energy of every tenth minibatch along the run.", X: "step (count)", Y: "energy (loss)", LogY: true, Lines: []report.Line{line}}
	return report.Section{ID: "run", Title: "The run", Shows: []string{"not-stationary"}, Charts: []report.Chart{chart}}, true
}
