package theory

import (
	"math"
	"slices"
)

const (
	fourierError  = 1e-11  // aim, in units of √variance
	fourierPanels = 20_000 // effort at which Fourier integrals stop, with the error they then have
	fourierPhase  = 8.0    // radians a panel: 20 points resolve it to 1e-15
	massZ         = 8.0    // beyond this many deviations a sum of bounded and normal variables has no mass
)

// unitHalfWidth is the half-width of the uniform distribution of variance 1.
var unitHalfWidth = math.Sqrt(3)

// fourier integrates ⟨f⟩ = f(0) + f'(0)μ + (1/π)∫ w(t)(1 − cos(μt)ψ(t))/t² dt,
// ψ the characteristic function of the sum: a product of Gaussians and of
// sin(at)/(at). The integrand is smooth, so Gauss-Legendre panels short enough
// for its highest frequency are exact; what is cut off at the end is bounded by
// the envelope of ψ and returned as the error.
func (l linearLoss) fourier(e example, active []int, normalVariance float64) moments {
	m := moments{heats: make([]float64, len(e.scale))}
	half := make([]float64, len(active))
	reach := massZ * math.Sqrt(normalVariance)
	for i, j := range active {
		half[i] = unitHalfWidth * e.scale[j]
		reach += half[i]
	}
	spread := math.Sqrt(e.variance)
	reach = math.Min(reach, massZ*spread)
	if straight := l.bend + reach; math.Abs(e.mu) > straight {
		m.energy = l.value(e.mu) // the loss is straight where there is mass
		m.err = fourierError * spread
		return m
	}
	width := math.Min(fourierPhase/(math.Abs(e.mu)+reach), 4/spread)
	if !l.kinked {
		width = math.Min(width, 1) // the spectrum has a pole at i
	}
	factors := newProduct(len(half))
	normalHeat := 0.0
	uniformHeats := make([]float64, len(half))
	integral, t := 0.0, 0.0
	bound := math.Inf(1)
	for panel := 0; panel < fourierPanels && bound > fourierError*spread; panel++ {
		for i, x := range panelNodes {
			s := t + width*(1+x)/2
			weight := panelWeights[i] * width / 2 * l.spectrum(s) / (s * s)
			gauss := math.Exp(-normalVariance * s * s / 2)
			psi := gauss * factors.evaluate(half, s)
			cosine := math.Cos(e.mu * s)
			integral += weight * (1 - cosine*psi)
			normalHeat += weight * cosine * psi * s * s
			for i := range half {
				uniformHeats[i] -= weight * cosine * gauss * factors.response(i)
			}
		}
		t += width
		bound = l.spectrum(t) * envelope(half, normalVariance, t) / t
	}
	// Rounding must not make a loss negative.
	m.energy = math.Max(0, l.value(0)+l.slope*e.mu+(integral+l.spectralTail(t))/math.Pi)
	for j, c := range e.scale {
		m.heats[j] = c * c * normalHeat / math.Pi
	}
	for i, j := range active {
		m.heats[j] = math.Max(0, uniformHeats[i]/math.Pi)
	}
	m.err = bound + fourierError*spread + 1e-14*math.Abs(e.mu)
	return m
}

// spectralTail is ∫_t^∞ w(s)/s² ds: what is left when ψ has died out.
func (l linearLoss) spectralTail(t float64) float64 {
	if l.kinked {
		return 2 / t
	}
	const end = 13 // the softplus has no spectrum beyond: 13·e^{−13π} < 1e-16
	total := 0.0
	for t < end {
		next := t + math.Min(t, 0.5)
		total += integratePanel(func(s float64) float64 { return l.spectrum(s) / (s * s) }, t, next)
		t = next
	}
	return total
}

// envelope bounds |ψ(t)| and its responses to the logarithm of each scale.
func envelope(half []float64, normalVariance, t float64) float64 {
	bound := math.Exp(-normalVariance * t * t / 2)
	largest := 1.0
	for _, a := range half {
		if at := a * t; at > 1 {
			bound /= at
			largest = math.Max(largest, 1.3*at)
		}
	}
	return bound * math.Max(largest, normalVariance*t*t)
}

