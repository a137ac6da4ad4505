package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/kelvin-ml/kelvin/curvature"
	"github.com/kelvin-ml/kelvin/thermo"
)

// compareDocument is what kelvin compare prints.
type compareDocument struct {
	Schema       string                `json:"schema"`
	Data         string                `json:"data"`
	Seed         uint64                `json:"seed"`
	Examples     int                   `json:"examples"`
	Parameters   int                   `json:"parameters"`
	Regulariser  float64               `json:"regulariser"`
	A            compareSide           `json:"a"`
	B            compareSide           `json:"b"`
	Energy       thermo.Reading        `json:"energy_difference"` // b − a
	Width        thermo.Reading        `json:"width_difference"`  // b − a
	Coexistence  thermo.Reading        `json:"coexistence"`
	Temperatures []compareTemperature  `json:"temperatures"`
	Path         []curvature.PathPoint `json:"path"`
	Barrier      *compareBarrier       `json:"barrier"`
	Interrupted  bool                  `json:"interrupted,omitempty"`

	compared   bool
	comparison curvature.Comparison
}

type compareSide struct {
	Model         string         `json:"model"`
	Energy        float64        `json:"energy"` // on these examples, regulariser included
	GradientNorm2 float64        `json:"gradient_norm2"`
	Width         thermo.Reading `json:"width"` // s = −½ Σ ln λ
	Flat          thermo.Reading `json:"flat"`
	Negative      thermo.Reading `json:"negative"`
}

// compareTemperature says which minimum wins at a temperature.
type compareTemperature struct {
	Source      string         `json:"source"` // "given", "a" or "b": the noise of sgd there
	Temperature thermo.Reading `json:"temperature"`
	FreeEnergy  thermo.Reading `json:"free_energy_difference"` // b − a
	Winner      string         `json:"winner"`                 // "a", "b" or "undecided"
}

type compareBarrier struct {
	Place  float64        `json:"place"`
	Height thermo.Reading `json:"height"` // above the higher end
}

func (d *compareDocument) compare(c curvature.Comparison, basins [2]curvature.Basin, states [2]curvature.State, paths []string) {
	sides := [2]*compareSide{&d.A, &d.B}
	for i, b := range basins {
		*sides[i] = compareSide{Model: paths[i], Energy: states[i].Energy, Width: b.Width, Flat: b.Flat, Negative: b.Negative}
		for _, g := range states[i].GradientNorm2 {
			sides[i].GradientNorm2 += g
		}
	}
	d.Energy, d.Width, d.Coexistence, d.compared = c.Energy, c.Width, c.Coexistence, true
	d.comparison = c
}

// temperatures lists what is known of the temperature of the optimiser.
func (d *compareDocument) temperatures(f landscapeFlags, c curvature.Comparison, states [2]curvature.State, sides [2]*landscape) error {
	add := func(source string, t thermo.Reading) {
		free, winner := c.FreeEnergy(t.Value)
		d.Temperatures = append(d.Temperatures, compareTemperature{source, t, free, winner})
	}
	if f.temperature > 0 {
		add("given", thermo.Reading{Name: "temperature", Value: f.temperature, Unit: "energy/nat"})
		return nil
	}
	for i, l := range sides {
		if l.sgd == nil || l.sgd.Batch == 0 {
			continue
		}
		t, err := states[i].NoiseTemperature(l.sgd.LearningRate, l.sgd.Momentum, l.sgd.Batch, d.Parameters)
		if err != nil {
			return err
		}
		add([]string{"a", "b"}[i], t)
	}
	return nil
}

func (d *compareDocument) print(w io.Writer) error {
	fmt.Fprintf(w, "%d parameters on %d examples, regulariser %g, seed %d\n\n", d.Parameters, d.Examples, d.Regulariser, d.Seed)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\ta\tb\tb − a")
	fmt.Fprintf(t, "model\t%s\t%s\t\n", d.A.Model, d.B.Model)
	fmt.Fprintf(t, "energy\t%s\t%s\t%s\n", thermo.Format(d.A.Energy, 6), thermo.Format(d.B.Energy, 6), thermo.FormatError(d.Energy.Value, d.Energy.StdErr))
	fmt.Fprintf(t, "squared gradient\t%s\t%s\t\n", thermo.Format(d.A.GradientNorm2, 3), thermo.Format(d.B.GradientNorm2, 3))
	fmt.Fprintf(t, "width −½Σ ln λ/nat\t%s\t%s\t%s\n", thermo.FormatError(d.A.Width.Value, d.A.Width.StdErr),
		thermo.FormatError(d.B.Width.Value, d.B.Width.StdErr), thermo.FormatError(d.Width.Value, d.Width.StdErr))
	fmt.Fprintf(t, "flat directions\t%s\t%s\t\n", countText(d.A.Flat), countText(d.B.Flat))
	fmt.Fprintf(t, "falling directions\t%s\t%s\t\n", countText(d.A.Negative), countText(d.B.Negative))
	if err := t.Flush(); err != nil {
		return err
	}
	coexistence := d.Coexistence.String()
	if !d.Coexistence.Valid() {
		coexistence = d.Coexistence.Invalid
	}
	fmt.Fprintf(w, "\ncoexistence temperature  %s\n", coexistence)
	for _, x := range d.Temperatures {
		fmt.Fprintln(w, x.text())
	}
	if len(d.Temperatures) == 0 {
		fmt.Fprintln(w, "the temperature of the optimiser is not known: give --temperature, or --lr, --momentum and --batch")
	}
	switch {
	case d.Barrier == nil:
	case d.Barrier.Height.Value == 0:
		fmt.Fprintln(w, "no barrier on the straight line: the energy is nowhere above the higher end")
	default:
		fmt.Fprintf(w, "barrier on the straight line  %s above the higher end, at %.3g of the way from a to b\n",
			thermo.FormatError(d.Barrier.Height.Value, d.Barrier.Height.StdErr), d.Barrier.Place)
	}
	return nil
}

func (t compareTemperature) text() string {
	where := "at the temperature given, "
	if t.Source != "given" {
		where = fmt.Sprintf("at the temperature of sgd's noise in %s, ", t.Source)
	}
	verdict := t.Winner + " wins"
	if t.Winner == "undecided" {
		verdict = "undecided"
	}
	return fmt.Sprintf("%s%v: %s (free energy b − a: %s)", where, t.Temperature, verdict, thermo.FormatError(t.FreeEnergy.Value, t.FreeEnergy.StdErr))
}
