package main

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/kelvin-ml/kelvin/logs"
	runs "github.com/kelvin-ml/kelvin/run"
	"github.com/kelvin-ml/kelvin/trajectory"
	"github.com/spf13/cobra"
)

// importFlags are the flags of kelvin import.
type importFlags struct {
	out    string
	names  map[string]string
	asJSON bool
}

// importDocument is what kelvin import prints (docs/commands/import.md).
type importDocument struct {
	Schema  string            `json:"schema"`
	Source  string            `json:"source"`
	Run     string            `json:"run"`
	Records int               `json:"records"`
	First   int64             `json:"first_step"`
	Last    int64             `json:"last_step"`
	Names   map[string]string `json:"names"` // logged name → value of the run
	Torn    string            `json:"torn,omitempty"`
}

func newImportCommand() *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "import SOURCE --run RUN",
		Short: "Make a run of TensorBoard events, a CSV or JSON log, or a folder of checkpoints",
		Long: `Makes a run folder of what a training left behind, so that kelvin watch and
kelvin serve can read it. SOURCE is

  - an event file of TensorBoard, or a folder of them: its scalars;
  - a CSV file with a header, or JSON lines: their numbers;
  - a folder of checkpoints with the step in their names: how far every layer has
    come, how fast it diffuses, and the spectrum of its largest matrix over time.`,
		Example: `  kelvin import runs/tensorboard --run runs/a
  kelvin import metrics.csv --run runs/b --name loss=train_loss_step
  kelvin import checkpoints/ --run runs/c`,
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runImport(cmd, args[0], f) },
	}
	cmd.Flags().StringVar(&f.out, "run", "", "`folder` of the run to make")
	cmd.Flags().StringToStringVar(&f.names, "name", nil, "what a value of a run is called in the log: `loss=my/loss`; repeat it for others")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print one JSON document")
	return cmd
}

func runImport(cmd *cobra.Command, source string, f importFlags) error {
	if f.out == "" {
		return usagef("expected --run RUN with the folder to make")
	}
	d := &importDocument{Schema: schema, Source: source, Run: f.out, Names: map[string]string{}}
	points, err := trajectory.Find(source)
	var records []runs.Record
	if err == nil && len(points) > 0 {
		records, err = importCheckpoints(cmd, points)
	} else if info, statErr := os.Stat(source); err == nil || statErr == nil && !info.IsDir() {
		records, err = importLog(source, f.names, d)
	}
	if err != nil {
		return err
	}
	if len(records) == 0 {
		return fmt.Errorf("importing %s: it holds no numbers", source)
	}
	r, err := runs.Create(f.out, map[string]string{"made_by": "kelvin import", "source": source})
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(records, 1000) {
		if err := r.Append(chunk...); err != nil {
			return errors.Join(err, r.Close())
		}
	}
	if err := r.Close(); err != nil {
		return err
	}
	d.Records, d.First, d.Last = len(records), records[0].Step, records[len(records)-1].Step
	if f.asJSON {
		return printJSON(cmd.OutOrStdout(), d)
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%s: %d records, steps %d to %d\n", f.out, d.Records, d.First, d.Last)
	for _, name := range slices.Sorted(maps.Keys(d.Names)) {
		if d.Names[name] != name {
			fmt.Fprintf(out, "  %s is %s\n", d.Names[name], name)
		}
	}
	if d.Torn != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "kelvin:", d.Torn)
	}
	return nil
}

// synonyms are what training programs call the values of a run, the likelier first.
var synonyms = map[string][]string{
	"loss":          {"loss", "train/loss", "train_loss", "loss/train", "train_loss_step", "train/loss_step", "training_loss"},
	"learning_rate": {"learning_rate", "train/learning_rate", "lr", "train/lr", "learning_rate/train", "lr-sgd", "lr-adam", "lr-adamw"},
	"gradient_norm": {"gradient_norm", "grad_norm", "train/grad_norm", "train/gradient_norm", "gnorm"},
	"batch":         {"batch", "batch_size", "train/batch_size"},
	"power":         {"power", "power_watts", "system/power"},
}

// importLog reads a log; of a name that is logged again at an earlier step, what
// was logged of later ones no longer holds.
func importLog(source string, given map[string]string, d *importDocument) ([]runs.Record, error) {
	series := map[string][]logs.Point{}
	for p, err := range logs.Read(source) {
		var torn *logs.TornError
		if errors.As(err, &torn) {
			d.Torn = torn.Error()
			continue
		}
		if err != nil {
			return nil, err
		}
		list := series[p.Name]
		for len(list) > 0 && list[len(list)-1].Step >= p.Step {
			list = list[:len(list)-1]
		}
		series[p.Name] = append(list, p)
	}
	logged := slices.Sorted(maps.Keys(series))
	for value, name := range given {
		if series[name] == nil {
			return nil, usagef("--name %s=%s: the log has no %q; it has %s", value, name, name, strings.Join(logged, ", "))
		}
		d.Names[name] = value
	}
	for value, names := range synonyms {
		if given[value] != "" {
			continue
		}
		for _, name := range names {
			if i := slices.IndexFunc(logged, func(have string) bool { return strings.EqualFold(have, name) }); i >= 0 {
				d.Names[logged[i]] = value
				break
			}
		}
	}
	return merge(series, d.Names), nil
}

// merge makes one record a step of all series.
func merge(series map[string][]logs.Point, renamed map[string]string) []runs.Record {
	byStep := map[int64]*runs.Record{}
	for name, points := range series {
		value := name
		if renamed[name] != "" {
			value = renamed[name]
		}
		for _, p := range points {
			r := byStep[p.Step]
			if r == nil {
				r = &runs.Record{Step: p.Step, Kind: runs.KindStep, Values: map[string]float64{}}
				byStep[p.Step] = r
			}
			if r.Time = max(r.Time, p.Time); value == "gradient_norm" {
				r.Values["gradient_norm2"] = p.Value * p.Value
				continue
			}
			switch value { // names that a record has for itself
			case "", "v", "t", "step", "kind", "layer", "text":
				value = "logged/" + value
			}
			r.Values[value] = p.Value
		}
	}
	var records []runs.Record
	for _, step := range slices.Sorted(maps.Keys(byStep)) {
		if r := byStep[step]; !math.IsNaN(r.Time) && !math.IsInf(r.Time, 0) {
			records = append(records, *r)
		}
	}
	return records
}