// A product evaluates Π sin(a_i t)/(a_i t) and its response to each ln a_i,
// without dividing by factors that may be 0.
type product struct {
	factor, slope, prefix, suffix []float64
}

func newProduct(n int) *product {
	return &product{make([]float64, n), make([]float64, n), make([]float64, n+1), make([]float64, n+1)}
}

// evaluate returns the product at t, half-widths a.
func (p *product) evaluate(a []float64, t float64) float64 {
	n := len(a)
	p.prefix[0], p.suffix[n] = 1, 1
	for i, ai := range a {
		p.factor[i], p.slope[i] = sinc(ai * t)
		p.prefix[i+1] = p.prefix[i] * p.factor[i]
	}
	for i := n - 1; i >= 0; i-- {
		p.suffix[i] = p.suffix[i+1] * p.factor[i]
	}
	return p.prefix[n]
}

// response returns a_i ∂/∂a_i of the last product evaluated.
func (p *product) response(i int) float64 { return p.prefix[i] * p.slope[i] * p.suffix[i+1] }

// sinc returns sin(x)/x and x·d/dx of it, cos(x) − sin(x)/x.
func sinc(x float64) (value, slope float64) {
	if x < 0.1 {
		x2 := x * x
		value = 1 - x2/6*(1-x2/20*(1-x2/42*(1-x2/72)))
		slope = -x2 / 3 * (1 - x2/10*(1-x2/28*(1-x2/54)))
		return value, slope
	}
	sin, cos := math.Sincos(x)
	return sin / x, cos - sin/x
}

// nestedAbsolute integrates ⟨|μ + Σ a_i u_i|⟩, u_i uniform on ±1. By parts,
// a ∂/∂a ⟨h(x + au)⟩ = ½h(x + a) + ½h(x − a) − ⟨h(x + au)⟩.
func nestedAbsolute(e example, active []int) moments {
	half := make([]float64, len(active))
	for i, j := range active {
		half[i] = unitHalfWidth * e.scale[j]
	}
	m := moments{
		energy: absoluteUniform(e.mu, half),
		heats:  make([]float64, len(e.scale)),
		err:    1e-14 * (math.Abs(e.mu) + math.Sqrt(e.variance)),
	}
	for i, j := range active {
		others := slices.Delete(slices.Clone(half), i, i+1)
		heat := (absoluteUniform(e.mu+half[i], others)+absoluteUniform(e.mu-half[i], others))/2 - m.energy
		m.heats[j] = math.Max(0, heat)
	}
	return m
}

// absoluteUniform returns ⟨|x + Σ a_i u_i|⟩, a piecewise polynomial in x of
// degree len(a)+1 ≤ 5. It integrates over the last u by Gauss-Legendre rules
// between the breakpoints of what is left: exact, and with positive weights only,
// where the closed form cancels.
func absoluteUniform(x float64, a []float64) float64 {
	n := len(a)
	switch {
	case n == 0 || math.Abs(x) >= sum(a):
		return math.Abs(x)
	case n == 1:
		return (x*x/a[0] + a[0]) / 2
	}
	rest, last := a[:n-1], a[n-1]
	points := []float64{x - last, x + last}
	for signs := range 1 << (n - 1) {
		at := 0.0
		for i, ai := range rest {
			if signs>>i&1 == 1 {
				at += ai
			} else {
				at -= ai
			}
		}
		if at > x-last && at < x+last {
			points = append(points, at)
		}
	}
	slices.Sort(points)
	length := points[len(points)-1] - points[0] // 2·last as rounded, else the mean would not be one
	if length == 0 {
		return absoluteUniform(x, rest)
	}
	total := 0.0
	for i := 1; i < len(points); i++ {
		mid, width := (points[i]+points[i-1])/2, points[i]-points[i-1]
		node := width / 2 * math.Sqrt(0.6) // three points: exact to degree 5
		panel := 5*absoluteUniform(mid-node, rest) + 8*absoluteUniform(mid, rest) + 5*absoluteUniform(mid+node, rest)
		total += width / 18 * panel
	}
	return total / length
}

func sum(xs []float64) float64 {
	total := 0.0
	for _, x := range xs {
		total += x
	}
	return total
}
