package main

import (
	"fmt"
	"math"
	"sort"
	"strconv"

	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/sampler"
	"github.com/kelvin-ml/kelvin/thermo"
)

// page returns the report of the draws of a model.
func (d sampleDocument) page(r *sampleResult, model string) report.Page {
	page := report.Page{
		Title: "Draws from " + model,
		Lead:  fmt.Sprintf("Zeroth law: %s. %s.", d.ZerothLaw.Verdict, d.ZerothLaw.Reason),
		Facts: []report.Fact{
			{Label: "sampler", Value: fmt.Sprintf("%s at T = %g", d.Sampler, d.Temperature)},
			{Label: "draws", Value: fmt.Sprintf("%d chains × %d after %d steps of warm-up", d.Chains, d.Draws, d.Warmup)},
			{Label: "acceptance", Value: fmt.Sprintf("%.3f, %d divergences", d.Acceptance, d.Divergences)},
		},
		Figures:  []report.Figure{report.FigureOf("energy", d.Energy), report.FigureOf("heat capacity", d.HeatCapacity)},
		Findings: d.Findings,
	}
	if d.Interrupted {
		page.Lead += " Interrupted: fewer draws than asked."
	}
	parameters := &report.Table{Columns: []string{"parameter", "mean (own unit)", "sd (own unit)", "ESS bulk (draws)", "ESS tail (draws)", "R-hat (1)"}}
	for _, p := range d.Parameters {
		parameters.Rows = append(parameters.Rows, []string{p.Name, p.mean(), orDash("%.4g", p.SD), orDash("%.0f", p.ESSBulk),
			orDash("%.0f", p.ESSTail), orDash("%.3f", p.RHat)})
	}
	energy := report.Section{ID: "energy", Title: "Energy", Charts: []report.Chart{
		histogramChart(fmt.Sprintf("The energies drawn, mean %s.", thermo.FormatError(d.Energy.Value, d.Energy.StdErr)), d.Histogram),
		traceChart("The energy along the chains.", "energy (energy units)", energyTraces(r.Result))}}
	page.Sections = append(page.Sections, report.Section{ID: "parameters", Title: "Parameters", Table: parameters}, energy, d.mixing(r), d.thermometers())
	if p := d.Tempering; p != nil {
		page.Sections = append(page.Sections, p.section())
	}
	return page
}

// mostTraced bounds the parameters that are drawn: those that mix worst.
const mostTraced = 4

// mixing shows the parameters of the largest R-hat, by rank and by trace.
func (d sampleDocument) mixing(r *sampleResult) report.Section {
	order := make([]int, len(d.Parameters))
	for i := range order {
		order[i] = i
	}
	rhat := func(i int) float64 {
		if x := d.Parameters[i].RHat; x != nil {
			return *x
		}
		return math.Inf(1) // undefined is worst
	}
	sort.SliceStable(order, func(a, b int) bool { return rhat(order[a]) > rhat(order[b]) })
	order = order[:min(len(order), mostTraced)]
	s := report.Section{ID: "mixing", Title: "Mixing", Shows: []string{"not-mixed", "few-draws"}, Text: fmt.Sprintf("The %d of %d parameters with the largest R-hat. Ranks are those among the draws of all chains: "+
		"where the chains agree, every chain has the same share of every rank, up to noise.", len(order), len(d.Parameters))}
	for _, i := range order {
		p := d.Parameters[i]
		name := fmt.Sprintf("%s, R-hat %s", p.Name, orDash("%.3f", p.RHat))
		chains := r.Chain(i)
		s.Charts = append(s.Charts, rankChart("Ranks of "+name+".", chains), traceChart("Trace of "+name+".", p.Name+" (own unit)", chains))
	}
	return s
}

func (d sampleDocument) thermometers() report.Section {
	table := &report.Table{Columns: []string{"thermometer", "reading (energy/nat)", "effective draws (count)", "not valid because"}, Words: map[int]bool{3: true}}
	for _, t := range d.Thermometers {
		table.Rows = append(table.Rows, []string{t.Name, thermo.FormatError(t.Value, t.StdErr), strconv.FormatFloat(t.ESS, 'f', 0, 64), t.Invalid})
	}
	return report.Section{ID: "thermometers", Title: "Thermometers", Shows: []string{"too-hot", "too-cold", "not-in-equilibrium", "temperature-unknown"}, Charts: []report.Chart{thermometerChart(d.Temperature, d.Thermometers)}, Table: table}
}

