package main

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/spf13/cobra"

	"github.com/kelvin-ml/kelvin/collapse"
	"github.com/kelvin-ml/kelvin/report"
)

func newCollapsePhaseCommand() *cobra.Command {
	var classes, samples, steps int
	var seed uint64
	var asJSON bool
	c := &cobra.Command{
		Use:   "phase",
		Short: "Phase diagram of the loop over temperature and fresh data, simulated and exact",
		Long: `Simulates the loop of equally probable classes over the temperature τ and the
share of fresh data μ, from the uniform state and from one class alone, and
compares where they end with the exact boundaries: μ = 1/τ − 1, above which the
uniform state is stable, and the fold, above which no collapsed state survives.
Between the two the past decides: the transition is of first order.`,
		Example: "  kelvin collapse phase --classes 5 --html phase.html",
		Args:    exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if classes < 2 || classes > 1000 || samples < 10*classes || steps < 5 || steps > 200 {
				return usagef("expected --classes 2 to 1000, --samples at least ten times as many, and --steps 5 to 200")
			}
			d := &phaseDocument{Schema: schema, Classes: classes, Samples: samples, Seed: seed}
			temperatures := []float64{0.4, 0.5, 0.6, 0.7, 0.8, 0.9}
			top := 1.15 * collapse.Fold(classes, temperatures[0])
			var fresh []float64
			for i := range steps {
				fresh = append(fresh, top*float64(i)/float64(steps-1))
			}
			points, err := collapse.PhaseDiagram(cmd.Context(), classes, samples, temperatures, fresh, seed, progress(cmd.ErrOrStderr(), "points"))
			interrupted := cmd.Context().Err() != nil
			if err != nil && !interrupted {
				return err
			}
			d.fill(points, temperatures, top/float64(steps-1))
			if err := writePage(cmd, func() report.Page { return d.page(temperatures, fresh) }); err != nil {
				return err
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), d)
			} else {
				err = d.print(cmd.OutOrStdout())
			}
			if interrupted {
				return errors.Join(err, errors.New("interrupted: some temperatures are missing"))
			}
			return err
		},
	}
	flags := c.Flags()
	flags.IntVar(&classes, "classes", 5, "classes, equally probable in the world")
	flags.IntVar(&samples, "samples", 20_000, "samples of every generation")
	flags.IntVar(&steps, "steps", 40, "shares of fresh data to try")
	flags.Uint64Var(&seed, "seed", 0, "seed of everything drawn")
	addHTMLFlag(c)
	flags.BoolVar(&asJSON, "json", false, "print one JSON document")
	return c
}

// A phaseDocument is what kelvin collapse phase --json prints.
type phaseDocument struct {
	Schema     string          `json:"schema"`
	Classes    int             `json:"classes"`
	Samples    int             `json:"samples"`
	Seed       uint64          `json:"seed"`
	Step       float64         `json:"fresh_step"` // between the shares of fresh data that were tried
	Boundaries []phaseBoundary `json:"boundaries"`
	Points     []phasePoint    `json:"points"`
}

type phaseBoundary struct {
	Temperature float64  `json:"temperature"`
	Uniform     *float64 `json:"uniform_simulated"` // null: beyond what was tried
	Critical    float64  `json:"uniform_exact"`
	Collapsed   *float64 `json:"fold_simulated"`
	Fold        float64  `json:"fold_exact"`
}

type phasePoint struct {
	Temperature   float64 `json:"temperature"`
	Fresh         float64 `json:"fresh"`
	FromUniform   float64 `json:"order_from_uniform"`
	FromCollapsed float64 `json:"order_from_collapsed"`
}

func (d *phaseDocument) fill(points []collapse.PhasePoint, temperatures []float64, step float64) {
	d.Step = step
	d.Points, d.Boundaries = []phasePoint{}, []phaseBoundary{}
	for _, p := range points {
		d.Points = append(d.Points, phasePoint(p))
	}
	for _, t := range temperatures {
		known := func(x float64) *float64 {
			if math.IsInf(x, 0) {
				return nil
			}
			return &x
		}
		uniform, collapsed := collapse.Boundaries(points, t)
		d.Boundaries = append(d.Boundaries, phaseBoundary{t, known(uniform), collapse.CriticalFresh(t), known(collapsed), collapse.Fold(d.Classes, t)})
	}
}

