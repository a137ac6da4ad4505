package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/kelvin-ml/kelvin/calibration"
	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/thermo"
	"github.com/kelvin-ml/kelvin/training"
)

type calibrateFlags struct {
	measureFlags
	logits, labels string
	folds          int
	seed           uint64
}

// vectorLimit is the number of logits that vector scaling may hold in memory.
const vectorLimit = 1 << 26

func newCalibrateCommand() *cobra.Command {
	var f calibrateFlags
	c := &cobra.Command{
		Use:   "calibrate (RUN|MODEL --data FILE | --logits FILE.npy --labels FILE.npy)",
		Short: "Temperature of a classifier's logits: is it as sure as it is right?",
		Long: `Reads the temperature T at which softmax(z/T) makes the labels most likely, with
its profile-likelihood interval: above 1 the classifier is too sure, below 1 not
sure enough. Dividing its logits by T calibrates it. Take examples that it was
not trained on.`,
		Example: "  kelvin calibrate model.onnx --data test.npz\n" +
			"  kelvin calibrate --logits z.npy --labels y.npy --html calibration.html",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("expected one network, got %d arguments", len(args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if f.folds < 0 || f.folds == 1 || f.folds > 100 {
				return usagef("--folds %d: expected 0, or 2 to 100", f.folds)
			}
			if len(args) == 1 {
				return runCalibrateNetwork(c, args[0], f)
			}
			return runCalibrate(c, f)
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.data, "data", "", "data `file` with class labels, for the logits of a network")
	flags.StringVar(&f.arch, "arch", "", "architecture of weights alone: widths and activation, as in 64-128-10:relu, or a model.json")
	flags.StringVar(&f.logits, "logits", "", "logits, examples × classes (`npy`); may be larger than memory")
	flags.StringVar(&f.labels, "labels", "", "labels, integers from 0 (`npy`)")
	flags.IntVar(&f.folds, "folds", 5, "folds of the cross-validation; 0 for none")
	addHTMLFlag(c)
	flags.Uint64Var(&f.seed, "seed", 0, "seed of the folds and of the bootstrap")
	flags.BoolVar(&f.asJSON, "json", false, "print one JSON document")
	return c
}

// A bounded is a reading with its 95 % interval.
type bounded struct {
	Value  *float64 `json:"value"` // null when there is none
	StdErr *float64 `json:"stderr"`
	Low    *float64 `json:"low"` // null when the interval has no such end
	High   *float64 `json:"high"`
	ESS    float64  `json:"ess"`
	Valid  bool     `json:"valid"`
	Reason string   `json:"reason,omitempty"`
}

func newBounded(r thermo.Reading, low, high float64) bounded {
	known := func(x float64) *float64 {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil
		}
		return &x
	}
	return bounded{known(r.Value), known(r.StdErr), known(low), known(high), r.ESS, r.Valid(), r.Invalid}
}

// A beforeAfter is a quantity of the logits as they are, and divided by T.
type beforeAfter struct {
	Before       float64 `json:"before"`
	After        float64 `json:"after"`
	BeforeStdErr float64 `json:"before_stderr"`
	AfterStdErr  float64 `json:"after_stderr"`
}

func newBeforeAfter(before, after thermo.Reading) beforeAfter {
	return beforeAfter{before.Value, after.Value, before.StdErr, after.StdErr}
}

// A calibrateDocument is what kelvin calibrate --json prints.
type calibrateDocument struct {
	Schema      string           `json:"schema"`
	Model       string           `json:"model,omitempty"`
	Data        string           `json:"data,omitempty"`
	Logits      string           `json:"logits,omitempty"`
	Labels      string           `json:"labels,omitempty"`
	Seed        uint64           `json:"seed"`
	N           int              `json:"n"`
	Classes     int              `json:"classes"`
	Temperature bounded          `json:"temperature"`
	NLL         beforeAfter      `json:"nll"`
	ECE         beforeAfter      `json:"ece"`
	Accuracy    thermo.Reading   `json:"accuracy"`
	PerClass    []thermo.Reading `json:"per_class"` // by predicted class
	HeldOut     *heldOut         `json:"held_out,omitempty"`
	Reliability struct {
		Before []calibrationBin `json:"before"`
		After  []calibrationBin `json:"after"`
	} `json:"reliability"`
	Findings []thermo.Finding `json:"findings"`
}

type heldOut struct {
	Folds          int            `json:"folds"`
	Unchanged      thermo.Reading `json:"unchanged"`
	Temperature    thermo.Reading `json:"temperature"`
	Vector         thermo.Reading `json:"vector"`
	VectorExamples int            `json:"vector_examples"`
}

type calibrationBin struct {
	Count      int     `json:"count"`
	Confidence float64 `json:"confidence"`
	Accuracy   float64 `json:"accuracy"`
}

func runCalibrate(cmd *cobra.Command, f calibrateFlags) error {
	switch {
	case f.data != "" || f.arch != "":
		return usagef("--data and --arch are for a network: expected kelvin calibrate MODEL --data FILE")
	case f.logits == "" || f.labels == "":
		return usagef("expected a network and --data FILE, or --logits FILE.npy and --labels FILE.npy")
	}
	logits, err := dataset.OpenMatrix(f.logits)
	if err != nil {
		return err
	}
	defer logits.Close()
	labels, err := dataset.OpenLabels(f.labels)
	if err != nil {
		return err
	}
	if logits.Rows != len(labels) {
		return fmt.Errorf("calibrating %s with %s: expected a row of logits for every label, got %d rows and %d labels", f.logits, f.labels, logits.Rows, len(labels))
	}
	return calibrate(cmd, logits, labels, f, &calibrateDocument{Logits: f.logits, Labels: f.labels})
}

func runCalibrateNetwork(cmd *cobra.Command, path string, f calibrateFlags) error {
	switch {
	case f.logits != "" || f.labels != "":
		return usagef("--logits and --labels go without a network")
	case f.data == "":
		return usagef("expected --data FILE")
	}
	set, err := dataset.Open(f.data)
	if err != nil {
		return err
	}
	if set.Labels == nil {
		return fmt.Errorf("calibrating %s: expected class labels in %s, got none", path, f.data)
	}
	network, err := openNetwork(path, set, &f.measureFlags)
	if err != nil {
		return err
	}
	logits, err := networkLogits(cmd.Context(), network, set)
	if err != nil {
		return fmt.Errorf("calibrating %s on %s: %w", path, f.data, err)
	}
	return calibrate(cmd, logits, set.Labels, f, &calibrateDocument{Model: path, Data: f.data})
}

// logitRows are logits in memory, row by row.
type logitRows struct {
	values  []float32
	columns int
}

// All yields the rows in a buffer of its own, as calibration.Source asks.
func (l logitRows) All() iter.Seq2[[]float64, error] {
	return func(yield func([]float64, error) bool) {
		row := make([]float64, l.columns)
		for values := range slices.Chunk(l.values, l.columns) {
			for i, v := range values {
				row[i] = float64(v)
			}
			if !yield(row, nil) {
				return
			}
		}
	}
}

// networkLogits runs the network on all examples, with a row for every label.
func networkLogits(ctx context.Context, network *nn.Network[float32], set *dataset.Set) (logitRows, error) {
	if err := training.Check(network, set); err != nil {
		return logitRows{}, err
	}
	shape := network.OutputShape()
	logits := logitRows{columns: shape[len(shape)-1]}
	var batch nn.Batch[float32]
	indices := make([]int, set.N)
	for i := range indices {
		indices[i] = i
	}
	for some := range slices.Chunk(indices, 256) {
		if err := ctx.Err(); err != nil {
			return logits, err
		}
		training.Minibatch(set, some, &batch)
		if _, err := network.Energy(batch); err != nil {
			return logits, err
		}
		logits.values = append(logits.values, network.Outputs()...)
	}
	return logits, nil
}

// calibrate reads the temperature and prints it, in a document that says already
// what was read.
func calibrate(cmd *cobra.Command, logits calibration.Source, labels []int32, f calibrateFlags, d *calibrateDocument) error {
	folds := min(f.folds, len(labels))
	if folds < 2 {
		folds = 0
	}
	c, err := calibration.Calibrate(cmd.Context(), logits, labels, calibration.Options{Seed: f.seed, Folds: folds, VectorLimit: vectorLimit})
	if err != nil {
		return fmt.Errorf("calibrating %s: %w", cmp.Or(d.Model, d.Logits), err)
	}
	d.fill(c, f.seed)
	if err := writePage(cmd, d.page); err != nil {
		return err
	}
	if f.asJSON {
		return printJSON(cmd.OutOrStdout(), d)
	}
	return d.print(cmd.OutOrStdout())
}

func (d *calibrateDocument) fill(c *calibration.Calibration, seed uint64) {
	d.Schema, d.Seed, d.N, d.Classes = schema, seed, c.N, c.Classes
	d.Temperature = newBounded(c.Temperature, c.Low, c.High)
	d.NLL, d.ECE = newBeforeAfter(c.Before.NLL, c.After.NLL), newBeforeAfter(c.Before.ECE, c.After.ECE)
	d.Accuracy, d.PerClass, d.Findings = c.Before.Accuracy, c.PerClass, calibrationFindings(c)
	if c.Folds > 0 {
		d.HeldOut = &heldOut{c.Folds, c.HeldOutUnchanged, c.HeldOut, c.HeldOutVector, c.VectorExamples}
	}
	for _, side := range []struct {
		from []calibration.Bin
		to   *[]calibrationBin
	}{{c.Before.Bins, &d.Reliability.Before}, {c.After.Bins, &d.Reliability.After}} {
		for _, b := range side.from {
			*side.to = append(*side.to, calibrationBin(b))
		}
	}
}

// calibrationFindings says what to do about the temperature.
func calibrationFindings(c *calibration.Calibration) []thermo.Finding {
	findings := []thermo.Finding{}
	t := c.Temperature
	switch {
	case !t.Valid():
		findings = append(findings, thermo.Finding{ID: "no-temperature", Severity: thermo.Warning,
			What: "these labels have no temperature: " + t.Invalid, Evidence: fmt.Sprintf("accuracy %s on %d examples", c.Before.Accuracy, c.N),
			Change: "measure on more examples, that it was not trained on"})
	case c.Low > 1:
		findings = append(findings, thermo.Finding{ID: "too-sure", Severity: thermo.Warning,
			What: "the classifier is surer than it is right", Evidence: fmt.Sprintf("T = %s, 95 %% from %.3g to %.3g", t, c.Low, c.High),
			Change: fmt.Sprintf("divide its logits by %.4g", t.Value)})
	case c.High < 1:
		findings = append(findings, thermo.Finding{ID: "not-sure-enough", Severity: thermo.Warning,
			What: "the classifier is righter than it is sure", Evidence: fmt.Sprintf("T = %s, 95 %% from %.3g to %.3g", t, c.Low, c.High),
			Change: fmt.Sprintf("divide its logits by %.4g", t.Value)})
	}
	if v, s := c.HeldOutVector, c.HeldOut; c.VectorExamples > 0 && v.Valid() && s.Value-v.Value > 2*math.Hypot(v.StdErr, s.StdErr) {
		findings = append(findings, thermo.Finding{ID: "classes-differ", Severity: thermo.Info,
			What: "one temperature is not enough: classes differ", Evidence: fmt.Sprintf("held-out nll %s nat by vector scaling, %s by temperature", v, s),
			Change: "calibrate with a weight and a bias for every class"})
	}
	return findings
}

func (d *calibrateDocument) print(w io.Writer) error {
	fmt.Fprintf(w, "%d examples, %d classes, accuracy %s\n", d.N, d.Classes, thermo.FormatError(d.Accuracy.Value, d.Accuracy.StdErr))
	if t := d.Temperature; t.Valid {
		fmt.Fprintf(w, "temperature %s, 95 %% from %s to %s\n\n", thermo.FormatError(*t.Value, *t.StdErr), end(t.Low, "0"), end(t.High, "∞"))
	} else {
		fmt.Fprintf(w, "no temperature: %s\n\n", t.Reason)
	}
	table := report.Table{Columns: []string{"", "as it is", "divided by T"}}
	for _, row := range []struct {
		name string
		of   beforeAfter
	}{{"nll (nat)", d.NLL}, {"expected calibration error", d.ECE}} {
		table.Rows = append(table.Rows, []string{row.name, thermo.FormatError(row.of.Before, row.of.BeforeStdErr), thermo.FormatError(row.of.After, row.of.AfterStdErr)})
	}
	if h := d.HeldOut; h != nil {
		table.Rows = append(table.Rows, []string{fmt.Sprintf("held-out nll, %d folds (nat)", h.Folds),
			thermo.FormatError(h.Unchanged.Value, h.Unchanged.StdErr), thermo.FormatError(h.Temperature.Value, h.Temperature.StdErr)})
	}
	if err := table.Print(w); err != nil {
		return err
	}
	if h := d.HeldOut; h != nil {
		if h.Vector.Valid() && h.VectorExamples > 0 {
			fmt.Fprintf(w, "vector scaling, a weight and a bias for every class: held-out nll %s nat (%d examples)\n", thermo.FormatError(h.Vector.Value, h.Vector.StdErr), h.VectorExamples)
		} else if h.Vector.Invalid != "" {
			fmt.Fprintf(w, "vector scaling: none, %s\n", h.Vector.Invalid)
		}
	}
	return printFindings(w, d.Findings)
}

func (b beforeAfter) figure(label, unit string) report.Figure {
	return report.Figure{Label: label, Unit: unit, Value: thermo.FormatError(b.After, b.AfterStdErr),
		Note: "before: " + thermo.FormatError(b.Before, b.BeforeStdErr)}
}

func end(x *float64, none string) string {
	if x == nil {
		return none
	}
	return strconv.FormatFloat(*x, 'g', 4, 64)
}

func (d *calibrateDocument) page() report.Page {
	bins := func(from []calibrationBin) []report.CalibrationBin {
		list := make([]report.CalibrationBin, len(from))
		for i, b := range from {
			list[i] = report.CalibrationBin{Confidence: b.Confidence, Accuracy: b.Accuracy, Count: b.Count}
		}
		return list
	}
	temperature := report.Figure{Label: "temperature", Unit: "1", Value: "none", Note: d.Temperature.Reason}
	if t := d.Temperature; t.Valid {
		temperature.Value = thermo.FormatError(*t.Value, *t.StdErr)
		temperature.Note = fmt.Sprintf("95 %% from %s to %s", end(t.Low, "0"), end(t.High, "∞"))
	}
	classes := report.BarChart{Caption: "Temperature of the examples predicted to be of each class, with two standard errors.", Axis: "temperature (1)", Dots: true,
		Label: func(r thermo.Reading) string { return "class " + r.Group }}
	for _, r := range d.PerClass {
		if len(classes.Readings) < 40 {
			classes.Readings = append(classes.Readings, r)
		}
	}
	page := report.Page{
		Title: "Calibration of " + cmp.Or(d.Model, d.Logits),
		Facts: []report.Fact{{Label: "examples", Value: fmt.Sprintf("%d, of %d classes", d.N, d.Classes)}, {Label: "labels", Value: cmp.Or(d.Data, d.Labels)}},
		Figures: []report.Figure{temperature,
			d.NLL.figure("nll", "nat"), d.ECE.figure("expected calibration error", "1")},
		Findings: d.Findings,
		Sections: []report.Section{
			{Title: "Reliability", Text: "On the diagonal the classifier is as sure as it is right; below it, too sure.",
				Charts: []report.Chart{report.Reliability("Logits as they are.", bins(d.Reliability.Before)),
					report.Reliability("Logits divided by the temperature.", bins(d.Reliability.After))}},
			{Title: "Classes", Shows: []string{"classes-differ"}, Charts: []report.Chart{classes}},
		},
	}
	return page
}
