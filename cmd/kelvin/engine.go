package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/spf13/cobra"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/measure"
	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/theory"
	"github.com/kelvin-ml/kelvin/thermo"
)

func newEngineCommand() *cobra.Command {
	var f measureFlags
	cmd := &cobra.Command{
		Use:   "engine RUN|MODEL --data FILE",
		Short: "A network as a heat engine: signal energy, efficiency and heat of every layer",
		Long: `Follows the signal energy through a network on data: into and out of every
activation, the work efficiency measured and that of the Gaussian model at the
same energy, the type and regime of the engine, the gain of the weights beside
the one that would keep the energy, dead and saturated units, and the local
temperature and heat of every layer.`,
		Example: `  kelvin engine runs/digits --data digits.npz --html engine.html
  kelvin engine model.safetensors --arch 64-128-128-10:tanh --data digits.npz --state init`,
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runEngine(cmd, args[0], f) },
	}
	addMeasureFlags(cmd, &f)
	return cmd
}

// An engineDocument is what kelvin engine --json prints.
type engineDocument struct {
	Schema     string            `json:"schema"`
	Model      string            `json:"model"`
	Data       string            `json:"data"`
	State      string            `json:"state"`
	Seed       uint64            `json:"seed"`
	Draws      int               `json:"draws"`
	Partial    bool              `json:"partial,omitempty"`
	Examples   int               `json:"examples"`
	Layers     []engineLayer     `json:"layers"`
	Cascade    float64           `json:"cascade_efficiency"`
	Type       theory.EngineType `json:"type"` // II if any layer is
	Parameters int               `json:"parameters"`
	Findings   []thermo.Finding  `json:"findings"`
}

type engineLayer struct {
	Name         string            `json:"name"`
	Activation   string            `json:"activation"`
	Q            *float64          `json:"q"` // ⟨z²⟩; null where no activation was seen
	EnergyIn     *thermo.Reading   `json:"energy_in"`
	EnergyOut    *thermo.Reading   `json:"energy_out"`
	Efficiency   thermo.Reading    `json:"efficiency"`
	Gaussian     *float64          `json:"efficiency_gaussian"`
	Type         theory.EngineType `json:"type"`
	Regime       theory.Regime     `json:"regime"`
	GainUsed     *float64          `json:"gain_used"`     // √(fan_in ⟨w²⟩)
	GainBalanced *float64          `json:"gain_balanced"` // 1/√(1 − η) of the activation before
	Temperature  thermo.Reading    `json:"temperature"`
	Heat         thermo.Reading    `json:"heat"`
	Units        int               `json:"units"`
	Dead         int               `json:"dead"`
	Saturated    int               `json:"saturated"`
}

func runEngine(cmd *cobra.Command, path string, f measureFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	set, err := dataset.Open(f.data)
	if err != nil {
		return err
	}
	network, err := openNetwork(path, set, &f)
	if err != nil {
		return err
	}
	f.options.Progress = progress(cmd.ErrOrStderr(), "measuring")
	result, err := measure.Network(cmd.Context(), network, set, f.options)
	if err != nil && (result == nil || !errors.Is(err, context.Canceled)) {
		return err
	}
	d := newEngineDocument(path, f, network, result)
	if err := writePage(cmd, d.page); err != nil {
		return err
	}
	if f.asJSON {
		return errors.Join(printJSON(cmd.OutOrStdout(), d), err)
	}
	return errors.Join(d.print(cmd.OutOrStdout()), err)
}

