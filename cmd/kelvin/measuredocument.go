package main

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"github.com/kelvin-ml/kelvin/measure"
	"github.com/kelvin-ml/kelvin/theory"
	"github.com/kelvin-ml/kelvin/thermo"
)

// measureDocument is what kelvin measure prints (docs/commands/measure.md).
type measureDocument struct {
	Schema  string `json:"schema"`
	Model   string `json:"model"`
	Data    string `json:"data"`
	State   string `json:"state"`
	Method  string `json:"method"`
	Why     string `json:"why"`
	Seed    uint64 `json:"seed"`
	Draws   int    `json:"draws"`
	Partial bool   `json:"partial,omitempty"` // interrupted: fewer draws than asked

	Global       measureGlobal      `json:"global"`
	AtWeights    *measureAtWeights  `json:"at_weights,omitempty"`
	Transition   *thermo.Transition `json:"transition,omitempty"`
	Stationarity *thermo.Reading    `json:"stationarity,omitempty"`
	Layers       []measureLayer     `json:"layers"`
	Thermometers []thermo.Reading   `json:"thermometers"`
	ZerothLaw    thermo.Zeroth      `json:"zeroth_law"`
	Findings     []thermo.Finding   `json:"findings"`
}

type measureGlobal struct {
	Parameters  int            `json:"parameters"`
	Random      int            `json:"random_parameters"`
	Examples    int            `json:"examples"`
	Energy      thermo.Reading `json:"energy"`
	Entropy     thermo.Reading `json:"entropy"`
	Resolution  string         `json:"entropy_resolution"`
	Temperature thermo.Reading `json:"temperature"`
	Heat        thermo.Reading `json:"heat"`
	Cascade     float64        `json:"cascade_efficiency"`
}

type measureAtWeights struct {
	Energy      float64         `json:"energy"`
	Accuracy    *float64        `json:"accuracy,omitempty"`
	NoiseScale  thermo.Reading  `json:"gradient_noise_scale"`
	SGDNoise    *thermo.Reading `json:"sgd_noise_temperature,omitempty"`
	Calibration *thermo.Reading `json:"likelihood_temperature,omitempty"`
}

type measureLayer struct {
	Name        string            `json:"name"`
	Parameters  int               `json:"parameters"`
	Temperature thermo.Reading    `json:"temperature"`
	Heat        thermo.Reading    `json:"heat"`
	Activation  string            `json:"activation"`
	EnergyIn    *thermo.Reading   `json:"energy_in,omitempty"`
	EnergyOut   *thermo.Reading   `json:"energy_out,omitempty"`
	Efficiency  thermo.Reading    `json:"efficiency"`
	Engine      theory.EngineType `json:"engine"`
	Regime      theory.Regime     `json:"regime"`
	Units       int               `json:"units"`
	Dead        int               `json:"dead"`
	Saturated   int               `json:"saturated"`
	NoiseScale  *thermo.Reading   `json:"gradient_noise_scale,omitempty"`
	GradNorm    *float64          `json:"gradient_norm,omitempty"` // at the trained weights
	Virial      *float64          `json:"virial,omitempty"`        // θ·∇E at the trained weights
}

