package main

import (
	"fmt"

	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/thermo"
)

// page returns the comparison as a page.
func (d *compareDocument) page() report.Page {
	widths := report.BarChart{Caption: "Width −½ Σ ln λ of the basins, with two standard errors: the wider wins above the coexistence temperature.", Axis: "width (nat)", Dots: true,
		Readings: []thermo.Reading{named(d.A.Width, "a"), named(d.B.Width, "b")}}
	table := &report.Table{Columns: []string{"minimum", "model", "energy (loss)", "squared gradient (energy²/θ²)", "width −½ Σ ln λ (nat)", "flat (directions)", "falling (directions)"}, Words: map[int]bool{1: true}}
	for i, side := range []compareSide{d.A, d.B} {
		table.Rows = append(table.Rows, []string{[]string{"a", "b"}[i], side.Model, fmt.Sprintf("%.6g", side.Energy), fmt.Sprintf("%.3g", side.GradientNorm2),
			cell(side.Width), countText(side.Flat), countText(side.Negative)})
	}
	page := report.Page{
		Title: fmt.Sprintf("%s (a) and %s (b)", d.A.Model, d.B.Model),
		Facts: []report.Fact{{Label: "data", Value: fmt.Sprintf("%s, %d examples", d.Data, d.Examples)},
			{Label: "parameters", Value: fmt.Sprintf("%d, regulariser %g", d.Parameters, d.Regulariser)}},
		Figures: []report.Figure{report.FigureOf("coexistence temperature", d.Coexistence), report.FigureOf("energy b − a", d.Energy), report.FigureOf("width b − a", d.Width)},
		Lead:    "The temperature of the optimiser is not known.",
	}
	for i, t := range d.Temperatures {
		if i == 0 {
			page.Lead = ""
		}
		page.Lead += upperFirst(t.text()) + ". "
	}
	if d.Interrupted {
		page.Lead += "Interrupted: what comes later is missing."
	}
	page.Sections = []report.Section{{ID: "minima", Title: "Minima", Charts: append([]report.Chart{widths}, d.freeEnergy()...), Table: table}}
	if len(d.Path) > 0 {
		line := report.Line{Name: "energy", Hotness: 0.8}
		for _, p := range d.Path {
			line.X, line.Y = append(line.X, p.Place), append(line.Y, p.Energy)
		}
		chart := report.LineChart{Caption: "Energy of these examples on the straight line from a to b.", X: "way from a to b (1)", Y: "energy (loss)", Lines: []report.Line{line}}
		if d.Barrier != nil && d.Barrier.Height.Value > 0 {
			chart.Caption += " The barrier is " + thermo.FormatError(d.Barrier.Height.Value, d.Barrier.Height.StdErr) + " above the higher end."
			chart.Marks = []report.Mark{{From: d.Barrier.Place, To: d.Barrier.Place}}
		}
		page.Sections = append(page.Sections, report.Section{ID: "path", Title: "Between them", Charts: []report.Chart{chart}})
	}
	return page
}

// freeEnergy draws F_b − F_a from zero to twice the largest temperature that
// matters, where there is one.
func (d *compareDocument) freeEnergy() []report.Chart {
	chart := report.LineChart{Caption: "Free energy of b above that of a, with two standard errors: below zero b wins.",
		X: "temperature (energy/nat)", Y: "free energy b − a (energy)"}
	top := 0.0
	mark := func(name string, t thermo.Reading) {
		if t.Valid() && t.Value > 0 {
			chart.Marks = append(chart.Marks, report.Mark{Name: name, From: t.Value - 2*max(0, t.StdErr), To: t.Value + 2*max(0, t.StdErr)})
			top = max(top, 2*t.Value)
		}
	}
	mark("coexistence", d.Coexistence)
	for _, t := range d.Temperatures {
		name := t.Source
		if name != "given" {
			name = "noise of sgd in " + name
		}
		mark(name, t.Temperature)
	}
	if top == 0 || !d.Width.Valid() {
		return nil
	}
	line := report.Line{Name: "free energy b − a", Hotness: 0.8}
	const points = 41
	for i := range points {
		t := top * float64(i) / (points - 1)
		free, _ := d.comparison.FreeEnergy(t)
		line.Add(t, free)
	}
	chart.Lines = []report.Line{line}
	return []report.Chart{chart}
}
