package theory

import (
	"math"
	"slices"
)

// The regimes of a linear model in which energy and temperature simplify.
const (
	Cold           = "cold"            // spread → 0: second order about the mean (for MAE, a row with y ≠ x·mean does not move)
	Hot            = "hot"             // spread → ∞: the means do not matter
	ManyParameters = "many parameters" // k → ∞: Lindeberg's normal limit
)

// An Asymptote is a limiting form of energy and temperature, evaluated at the
// parameters of the model.
type Asymptote struct {
	Regime      string // Cold, Hot or ManyParameters
	Energy      float64
	Temperature float64
	// RelativeError is the larger of the relative errors of Energy and
	// Temperature against the exact values.
	RelativeError float64
}

// asymptotes returns cold, hot and, where it is a limit and not the exact form
// itself, many parameters.
func asymptotes(l linearLoss, examples []example, exact LinearState) []Asymptote {
	list := []Asymptote{
		newAsymptote(Cold, average(examples, l.cold), exact),
		newAsymptote(Hot, average(examples, l.hotLimit), exact),
	}
	if exact.Init != InitNormal && exact.Loss != MSE {
		list = append(list, newAsymptote(ManyParameters, average(examples, l.normalLimit), exact))
	}
	return list
}

// Best returns the asymptote with the smallest relative error; of equals, the
// first in the order cold, hot, many parameters.
func (s LinearState) Best() Asymptote {
	return slices.MinFunc(s.Asymptotes, func(a, b Asymptote) int {
		switch {
		case a.RelativeError < b.RelativeError:
			return -1
		case a.RelativeError > b.RelativeError:
			return 1
		}
		return 0
	})
}

func newAsymptote(regime string, m moments, exact LinearState) Asymptote {
	a := Asymptote{Regime: regime, Energy: m.energy, Temperature: mean(m.heats)}
	a.RelativeError = math.Max(relativeError(a.Energy, exact.Energy), relativeError(a.Temperature, exact.Temperature))
	return a
}

// relativeError is |got − want|/|want|; where want is 0, 0 if got is and 1 if
// not (the error relative to got).
func relativeError(got, want float64) float64 {
	if got == want {
		return 0
	}
	if want == 0 {
		return 1
	}
	return math.Abs(got-want) / math.Abs(want)
}

// cold expands to second order in the spread. At the kink of |a| there is no
// expansion, and none is needed: the loss is homogeneous there.
func (l linearLoss) cold(e example) moments {
	if l.kinked && e.mu == 0 {
		return l.exact(e)
	}
	curvature := l.curvature(e.mu)
	m := moments{energy: l.value(e.mu) + e.variance*curvature/2, heats: make([]float64, len(e.scale))}
	for j, c := range e.scale {
		m.heats[j] = c * c * curvature
	}
	return m
}

// hotLimit drops the means and everything of the loss but its growth, hot·|a|
// or hot·a².
func (l linearLoss) hotLimit(e example) moments {
	e.mu = 0
	growth := l
	if l.spectrum != nil {
		growth, _ = lossOf(MAE)
	}
	m := growth.exact(e)
	m.energy *= l.hot
	for j := range m.heats {
		m.heats[j] *= l.hot
	}
	return m
}
