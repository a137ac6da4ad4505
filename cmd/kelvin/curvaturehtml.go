package main

import (
	"fmt"

	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/thermo"
)

// page returns the reading as a page.
func (d *curvatureDocument) page() report.Page {
	page := report.Page{
		Title: "Curvature of " + d.Model,
		Lead:  "The edge of stability is not known: " + d.noEdge + ".",
		Facts: []report.Fact{
			{Label: "matrix", Value: fmt.Sprintf("%s of the %s, regulariser %g", d.Matrix, d.Of, d.Regulariser)},
			{Label: "data", Value: fmt.Sprintf("%s, %d examples", d.Data, d.Examples)},
			{Label: "parameters", Value: fmt.Sprint(d.Parameters)},
		},
	}
	if e := d.Edge; e != nil {
		page.Lead = fmt.Sprintf("Sharpness %.4g of a threshold of %.4g, 2(1 + momentum)/learning rate: %s.", e.Sharpness, e.Threshold, e.text())
	}
	if !d.Converged {
		page.Lead += fmt.Sprintf(" Not all eigenvalues reached %g of the largest: see their residuals.", eigenvalueTolerance)
	}
	if d.Interrupted {
		page.Lead += " Interrupted: what comes later is missing."
	}
	if d.Trace != nil {
		f := report.FigureOf("trace", *d.Trace)
		f.Unit = "energy/θ²"
		page.Facts = append(page.Facts, report.Fact{Label: "trace", Value: d.methodText()})
		page.Figures = append(page.Figures, f)
	}
	page.Figures = append(page.Figures, report.Figure{Label: "energy", Value: fmt.Sprintf("%.6g", d.Energy), Unit: "loss"})
	if d.Configurational != nil {
		page.Figures = append(page.Figures, report.FigureOf("configurational temperature", *d.Configurational))
	}
	if d.Noise != nil {
		page.Figures = append(page.Figures, report.FigureOf("temperature of sgd's noise", *d.Noise))
	}
	if b := d.Basin; b != nil {
		at := fmt.Sprintf(" at %s energy/nat", thermo.Format(*d.Temperature, 4))
		page.Figures = append(page.Figures, report.FigureOf("entropy of the basin"+at, b.Entropy), report.FigureOf("free energy"+at, b.FreeEnergy))
	}
	page.Sections = append(page.Sections, d.eigenvalueSection())
	if len(d.Layers) > 0 {
		page.Sections = append(page.Sections, d.layerSection())
	}
	return page
}

// eigenvalueSection has the ends of the spectrum and its density.
func (d *curvatureDocument) eigenvalueSection() report.Section {
	s := report.Section{ID: "eigenvalues", Title: "Eigenvalues", Table: &report.Table{Columns: []string{"eigenvalue", "value (energy/θ²)", "residual (energy/θ²)", "of the population (energy/θ²)"}}}
	ends := report.BarChart{Caption: "The largest and the smallest eigenvalues, with twice their residuals as errors.", Axis: "eigenvalue (energy/θ²)"}
	for i, e := range append(d.Top[:len(d.Top):len(d.Top)], d.Bottom...) {
		name, population := fmt.Sprintf("largest %d", i+1), "–"
		if i < len(d.TopPopulation) {
			population = thermo.FormatError(d.TopPopulation[i].Value, d.TopPopulation[i].StdErr)
		}
		if i >= len(d.Top) {
			name = fmt.Sprintf("smallest %d", i-len(d.Top)+1)
		}
		ends.Readings = append(ends.Readings, thermo.Reading{Group: name, Value: e.Value, StdErr: e.Residual})
		s.Table.Rows = append(s.Table.Rows, []string{name, thermo.Format(e.Value, 6), thermo.Format(e.Residual, 2), population})
	}
	s.Charts = []report.Chart{ends}
	if len(d.Density) > 0 {
		floor := 0.0 // the tails of what smooths say nothing
		for _, p := range d.Density {
			floor = max(floor, 1e-5*p.Y)
		}
		line := report.Line{Name: "density", Hotness: 0.8}
		for _, p := range d.Density {
			line.X, line.Y, line.Band = append(line.X, p.X), append(line.Y, max(floor, p.Y)), append(line.Band, (p.High-p.Low)/2)
		}
		s.Charts = append(s.Charts, report.LineChart{Caption: fmt.Sprintf("Density of all eigenvalues, smoothed over %.3g; the band is that of the random probes. Less than 10⁻⁵ of the greatest is drawn as that.", d.DensityWidth),
			X: "eigenvalue (energy/θ²)", Y: "density (θ²/energy)", LogY: true, Lines: []report.Line{line}})
	}
	return s
}

func (d *curvatureDocument) layerSection() report.Section {
	s := report.Section{ID: "layers", Title: "Layers", Table: &report.Table{Columns: []string{"layer", "parameters (count)", "trace (energy/θ²)", "trace a parameter (energy/θ²)", "configurational temperature (energy/nat)"}}}
	traces := report.BarChart{Caption: "Trace of every layer a parameter: its mean curvature, with two standard errors.", Axis: "mean curvature (energy/θ²)"}
	for _, l := range d.Layers {
		k, temperature := float64(l.Parameters), "–"
		if l.Configurational != nil {
			temperature = cell(*l.Configurational)
		}
		traces.Readings = append(traces.Readings, thermo.Reading{Group: "layer " + l.Name, Value: l.Trace.Value / k, StdErr: l.Trace.StdErr / k, Invalid: l.Trace.Invalid})
		s.Table.Rows = append(s.Table.Rows, []string{l.Name, fmt.Sprint(l.Parameters), cell(l.Trace), thermo.Format(l.Trace.Value/k, 4), temperature})
	}
	s.Charts = []report.Chart{traces}
	return s
}
