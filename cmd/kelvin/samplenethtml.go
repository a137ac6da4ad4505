package main

import (
	"fmt"
	"math"
	"strconv"

	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/thermo"
)

// page returns the report of a cold-posterior curve.
func (d networkDocument) page() report.Page {
	page := report.Page{
		Title: "Posterior predictions of " + d.Model,
		Lead:  "What the mean prediction of the posterior exp(−E/T) is worth at each temperature T.",
		Facts: []report.Fact{
			{Label: "sampler", Value: fmt.Sprintf("%s, prior %s", d.Sampler, d.Prior)},
			{Label: "draws", Value: fmt.Sprintf("%d chains × %d at each temperature after %d steps of warm-up", d.Chains, d.Draws, d.Warmup)},
			{Label: "predicted", Value: fmt.Sprintf("%d examples", d.Examples)},
		},
		Findings: []thermo.Finding{},
		Sections: []report.Section{d.curveSection(), d.reliabilitySection(), d.energySection()},
	}
	if d.Interrupted {
		page.Lead += " Interrupted: temperatures are missing."
	}
	best := d.Curve[0]
	for _, p := range d.Curve {
		page.Findings = append(page.Findings, p.Findings...)
		if p.LogLikelihood.Value > best.LogLikelihood.Value {
			best = p
		}
	}
	at := fmt.Sprintf(" at T = %.4g", best.Temperature)
	page.Figures = []report.Figure{report.FigureOf("highest log-likelihood,"+at, best.LogLikelihood),
		report.FigureOf("accuracy"+at, best.Accuracy), report.FigureOf("calibration error"+at, best.ECE)}
	return page
}

// curveSection has a chart of every score against the temperature.
func (d networkDocument) curveSection() report.Section {
	s := report.Section{ID: "curve", Title: "Scores against temperature",
		Text:  "Bands: two standard errors, of the examples and of the chains. All temperatures predict the same examples, so their differences are known better than the bands say.",
		Table: &report.Table{Columns: []string{"temperature (energy/nat)", "log-likelihood (nat)", "accuracy (1)", "calibration error (1)", "energy (energy units)"}}}
	lines := make([]report.Line, 3)
	for _, p := range d.Curve {
		row := []string{fmt.Sprintf("%.4g", p.Temperature)}
		for i, r := range []thermo.Reading{p.LogLikelihood, p.Accuracy, p.ECE} {
			lines[i].Add(p.Temperature, r)
			row = append(row, thermo.FormatError(r.Value, r.StdErr))
		}
		s.Table.Rows = append(s.Table.Rows, append(row, thermo.FormatError(p.Energy.Value, p.Energy.StdErr)))
	}
	for i, c := range []report.LineChart{
		{Caption: "Mean log-likelihood of the labels: higher is better.", Y: "log-likelihood (nat)"},
		{Caption: "Accuracy: higher is better.", Y: "accuracy (1)"},
		{Caption: "Expected calibration error over ten bins: lower is better. That of few examples is never 0, however good the probabilities.", Y: "calibration error (1)"},
	} {
		dots := report.Line{X: lines[i].X, Y: lines[i].Y, Dots: true, Hotness: 0.8}
		lines[i].Name, lines[i].Hotness = c.Y, 0.8
		c.X, c.LogX, c.Lines = "temperature (energy/nat)", true, []report.Line{lines[i], dots}
		s.Charts = append(s.Charts, c)
	}
	return s
}

// reliabilitySection has a chart and a column of counts for every temperature.
func (d networkDocument) reliabilitySection() report.Section {
	s := report.Section{ID: "reliability", Title: "Reliability",
		Text:  "Accuracy of the predictions of one confidence: on the diagonal when calibrated, below it when too sure. Bars: two binomial standard errors. The table counts the examples.",
		Table: &report.Table{Columns: []string{"confidence (1)"}}}
	for _, b := range d.Curve[0].Reliability {
		s.Table.Rows = append(s.Table.Rows, []string{fmt.Sprintf("%.1f to %.1f", b.Low, b.High)})
	}
	for _, p := range d.Curve {
		s.Table.Columns = append(s.Table.Columns, fmt.Sprintf("at T = %.4g (examples)", p.Temperature))
		bins := make([]report.CalibrationBin, len(p.Reliability))
		for i, b := range p.Reliability {
			bins[i] = report.CalibrationBin{Confidence: b.Confidence, Accuracy: b.Accuracy, Count: b.Examples}
			s.Table.Rows[i] = append(s.Table.Rows[i], strconv.Itoa(b.Examples))
		}
		caption := fmt.Sprintf("T = %.4g: calibration error %s.", p.Temperature, thermo.FormatError(p.ECE.Value, p.ECE.StdErr))
		s.Charts = append(s.Charts, report.Reliability(caption, bins))
	}
	return s
}

// energySection has the energies of every temperature, and what the thermometers
// of the chains read.
func (d networkDocument) energySection() report.Section {
	s := report.Section{ID: "energy", Title: "Energies and thermometers", Shows: []string{"too-hot", "too-cold", "not-in-equilibrium", "temperature-unknown", "not-mixed", "few-draws", "divergences", "low-bfmi", "shallow-trees"}, Table: &report.Table{Columns: []string{"temperature asked for (energy/nat)"}, Words: map[int]bool{}}}
	for _, p := range d.Curve {
		row := []string{fmt.Sprintf("%.4g", p.Temperature)}
		for _, t := range p.Thermometers {
			if len(s.Table.Rows) == 0 {
				s.Table.Columns = append(s.Table.Columns, t.Name+" ("+t.Unit+")")
			}
			row = append(row, thermo.FormatError(t.Value, t.StdErr))
		}
		s.Table.Rows = append(s.Table.Rows, append(row, string(p.ZerothLaw.Verdict)))
		s.Table.Heat = append(s.Table.Heat, hotnessAmong(p.Temperature, d.Curve))
		s.Charts = append(s.Charts, histogramChart(fmt.Sprintf("T = %.4g: the energies drawn, mean %s.", p.Temperature,
			thermo.FormatError(p.Energy.Value, p.Energy.StdErr)), p.Histogram))
	}
	s.Table.Words[len(s.Table.Columns)] = true
	s.Table.Columns = append(s.Table.Columns, "zeroth law")
	return s
}

// hotnessAmong is the place of t on the scale of the curve's temperatures.
func hotnessAmong(t float64, curve []networkPoint) float64 {
	low, high := t, t
	for _, p := range curve {
		low, high = math.Min(low, p.Temperature), math.Max(high, p.Temperature)
	}
	if !(high > low) {
		return 0.5
	}
	return math.Log(t/low) / math.Log(high/low)
}