func (d *phaseDocument) print(w io.Writer) error {
	fmt.Fprintf(w, "%d classes, %d samples a generation, seed %d; simulated in steps of %.3g\n\n", d.Classes, d.Samples, d.Seed, d.Step)
	table := report.Table{Columns: []string{"temperature (1)", "uniform stable from (1)", "1/τ − 1", "collapsed up to (1)", "fold (1)"}}
	for _, b := range d.Boundaries {
		table.Rows = append(table.Rows, []string{fmt.Sprintf("%g", b.Temperature), end(b.Uniform, "-"), fmt.Sprintf("%.4g", b.Critical), end(b.Collapsed, "-"), fmt.Sprintf("%.4g", b.Fold)})
	}
	return table.Print(w)
}

func (d *phaseDocument) page(temperatures, fresh []float64) report.Page {
	var charts []report.Chart
	for _, side := range []struct {
		caption string
		of      func(phasePoint) float64
	}{
		{"From the uniform state: order (n·p_max − 1)/(n − 1) of where it ends.", func(p phasePoint) float64 { return p.FromUniform }},
		{"From one class alone: what is still ordered here and not above has two stable states.", func(p phasePoint) float64 { return p.FromCollapsed }},
	} {
		m := report.HeatMap{Caption: side.caption, X: "fresh data μ for every sample (1)", X0: fresh[0], X1: fresh[len(fresh)-1], Unit: "order: 0 uniform, 1 one class (1)"}
		for i, t := range temperatures {
			row := make([]float64, len(fresh))
			for j := range row {
				row[j] = math.NaN()
				if k := i*len(fresh) + j; k < len(d.Points) {
					row[j] = side.of(d.Points[k])
				}
			}
			m.Rows, m.Values = append(m.Rows, fmt.Sprintf("τ = %g", t)), append(m.Values, row)
		}
		charts = append(charts, m)
	}
	lines := report.LineChart{Caption: "Above the lower line the uniform state is stable; below the upper one a collapsed state is. Dots of the simulation are joined.",
		X: "temperature τ (1)", Y: "fresh data μ for every sample (1)"}
	exact, fold := report.Line{Name: "1/τ − 1", Hotness: 0.1}, report.Line{Name: "fold", Hotness: 0.9}
	for k := range 61 {
		t := 0.4 + 0.01*float64(k)
		exact.X, exact.Y = append(exact.X, t), append(exact.Y, collapse.CriticalFresh(t))
		fold.X, fold.Y = append(fold.X, t), append(fold.Y, collapse.Fold(d.Classes, t))
	}
	uniform, collapsed := report.Line{Name: "uniform from, simulated", Hotness: 0.3}, report.Line{Name: "collapsed up to, simulated", Hotness: 0.7}
	for _, b := range d.Boundaries {
		if b.Uniform != nil {
			uniform.X, uniform.Y = append(uniform.X, b.Temperature), append(uniform.Y, *b.Uniform)
		}
		if b.Collapsed != nil {
			collapsed.X, collapsed.Y = append(collapsed.X, b.Temperature), append(collapsed.Y, *b.Collapsed)
		}
	}
	lines.Lines = []report.Line{exact, uniform, collapsed, fold}
	page := report.Page{
		Title:    fmt.Sprintf("Phases of a closed loop of %d classes", d.Classes),
		Lead:     "Sampled below temperature 1, a loop freezes into one class unless fresh data hold it. Between the two lines both states are stable, and the past decides: a transition of first order.",
		Facts:    []report.Fact{{Label: "samples", Value: fmt.Sprintf("%d a generation", d.Samples)}},
		Sections: []report.Section{{Title: "Boundaries", Charts: []report.Chart{lines}}, {Title: "Where the loop ends", Charts: charts}},
	}
	return page
}
