package theory

import (
	"fmt"
	"math"
)

// A linearLoss is a convex loss f of one random argument.
type linearLoss struct {
	value     func(a float64) float64 // f(a)
	curvature func(a float64) float64 // f''(a), for the cold limit
	hot       float64                 // f(a) ≈ hot·|a| or hot·a² for large |a|, up to odd terms
	kinked    bool                    // f is |a|
	bend      float64                 // f is straight, to rounding, for |a| > bend

	// normal returns ⟨f⟩, ⟨f''⟩, ⟨f''''⟩ and ⟨f^(6)⟩ for a ~ N(mu, v), v > 0.
	normal func(mu, v float64) [4]float64

	// spectrum is w(t) in f(a) = f(0) + f'(0)a + (1/π)∫₀^∞ w(t)(1 − cos at)/t² dt:
	// the Fourier transform of f''. Nil when f is a parabola. slope is f'(0), or 0
	// at the kink.
	spectrum func(t float64) float64
	slope    float64
}

func lossOf(loss Loss) (linearLoss, error) {
	switch loss {
	case MSE:
		return linearLoss{
			value:     func(a float64) float64 { return a * a },
			curvature: func(float64) float64 { return 2 },
			hot:       1,
			normal:    func(mu, v float64) [4]float64 { return [4]float64{mu*mu + v, 2} },
		}, nil
	case MAE:
		return linearLoss{
			value:     math.Abs,
			curvature: func(float64) float64 { return 0 },
			hot:       1,
			kinked:    true,
			normal:    absoluteNormal,
			spectrum:  func(float64) float64 { return 2 },
		}, nil
	case CrossEntropy:
		return linearLoss{
			value:     logOnePlusExp,
			curvature: func(a float64) float64 { return logistic(a) * logistic(-a) },
			hot:       0.5,
			normal:    softplusNormal,
			spectrum: func(t float64) float64 {
				if t < 1e-9 {
					return 1
				}
				return math.Pi * t / math.Sinh(math.Pi*t)
			},
			slope: 0.5,
			bend:  40,
		}, nil
	}
	return linearLoss{}, fmt.Errorf("loss %q: expected one of %v", loss, Losses)
}

// absoluteNormal: ⟨|a|⟩ is the mean of a folded normal and |a|” = 2δ(a).
func absoluteNormal(mu, v float64) [4]float64 {
	spread := math.Sqrt(v)
	z := mu / spread
	if math.Abs(z) > farZ {
		return [4]float64{math.Abs(mu)} // e^{−z²/2} is 0
	}
	density := normalDensity(z) / spread
	z2 := z * z
	return [4]float64{
		2*v*density + mu*math.Erf(z/math.Sqrt2),
		2 * density,
		2 * density * (z2 - 1) / v,
		2 * density * (z2*z2 - 6*z2 + 3) / (v * v),
	}
}

// softplusNormal integrates the softplus and its derivatives, polynomials in
// p = s(1 − s), s the logistic function.
func softplusNormal(mu, v float64) [4]float64 {
	product := func(a float64) float64 { return logistic(a) * logistic(-a) }
	return [4]float64{
		Expect(logOnePlusExp, mu, v),
		Expect(product, mu, v),
		Expect(func(a float64) float64 { p := product(a); return p * (1 - 6*p) }, mu, v),
		Expect(func(a float64) float64 { p := product(a); return p * (1 - 30*p + 120*p*p) }, mu, v),
	}
}

const (
	// farZ is a number of standard deviations beyond which there is no mass that
	// float64 could hold, for a sum of normal and bounded variables.
	farZ = 40.0
	// manyRatio is Σ scale⁴/variance² over the uniform coordinates (1/k if all k
	// are equal) below which exact switches to Lindeberg's normal limit with its
	// first correction. What it neglects, from the sixth cumulant and the square
	// of the fourth, is then below manyError·√variance.
	manyRatio = 1e-4
	manyError = 3e-8
	// maxNested is the number of uniform coordinates up to which the mean
	// absolute error is integrated in real space, where its Fourier integral
	// would converge too slowly.
	maxNested = 4
)

// exact returns the moments of one example. The mean absolute error, which is
// homogeneous, is computed at variance 1, whatever the units of the target.
func (l linearLoss) exact(e example) moments {
	if e.variance == 0 {
		return moments{energy: l.value(e.mu), heats: make([]float64, len(e.scale))}
	}
	if !l.kinked {
		return l.exactInUnits(e)
	}
	unit := math.Sqrt(e.variance)
	if math.Abs(e.mu)/farZ > unit {
		return moments{energy: math.Abs(e.mu), heats: make([]float64, len(e.scale))}
	}
	scaled := example{mu: e.mu / unit, scale: make([]float64, len(e.scale)), uniform: e.uniform}
	for j, c := range e.scale {
		scaled.scale[j] = c / unit
		scaled.variance += scaled.scale[j] * scaled.scale[j]
	}
	m := l.exactInUnits(scaled)
	m.energy *= unit
	m.err *= unit
	for j := range m.heats {
		m.heats[j] *= unit
	}
	return m
}

// exactInUnits chooses the method.
func (l linearLoss) exactInUnits(e example) moments {
	var active []int // uniform coordinates that matter
	normalVariance, fourth := 0.0, 0.0
	for j, c := range e.scale {
		ratio := c * c / e.variance
		if !e.uniform[j] {
			normalVariance += c * c
		} else if ratio > 0 {
			active = append(active, j)
			fourth += ratio * ratio
		}
	}
	switch {
	case len(active) == 0 || l.spectrum == nil:
		return l.normalLimit(e)
	case fourth < manyRatio:
		return l.edgeworth(e)
	case l.kinked && len(active) <= maxNested && normalVariance == 0:
		return nestedAbsolute(e, active)
	}
	return l.fourier(e, active, normalVariance)
}

// normalLimit takes every coordinate as normal.
func (l linearLoss) normalLimit(e example) moments {
	m := moments{heats: make([]float64, len(e.scale))}
	if e.variance == 0 {
		m.energy = l.value(e.mu)
		return m
	}
	f := l.normal(e.mu, e.variance)
	m.energy = f[0]
	for j, c := range e.scale {
		m.heats[j] = c * c * f[1] // Stein
	}
	return m
}

// edgeworth adds to normalLimit what the fourth cumulant κ₄ changes:
// ΔU = κ₄⟨f””⟩/24, with κ₄ = −(6/5)·scale⁴ for a uniform coordinate.
func (l linearLoss) edgeworth(e example) moments {
	f := l.normal(e.mu, e.variance)
	kappa := make([]float64, len(e.scale))
	total := 0.0
	for j, c := range e.scale {
		if e.uniform[j] {
			kappa[j] = -1.2 * c * c * c * c
			total += kappa[j]
		}
	}
	m := moments{
		energy: f[0] + total*f[2]/24,
		heats:  make([]float64, len(e.scale)),
		err:    manyError * math.Sqrt(e.variance),
	}
	for j, c := range e.scale {
		m.heats[j] = c*c*f[1] + kappa[j]*f[2]/6 + total*c*c*f[3]/24
	}
	return m
}
