package main

import (
	"fmt"

	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/thermo"
)

// page returns the curves as a page.
func (d capacityDocument) page() report.Page {
	table := &report.Table{Columns: []string{"temperature (energy/nat)", "energy (energy units)", "heat capacity (nat)", "dU/dT (nat)", "entropy (nat)", "virial temperature (energy/nat)"}}
	names := []string{"energy", "from the variance", "dU/dT", "entropy", "virial temperature"}
	lines := make([]report.Line, len(names))
	for i, name := range names {
		lines[i] = report.Line{Name: name, Hotness: 0.8}
	}
	lines[2].Hotness = 0.1
	for _, p := range d.Points {
		row := []string{fmt.Sprintf("%.4g", p.Temperature)}
		for i, r := range []thermo.Reading{p.Energy, p.Capacity, p.Slope, p.Entropy, p.Virial} {
			lines[i].Add(p.Temperature, r)
			row = append(row, cell(r))
		}
		table.Rows = append(table.Rows, row)
	}
	var marks []report.Mark
	for i, p := range d.Peaks {
		marks = append(marks, report.Mark{Name: fmt.Sprintf("peak %d", i+1), From: max(p.Temperature-2*p.StdErr, d.Points[0].Temperature), To: p.Temperature + 2*p.StdErr})
	}
	chart := func(caption, y string, of ...report.Line) report.Chart {
		return report.LineChart{Caption: caption, X: "temperature (energy/nat)", Y: y, LogX: true, Lines: of, Marks: marks}
	}
	asked := report.Line{Name: "asked for", Hotness: 0.1, X: lines[4].X, Y: lines[4].X}
	thermometer := report.LineChart{Caption: "The temperature that the chains read is the one that was asked for, where they are in equilibrium.",
		X: "temperature asked for (energy/nat)", Y: "virial temperature (energy/nat)", LogX: true, LogY: true, Lines: []report.Line{lines[4], asked}}
	page := report.Page{
		Title: "Heat capacity of " + d.Model,
		Lead:  "Peaks of the heat capacity are phase transitions of the posterior exp(−E/T). Bands: two standard errors.",
		Facts: []report.Fact{{Label: "parameters", Value: fmt.Sprintf("%d, prior normal(0, %g)", d.parameters, d.Prior)},
			{Label: "draws", Value: fmt.Sprintf("%d chains × %d at each temperature after %d steps of warm-up", d.Chains, d.Draws, d.Warmup)}},
		Findings: d.Findings,
		Sections: []report.Section{
			{ID: "capacity", Title: "Heat capacity", Charts: []report.Chart{chart("Heat capacity from the fluctuations of the energy, and from its slope: they agree in equilibrium.", "heat capacity (nat)", lines[1], lines[2])}, Table: table},
			{ID: "energy", Title: "Energy and entropy", Charts: []report.Chart{chart("Mean energy.", "energy (energy units)", lines[0]),
				chart("Entropy above that of the lowest temperature.", "entropy (nat)", lines[3])}},
			{ID: "thermometer", Title: "Thermometer", Shows: []string{"too-hot", "too-cold", "not-in-equilibrium", "temperature-unknown"}, Charts: []report.Chart{thermometer}},
		},
	}
	if p := d.Agreement.PValue; p != nil {
		page.Figures = append(page.Figures, report.Figure{Label: "chance that both heat capacities differ as much", Value: fmt.Sprintf("%.2g", *p)})
	}
	for _, p := range d.Peaks {
		page.Figures = append(page.Figures, report.Figure{Label: "peak at temperature", Value: thermo.FormatError(p.Temperature, p.StdErr), Unit: "energy/nat",
			Note: "heat capacity " + thermo.FormatError(p.Capacity.Value, p.Capacity.StdErr) + " nat"})
	}
	if d.Interrupted {
		page.Lead += " Interrupted: the coldest temperatures are missing."
	}
	return page
}
