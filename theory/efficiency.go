package theory

import (
	"fmt"
	"math"
)

// EngineType tells networks apart by how their work efficiency depends on the
// signal energy (docs/theory.md#t5).
type EngineType string

// The two types of engine.
const (
	TypeI  EngineType = "I"  // η does not depend on q: positively homogeneous φ
	TypeII EngineType = "II" // η varies with q
)

// Regime says what a layer does to the signal energy at its working point.
type Regime string

// The regimes of an engine.
const (
	Engine     Regime = "engine"     // η > 0: it takes signal energy out
	Reversible Regime = "reversible" // η ≈ 0
	HeatPump   Regime = "heat pump"  // η < 0: it puts signal energy in
)

// ReversibleTolerance is the |η| up to which [Activation.Efficiency] calls a
// working point reversible: far above the numerical error and far below
// anything a layer would show.
const ReversibleTolerance = 1e-6

// RegimeOf returns the regime of a work efficiency known to within tolerance
// (ReversibleTolerance for theory, a few standard errors for a measured one).
func RegimeOf(efficiency, tolerance float64) Regime {
	switch {
	case efficiency > tolerance:
		return Engine
	case efficiency < -tolerance:
		return HeatPump
	}
	return Reversible
}

// Efficiency is the work efficiency of an activation function at one working
// point (docs/theory.md#t5).
type Efficiency struct {
	Q          float64    // signal energy in: the second moment of z ~ N(0, Q)
	Efficiency float64    // η = 1 − ⟨φ(z)²⟩/⟨z²⟩
	Type       EngineType // whether η depends on Q
	Regime     Regime     // with ReversibleTolerance
	Gain       float64    // 1/√(1 − η): the standard deviation of weights that restores Q is Gain/√fan_in
}

// EngineType returns TypeI for a positively homogeneous activation, else TypeII.
func (a Activation) EngineType() EngineType {
	if a.Homogeneous {
		return TypeI
	}
	return TypeII
}

// Efficiency returns the work efficiency at signal energy q, with an absolute
// error of about 1e-14·(1 + |η|). It fails if q is not positive and finite or
// if η is beyond float64.
func (a Activation) Efficiency(q float64) (Efficiency, error) {
	if !(q > 0) || math.IsInf(q, 0) {
		return Efficiency{}, fmt.Errorf("work efficiency of %s: expected a positive signal energy q, got %v", a.Name, q)
	}
	ratio, _ := a.secondMoment(q)
	gain := 1 / math.Sqrt(ratio)
	if math.IsNaN(ratio) || math.IsInf(ratio, 0) || math.IsInf(gain, 0) {
		return Efficiency{}, fmt.Errorf("work efficiency of %s at q = %g: the signal energy out over in, %g, is beyond floating point", a.Name, q, ratio)
	}
	eta := 1 - ratio
	return Efficiency{Q: q, Efficiency: eta, Type: a.EngineType(), Regime: RegimeOf(eta, ReversibleTolerance), Gain: gain}, nil
}

// secondMoment returns ⟨φ(z)²⟩/q and its response ⟨zφ(z)φ'(z)⟩/q = d⟨φ(z)²⟩/dq
// for z ~ N(0, q).
func (a Activation) secondMoment(q float64) (ratio, slope float64) {
	if a.second != nil {
		return a.second(q)
	}
	spread := math.Sqrt(q) // φ/√q rather than φ²/q, which would underflow
	ratio = Expect(func(z float64) float64 {
		v := a.Value(z) / spread
		return v * v
	}, 0, q, a.Kinks...)
	slope = Expect(func(z float64) float64 {
		return a.Value(z) / spread * a.Derivative(z) * (z / spread)
	}, 0, q, a.Kinks...)
	return ratio, slope
}