func newEngineDocument(model string, f measureFlags, network *nn.Network[float32], r *measure.Result) *engineDocument {
	d := &engineDocument{Schema: schema, Model: model, Data: f.data, State: r.State, Seed: r.Seed, Draws: r.Draws, Partial: r.Partial,
		Examples: r.Examples, Cascade: r.Cascade, Type: theory.TypeI, Parameters: r.Parameters, Layers: []engineLayer{}, Findings: r.Findings}
	scales := initialScales(network, r.State, f.options.Init)
	balanced := 1.0 // the gain that the first layer needs, of inputs as they are
	for i, l := range r.Layers {
		e := l.Engine
		row := engineLayer{Name: l.Name, Activation: e.Activation, Efficiency: e.Efficiency, Type: e.Type, Regime: e.Regime,
			Temperature: l.Temperature, Heat: l.Heat, Units: e.Units, Dead: e.Dead, Saturated: e.Saturated}
		if gain, ok := gainOf(network, network.Groups[i], scales); ok {
			need := balanced
			row.GainUsed, row.GainBalanced = &gain, &need
		}
		balanced = 1
		if e.EnergyIn.Value > 0 {
			q, gaussian := e.EnergyIn.Value, e.Gaussian
			row.Q, row.EnergyIn, row.EnergyOut, row.Gaussian = &q, &e.EnergyIn, &e.EnergyOut, &gaussian
			if keeps := 1 - e.Efficiency.Value; keeps > 0 {
				balanced = 1 / math.Sqrt(keeps)
			}
		}
		if row.Type == theory.TypeII {
			d.Type = theory.TypeII
		}
		d.Layers = append(d.Layers, row)
	}
	return d
}

// initialScales are the second moments that an initial state draws tensors with;
// nil for a trained one.
func initialScales(network *nn.Network[float32], state, scheme string) map[string]float64 {
	if state != measure.Initial {
		return nil
	}
	list, err := network.InitScales(scheme)
	if err != nil {
		return nil
	}
	scales := map[string]float64{}
	for _, s := range list {
		scales[s.Tensor] = s.Mean*s.Mean + s.Std*s.Std
	}
	return scales
}

// gainOf is √(fan_in ⟨w²⟩) of a group's weight matrix or kernel: as the weights
// are, or as scales say that they are drawn.
func gainOf(network *nn.Network[float32], g nn.Group, scales map[string]float64) (float64, bool) {
	for _, t := range g.Tensors {
		if len(t.Shape) < 2 {
			continue
		}
		fanIn, n, sum := 1, t.Shape[0], 0.0
		for _, side := range t.Shape[1:] {
			fanIn *= side
		}
		n *= fanIn
		if square, ok := scales[t.Name]; ok {
			return math.Sqrt(float64(fanIn) * square), true
		}
		for _, w := range network.Params[t.Offset : t.Offset+n] {
			sum += float64(w) * float64(w)
		}
		return math.Sqrt(float64(fanIn) * sum / float64(n)), true
	}
	return 0, false
}

func (l engineLayer) cells() []string {
	text := func(x *float64) string {
		if x == nil {
			return "-"
		}
		return fmt.Sprintf("%.3g", *x)
	}
	in, out, efficiency := "-", "-", "-"
	if l.EnergyIn != nil {
		in, out = thermo.FormatError(l.EnergyIn.Value, l.EnergyIn.StdErr), thermo.FormatError(l.EnergyOut.Value, l.EnergyOut.StdErr)
		efficiency = thermo.FormatError(l.Efficiency.Value, l.Efficiency.StdErr)
	}
	return []string{l.Name, l.Activation, in, out, efficiency, text(l.Gaussian), fmt.Sprintf("%s, %s", l.Type, l.Regime), text(l.GainUsed), text(l.GainBalanced),
		ofUnits(l.Dead, l.Units), ofUnits(l.Saturated, l.Units), readOrDash(l.Temperature), readOrDash(l.Heat)}
}

func (d *engineDocument) table() report.Table {
	t := report.Table{Columns: []string{"layer", "activation", "energy in (signal²)", "energy out (signal²)", "efficiency (1)", "Gaussian (1)", "engine", "gain (1)", "balanced (1)",
		"dead (units)", "saturated (units)",
		"temperature (energy/nat)", "heat (energy)"}, Words: map[int]bool{1: true, 6: true}}
	for _, l := range d.Layers {
		t.Rows = append(t.Rows, l.cells())
	}
	return t
}

func (d *engineDocument) print(w io.Writer) error {
	fmt.Fprintf(w, "%s: %d parameters, %d examples, %s state, %d draws, seed %d\n\n", d.Model, d.Parameters, d.Examples, d.State, d.Draws, d.Seed)
	if err := d.table().Print(w); err != nil {
		return err
	}
	fmt.Fprintf(w, "\na type %s engine: its activations together keep %.3g of the signal energy that enters them\n", d.Type, 1-d.Cascade)
	return printFindings(w, d.Findings)
}

