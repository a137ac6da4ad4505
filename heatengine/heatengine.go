// Package heatengine looks at a network as a stack of heat engines: how much
// signal energy goes into every activation, how much comes out, and which units
// no longer take part (docs/theory.md, T5).
package heatengine

import (
	"fmt"
	"math"

	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/theory"
	"github.com/kelvin-ml/kelvin/thermo"
)

// A Layer is the working point of one activation layer on data.
type Layer struct {
	Name       string         // of the activation layer
	Group      string         // the layer of parameters that feeds it
	Activation string         // as theory.ActivationByName knows it
	EnergyIn   thermo.Reading // ⟨z²⟩ over examples and units
	EnergyOut  thermo.Reading // ⟨φ(z)²⟩
	Efficiency thermo.Reading // η = 1 − ⟨φ(z)²⟩/⟨z²⟩
	Gaussian   float64        // η of the wide-network model, z ~ N(0, ⟨z²⟩)
	Type       theory.EngineType
	Regime     theory.Regime // of the measured η: reversible when 0 is within 3 standard errors
	Units      int           // of a sequence its features, of an image its channels
	Dead       int           // units whose output is zero everywhere on every example: η_unit = 1
	Saturated  int           // live units of a bounded activation that are flat nearly everywhere
}

// A unit is saturated when |φ'(z)| is below saturatedSlope of the steepest
// slope on at least saturatedShare of its values.
const (
	saturatedSlope = 0.01
	saturatedShare = 0.95
)

// A Meter accumulates the working points of every activation layer of one
// network, batch after batch, in memory that does not grow with the examples.
type Meter struct {
	// Drawn says that the weights are drawn anew now and then: EndDraw closes each
	// draw, and errors are those of independent draws instead of examples.
	Drawn bool

	layers []*accumulator
}

type accumulator struct {
	name, group string
	activation  string
	phi         theory.Activation
	flatSlope   float64   // |φ.| below which a bounded activation is flat; 0 for the others
	cross       moments   // of (energy in, energy out) per example or draw
	draw        moments   // per example of the open draw
	unitOut     []float64 // Σ φ(z)² per unit
	unitFlat    []int     // values at which the unit is flat
	// A row holds its units outside × unit × inside: a sequence has its positions
	// outside, an image its pixels inside.
	outside, inside int
	values          int // of each unit
}

// moments are the running second moments of pairs, by Welford's update.
type moments struct{ n, mx, my, cxx, cxy, cyy float64 }

func (m *moments) add(x, y float64) {
	m.n++
	dx, dy := x-m.mx, y-m.my
	m.mx += dx / m.n
	m.my += dy / m.n
	m.cxx += dx * (x - m.mx)
	m.cxy += dx * (y - m.my)
	m.cyy += dy * (y - m.my)
}

// Observe adds the activations of the network's last forward pass.
func Observe[T nn.Float](m *Meter, network *nn.Network[T]) error {
	i := 0
	for s := range network.Signals {
		if i == len(m.layers) {
			a, err := newAccumulator(s.Name, s.Group, s.Activation, s.Shape)
			if err != nil {
				return err
			}
			m.layers = append(m.layers, a)
		}
		if a := m.layers[i]; a.name != s.Name || a.size() != s.Units {
			return fmt.Errorf("observing layer %s with %d values an example: the meter was built for layer %s with %d",
				s.Name, s.Units, a.name, a.size())
		}
		observe(m.layers[i], s.Z, s.A, m.Drawn)
		i++
	}
	return nil
}

// EndDraw closes one draw of the weights.
func (m *Meter) EndDraw() {
	for _, a := range m.layers {
		a.cross.add(a.draw.mx, a.draw.my)
		a.draw = moments{}
	}
}

// size is the values of an example.
func (a *accumulator) size() int { return a.outside * len(a.unitOut) * a.inside }

func newAccumulator(name, group, activation string, shape []int) (*accumulator, error) {
	phi, err := theory.ActivationByName(activation)
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", name, err)
	}
	a := &accumulator{name: name, group: group, activation: activation, phi: phi, outside: 1, inside: 1}
	units := shape[len(shape)-1]
	switch len(shape) {
	case 2:
		a.outside = shape[0]
	case 3:
		units, a.inside = shape[0], shape[1]*shape[2]
	}
	a.unitOut, a.unitFlat = make([]float64, units), make([]int, units)
	steepest := 0.0
	for z := -8.0; z <= 8; z += 1.0 / 64 {
		steepest = math.Max(steepest, math.Abs(phi.Derivative(z)))
	}
	flat := saturatedSlope * steepest
	const far = 50
	if math.Abs(phi.Derivative(far)) < flat && math.Abs(phi.Derivative(-far)) < flat {
		a.flatSlope = flat
	}
	return a, nil
}

