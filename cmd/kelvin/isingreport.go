package main

import (
	"fmt"

	"github.com/kelvin-ml/kelvin/ising"
	"github.com/kelvin-ml/kelvin/report"
)

// page returns the curves that the networks learned, and what they learned.
func (d isingLearnDocument) page() report.Page {
	output := report.LineChart{Caption: "Where the mean output crosses one half is the network's critical temperature. Bands: two standard errors over seeds.",
		X: "temperature (J/k_B)", Y: "mean output, probability of ordered (1)"}
	magnetisation := report.LineChart{Caption: "The mean magnetisation of the same test configurations, and where it crosses the network's threshold m* (dots).",
		X: "temperature (J/k_B)", Y: "mean |magnetisation| per spin (1)"}
	table := report.Table{Columns: []string{"size (spins)", "Tc (J/k_B)", "Tc, two units (J/k_B)", "threshold m* (1)", "T where ⟨|m|⟩ = m* (J/k_B)", "weight cv (1)", "counting (1)", "symmetry (1)", "PCA cosine (1)"}}
	for i, l := range d.Sizes {
		heat := float64(i) / float64(max(1, len(d.Sizes)-1))
		name := fmt.Sprintf("L = %d", l.Size)
		band := make([]float64, len(l.Curve.OutputErr))
		for k, e := range l.Curve.OutputErr {
			band[k] = 2 * e
		}
		output.Lines = append(output.Lines, report.Line{Name: name, X: l.Curve.Temperature, Y: l.Curve.Output, Band: band, Hotness: heat})
		magnetisation.Lines = append(magnetisation.Lines, report.Line{Name: name, X: l.Curve.Temperature, Y: l.Curve.AbsM, Hotness: heat})
		if l.ThresholdTc > 0 {
			magnetisation.Lines = append(magnetisation.Lines, report.Line{X: []float64{float64(l.ThresholdTc)}, Y: []float64{float64(l.Threshold)}, Dots: true, Hotness: heat})
		}
		table.Rows = append(table.Rows, []string{fmt.Sprint(l.Size), isingReading(l.Tc), isingReading(l.TwoUnits.Tc),
			isingNumber(l.Threshold, 3), isingNumber(l.ThresholdTc, 3), isingNumber(l.WeightCV, 2), isingNumber(l.Counting, 3),
			isingNumber(l.TwoUnits.Symmetry, 2), fmt.Sprintf("%.4f", l.PCA.Uniformity)})
	}
	exact := report.Mark{Name: "exact Tc", From: ising.Tc, To: ising.Tc}
	output.Marks, magnetisation.Marks = []report.Mark{exact}, []report.Mark{exact}
	page := report.Page{
		Title: "The critical temperature of the Ising model, learned",
		Facts: []report.Fact{{Label: "networks", Value: fmt.Sprintf("%d a size, weight decay %g", d.Seeds, d.Decay)}, {Label: "gap", Value: fmt.Sprint(d.Gap)}},
		Figures: []report.Figure{
			{Label: "critical temperature, extrapolated to infinite size", Value: isingReading(d.Extrapolated), Unit: "J/k_B", Note: fmt.Sprintf("exact: %.6f", d.Exact)},
		},
		Sections: []report.Section{
			{Title: "What was learned", Charts: []report.Chart{output, magnetisation}, Table: &table},
			{Title: "What the networks do", Text: d.Explanation},
		},
	}
	return page
}
