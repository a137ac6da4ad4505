package main

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kelvin-ml/kelvin/power"
	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/thermo"
)

func newEnergyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "energy",
		Short: "What training costs in joules, and how to pay less",
		Args:  subcommand,
		RunE:  help,
	}
	c.AddCommand(newEnergyPlanCommand(), newEnergySimulateCommand(), newEnergyPipelineCommand(), newEnergyEfficiencyCommand(), newEnergyLogCommand())
	return c
}

type planFlags struct {
	train, power string
	options      power.PlanOptions
	asJSON       bool
}

func newEnergyPlanCommand() *cobra.Command {
	var f planFlags
	c := &cobra.Command{
		Use:   "plan --train FILE.csv --power FILE.csv",
		Short: "Batch size and power limit that reach the target for the least energy",
		Long: `Reads traces of repeated training runs and of the power at every batch size and
power limit (the formats of Zeus), and prints for each job the energy and time to
its target of the baseline (a batch size at the largest limit) and of what is best:
for energy, time, a mixture of both, within a slowdown, and by batch size or limit
alone. Batch sizes with runs that never reach the target are left out, and named.`,
		Example: "  kelvin energy plan --train summary_train.csv --power summary_power_v100.csv --dataset cifar100",
		Args:    exactArgs(0),
		RunE:    func(c *cobra.Command, _ []string) error { return runEnergyPlan(c, f) },
	}
	flags := c.Flags()
	flags.StringVar(&f.train, "train", "", "runs: dataset, network, batch_size, optimizer, learning_rate, run, target_metric, target_epoch (`csv`)")
	flags.StringVar(&f.power, "power", "", "power: dataset, network, batch_size, optimizer, power_limit, time_per_epoch, average_power (`csv`)")
	flags.StringVar(&f.options.Dataset, "dataset", "", "plan the jobs of this dataset alone")
	flags.IntVar(&f.options.Baseline, "baseline-batch", 0, "batch size to compare with (default that of a published job)")
	flags.Float64Var(&f.options.Target, "target", math.NaN(), "metric to reach (default that of a published job, or the strictest that two batch sizes always reach)")
	flags.Float64Var(&f.options.Eta, "eta", 0.5, "weight η of the energy in η·E + (1 − η)·P_max·t")
	flags.Float64Var(&f.options.MaxSlowdown, "max-slowdown", 1.1, "longest time allowed, of the baseline's")
	addHTMLFlag(c)
	flags.BoolVar(&f.asJSON, "json", false, "print one JSON document")
	return c
}

// A planDocument is what kelvin energy plan --json prints.
type planDocument struct {
	Schema string    `json:"schema"`
	Jobs   []planJob `json:"jobs"`
}

type planJob struct {
	Dataset    string        `json:"dataset"`
	Network    string        `json:"network"`
	Optimizer  string        `json:"optimizer"`
	Target     float64       `json:"target"`
	Baseline   planSetting   `json:"baseline"`
	Best       planChoice    `json:"best"` // least energy
	Fastest    planChoice    `json:"fastest"`
	Cheapest   planChoice    `json:"cheapest"` // by --eta
	Slowed     planChoice    `json:"within_slowdown"`
	BatchOnly  float64       `json:"batch_only_saving"`
	LimitOnly  float64       `json:"limit_only_saving"`
	Frontier   []planSetting `json:"frontier"`
	Settings   []planSetting `json:"settings"`    // all that were measured
	Failing    []int         `json:"never_reach"` // batch sizes with runs that never reach the target
	Unmeasured []int         `json:"without_power"`
	Missing    []planMissing `json:"missing"`
}

type planSetting struct {
	Batch        int      `json:"batch_size"`
	Limit        float64  `json:"power_limit"`
	Energy       *float64 `json:"energy_j"`        // null if no run reaches the target
	EnergyStdErr *float64 `json:"energy_stderr_j"` // null for one run
	Time         *float64 `json:"time_s"`
	TimeStdErr   *float64 `json:"time_stderr_s"`
	Runs         int      `json:"runs"`
	Reached      int      `json:"reached"`
}

