package main

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"github.com/kelvin-ml/kelvin/monitor"
	"github.com/kelvin-ml/kelvin/report"
	runs "github.com/kelvin-ml/kelvin/run"
	"github.com/kelvin-ml/kelvin/thermo"
)

// watchDocument is what kelvin watch prints (docs/commands/watch.md).
type watchDocument struct {
	Schema       string           `json:"schema"`
	Run          string           `json:"run"`
	State        runs.State       `json:"state"`
	Step         int64            `json:"step"`
	From         int64            `json:"from_step"`
	Samples      int              `json:"samples"`
	LearningRate *float64         `json:"learning_rate"`
	Power        *float64         `json:"power_watts"`
	Loss         thermo.Reading   `json:"loss"`
	Temperature  thermo.Reading   `json:"temperature"`
	Kinetic      thermo.Reading   `json:"kinetic_temperature"`
	Stationarity thermo.Reading   `json:"stationarity"`
	ZerothLaw    thermo.Zeroth    `json:"zeroth_law"`
	Layers       []watchLayer     `json:"layers"`
	Findings     []thermo.Finding `json:"findings"`
	Problems     []string         `json:"problems"`
}

type watchLayer struct {
	Name         string         `json:"name"`
	Parameters   int            `json:"parameters"`
	Temperature  thermo.Reading `json:"temperature"`
	Stationarity thermo.Reading `json:"stationarity"`
	Overshoot    thermo.Reading `json:"overshoot"`
	Efficiency   thermo.Reading `json:"efficiency"`
	NoiseScale   thermo.Reading `json:"gradient_noise_scale"`
	Dead         *float64       `json:"dead"`
	Saturated    *float64       `json:"saturated"`
}

func newWatchDocument(dir string, state runs.State, r monitor.Report) *watchDocument {
	d := &watchDocument{
		Schema: schema, Run: dir, State: state, Step: r.Step, From: r.From, Samples: r.Samples,
		LearningRate: defined(r.LearningRate), Power: defined(r.Power), Loss: r.Loss,
		Temperature: r.Temperature, Kinetic: r.Kinetic, Stationarity: r.Stationarity, ZerothLaw: r.Zeroth,
		Layers: []watchLayer{}, Findings: r.Findings, Problems: append([]string{}, r.Problems...),
	}
	for _, l := range r.Layers {
		d.Layers = append(d.Layers, watchLayer{l.Name, l.Parameters, l.Temperature, l.Stationarity, l.Overshoot,
			l.Efficiency, l.NoiseScale, defined(l.Dead), defined(l.Saturated)})
	}
	return d
}

// print writes the reading for people.
func (d *watchDocument) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "run\t%s, %s at step %d\n", d.Run, d.State, d.Step)
	fmt.Fprintf(w, "window\tsteps %d to %d, %d records\n", d.From, d.Step, d.Samples)
	fmt.Fprintf(w, "loss\t%s\n", known(d.Loss))
	fmt.Fprintf(w, "learning rate\t%s\n", orDash("%.4g", d.LearningRate))
	fmt.Fprintf(w, "temperature\t%s\n", known(d.Temperature))
	if d.Kinetic.Valid() {
		fmt.Fprintf(w, "\t%v by the updates\n", d.Kinetic)
	}
	fmt.Fprintf(w, "stationarity\t%s\n", known(d.Stationarity))
	if d.ZerothLaw.Compared > 0 {
		fmt.Fprintf(w, "zeroth law\t%s: %s\n", d.ZerothLaw.Verdict, d.ZerothLaw.Reason)
	}
	if d.Power != nil {
		fmt.Fprintf(w, "power\t%.0f W\n", *d.Power)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(d.Layers) > 0 {
		fmt.Fprintln(out)
		if err := d.table().Print(out); err != nil {
			return err
		}
	}
	fmt.Fprintln(out)
	for _, p := range d.Problems {
		fmt.Fprintf(out, "records: %s\n", p)
	}
	if len(d.Findings) == 0 {
		fmt.Fprintln(out, "no findings")
	}
	for _, f := range d.Findings {
		if err := printFinding(out, f); err != nil {
			return err
		}
	}
	if d.Samples < monitor.Fewest {
		_, err := fmt.Fprintf(out, "too few records in the window (%d) to tell a coming divergence or equilibrium: that takes %d (the probe's every=10 writes more)\n", d.Samples, monitor.Fewest)
		return err
	}
	return nil
}

func (d *watchDocument) table() report.Table {
	t := report.Table{Columns: []string{"layer", "parameters", "temperature (energy/nat)", "stationarity (1)", "efficiency (1)", "dead", "saturated", "noise scale (examples)"}}
	hottest := 0.0
	for _, l := range d.Layers {
		if l.Temperature.Valid() {
			hottest = max(hottest, l.Temperature.Value)
		}
	}
	for _, l := range d.Layers {
		heat := math.NaN()
		if l.Temperature.Valid() && hottest > 0 {
			heat = max(0, l.Temperature.Value/hottest)
		}
		t.Heat = append(t.Heat, heat)
		t.Rows = append(t.Rows, []string{l.Name, fmt.Sprint(l.Parameters), cell(l.Temperature), cell(l.Stationarity), cell(l.Efficiency),
			percent(l.Dead), percent(l.Saturated), cell(l.NoiseScale)})
	}
	return t
}

// known is a reading, or why there is none.
func known(r thermo.Reading) string {
	if math.IsNaN(r.Value) {
		return "- (" + r.Invalid + ")"
	}
	return r.String()
}

// cell is a reading in a table: a dash when there is none, in brackets when it
// must not be trusted.
func cell(r thermo.Reading) string {
	switch text := thermo.FormatError(r.Value, r.StdErr); {
	case math.IsNaN(r.Value):
		return "-"
	case !r.Valid():
		return "(" + text + ")"
	default:
		return text
	}
}

func percent(x *float64) string {
	if x == nil {
		return "-"
	}
	return fmt.Sprintf("%.0f %%", 100**x)
}

// printFinding writes one finding for people.
func printFinding(w io.Writer, f thermo.Finding) error {
	place := ""
	if f.Group != "" {
		place = "layer " + f.Group + ": "
	}
	_, err := fmt.Fprintf(w, "%s: %s: %s%s\n  evidence: %s\n  change: %s\n", f.Severity, f.ID, place, f.What, f.Evidence, f.Change)
	return err
}
