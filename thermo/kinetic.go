package thermo

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Kinetic is the thermometer T = ⟨Σ m v²⟩ / k of T6 in docs/theory.md, in energy
// per nat: of the momenta of a sampler, or of the updates of gradient descent
// with momentum.
type Kinetic struct {
	grouped
	scale float64
}

// NewKinetic returns a kinetic thermometer of the momenta of the given groups.
// It is an error when there is none, or one without parameters.
func NewKinetic(groups []Group) (*Kinetic, error) {
	g, err := newGrouped("kinetic thermometer", groups)
	return &Kinetic{g, 1}, err
}

// NewMomentumKinetic returns the kinetic thermometer of stochastic gradient
// descent θ' = θ + u', u' = µu − ηĝ, with the learning rate η > 0 and momentum
// 0 ≤ µ < 1. Its draws are |u|². Stationarity of the second moments gives
// ⟨(θ−θ̄)·g⟩ = (1+µ)⟨u²⟩/2η, so T = (1+µ)⟨u²⟩/2ηk is the virial temperature
// wherever the optimiser is stationary.
func NewMomentumKinetic(groups []Group, learningRate, momentum float64) (*Kinetic, error) {
	if !(learningRate > 0) || math.IsInf(learningRate, 0) {
		return nil, fmt.Errorf("kinetic thermometer: learning rate %g, expected a positive number", learningRate)
	}
	if !(momentum >= 0 && momentum < 1) {
		return nil, fmt.Errorf("kinetic thermometer: momentum %g, expected at least 0 and below 1", momentum)
	}
	g, err := newGrouped("kinetic thermometer", groups)
	return &Kinetic{g, (1 + momentum) / (2 * learningRate)}, err
}

// Add adds one draw: Σ m v² = Σ p²/m of every group, twice its kinetic energy;
// or |u|² for the thermometer of [NewMomentumKinetic].
func (k *Kinetic) Add(squares []float64) error {
	if err := k.check("kinetic thermometer", squares); err != nil {
		return err
	}
	k.add(squares)
	return nil
}

// Readings returns the local temperature of every group, with the error of
// draws that may be correlated.
func (k *Kinetic) Readings() []Reading { return k.readings("kinetic", k.scale) }

// Global returns the temperature of all groups together.
func (k *Kinetic) Global() Reading { return k.global("kinetic", k.scale) }

// ChiSquared returns the confidence interval of the given level (0.95, say) of
// the global temperature if the draws are independent and the momenta normal:
// then n k T̂/T has the χ² distribution with n·k degrees of freedom, and the
// interval is exact for any number of draws, one included. For correlated draws
// take the interval of the reading instead.
func (k *Kinetic) ChiSquared(level float64) (low, high float64) {
	dof := float64(k.total.N()) * float64(k.size)
	sum := k.total.Mean() * float64(k.total.N()) * k.scale
	if dof == 0 || math.IsNaN(sum) {
		return math.NaN(), math.NaN()
	}
	chi2 := distuv.ChiSquared{K: dof}
	return sum / chi2.Quantile(0.5+level/2), sum / chi2.Quantile(0.5-level/2)
}

func (k *Kinetic) influence() influence {
	return meanInfluence(&k.total, k.scale/float64(k.size))
}
