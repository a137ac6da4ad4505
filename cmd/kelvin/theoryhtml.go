package main

import (
	"fmt"
	"math"

	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/theory"
	"github.com/kelvin-ml/kelvin/thermo"
)

// efficiencyPage draws the work efficiency of activations against the signal.
func efficiencyPage(rows []efficiencyDocument) report.Page {
	bars := report.BarChart{Caption: fmt.Sprintf("Work efficiency of Gaussian signals of energy q = %g.", rows[0].Q), Axis: "work efficiency η (1)"}
	table := &report.Table{Columns: []string{"activation", "efficiency (1)", "engine", "regime", "gain (1)"}, Words: map[int]bool{2: true, 3: true}}
	for _, r := range rows {
		bars.Readings = append(bars.Readings, thermo.Reading{Group: r.Activation, Value: r.shown()})
		table.Rows = append(table.Rows, []string{r.Activation, fmt.Sprintf("%.6g", r.shown()), "type " + string(r.Type), string(r.Regime), fmt.Sprintf("%.6g", r.Gain)})
	}
	charts := []report.Chart{bars}
	if len(rows) == 1 { // curves of many are not to be told apart
		charts = []report.Chart{report.LineChart{Caption: "Work efficiency of Gaussian signals, against the signal energy: level where the engine is of type I.", X: "signal energy q = ⟨z²⟩ (signal²)", Y: "work efficiency η (1)", LogX: true,
			Lines: []report.Line{efficiencyCurve(rows[0].Activation, 0.8)}, Marks: []report.Mark{{Name: fmt.Sprintf("q = %g", rows[0].Q), From: rows[0].Q, To: rows[0].Q}}}}
	}
	return report.Page{Title: "Work efficiency of activations", Lead: "η = 1 − ⟨φ(z)²⟩/⟨z²⟩. Initial weights of standard deviation gain/√fan_in keep the signal at q.",
		Facts:    []report.Fact{{Label: "signal energy", Value: fmt.Sprintf("q = %g", rows[0].Q)}},
		Sections: []report.Section{{ID: "activations", Title: "Activations", Charts: charts, Table: table}}}
}

// linearPage compares the exact states of a linear model with their limits.
func linearPage(in string, states []theory.LinearState) report.Page {
	energies := report.BarChart{Caption: "Energy of every loss and distribution of the parameters, exact.", Axis: "energy (loss)"}
	temperatures := report.BarChart{Caption: "Temperature of every loss and distribution of the parameters, exact.", Axis: "temperature (energy/nat)"}
	table := &report.Table{Columns: []string{"loss, parameters", "form", "energy (loss)", "temperature (energy/nat)", "relative error (1)"}, Words: map[int]bool{1: true}}
	for _, s := range states {
		name := fmt.Sprintf("%s, %s", s.Loss, s.Init)
		energies.Readings = append(energies.Readings, thermo.Reading{Group: name, Value: s.Energy})
		temperatures.Readings = append(temperatures.Readings, thermo.Reading{Group: name, Value: s.Temperature})
		table.Rows = append(table.Rows, []string{name, "exact", fmt.Sprintf("%.7g", s.Energy), fmt.Sprintf("%.7g", s.Temperature), "–"})
		for _, a := range s.Asymptotes {
			table.Rows = append(table.Rows, []string{name, a.Regime, fmt.Sprintf("%.7g", a.Energy), fmt.Sprintf("%.7g", a.Temperature), fmt.Sprintf("%.2g", a.RelativeError)})
		}
	}
	return report.Page{Title: "Linear model " + in, Lead: "Exact, and in the limits of small spread (cold), large spread (hot) and many parameters.",
		Sections: []report.Section{{ID: "states", Title: "States", Charts: []report.Chart{energies, temperatures}, Table: table}}}
}

// softmaxPage draws energy and heat against the spread of the logits.
func softmaxPage(s theory.Softmax) report.Page {
	energy, cold, frozen := report.Line{Name: "exact", Hotness: 0.8}, report.Line{Name: "cold limit", Hotness: 0.1}, report.Line{Name: "frozen limit", Hotness: 0.5}
	heat := report.Line{Name: "heat", Hotness: 0.8}
	top := 2 * math.Max(s.Spread, s.FreezingSpread)
	const points = 61
	for i := range points {
		x := top * float64(i) / (points - 1)
		at, err := theory.NewSoftmax(s.Classes, x)
		if err != nil {
			continue // at most x = 0
		}
		energy.X, energy.Y = append(energy.X, x), append(energy.Y, at.Energy)
		frozen.X, frozen.Y = append(frozen.X, x), append(frozen.Y, at.FrozenEnergy)
		heat.X, heat.Y = append(heat.X, x), append(heat.Y, at.Heat)
		if x < s.FreezingSpread {
			cold.X, cold.Y = append(cold.X, x), append(cold.Y, at.ColdEnergy)
		}
	}
	marks := []report.Mark{{Name: "this spread", From: s.Spread, To: s.Spread}, {Name: "freezing", From: s.FreezingSpread, To: s.FreezingSpread}}
	const axis = "spread of the logits (1)"
	return report.Page{Title: fmt.Sprintf("Softmax over %d random logits", s.Classes), Lead: upperFirst(softmaxState(s)) + ".",
		Facts: []report.Fact{{Label: "spread", Value: fmt.Sprintf("%g", s.Spread)}},
		Figures: []report.Figure{{Label: "energy", Value: fmt.Sprintf("%.6g", s.Energy), Unit: "nat"}, {Label: "heat", Value: fmt.Sprintf("%.6g", s.Heat), Unit: "nat"},
			{Label: "freezing spread", Value: fmt.Sprintf("%.6g", s.FreezingSpread)}},
		Sections: []report.Section{{ID: "curves", Title: "Against the spread", Charts: []report.Chart{
			report.LineChart{Caption: "Expected cross entropy, and its limits.", X: axis, Y: "energy (nat)", Marks: marks, Lines: []report.Line{energy, cold, frozen}},
			report.LineChart{Caption: "Heat s dU/ds.", X: axis, Y: "heat (nat)", Marks: marks, Lines: []report.Line{heat}}}}}}
}
