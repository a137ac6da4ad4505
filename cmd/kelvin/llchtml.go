package main

import (
	"fmt"

	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/thermo"
)

// page returns the reading as a page.
func (d *llcDocument) page() report.Page {
	bars := report.BarChart{Caption: "Local learning coefficient of the whole network, and of every layer with the others fixed, with two standard errors; pale where not valid.",
		Axis: "learning coefficient (1)", Readings: []thermo.Reading{named(d.LLC, "whole network")}}
	table := &report.Table{Columns: []string{"layer", "parameters (count)", "learning coefficient (1)", "of at most (1)", "burn-in (draws)", "not valid because"}, Words: map[int]bool{5: true}}
	row := func(name string, parameters, burnIn int, r thermo.Reading) {
		table.Rows = append(table.Rows, []string{name, fmt.Sprint(parameters), thermo.FormatError(r.Value, r.StdErr), fmt.Sprintf("%g", float64(parameters)/2), fmt.Sprint(burnIn), r.Invalid})
	}
	row("whole network", d.Parameters, d.BurnIn, d.LLC)
	for _, l := range d.Layers {
		bars.Readings = append(bars.Readings, named(l.LLC, "layer "+l.Name))
		row(l.Name, l.Parameters, l.BurnIn, l.LLC)
	}
	thermometers := thermometerChart(1/d.Beta, d.Thermometers)
	page := report.Page{
		Title: "Learning coefficient of " + d.Model,
		Lead:  fmt.Sprintf("How many parameters, halved, the loss constrains at the weights. Zeroth law: %s. %s.", d.Equilibrium.Verdict, d.Equilibrium.Reason),
		Facts: []report.Fact{
			{Label: "examples", Value: fmt.Sprint(d.Examples)},
			{Label: "sampled at", Value: fmt.Sprintf("β = %.6g, temperature %.6g, localisation %g", d.Beta, 1/d.Beta, d.Localisation)},
			{Label: "chains", Value: fmt.Sprintf("%d × %d draws after %d steps of warm-up, the first %d left out", d.Chains, d.Draws, d.Warmup, d.BurnIn)},
		},
		Figures: []report.Figure{report.FigureOf("learning coefficient", d.LLC),
			{Label: "loss at the weights", Value: fmt.Sprintf("%.6g", d.Loss), Unit: "loss"}, {Label: "loss in the chains", Value: thermo.FormatError(d.MeanLoss.Value, d.MeanLoss.StdErr), Unit: "loss"}},
		Findings: d.Findings,
		Sections: []report.Section{
			{ID: "layers", Title: "Learning coefficients", Charts: []report.Chart{bars}, Table: table},
			{ID: "energy", Title: "Chains", Shows: []string{"not-settled", "not-mixed", "few-draws", "divergences", "low-bfmi", "shallow-trees", "not-a-minimum"}, Charts: []report.Chart{traceChart("The energy along the chains, without the burn-in.", "energy (energy units)", energyTraces(d.chains))}},
			{ID: "thermometers", Title: "Thermometers", Shows: []string{"too-hot", "too-cold", "not-in-equilibrium", "temperature-unknown"}, Charts: []report.Chart{thermometers}},
		},
	}
	if d.Interrupted {
		page.Lead += " Interrupted: fewer draws than asked, or layers are missing."
	}
	return page
}

// thermometerChart compares what the thermometers of chains read with the
// temperature that was asked for.
func thermometerChart(asked float64, thermometers []thermo.Reading) report.BarChart {
	return report.BarChart{Caption: "In equilibrium every thermometer reads the temperature that was asked for. Two standard errors; pale where not valid.",
		Axis: "temperature (energy/nat)", Dots: true, Label: func(r thermo.Reading) string { return r.Name },
		Readings: append(thermometers[:len(thermometers):len(thermometers)], thermo.Reading{Name: "asked for", Value: asked})}
}
