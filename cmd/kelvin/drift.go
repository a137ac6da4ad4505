package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/drift"
	"github.com/kelvin-ml/kelvin/measure"
	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/thermo"
	"github.com/spf13/cobra"
)

type driftFlags struct {
	measureFlags
	reference, current string
	failOn             string
	options            drift.Options
}

func newDriftCommand() *cobra.Command {
	var f driftFlags
	cmd := &cobra.Command{
		Use:   "drift RUN|MODEL --reference FILE --current FILE",
		Short: "Have the data moved away from a network: refresh it, watch it, or leave it?",
		Long: `Compares the data that a network is known to work on with the data it meets now:
the shift of the energy with its bootstrap interval; the entropy of the inputs,
activations, outputs and losses; the temperature ΔU/ΔS of the transition; and which
layers feel it. The verdict is fine, watch (the data differ) or refresh (the energy
has risen). Without drift, any but fine has a chance of five per cent.

The reference must be held-out data, which the network was not trained on. Against
its training data a network is worse on any other: that is overfitting, and the
verdict is refresh without any drift.

Without answers in both files the energy is not known, and the verdict is at most
watch.`,
		Example: `  kelvin drift model.onnx --reference validation.npz --current lastweek.npz
  kelvin drift runs/digits --reference a.npz --current b.npz --fail-on refresh`,
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runDrift(cmd, args[0], f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.reference, "reference", "", "data `file` that the network is known to work on, held out of its training")
	flags.StringVar(&f.current, "current", "", "data `file` of now")
	flags.StringVar(&f.arch, "arch", "", "architecture of a MODEL: widths and activation, as in 64-128-10:relu, or a model.json")
	flags.StringVar(&f.loss, "loss", "", "loss of a MODEL: ce, mse or mae (default ce with class labels, mse with targets)")
	flags.IntVar(&f.options.Examples, "examples", 2000, "examples drawn from each file at most")
	flags.IntVar(&f.options.Permutations, "permutations", 999, "permutations behind the p-values")
	flags.Uint64Var(&f.options.Seed, "seed", 0, "seed of everything drawn")
	flags.StringVar(&f.failOn, "fail-on", "", "exit with status 3 at this `verdict`: watch (or worse) or refresh")
	addHTMLFlag(cmd)
	flags.BoolVar(&f.asJSON, "json", false, "print one JSON document")
	return cmd
}

func runDrift(cmd *cobra.Command, path string, f driftFlags) error {
	switch {
	case f.reference == "" || f.current == "":
		return usagef("expected --reference FILE and --current FILE")
	case f.options.Examples < 1 || f.options.Permutations < 99:
		return usagef("--examples %d, --permutations %d: expected at least 1 and 99", f.options.Examples, f.options.Permutations)
	case f.failOn != "" && f.failOn != string(drift.Watch) && f.failOn != string(drift.Refresh):
		return usagef("--fail-on %s: expected watch or refresh", f.failOn)
	}
	reference, err := dataset.Open(f.reference)
	if err != nil {
		return err
	}
	current, err := dataset.Open(f.current)
	if err != nil {
		return err
	}
	f.measureFlags.options.State = measure.Trained // so that a run says whether it was trained on these
	network, err := openNetwork(path, reference, &f.measureFlags)
	if err != nil {
		return err
	}
	trainer := f.measureFlags.options.Trainer
	r, err := drift.Compare(cmd.Context(), network, reference, current, f.options)
	if err != nil {
		return fmt.Errorf("%s against %s: %w", f.current, f.reference, err)
	}
	if r.Verdict != drift.Fine && trainer != nil && trainer.Config.Data != "" {
		r.Findings = append([]thermo.Finding{{ID: "reference-trained-on", Severity: thermo.Warning, Confidence: 1,
			What:     "the reference is what the network was trained on",
			Evidence: "the run holds the fingerprint of its data: it is that of " + f.reference,
			Change:   "compare with held-out data: against its training data a network is worse on any other, drift or none"}}, r.Findings...)
	}
	d := newDriftDocument(path, f, r)
	if err := writePage(cmd, d.page); err != nil {
		return err
	}
	if f.asJSON {
		err = printJSON(cmd.OutOrStdout(), d)
	} else {
		err = d.print(cmd.OutOrStdout())
	}
	switch {
	case r.Interrupted:
		err = errors.Join(err, fmt.Errorf("interrupted: the p-values are of %d permutations", r.Permutations))
	case f.failOn == string(r.Verdict) || f.failOn == string(drift.Watch) && r.Verdict == drift.Refresh:
		err = errors.Join(err, fmt.Errorf("%w: %s", errFailOn, r.Verdict))
	}
	return err
}

// driftDocument is what kelvin drift prints (docs/commands/drift.md).
type driftDocument struct {
	Schema    string           `json:"schema"`
	Model     string           `json:"model"`
	Reference driftSet         `json:"reference"`
	Current   driftSet         `json:"current"`
	Seed      uint64           `json:"seed"`
	Partial   bool             `json:"interrupted,omitempty"`
	Energy    *drift.Interval  `json:"energy_shift"`
	EnergyP   *float64         `json:"energy_p"`
	Views     []driftView      `json:"views"`
	Layers    []driftLayer     `json:"layers"`
	P         float64          `json:"p"`
	Draws     int              `json:"permutations"`
	Verdict   drift.Verdict    `json:"verdict"`
	Findings  []thermo.Finding `json:"findings"`
}

type driftSet struct {
	Data     string   `json:"data"`
	Examples int      `json:"examples"`
	Energy   *float64 `json:"energy"`
}

type driftView struct {
	Name        string          `json:"name"`
	Dimension   int             `json:"dimension"`
	Components  int             `json:"components"`
	Signal      *drift.Interval `json:"signal_ratio"`
	Reference   thermo.Reading  `json:"entropy_reference"`
	Current     thermo.Reading  `json:"entropy_current"`
	Entropy     thermo.Reading  `json:"entropy_shift"`
	Range       *drift.Interval `json:"entropy_interval"`
	Temperature thermo.Reading  `json:"transition_temperature"`
	P           *float64        `json:"p"`
}

type driftLayer struct {
	Name string         `json:"name"`
	Heat drift.Interval `json:"heat_shift"`
	P    float64        `json:"p"`
}

func newDriftDocument(model string, f driftFlags, r *drift.Result) *driftDocument {
	d := &driftDocument{Schema: schema, Model: model, Seed: f.options.Seed, Partial: r.Interrupted, P: r.P, Draws: r.Permutations, Verdict: r.Verdict, Findings: r.Findings,
		Reference: driftSet{Data: f.reference, Examples: r.Reference}, Current: driftSet{Data: f.current, Examples: r.Current}, Views: []driftView{}, Layers: []driftLayer{}}
	if r.Energy != nil {
		d.Energy, d.EnergyP = r.Energy, &r.EnergyP
		d.Reference.Energy, d.Current.Energy = &r.EnergyReference, &r.EnergyCurrent
	}
	for _, v := range r.Views {
		row := driftView{v.Name, v.Dimension, v.Components, v.Signal, v.Reference, v.Current, negative(v.Shift.Entropy), v.Entropy, v.Shift.Temperature, &v.P}
		if v.Name == "losses" {
			row.P = d.EnergyP
		}
		d.Views = append(d.Views, row)
	}
	for _, l := range r.Layers {
		d.Layers = append(d.Layers, driftLayer(l))
	}
	return d
}

func (d *driftDocument) print(out io.Writer) error {
	fmt.Fprintf(out, "%s: %s\n%s\n\n", d.Model, d.Verdict, d.lead())
	views, layers := d.views(), d.heats()
	if err := views.Print(out); err != nil {
		return err
	}
	if len(d.Layers) > 0 {
		fmt.Fprintln(out)
		if err := layers.Print(out); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "\np-values: %d permutations, seed %d, corrected for all rows but the losses'; the whole comparison p = %.2g\n", d.Draws, d.Seed, d.P)
	return printFindings(out, d.Findings)
}

func (d *driftDocument) lead() string {
	counts := fmt.Sprintf("%d examples of %s against %d of %s", d.Current.Examples, d.Current.Data, d.Reference.Examples, d.Reference.Data)
	if d.Energy == nil {
		return counts + "; not all have answers, so the energy is not known"
	}
	return fmt.Sprintf("%s: energy %.4g → %.4g, shift %s (95 %%: %s to %s)", counts, *d.Reference.Energy, *d.Current.Energy,
		thermo.FormatError(d.Energy.Value, d.Energy.StdErr), thermo.Format(d.Energy.Low, 3), thermo.Format(d.Energy.High, 3))
}

func (d *driftDocument) views() report.Table {
	t := report.Table{Columns: []string{"view", "signal energy now / then (1)", "entropy shift (nat)", "T = ΔU/ΔS (energy/nat)", "p (1)"}}
	for _, v := range d.Views {
		t.Rows = append(t.Rows, []string{v.Name, interval(v.Signal), cell(v.Entropy), cell(v.Temperature), orDash("%.2g", v.P)})
	}
	return t
}

func (d *driftDocument) heats() report.Table {
	t := report.Table{Columns: []string{"layer", "heat shift θ·g (energy)", "p (1)"}}
	for _, l := range d.Layers {
		t.Rows = append(t.Rows, []string{l.Name, interval(&l.Heat), fmt.Sprintf("%.2g", l.P)})
	}
	return t
}

func interval(x *drift.Interval) string {
	if x == nil {
		return "-"
	}
	return thermo.FormatError(x.Value, x.StdErr)
}

func (d *driftDocument) page() report.Page {
	views, layers := d.views(), d.heats()
	signals := report.BarChart{Caption: "Signal energy now relative to then, with two bootstrap errors: 1 without drift.", Axis: "ratio of mean squares (1)", Dots: true}
	entropies := report.BarChart{Caption: "Shift of the entropy in every view, with two standard errors.", Axis: "entropy shift (nat)", Dots: true}
	for _, v := range d.Views {
		if v.Signal != nil {
			signals.Readings = append(signals.Readings, thermo.Reading{Group: v.Name, Value: v.Signal.Value, StdErr: v.Signal.StdErr})
		}
		entropies.Readings = append(entropies.Readings, named(v.Entropy, v.Name))
	}
	page := report.Page{Title: fmt.Sprintf("Drift of %s: %s", d.Model, d.Verdict), Lead: d.lead() + ".", Findings: d.Findings,
		Facts:    []report.Fact{{Label: "p-values", Value: fmt.Sprintf("%d permutations; whole comparison %.2g", d.Draws, d.P)}},
		Sections: []report.Section{{Title: "What the system sees", Charts: []report.Chart{signals, entropies}, Table: &views}}}
	if len(d.Layers) > 0 {
		heats := report.BarChart{Caption: "Shift of the heat θ·g of every layer, with two bootstrap errors.", Axis: "heat shift (energy)"}
		for _, l := range d.Layers {
			heats.Readings = append(heats.Readings, thermo.Reading{Group: "layer " + l.Name, Value: l.Heat.Value, StdErr: l.Heat.StdErr})
		}
		page.Sections = append(page.Sections, report.Section{ID: "layers", Title: "What its layers feel", Charts: []report.Chart{heats}, Table: &layers})
	}
	return page
}