// energy is that of a setting which reaches the target.
func (s planSetting) energy() thermo.Reading {
	r := thermo.Reading{Value: *s.Energy, StdErr: math.NaN()}
	if s.EnergyStdErr != nil {
		r.StdErr = *s.EnergyStdErr
	}
	return r
}

// A planMissing is a setting that was not measured.
type planMissing struct {
	Batch int     `json:"batch_size"`
	Limit float64 `json:"power_limit"`
}

type planChoice struct {
	planSetting
	Saving       float64  `json:"energy_saving"`
	SavingStdErr *float64 `json:"energy_saving_stderr"`
	TimeChange   float64  `json:"time_change"`
}

func runEnergyPlan(cmd *cobra.Command, f planFlags) error {
	switch {
	case f.train == "" || f.power == "":
		return usagef("expected --train FILE.csv and --power FILE.csv")
	case !(f.options.Eta >= 0 && f.options.Eta <= 1):
		return usagef("--eta %g: expected a number from 0 to 1", f.options.Eta)
	case !(f.options.MaxSlowdown >= 1):
		return usagef("--max-slowdown %g: expected a number from 1", f.options.MaxSlowdown)
	}
	runs, err := power.ReadRuns(f.train)
	if err != nil {
		return err
	}
	speeds, err := power.ReadSpeeds(f.power)
	if err != nil {
		return err
	}
	jobs, err := power.Plan(runs, speeds, f.options)
	if err != nil {
		return fmt.Errorf("planning %s with %s: %w", f.train, f.power, err)
	}
	d := &planDocument{Schema: schema}
	for i := range jobs {
		d.Jobs = append(d.Jobs, newPlanJob(&jobs[i]))
	}
	if err := writePage(cmd, d.page); err != nil {
		return err
	}
	if f.asJSON {
		return printJSON(cmd.OutOrStdout(), d)
	}
	return d.print(cmd.OutOrStdout())
}

