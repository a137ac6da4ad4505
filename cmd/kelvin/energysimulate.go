package main

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/spf13/cobra"

	"github.com/kelvin-ml/kelvin/power"
	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/thermo"
)

func newEnergySimulateCommand() *cobra.Command {
	var train, speeds string
	var asJSON bool
	o := power.SimulateOptions{PlanOptions: power.PlanOptions{MaxSlowdown: 1}}
	c := &cobra.Command{
		Use:   "simulate --train FILE.csv --power FILE.csv",
		Short: "Learn the best batch size of a recurring job, replayed on traces",
		Long: `Replays a job that recurs: what a batch size costs is only known by running it, and
a run that costs twice the best so far is stopped and done again with another. Two
policies against always the same: Zeus's (prune, then Thompson sampling of
independent costs), and one that takes the costs of similar batch sizes to be
similar. The power limit of each is the best for the cost, η·E + (1−η)·P_max·t.`,
		Example: "  kelvin energy simulate --train summary_train.csv --power summary_power_v100.csv --eta 1",
		Args:    exactArgs(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if train == "" || speeds == "" {
				return usagef("expected --train FILE.csv and --power FILE.csv")
			}
			if o.Seeds < 2 || o.Recurrences < 0 {
				return usagef("--seeds %d, --recurrences %d: expected at least 2, and a number from 0", o.Seeds, o.Recurrences)
			}
			if !(o.Eta >= 0 && o.Eta <= 1) {
				return usagef("--eta %g: expected a number from 0 to 1", o.Eta)
			}
			return runEnergySimulate(c, train, speeds, o, asJSON)
		},
	}
	flags := c.Flags()
	flags.StringVar(&train, "train", "", "runs, as kelvin energy plan reads them (`csv`)")
	flags.StringVar(&speeds, "power", "", "power, likewise (`csv`)")
	flags.StringVar(&o.Dataset, "dataset", "", "replay the jobs of this dataset alone")
	flags.IntVar(&o.PlanOptions.Baseline, "baseline-batch", 0, "batch size to begin and compare with (default that of a published job)")
	flags.Float64Var(&o.Target, "target", math.NaN(), "metric to reach, as in kelvin energy plan")
	flags.Float64Var(&o.Eta, "eta", 0.5, "weight η of the energy in the cost")
	flags.IntVar(&o.Recurrences, "recurrences", 0, "recurrences of the job (default twice its batch sizes × limits)")
	flags.IntVar(&o.Seeds, "seeds", 100, "independent replays")
	flags.Uint64Var(&o.Seed, "seed", 0, "seed of everything drawn")
	addHTMLFlag(c)
	flags.BoolVar(&asJSON, "json", false, "print one JSON document")
	return c
}

// A replayDocument is what kelvin energy simulate --json prints.
type replayDocument struct {
	Schema  string       `json:"schema"`
	Seed    uint64       `json:"seed"`
	Seeds   int          `json:"seeds"`
	Eta     float64      `json:"eta"`
	Replays []replayItem `json:"replays"`
}

type replayItem struct {
	Dataset     string         `json:"dataset"`
	Policy      string         `json:"policy"`
	Recurrences int            `json:"recurrences"`
	Saving      thermo.Reading `json:"energy_saving"` // in the last five recurrences
	Early       thermo.Reading `json:"early_energy_saving"`
	Regret      thermo.Reading `json:"regret"`
	Wasted      thermo.Reading `json:"wasted_runs"`
}

func runEnergySimulate(cmd *cobra.Command, train, speeds string, o power.SimulateOptions, asJSON bool) error {
	runs, err := power.ReadRuns(train)
	if err != nil {
		return err
	}
	powers, err := power.ReadSpeeds(speeds)
	if err != nil {
		return err
	}
	list, err := power.Simulate(cmd.Context(), runs, powers, o, progress(cmd.ErrOrStderr(), "replays"))
	interrupted := cmd.Context().Err() != nil
	if err != nil && !interrupted {
		return fmt.Errorf("replaying %s with %s: %w", train, speeds, err)
	}
	d := replayDocument{Schema: schema, Seed: o.Seed, Seeds: o.Seeds, Eta: o.Eta, Replays: []replayItem{}}
	for _, r := range list {
		d.Replays = append(d.Replays, replayItem{r.Dataset, r.Policy, r.Recurrences, r.Saving, r.EarlySaving, r.Regret, r.Wasted})
	}
	if err := writePage(cmd, d.page); err != nil {
		return err
	}
	if asJSON {
		err = printJSON(cmd.OutOrStdout(), d)
	} else {
		err = d.print(cmd.OutOrStdout())
	}
	if interrupted {
		return errors.Join(err, errors.New("interrupted: some replays are missing"))
	}
	return err
}

func (d replayDocument) print(w io.Writer) error {
	fmt.Fprintf(w, "η = %g, %d seeds from %d\n\n", d.Eta, d.Seeds, d.Seed)
	return d.table().Print(w)
}

func (d replayDocument) table() report.Table {
	table := report.Table{Columns: []string{"dataset", "policy", "recurrences (count)", "energy saved at the end (%)", "in the first fifth (%)", "regret (runs)", "wasted (runs)"}, Words: map[int]bool{1: true}}
	percent := func(r thermo.Reading) string { return thermo.FormatError(100*r.Value, 100*r.StdErr) }
	for _, r := range d.Replays {
		table.Rows = append(table.Rows, []string{r.Dataset, r.Policy, fmt.Sprint(r.Recurrences), percent(r.Saving), percent(r.Early),
			thermo.FormatError(r.Regret.Value, r.Regret.StdErr), thermo.FormatError(r.Wasted.Value, r.Wasted.StdErr)})
	}
	return table
}

func (d replayDocument) page() report.Page {
	saving := report.BarChart{Caption: "Energy saved in the last five recurrences, against always the same batch size and limit, with two standard errors over the replays.", Axis: "energy saved (%)"}
	regret := report.BarChart{Caption: "Regret: what all recurrences cost above the best setting, in runs at its cost, with two standard errors.", Axis: "regret (runs)"}
	for _, r := range d.Replays {
		name := r.Dataset + ", " + r.Policy
		saving.Readings = append(saving.Readings, thermo.Reading{Group: name, Value: 100 * r.Saving.Value, StdErr: 100 * r.Saving.StdErr, Invalid: r.Saving.Invalid})
		regret.Readings = append(regret.Readings, named(r.Regret, name))
	}
	table := d.table()
	return report.Page{
		Title:    "Recurring jobs, replayed",
		Lead:     "What three policies of choosing batch size and power limit pay for jobs that recur.",
		Facts:    []report.Fact{{Label: "replays", Value: fmt.Sprintf("%d of each job", d.Seeds)}, {Label: "weight of energy", Value: fmt.Sprintf("η = %g", d.Eta)}},
		Sections: []report.Section{{ID: "policies", Title: "Policies", Charts: []report.Chart{saving, regret}, Table: &table}},
	}
}
