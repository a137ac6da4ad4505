package main

import (
	"fmt"

	"github.com/kelvin-ml/kelvin/power"
	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/thermo"
)

// page returns what the run spent as a page, beside its records and its power.
func (d *spendingDocument) page(h *power.History, traces []power.Trace) report.Page {
	loss := report.Line{Name: "minibatch", Hotness: 0.8, Y: h.Loss}
	for _, step := range h.Step {
		loss.X = append(loss.X, float64(step))
	}
	axis := "loss (loss)"
	if d.nats {
		axis = "loss (nat)"
	}
	falls := report.LineChart{Caption: "Loss of the minibatches along the run.", X: "step (count)", Y: axis, LogY: true, Lines: []report.Line{loss}}
	if d.Stopped {
		falls.Marks = []report.Mark{{Name: "no longer falling", From: float64(d.StopStep), To: float64(d.LastStep)}}
	}
	watts := report.LineChart{Caption: "Power of every device, from the first record of the run to the last.", X: "time since the first record (s)", Y: "power (W)"}
	for i, t := range traces {
		line := report.Line{Name: t.Device, Hotness: hotnessOf(i, len(traces))}
		for k, at := range t.Time {
			if at >= h.Time[0] && at <= h.Time[len(h.Time)-1] && !(t.Counter && k == 0) {
				line.X, line.Y = append(line.X, at-h.Time[0]), append(line.Y, t.Watts[k])
			}
		}
		watts.Lines = append(watts.Lines, line)
	}
	for _, g := range d.Gaps {
		watts.Marks = append(watts.Marks, report.Mark{From: g.From - h.Time[0], To: g.To - h.Time[0]})
	}
	joules := report.BarChart{Caption: "Energy, until the loss stopped falling and after that.", Axis: "energy (J)"}
	table := &report.Table{Columns: []string{"quantity", "value and unit"}, Words: map[int]bool{1: true}}
	for _, q := range []struct {
		name string
		r    thermo.Reading
	}{
		{"loss at the start", d.Start}, {"loss at the end", d.End}, {"loss removed", d.Removed}, {"energy in all", d.Total},
		{"energy until it stopped falling", d.Fall}, {"energy after that", d.After}, {"price of loss removed", d.PerLoss},
		{"entropy lost by the parameters", d.Bits}, {"price of entropy lost", d.PerBit}, {"that price, in Landauer's bounds", d.PerBitKT},
	} {
		table.Rows = append(table.Rows, []string{q.name, known(q.r)})
		if q.r.Unit == "J" {
			joules.Readings = append(joules.Readings, named(q.r, q.name))
		}
	}
	return report.Page{
		Title: "Energy of " + d.Run,
		Lead:  fmt.Sprintf("What it cost, and what it got for it. Landauer's bound is %s J/bit, k_B T ln 2 at %.4g K (%s).", thermo.Format(d.Landauer, 4), d.Chip, d.ChipSource),
		Facts: []report.Fact{{Label: "power", Value: d.Power}},
		Figures: []report.Figure{report.FigureOf("energy", d.Total), report.FigureOf("price of loss removed, for one example", d.PerLoss),
			report.FigureOf("price of entropy lost", d.PerBit)},
		Findings: d.Findings,
		Sections: []report.Section{
			{ID: "run", Title: "The run", Charts: []report.Chart{falls, watts}},
			{ID: "spending", Title: "Spending", Charts: []report.Chart{joules}, Table: table},
		},
	}
}