func (p *temperingSummary) section() report.Section {
	table := &report.Table{Columns: []string{"temperature (energy/nat)", "energy (energy units)", "heat capacity (nat)", "swaps with the next (1)"}}
	chart := report.BarChart{Caption: "Share of the swaps that are accepted, between neighbours: the ladder is adapted until all are alike.", Axis: "accepted share (1)"}
	swaps := append(withErrors(p.SwapRates, p.SwapStdErr), "–")
	energies, capacities := withErrors(p.MeanEnergy, p.EnergyStdErr), withErrors(p.HeatCapacity, p.CapacityStdErr)
	for i, t := range p.Temperatures {
		if i < len(p.SwapRates) {
			bar := thermo.Reading{Group: fmt.Sprintf("%.3g ↔ %.3g", t, p.Temperatures[i+1]), Value: p.SwapRates[i]}
			if e := p.SwapStdErr[i]; e != nil {
				bar.StdErr = *e
			}
			chart.Readings = append(chart.Readings, bar)
		}
		table.Rows = append(table.Rows, []string{fmt.Sprintf("%.4g", t), energies[i], capacities[i], swaps[i]})
	}
	return report.Section{ID: "tempering", Title: "Parallel tempering", Charts: []report.Chart{chart}, Table: table,
		Text: fmt.Sprintf("%d round trips of replicas between the coldest and the hottest temperature; barrier Λ = %.2f, for which about %.0f temperatures are best.",
			p.RoundTrips, p.Barrier, math.Ceil(2*p.Barrier+2))}
}

func energyTraces(r *sampler.Result) [][]float64 {
	traces := make([][]float64, len(r.Chains))
	for i, c := range r.Chains {
		traces[i] = c.Energy
	}
	return traces
}

// histogramChart draws the outline of a histogram.
func histogramChart(caption string, h sampler.Histogram) report.LineChart {
	line := report.Line{Name: "draws", Hotness: 0.7, X: []float64{h.Low}, Y: []float64{0}}
	for i, count := range h.Counts {
		edge := func(i int) float64 { return h.Low + (h.High-h.Low)*float64(i)/float64(len(h.Counts)) }
		line.X, line.Y = append(line.X, edge(i), edge(i+1)), append(line.Y, float64(count), float64(count))
	}
	line.X, line.Y = append(line.X, h.High), append(line.Y, 0)
	return report.LineChart{Caption: caption, X: "energy (energy units)", Y: "draws (count)", Lines: []report.Line{line}}
}

// traceChart draws a quantity along the chains.
func traceChart(caption, quantity string, chains [][]float64) report.LineChart {
	c := report.LineChart{Caption: caption, X: "kept draw (count)", Y: quantity}
	for i, draws := range chains {
		line := report.Line{Name: fmt.Sprintf("chain %d", i+1), Y: draws, Hotness: hotnessOf(i, len(chains))}
		for t := range draws {
			line.X = append(line.X, float64(t+1))
		}
		c.Lines = append(c.Lines, line)
	}
	return c
}

// rankChart draws the share of every chain in each twentieth of the ranks, with
// the band of two standard errors about what chains that agree have: for
// independent draws; correlated ones leave it more often.
func rankChart(caption string, chains [][]float64) report.LineChart {
	const bins = 20
	type draw struct {
		value float64
		chain int
	}
	var all []draw
	for i, c := range chains {
		for _, v := range c {
			all = append(all, draw{v, i})
		}
	}
	sort.Slice(all, func(a, b int) bool { return all[a].value < all[b].value })
	counts := make([][bins]float64, len(chains))
	for rank, d := range all {
		counts[d.chain][rank*bins/len(all)]++
	}
	each := float64(len(all)) / bins
	share := 1 / float64(len(chains))
	chart := report.LineChart{Caption: caption, X: "rank, as a share (1)", Y: "share of the chain (1)",
		Lines: []report.Line{{Name: "agreement", X: []float64{0, 1}, Y: []float64{share, share}, Hotness: 0.5}}}
	half := 2 * math.Sqrt(share*(1-share)/each)
	chart.Lines[0].Band = []float64{half, half}
	for i := range chains {
		line := report.Line{Name: fmt.Sprintf("chain %d", i+1), Hotness: hotnessOf(i, len(chains))}
		for b, count := range counts[i] {
			line.X = append(line.X, float64(b)/bins, float64(b+1)/bins)
			line.Y = append(line.Y, count/each, count/each)
		}
		chart.Lines = append(chart.Lines, line)
	}
	return chart
}

func hotnessOf(i, n int) float64 { return (float64(i) + 0.5) / float64(n) }
