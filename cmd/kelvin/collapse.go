package main

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/spf13/cobra"

	"github.com/kelvin-ml/kelvin/collapse"
	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/thermo"
)

func newCollapseCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "collapse",
		Short: "Generative models trained on their own output: do they freeze or heat up?",
		Args:  subcommand,
		RunE:  help,
	}
	c.AddCommand(newCollapseSimulateCommand(), newCollapsePhaseCommand(), newCollapseMonitorCommand())
	return c
}

type simulateFlags struct {
	model, mode string
	classes     int
	uniform     bool
	config      collapse.Config
	asJSON      bool
}

func newCollapseSimulateCommand() *cobra.Command {
	var f simulateFlags
	c := &cobra.Command{
		Use:   "simulate --model NAME",
		Short: "Close the loop of a small generative model and watch it, beside the exact law",
		Long: `Trains a generative model on real data, then every generation on samples of the
last one at a temperature, with fresh real data or none, in several independent
runs. Prints entropy, diversity, tail mass, variance, energy and temperature of
every generation with errors over runs, and the exact law where there is one.`,
		Example: "  kelvin collapse simulate --model gaussian --samples 20\n" +
			"  kelvin collapse simulate --model categorical --mode accumulate --temperature 0.8 --fresh 0.3 --html loop.html",
		Args: exactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error { return runCollapseSimulate(c, f) },
	}
	flags := c.Flags()
	flags.StringVar(&f.model, "model", "categorical", "categorical, gaussian, mixture, kde, ngram, transformer or flow")
	flags.StringVar(&f.mode, "mode", "replace", "what a generation is trained on: replace, accumulate or mixed")
	flags.Float64Var(&f.config.Temperature, "temperature", 1, "τ at which generations are sampled")
	flags.Float64Var(&f.config.Fresh, "fresh", 0, "μ: fresh real examples for every sample")
	flags.IntVar(&f.config.Generations, "generations", 50, "generations")
	flags.IntVar(&f.config.Samples, "samples", 100, "samples of every generation")
	flags.IntVar(&f.config.Runs, "runs", 50, "independent runs")
	flags.IntVar(&f.classes, "classes", 10, "classes of the categorical world")
	flags.BoolVar(&f.uniform, "uniform", false, "equally probable classes instead of Zipf's law")
	flags.Uint64Var(&f.config.Seed, "seed", 0, "seed of everything drawn")
	addHTMLFlag(c)
	flags.BoolVar(&f.asJSON, "json", false, "print one JSON document")
	return c
}

func (f simulateFlags) world() (*collapse.World, error) {
	switch f.model {
	case "categorical":
		return collapse.NewCategorical(f.classes, f.uniform)
	case "gaussian":
		return collapse.NewGaussian(), nil
	case "mixture":
		return collapse.NewMixture(), nil
	case "ngram":
		return collapse.NewNgram(), nil
	case "transformer":
		return collapse.NewTransformer(), nil
	case "flow":
		return collapse.NewFlow(), nil
	case "kde":
		return collapse.NewKernels(), nil
	}
	return nil, usagef("--model %q: expected categorical, gaussian, mixture, kde, ngram, transformer or flow", f.model)
}

// A simulateDocument is what kelvin collapse simulate --json prints.
type simulateDocument struct {
	Schema      string               `json:"schema"`
	Model       string               `json:"model"`
	Mode        string               `json:"mode"`
	Temperature float64              `json:"temperature"`
	Fresh       float64              `json:"fresh"`
	Seed        uint64               `json:"seed"`
	Samples     int                  `json:"samples"`
	Runs        int                  `json:"runs"`
	Generations []simulateGeneration `json:"generations"`
	Theory      []simulateLaw        `json:"theory"`
	Verdict     collapse.Verdict     `json:"verdict"`
	Partial     bool                 `json:"partial,omitempty"` // interrupted
}

type simulateGeneration struct {
	Generation  int            `json:"generation"`
	Entropy     thermo.Reading `json:"entropy"`
	Diversity   thermo.Reading `json:"diversity"`
	TailMass    thermo.Reading `json:"tail_mass"`
	LogVariance thermo.Reading `json:"log_variance"`
	Energy      thermo.Reading `json:"energy"`
	Temperature thermo.Reading `json:"temperature"`
}

type simulateLaw struct {
	Quantity string    `json:"quantity"`
	Law      string    `json:"law"`
	Exact    bool      `json:"exact"`
	Values   []float64 `json:"values"` // by generation
}

func runCollapseSimulate(cmd *cobra.Command, f simulateFlags) error {
	f.config.Mode = collapse.Mode(f.mode)
	world, err := f.world()
	if err != nil {
		return usagef("%w", err)
	}
	generations, err := collapse.Simulate(cmd.Context(), world, f.config, progress(cmd.ErrOrStderr(), "generations"))
	interrupted := cmd.Context().Err() != nil
	if err != nil && !interrupted {
		return usageOr(generations, err)
	}
	if len(generations) < 2 {
		return errors.New("interrupted before the first generation")
	}
	d := &simulateDocument{
		Schema: schema, Model: f.model, Mode: f.mode, Temperature: f.config.Temperature, Fresh: f.config.Fresh, Seed: f.config.Seed,
		Samples: f.config.Samples, Runs: f.config.Runs, Theory: []simulateLaw{}, Verdict: collapse.Judge(generations), Partial: interrupted,
	}
	for _, g := range generations {
		d.Generations = append(d.Generations, simulateGeneration{g.Number, g.Entropy, g.Diversity, g.TailMass, g.LogVariance, g.Energy, g.Temperature})
	}
	for _, l := range collapse.Laws(world, f.config) {
		d.Theory = append(d.Theory, simulateLaw{l.Quantity, l.Name, l.Exact, l.Values[:len(generations)]})
	}
	if err := writePage(cmd, d.page); err != nil {
		return err
	}
	if f.asJSON {
		err = printJSON(cmd.OutOrStdout(), d)
	} else {
		err = d.print(cmd.OutOrStdout())
	}
	if interrupted {
		return errors.Join(err, fmt.Errorf("interrupted: what is shown ends at generation %d", len(generations)-1))
	}
	return err
}