// observe adds rows of pre-activations z and activations phi.
func observe[T nn.Float](a *accumulator, z, phi []T, drawn bool) {
	each := &a.cross
	if drawn {
		each = &a.draw
	}
	size := a.size()
	for ; len(z) > 0; z, phi = z[size:], phi[size:] {
		var in, out float64
		at := 0
		for range a.outside {
			for u := range a.unitOut {
				energy := 0.0
				for range a.inside {
					x, y := float64(z[at]), float64(phi[at])
					in += x * x
					energy += y * y
					if a.flatSlope > 0 && math.Abs(a.phi.Derivative(x)) < a.flatSlope {
						a.unitFlat[u]++
					}
					at++
				}
				a.unitOut[u] += energy
				out += energy
			}
		}
		each.add(in/float64(size), out/float64(size))
		a.values += a.outside * a.inside
	}
}

// Layers returns the working points measured so far, in the network's order.
// Errors are those of independent examples; a layer whose pre-activations are
// all zero has no efficiency and says so.
func (m *Meter) Layers() ([]Layer, error) {
	layers := make([]Layer, 0, len(m.layers))
	for _, a := range m.layers {
		layer, err := a.layer()
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", a.name, err)
		}
		layers = append(layers, layer)
	}
	return layers, nil
}

func (a *accumulator) layer() (Layer, error) {
	c := &a.cross
	l := Layer{
		Name: a.name, Group: a.group, Activation: a.activation, Units: len(a.unitOut),
		EnergyIn:  a.mean("energy in", c.mx, c.cxx),
		EnergyOut: a.mean("energy out", c.my, c.cyy),
	}
	for u, out := range a.unitOut {
		switch {
		case out == 0:
			l.Dead++
		case float64(a.unitFlat[u]) >= saturatedShare*float64(a.values):
			l.Saturated++
		}
	}
	l.Efficiency = thermo.Reading{Name: "efficiency", Group: a.name, Unit: "1", ESS: c.n}
	if c.mx == 0 {
		l.Efficiency.Invalid = "no signal reaches the layer: every pre-activation is zero"
		return l, nil
	}
	ratio := c.my / c.mx
	// Delta method for a ratio of means over independent examples.
	variance := (c.cyy - 2*ratio*c.cxy + ratio*ratio*c.cxx) / (c.mx * c.mx) / (c.n * (c.n - 1))
	l.Efficiency.Value, l.Efficiency.StdErr = 1-ratio, math.Sqrt(math.Max(0, variance))
	model, err := a.phi.Efficiency(c.mx)
	if err != nil {
		return l, err
	}
	l.Gaussian, l.Type = model.Efficiency, model.Type
	tolerance := math.Max(theory.ReversibleTolerance, 3*l.Efficiency.StdErr)
	l.Regime = theory.RegimeOf(l.Efficiency.Value, tolerance)
	return l, nil
}

func (a *accumulator) mean(name string, mean, sumSquares float64) thermo.Reading {
	n := a.cross.n
	return thermo.Reading{Name: name, Group: a.name, Value: mean,
		StdErr: math.Sqrt(sumSquares / (n * (n - 1))), ESS: n, DoF: n - 1, Unit: "1"}
}

// Cascade is the work efficiency of the whole stack, 1 − Π(1 − η_l): the part
// of the signal energy that the activations together do not pass on.
func Cascade(layers []Layer) float64 {
	passed := 1.0
	for _, l := range layers {
		passed *= 1 - l.Efficiency.Value
	}
	return 1 - passed
}

// Identity is the engine of a layer that feeds no activation: it passes all
// energy on.
func Identity(group string) Layer {
	return Layer{Name: group, Group: group, Activation: "identity", Type: theory.TypeI, Regime: theory.Reversible,
		Efficiency: thermo.Reading{Name: "efficiency", Group: group, Unit: "1"}}
}
