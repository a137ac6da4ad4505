package theory

import (
	"fmt"
	"math"
)

// Softmax is the random energy model of a softmax: the expected cross entropy
// of Classes independent logits N(0, Spread²) against a fixed label
// (docs/theory.md#t3).
type Softmax struct {
	Classes int
	Spread  float64
	Energy  float64 // U(s), nats
	Heat    float64 // s dU/ds, nats: kT of whatever scales all logits together

	FreezingSpread float64 // √(2 ln K): above it O(1) classes dominate
	Frozen         bool    // Spread > FreezingSpread

	ColdEnergy   float64 // ln K + (1 − 1/K)s²/2, the limit s → 0
	FrozenEnergy float64 // s√(2 ln K), the limit s ≫ √(2 ln K) ≫ 1
}

// maxClasses keeps the tails of the integration far below 1/K.
const maxClasses = 1_000_000_000

// NewSoftmax computes the random energy model of a softmax over classes (2 to
// 10⁹) at the given spread of the logits (finite, not negative; a standard
// deviation). Energy and heat have an error below 1e-10·(1 + spread).
func NewSoftmax(classes int, spread float64) (Softmax, error) {
	if classes < 2 || classes > maxClasses {
		return Softmax{}, fmt.Errorf("softmax: expected 2 to %d classes, got %d", maxClasses, classes)
	}
	if !(spread >= 0) || spread > 1e300 {
		return Softmax{}, fmt.Errorf("softmax: expected a finite spread of the logits, not negative, got %v", spread)
	}
	k := float64(classes)
	freezing := math.Sqrt(2 * math.Log(k))
	s := Softmax{
		Classes: classes, Spread: spread, FreezingSpread: freezing, Frozen: spread > freezing,
		ColdEnergy:   math.Log(k) + (1-1/k)*spread*spread/2,
		FrozenEnergy: spread * freezing,
	}
	s.Energy, s.Heat = randomEnergy(k, spread)
	return s, nil
}

// randomEnergy integrates U = ∫₀^∞ (e^{−t} − φ(t)^K) dt/t and its response to s
// over x = ln t. With G(x) = φ(e^x)^K, which falls from 1 to 0, and
// ∫ (e^{−e^x} − [x<0]) dx = −γ, this is U = −γ + L − ∫_{−L}^R G dx. G is
// analytic on the scale of the step and flat at both ends, so the trapezoidal
// rule converges exponentially.
func randomEnergy(k, s float64) (energy, heat float64) {
	const eulerGamma = 0.57721566490153286060651209008240243
	if s == 0 {
		return math.Log(k), 0
	}
	left := 13*s + math.Log(k) + 45
	right := 10*s + 5
	step := math.Max(0.15, 0.04*s)
	points := int(math.Ceil((left + right) / step))
	sum := 0.0
	for i := 0; i <= points; i++ {
		x := -left + float64(i)*step
		p, dp := laplace(x, s)
		power := math.Exp((k - 1) * math.Log1p(-p)) // φ^{K−1}
		weight := step
		if i == 0 {
			weight /= 2
		}
		sum += weight * power * (1 - p)
		heat += weight * k * power * dp
	}
	return left - eulerGamma - sum, heat
}

// laplace returns P = 1 − ⟨exp(−e^{x+sg})⟩ and s dP/ds over g ~ N(0, 1), by the
// trapezoidal rule in whichever of the two variables has a smooth conditional:
// g for a narrow spread; for a wide one Γ = ln Exp(1), with P = ⟨Φ((x−Γ)/s)⟩.
func laplace(x, s float64) (p, dp float64) {
	if s < 1 {
		const step = 0.25
		for g := -12.0; g <= 12; g += step {
			u := math.Exp(x + s*g)
			weight := step * normalDensity(g)
			p -= weight * math.Expm1(-u)
			dp += weight * s * g * u * math.Exp(-u)
		}
		return math.Min(p, 1), dp
	}
	const step = 0.25
	for gamma := -48.0; gamma <= 4; gamma += step {
		u := math.Exp(gamma)
		weight := step * u * math.Exp(-u)
		z := (x - gamma) / s
		p += weight * math.Erfc(-z/math.Sqrt2) / 2
		dp -= weight * z * normalDensity(z)
	}
	return math.Min(p, 1), dp
}
