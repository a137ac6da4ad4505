package ising

import (
	"fmt"
	"math"
)

// Lattice names the bonds of an L×L torus.
type Lattice string

// The lattices: 4, 6 and 3 neighbours a site.
const (
	Square     Lattice = "square"
	Triangular Lattice = "triangular"
	Honeycomb  Lattice = "honeycomb"
)

// Algorithm names how configurations are drawn.
type Algorithm string

// The algorithms. On the square lattice Metropolis and HeatBath run on bits,
// in checkerboard order; elsewhere, and Wolff and SwendsenWang everywhere, on
// bytes.
const (
	Metropolis   Algorithm = "metropolis"
	HeatBath     Algorithm = "heatbath"
	Wolff        Algorithm = "wolff"
	SwendsenWang Algorithm = "sw"
)

// Limits of what is accepted.
const (
	MinSize        = 4
	MaxSize        = 65536
	maxTemperature = 1e6
	minTemperature = 1e-3
)

// Model is the energy E = −J Σ ss' − H Σ s of spins s = ±1 on a torus.
type Model struct {
	Lattice  Lattice `json:"lattice"`
	Size     int     `json:"size"`     // L, even
	Coupling float64 `json:"coupling"` // J, not zero
	Field    float64 `json:"field"`    // H
}

// Validate says what is wrong with a model.
func (m Model) Validate() error {
	if err := m.validateLattice(); err != nil {
		return err
	}
	if m.Size < MinSize || m.Size > MaxSize || m.Size%2 != 0 {
		return fmt.Errorf("size %d: expected an even number from %d to %d", m.Size, MinSize, MaxSize)
	}
	if m.Coupling == 0 || !(math.Abs(m.Coupling) <= maxTemperature) {
		return fmt.Errorf("coupling %g: expected a finite number other than 0, at most %g in size", m.Coupling, float64(maxTemperature))
	}
	if !(math.Abs(m.Field) <= maxTemperature) {
		return fmt.Errorf("field %g: expected a finite number, at most %g in size", m.Field, float64(maxTemperature))
	}
	return nil
}

func (m Model) validateLattice() error {
	switch m.Lattice {
	case Square, Triangular, Honeycomb:
		return nil
	}
	return fmt.Errorf("lattice %q: expected %s, %s or %s", m.Lattice, Square, Triangular, Honeycomb)
}

func (m Model) sites() int { return m.Size * m.Size }

// ValidateTemperature accepts what the update rules can represent relative to
// a coupling of order one.
func ValidateTemperature(t float64) error {
	if !(t >= minTemperature && t <= maxTemperature) {
		return fmt.Errorf("temperature %g: expected a number from %g to %g", t, minTemperature, float64(maxTemperature))
	}
	return nil
}

func (a Algorithm) validate() error {
	switch a {
	case Metropolis, HeatBath, Wolff, SwendsenWang:
		return nil
	}
	return fmt.Errorf("algorithm %q: expected %s, %s, %s or %s", a, Metropolis, HeatBath, Wolff, SwendsenWang)
}

// CriticalTemperature returns the exact critical temperature in units of |J|
// (Onsager 1944; Houtappel 1950), without a field; 0 for the antiferromagnet on
// the triangular lattice, which does not order.
func (m Model) CriticalTemperature() float64 {
	j := math.Abs(m.Coupling)
	switch {
	case m.Lattice == Triangular && m.Coupling < 0:
		return 0
	case m.Lattice == Triangular:
		return 4 * j / math.Log(3)
	case m.Lattice == Honeycomb:
		return 2 * j / math.Log(2+math.Sqrt(3))
	}
	return 2 * j / math.Log(1+math.Sqrt2)
}
