package theory

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/integrate/quad"
)

const (
	panelOrder = 20   // Gauss-Legendre points a panel
	tailZ      = 13.0 // Gaussian integrals stop here: e^{−13²/2} < 2e-37
	coreZ      = 8.0  // where activation functions vary on the scale of 1
)

// panelNodes and panelWeights are the Gauss-Legendre rule on [−1, 1].
var panelNodes, panelWeights = legendre(panelOrder)

func legendre(n int) (nodes, weights []float64) {
	nodes, weights = make([]float64, n), make([]float64, n)
	quad.Legendre{}.FixedLocations(nodes, weights, -1, 1)
	return nodes, weights
}

// integratePanel integrates f over [a, b] by one Gauss-Legendre panel.
func integratePanel(f func(float64) float64, a, b float64) float64 {
	half, mid := (b-a)/2, (a+b)/2
	sum := 0.0
	for i, x := range panelNodes {
		sum += panelWeights[i] * f(mid+half*x)
	}
	return half * sum
}

func normalDensity(z float64) float64 { return math.Exp(-z*z/2) / math.Sqrt(2*math.Pi) }

// Expect returns ⟨f(z)⟩ for z ~ N(mean, variance), f smooth except at 0 and at
// the kinks. f may vary on the scale of 1 within |z| < 8 and on the scale of z
// outside, however large or small the variance: the relative error is then of
// the order of 1e-14. f must not grow as fast as a Gaussian falls. A mean or a
// variance that is not finite, or a negative variance, gives NaN.
func Expect(f func(z float64) float64, mean, variance float64, kinks ...float64) float64 {
	if variance == 0 {
		return f(mean)
	}
	spread := math.Sqrt(variance)
	if reach := math.Abs(mean) + tailZ*spread; math.IsNaN(reach) || reach > math.MaxFloat64 {
		return math.NaN()
	}
	integrand := func(x float64) float64 { return normalDensity(x) * f(mean+spread*x) }
	sum := 0.0
	points := breakpoints(mean, spread, kinks)
	for i := 1; i < len(points); i++ {
		sum += integratePanel(integrand, points[i-1], points[i])
	}
	return sum
}

// breakpoints returns the ends of the panels in x = (z − mean)/spread: steps of
// 1 for the Gaussian, the kinks, steps of 1/2 in z near 0 and octaves beyond.
func breakpoints(mean, spread float64, kinks []float64) []float64 {
	var points []float64
	for x := -tailZ; x <= tailZ; x++ {
		points = append(points, x)
	}
	add := func(z float64) {
		if x := (z - mean) / spread; x > -tailZ && x < tailZ {
			points = append(points, x)
		}
	}
	add(0)
	for _, z := range kinks {
		add(z)
	}
	for z := 0.5; z < math.Abs(mean)+tailZ*spread; {
		add(z)
		add(-z)
		if z < coreZ {
			z += 0.5
		} else {
			z *= 2
		}
	}
	slices.Sort(points)
	return slices.Compact(points)
}