// usageOr makes what was refused before anything ran a wrong usage.
func usageOr(generations []collapse.Generation, err error) error {
	if generations == nil {
		return usagef("%w", err)
	}
	return err
}

// of returns the theory of a quantity in a generation, or "".
func (d *simulateDocument) of(quantity string, generation int) string {
	for _, l := range d.Theory {
		if l.Quantity == quantity {
			return thermo.Format(l.Values[generation], 4)
		}
	}
	return ""
}

func (d *simulateDocument) print(w io.Writer) error {
	fmt.Fprintf(w, "%s, %s: samples at temperature %g, %g fresh for every sample; %d samples, %d runs, seed %d\n\n",
		d.Model, d.Mode, d.Temperature, d.Fresh, d.Samples, d.Runs, d.Seed)
	columns := []string{"generation", "entropy (nat)", "diversity (1)", "tail mass (1)", "log variance (1)", "energy (nat)", "temperature (1)"}
	for _, l := range d.Theory {
		unit := "1"
		if l.Quantity == "entropy" {
			unit = "nat"
		}
		columns = append(columns, fmt.Sprintf("%s, theory (%s)", l.Quantity, unit))
	}
	table := report.Table{Columns: columns}
	last := len(d.Generations) - 1
	step := max(1, (last+9)/10)
	for i, g := range d.Generations {
		if i%step != 0 && i != last {
			continue
		}
		row := []string{fmt.Sprint(g.Generation)}
		for _, r := range []thermo.Reading{g.Entropy, g.Diversity, g.TailMass, g.LogVariance, g.Energy, g.Temperature} {
			if math.IsNaN(r.Value) {
				row = append(row, "-")
			} else {
				row = append(row, thermo.FormatError(r.Value, r.StdErr)+map[bool]string{true: "", false: " *"}[r.Valid()])
			}
		}
		for _, l := range d.Theory {
			row = append(row, d.of(l.Quantity, i))
		}
		table.Rows = append(table.Rows, row)
	}
	if err := table.Print(w); err != nil {
		return err
	}
	for _, g := range d.Generations {
		if !g.Energy.Valid() && !math.IsNaN(g.Energy.Value) || !g.Temperature.Valid() && !math.IsNaN(g.Temperature.Value) {
			fmt.Fprintln(w, "* of some runs only: others have lost what the real data hold, or samples that say nothing of a temperature")
			break
		}
	}
	for _, l := range d.Theory {
		kind := "in the limit"
		if l.Exact {
			kind = "exactly"
		}
		fmt.Fprintf(w, "theory of the %s, %s: %s\n", l.Quantity, kind, l.Law)
	}
	_, err := fmt.Fprintf(w, "verdict: %s\n", d.Verdict)
	return err
}

func (d *simulateDocument) page() report.Page {
	var charts []report.Chart
	for _, q := range []struct {
		name, axis string
		of         func(simulateGeneration) thermo.Reading
	}{
		{"entropy", "entropy (nat)", func(g simulateGeneration) thermo.Reading { return g.Entropy }},
		{"diversity", "diversity (1)", func(g simulateGeneration) thermo.Reading { return g.Diversity }},
		{"tail mass", "tail mass (1)", func(g simulateGeneration) thermo.Reading { return g.TailMass }},
		{"log variance", "ln variance (1)", func(g simulateGeneration) thermo.Reading { return g.LogVariance }},
		{"energy", "energy of real data (nat)", func(g simulateGeneration) thermo.Reading { return g.Energy }},
		{"temperature", "temperature of the samples (1)", func(g simulateGeneration) thermo.Reading { return g.Temperature }},
	} {
		line := report.Line{Name: "simulated", Hotness: 0.05}
		known := 0
		for _, g := range d.Generations {
			r := q.of(g)
			line.Add(float64(g.Generation), r)
			if !math.IsNaN(r.Value) {
				known++
			}
		}
		if known == 0 {
			continue
		}
		chart := report.LineChart{Caption: upperFirst(q.name) + ", mean over runs, with two standard errors.", X: "generation (count)", Y: q.axis, Lines: []report.Line{line}}
		for _, l := range d.Theory {
			if l.Quantity == q.name {
				chart.Lines = append(chart.Lines, report.Line{Name: l.Law, X: line.X, Y: l.Values, Hotness: 0.8})
			}
		}
		charts = append(charts, chart)
	}
	last := d.Generations[len(d.Generations)-1]
	page := report.Page{
		Title: fmt.Sprintf("A closed loop: %s, %s", d.Model, d.Mode),
		Lead:  fmt.Sprintf("Verdict after %d generations: %s.", last.Generation, d.Verdict),
		Facts: []report.Fact{{Label: "sampled at", Value: fmt.Sprintf("τ = %g", d.Temperature)}, {Label: "fresh data", Value: fmt.Sprintf("μ = %g for every sample", d.Fresh)},
			{Label: "samples", Value: fmt.Sprintf("%d a generation, %d runs", d.Samples, d.Runs)}},
		Figures:  []report.Figure{report.FigureOf("entropy", last.Entropy), report.FigureOf("diversity", last.Diversity), report.FigureOf("temperature", last.Temperature)},
		Sections: []report.Section{{Title: "Generations", Text: "Generation 0 is the world itself.", Charts: charts}},
	}
	return page
}