func newMeasureDocument(model, data string, r *measure.Result) *measureDocument {
	d := &measureDocument{
		Schema: schema, Model: model, Data: data, State: r.State, Method: r.Method, Why: r.Why,
		Seed: r.Seed, Draws: r.Draws, Partial: r.Partial,
		Global:     measureGlobal{r.Parameters, r.Random, r.Examples, r.Energy, r.Entropy, r.Resolution, r.Temperature, r.Heat, r.Cascade},
		Transition: r.Transition, Stationarity: r.Stationarity,
		Thermometers: r.Thermometers, ZerothLaw: r.ZerothLaw, Findings: r.Findings,
	}
	if w := r.AtWeights; w != nil {
		d.AtWeights = &measureAtWeights{Energy: w.Energy, NoiseScale: w.NoiseScale, SGDNoise: w.SGDNoise, Calibration: w.Calibration}
		if w.Calibration != nil {
			d.AtWeights.Accuracy = &w.Accuracy
		}
	}
	for _, l := range r.Layers {
		e := l.Engine
		layer := measureLayer{
			Name: l.Name, Parameters: l.Parameters, Temperature: l.Temperature, Heat: l.Heat,
			Activation: e.Activation, Efficiency: e.Efficiency, Engine: e.Type, Regime: e.Regime,
			Units: e.Units, Dead: e.Dead, Saturated: e.Saturated, NoiseScale: l.Noise,
		}
		if e.Units > 0 {
			layer.EnergyIn, layer.EnergyOut = &e.EnergyIn, &e.EnergyOut
		}
		if r.AtWeights != nil {
			layer.GradNorm, layer.Virial = &l.GradNorm, &l.Virial
		}
		d.Layers = append(d.Layers, layer)
	}
	return d
}

// print writes the reading for people.
func (d *measureDocument) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	g := d.Global
	fmt.Fprintf(w, "model\t%s, %d parameters\n", d.Model, g.Parameters)
	fmt.Fprintf(w, "data\t%s, %d examples\n", d.Data, g.Examples)
	fmt.Fprintf(w, "state\t%s: %s, %d draws, seed %d\n", d.State, d.Method, d.Draws, d.Seed)
	if d.Partial {
		fmt.Fprintf(w, "\tinterrupted: fewer draws than asked\n")
	}
	fmt.Fprintf(w, "energy\t%v\n", g.Energy)
	fmt.Fprintf(w, "entropy\t%v (%s)\n", g.Entropy, g.Resolution)
	fmt.Fprintf(w, "temperature\t%v\n", g.Temperature)
	if d.Stationarity != nil {
		fmt.Fprintf(w, "stationarity\t%v (1 when stationary)\n", *d.Stationarity)
	}
	if t := d.Transition; t != nil {
		fmt.Fprintf(w, "init → trained\t%v, giving off %v\n", t.Temperature, t.Heat)
	}
	if a := d.AtWeights; a != nil {
		fmt.Fprintf(w, "at the weights\tenergy %.6g", a.Energy)
		if a.Accuracy != nil {
			fmt.Fprintf(w, ", accuracy %.4g", *a.Accuracy)
		}
		fmt.Fprintf(w, ", gradient-noise scale %v\n", a.NoiseScale)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := d.printLayers(out); err != nil {
		return err
	}
	if err := d.printThermometers(out); err != nil {
		return err
	}
	return printFindings(out, d.Findings)
}

func (d *measureDocument) printLayers(out io.Writer) error {
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "layer\tparameters\ttemperature (energy/nat)\theat (energy)\tactivation\tefficiency (1)\tengine\tdead\tsaturated")
	for _, l := range d.Layers {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s, %s\t%s\t%s\n", l.Name, l.Parameters,
			readOrDash(l.Temperature), readOrDash(l.Heat),
			l.Activation, thermo.FormatError(l.Efficiency.Value, l.Efficiency.StdErr), l.Engine, l.Regime,
			ofUnits(l.Dead, l.Units), ofUnits(l.Saturated, l.Units))
	}
	return w.Flush()
}

// readOrDash formats a reading without its unit; a dash if nothing is read.
func readOrDash(r thermo.Reading) string {
	if math.IsNaN(r.Value) {
		return "-"
	}
	return thermo.FormatError(r.Value, r.StdErr)
}

func ofUnits(n, units int) string {
	if units == 0 {
		return "-"
	}
	return fmt.Sprintf("%d of %d", n, units)
}

func (d *measureDocument) printThermometers(out io.Writer) error {
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for i, t := range d.Thermometers {
		label := "thermometers"
		if i > 0 {
			label = ""
		}
		fmt.Fprintf(w, "%s\t%s\t%v\n", label, t.Name, t)
	}
	fmt.Fprintf(w, "zeroth law\t%s\t%s\n", d.ZerothLaw.Verdict, d.ZerothLaw.Reason)
	return w.Flush()
}
