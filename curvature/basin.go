package curvature

import (
	"fmt"
	"math"

	"github.com/kelvin-ml/kelvin/thermo"
)

// A Basin is the Gaussian that an energy makes about a minimum at temperature T
// (Laplace's approximation): covariance TΛ⁻¹, where Λ has the eigenvalues of the
// Hessian, but none below the curvature of the regulariser.
type Basin struct {
	Energy      thermo.Reading // at the minimum, regulariser included
	Width       thermo.Reading // s = −½ Σ ln λ, in nats: the part of the entropy that is the basin's own
	Flat        thermo.Reading // directions of which the regulariser is at least half of the curvature
	Negative    thermo.Reading // directions in which the energy falls, regularised or not: no minimum
	Regulariser float64        // r, the curvature of (r/2)|θ|²
	Dim         int

	quadrature *Quadrature
}

// NewBasin returns the basin of a Hessian which includes that of the regulariser
// (r/2)|θ|², r > 0. Its entropy is not valid where r is below the rounding of
// the products.
func NewBasin(q *Quadrature, energy thermo.Reading, regulariser float64) (Basin, error) {
	if !(regulariser > 0) || math.IsInf(regulariser, 0) {
		return Basin{}, fmt.Errorf("basin: regulariser %g: flat directions have a finite entropy only with a positive one", regulariser)
	}
	b := Basin{Energy: energy, Regulariser: regulariser, Dim: q.Dim, quadrature: q}
	b.Width = q.Sum("width", "nat", b.width)
	b.Flat = q.Sum("flat directions", "1", func(x float64) float64 { return indicator(x < 2*regulariser) })
	b.Negative = q.Sum("falling directions", "1", func(x float64) float64 { return indicator(x < -4*q.Rounding) })
	if regulariser < 4*q.Rounding {
		b.Width.Invalid = fmt.Sprintf("the regulariser %.2g is not above the rounding of the products, %.2g", regulariser, q.Rounding)
	}
	return b, nil
}

func indicator(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// width is what an eigenvalue adds to s.
func (b Basin) width(lambda float64) float64 { return -math.Log(max(lambda, b.Regulariser)) / 2 }

// At returns the basin's entropy S = k/2·ln 2πeT + s and free energy
// F = E + kT/2 − TS at temperature T > 0.
func (b Basin) At(temperature float64) (entropy, free thermo.Reading) {
	k := float64(b.Dim)
	entropy = b.Width
	entropy.Name = "entropy"
	entropy.Value += k / 2 * math.Log(2*math.Pi*math.E*temperature)
	free = thermo.Reading{Name: "free energy", Unit: "energy", Invalid: b.Width.Invalid,
		Value:  b.Energy.Value + k*temperature/2 - temperature*entropy.Value,
		StdErr: math.Hypot(b.Energy.StdErr, temperature*b.Width.StdErr)}
	return entropy, free
}

// A Comparison is of two basins with as many directions and one regulariser.
type Comparison struct {
	Energy      thermo.Reading // E_b − E_a
	Width       thermo.Reading // s_b − s_a
	Coexistence thermo.Reading // T× = (E_b − E_a)/(s_b − s_a), where their free energies are equal
}

// Compare compares basins whose energies differ by the given reading, of which
// the examples are the same. The error of the widths is that of the difference,
// probe by probe, if both quadratures had the same seed.
func Compare(a, b Basin, energy thermo.Reading) (Comparison, error) {
	if a.Dim != b.Dim || a.Regulariser != b.Regulariser {
		return Comparison{}, fmt.Errorf("comparing basins of %d and %d directions with regularisers %g and %g: expected both equal",
			a.Dim, b.Dim, a.Regulariser, b.Regulariser)
	}
	c := Comparison{Energy: energy, Width: widthDifference(a, b)}
	t := thermo.Reading{Name: "coexistence", Unit: "energy/nat", Value: energy.Value / c.Width.Value,
		DoF: c.Width.DoF, ESS: c.Width.ESS, Invalid: c.Width.Invalid}
	t.StdErr = math.Hypot(energy.StdErr, t.Value*c.Width.StdErr) / math.Abs(c.Width.Value)
	lowE, highE := energy.Interval(0.95)
	lowS, highS := c.Width.Interval(0.95)
	switch {
	case t.Invalid != "":
	case lowS <= 0 && highS >= 0:
		t.Invalid = fmt.Sprintf("the widths differ by %v, not significantly", c.Width)
	case lowE <= 0 && highE >= 0 && energy.StdErr > 0:
		t.Invalid = fmt.Sprintf("the energies differ by %v, not significantly", energy)
	case t.Value <= 0:
		t.Invalid = "none: one minimum is both lower and wider, and wins at every temperature"
	}
	c.Coexistence = t
	return c, nil
}

func widthDifference(a, b Basin) thermo.Reading {
	x, biasA := a.quadrature.sums(a.width)
	y, biasB := b.quadrature.sums(b.width)
	n := max(len(x), len(y))
	differences := make([]float64, n)
	for i := range differences {
		differences[i] = y[min(i, len(y)-1)] - x[min(i, len(x)-1)]
	}
	r := thermo.Reading{Name: "width", Unit: "nat", Value: mean(differences), StdErr: math.Hypot(biasA, biasB)}
	switch {
	case len(x) != len(y) && len(x) > 1 && len(y) > 1: // one was interrupted
		r.Value = b.Width.Value - a.Width.Value
		r.StdErr = math.Hypot(a.Width.StdErr, b.Width.StdErr)
		r.DoF = float64(min(len(x), len(y)) - 1)
	case n > 1:
		r.DoF, r.ESS = float64(n-1), float64(n)
		r.StdErr = math.Hypot(math.Sqrt(variance(differences)/float64(n)), r.StdErr)
	}
	for _, side := range []Basin{a, b} {
		if r.Invalid == "" {
			r.Invalid = side.Width.Invalid
		}
	}
	return r
}

// FreeEnergy returns F_b − F_a at temperature T, and which basin wins: "a", "b",
// or "undecided" within the interval of 95 %.
func (c Comparison) FreeEnergy(temperature float64) (difference thermo.Reading, winner string) {
	r := thermo.Reading{Name: "free energy", Unit: "energy", DoF: c.Width.DoF, Invalid: c.Width.Invalid,
		Value:  c.Energy.Value - temperature*c.Width.Value,
		StdErr: math.Hypot(c.Energy.StdErr, temperature*c.Width.StdErr)}
	low, high := r.Interval(0.95)
	switch {
	case r.Invalid == "" && low > 0:
		return r, "a"
	case r.Invalid == "" && high < 0:
		return r, "b"
	}
	return r, "undecided"
}