func (d *engineDocument) page() report.Page {
	flow := report.FlowChart{Caption: "Signal energy into and out of every activation: what narrows is lost as work.", Unit: "signal energy ⟨z²⟩ (signal²)"}
	points := report.ScatterChart{Caption: "Work efficiency of every layer on these data, and of the Gaussian model at the same energy: on the line where they agree.",
		X: "efficiency of the Gaussian model (1)", Y: "efficiency measured (1)", Diagonal: true}
	working := report.Line{Name: "layers", Hotness: 0.9, Dots: true}
	curves := map[string]bool{}
	lines := report.LineChart{Caption: "Efficiency against signal energy, of each activation by the Gaussian model, with the working points of the layers.", X: "signal energy q = ⟨z²⟩ (signal²)", Y: "work efficiency η (1)", LogX: true}
	temperatures := report.BarChart{Caption: "Local temperature of every layer, with two standard errors.", Axis: "temperature (energy/nat)"}
	for i, l := range d.Layers {
		if !math.IsNaN(l.Temperature.Value) {
			temperatures.Readings = append(temperatures.Readings, named(l.Temperature, "layer "+l.Name))
		}
		if l.EnergyIn == nil {
			continue
		}
		flow.Stages = append(flow.Stages, report.Stage{Name: l.Name, In: l.EnergyIn.Value, Out: l.EnergyOut.Value, Note: fmt.Sprintf("%s, η %.3f", l.Activation, l.Efficiency.Value)})
		points.Dots = append(points.Dots, report.Dot{Name: l.Name, X: *l.Gaussian, Y: l.Efficiency.Value, ErrY: l.Efficiency.StdErr, Hotness: float64(i) / float64(max(1, len(d.Layers)-1))})
		working.Add(*l.Q, l.Efficiency)
		if !curves[l.Activation] {
			curves[l.Activation] = true
			lines.Lines = append(lines.Lines, efficiencyCurve(l.Activation, 0.15*float64(len(curves)-1)))
		}
	}
	lines.Lines = append(lines.Lines, working)
	table, rest := d.table(), report.Table{} // all columns would be too wide for a page
	const most = 9
	rest.Columns = append([]string{"layer"}, table.Columns[most:]...)
	table.Columns = table.Columns[:most]
	for i, row := range table.Rows {
		rest.Rows = append(rest.Rows, append([]string{row[0]}, row[most:]...))
		table.Rows[i] = row[:most]
	}
	page := report.Page{
		Title:    "Heat engine of " + d.Model,
		Lead:     fmt.Sprintf("A type %s engine: its activations together keep %.3g of the signal energy that enters them.", d.Type, 1-d.Cascade),
		Facts:    []report.Fact{{Label: "data", Value: fmt.Sprintf("%s, %d examples", d.Data, d.Examples)}, {Label: "state", Value: fmt.Sprintf("%s, %d draws", d.State, d.Draws)}},
		Findings: d.Findings,
		Sections: []report.Section{{ID: "layers", Title: "Layers", Table: &table}},
	}
	if len(flow.Stages) > 0 {
		page.Sections = append([]report.Section{{Title: "Signal energy", Charts: []report.Chart{flow}}}, page.Sections...)
		page.Sections = append(page.Sections, report.Section{Title: "Working points", Charts: []report.Chart{lines, points}})
	}
	page.Sections = append(page.Sections, report.Section{ID: "temperatures", Title: "Temperatures", Charts: []report.Chart{temperatures}, Table: &rest})
	return page
}

// efficiencyCurve is η(q) of an activation from q = 0.01 to 100.
func efficiencyCurve(name string, hotness float64) report.Line {
	line := report.Line{Name: name + ", Gaussian", Hotness: hotness}
	a, err := theory.ActivationByName(name)
	if err != nil {
		return line
	}
	for k := -20; k <= 20; k++ {
		x := math.Pow(10, float64(k)/10)
		if e, err := a.Efficiency(x); err == nil {
			line.X, line.Y = append(line.X, x), append(line.Y, e.Efficiency)
		}
	}
	return line
}