func finiteOrNil(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

func newPlanSetting(s power.Setting) planSetting {
	return planSetting{s.Batch, s.Limit, finiteOrNil(s.Energy.Value), finiteOrNil(s.Energy.StdErr), finiteOrNil(s.Time.Value), finiteOrNil(s.Time.StdErr), s.Runs, s.Reached}
}

func newPlanJob(j *power.Job) planJob {
	choice := func(s power.Setting) planChoice {
		saving := j.Saving(s)
		return planChoice{newPlanSetting(s), saving.Value, finiteOrNil(saving.StdErr), s.Time.Value/j.Baseline.Time.Value - 1}
	}
	p := planJob{
		Dataset: j.Dataset, Network: j.Network, Optimizer: j.Optimizer, Target: j.Target, Baseline: newPlanSetting(j.Baseline),
		Best: choice(j.Best), Fastest: choice(j.Fastest), Cheapest: choice(j.Cheapest), Slowed: choice(j.Slowed),
		BatchOnly: j.Saving(j.BatchOnly).Value, LimitOnly: j.Saving(j.LimitOnly).Value, Frontier: []planSetting{},
		Settings: []planSetting{}, Missing: []planMissing{}, Failing: append([]int{}, j.Failing...), Unmeasured: append([]int{}, j.Unmeasured...),
	}
	for _, s := range j.Settings {
		p.Settings = append(p.Settings, newPlanSetting(s))
	}
	for _, s := range j.Missing {
		p.Missing = append(p.Missing, planMissing{s.Batch, s.Limit})
	}
	for _, s := range j.Frontier {
		p.Frontier = append(p.Frontier, newPlanSetting(s))
	}
	return p
}

func (c planChoice) cells(name string) []string {
	return []string{name, fmt.Sprint(c.Batch), fmt.Sprintf("%g", c.Limit), errorOf(*c.Energy, c.EnergyStdErr), errorOf(*c.Time, c.TimeStdErr),
		errorOf(100*c.Saving, scaled(c.SavingStdErr, 100)), strings.ReplaceAll(fmt.Sprintf("%+.1f", 100*c.TimeChange), "-", "−")}
}

func scaled(x *float64, by float64) *float64 {
	if x == nil {
		return nil
	}
	return finiteOrNil(*x * by)
}

func errorOf(x float64, stderr *float64) string {
	if stderr == nil {
		return fmt.Sprintf("%.4g ± ?", x)
	}
	return thermo.FormatError(x, *stderr)
}

func (j planJob) table() report.Table {
	t := report.Table{Columns: []string{"", "batch size (examples)", "limit (W)", "energy (J)", "time (s)", "energy saved (%)", "time (%)"}}
	baseline := "baseline"
	if j.Baseline.Reached < j.Baseline.Runs {
		baseline = fmt.Sprintf("baseline (%d of %d runs)", j.Baseline.Reached, j.Baseline.Runs)
	}
	t.Rows = append(t.Rows, planChoice{planSetting: j.Baseline, SavingStdErr: finiteOrNil(0)}.cells(baseline))
	for _, c := range []struct {
		name string
		of   planChoice
	}{{"least energy", j.Best}, {"within slowdown", j.Slowed}, {"mixture", j.Cheapest}, {"fastest", j.Fastest}} {
		t.Rows = append(t.Rows, c.of.cells(c.name))
	}
	return t
}

func (d *planDocument) print(w io.Writer) error {
	for i, j := range d.Jobs {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s, %s, %s: to %g\n", j.Dataset, j.Network, j.Optimizer, j.Target)
		if err := j.table().Print(w); err != nil {
			return err
		}
		fmt.Fprintf(w, "batch size alone saves %.1f %%, the limit alone %.1f %%; %d settings on the frontier\n", 100*j.BatchOnly, 100*j.LimitOnly, len(j.Frontier))
		if len(j.Failing) > 0 {
			fmt.Fprintf(w, "left out, as some runs never reach the target: batch size %s\n", list(j.Failing))
		}
		if len(j.Unmeasured) > 0 {
			fmt.Fprintf(w, "left out, as their power was not measured: batch size %s\n", list(j.Unmeasured))
		}
		for _, m := range j.Missing {
			fmt.Fprintf(w, "left out, as it was not measured: batch size %d at %g W\n", m.Batch, m.Limit)
		}
	}
	return nil
}

// list writes numbers with commas.
func list(numbers []int) string {
	text := ""
	for i, n := range numbers {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprint(n)
	}
	return text
}

func (d *planDocument) page() report.Page {
	page := report.Page{Title: "Energy to accuracy", Lead: "Joules and seconds to the target, of every batch size and power limit that always reaches it."}
	for _, j := range d.Jobs {
		line := report.Line{Name: "frontier", Hotness: 0.1}
		for _, s := range j.Frontier {
			line.Add(*s.Time, s.energy())
		}
		others := report.Line{Name: "other settings", Hotness: 0.5, Dots: true}
		for _, s := range j.Settings {
			if s.Reached == s.Runs && *s.Time <= 2**j.Baseline.Time && *s.Energy <= 2**j.Baseline.Energy {
				others.Add(*s.Time, s.energy())
			}
		}
		dots := report.Line{Name: "baseline", Hotness: 0.9, Dots: true}
		dots.Add(*j.Baseline.Time, j.Baseline.energy())
		table := j.table()
		page.Sections = append(page.Sections, report.Section{Title: fmt.Sprintf("%s, %s", j.Dataset, j.Network), Table: &table,
			Text:   fmt.Sprintf("Batch size alone saves %.1f %%, the limit alone %.1f %%.", 100*j.BatchOnly, 100*j.LimitOnly),
			Charts: []report.Chart{report.LineChart{Caption: "Settings up to twice the baseline's time and energy, and the frontier: those that no other beats in both. Bands and bars: two standard errors over the runs.", X: "time (s)", Y: "energy (J)", Lines: []report.Line{others, line, dots}}}})
	}
	return page
}
