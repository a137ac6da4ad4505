package collapse

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// flow is a normalising flow in the plane, by iterative Gaussianisation (Laparra,
// Camps-Valls and Malo, arXiv 1602.00229): every layer rotates the plane and makes
// both marginals normal through their smoothed distribution functions. It is
// fitted layer by layer, its density is exact, and so is its inverse.
type flow struct {
	truth  *mixture
	layers []flowLayer
}

// flowLayers is the number of layers; more change the likelihood by less than
// its error.
const flowLayers = 8

type flowLayer struct {
	cos, sin float64
	marginal [2]marginal
}

// A marginal maps numbers to normal ones: knots in both, linear between, with the
// slopes of the outermost pieces beyond.
type marginal struct{ x, z []float64 }

// NewFlow returns the world of NewMixture, refitted by a normalising flow. Its
// temperature scales the variance of the latent normal numbers.
func NewFlow() *World {
	w := NewMixture()
	truth := w.Truth.(*mixture)
	return plane("flow", truth, func() Model { return &flow{truth: truth} })
}

// newMarginal fits the distribution function of numbers at quantiles: few, so that
// it is smooth.
func newMarginal(xs []float64) marginal {
	sorted := slices.Sorted(slices.Values(xs))
	n := len(sorted)
	knots := min(33, max(5, n/8))
	var m marginal
	for k := range knots {
		p := (float64(k) + 0.5) / float64(knots)
		at := p * float64(n-1)
		i := min(int(at), n-2)
		x := sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
		if k > 0 && !(x > m.x[len(m.x)-1]) {
			continue
		}
		m.x, m.z = append(m.x, x), append(m.z, distuv.UnitNormal.Quantile(p))
	}
	return m
}

// piece returns the piece of the knots that a number lies in.
func piece(knots []float64, x float64) int {
	i, _ := slices.BinarySearch(knots, x)
	return max(0, min(i-1, len(knots)-2))
}

func (m marginal) forward(x float64) (z, logSlope float64) {
	i := piece(m.x, x)
	slope := (m.z[i+1] - m.z[i]) / (m.x[i+1] - m.x[i])
	return m.z[i] + slope*(x-m.x[i]), math.Log(slope)
}

func (m marginal) inverse(z float64) float64 {
	i := piece(m.z, z)
	return m.x[i] + (m.x[i+1]-m.x[i])/(m.z[i+1]-m.z[i])*(z-m.z[i])
}

func (f *flow) Fit(data Data, _ *rand.Rand) error {
	f.layers = nil
	z := slices.Clone(data.X)
	n := data.Len()
	if n < 10 {
		return errors.New("flow: fewer than ten points")
	}
	axis := make([]float64, n)
	for l := range flowLayers {
		angle := math.Pi * float64(l) * 0.6180339887498949 // spread evenly, never twice the same
		layer := flowLayer{cos: math.Cos(angle), sin: math.Sin(angle)}
		for i := range n {
			z[2*i], z[2*i+1] = layer.cos*z[2*i]-layer.sin*z[2*i+1], layer.sin*z[2*i]+layer.cos*z[2*i+1]
		}
		for a := range 2 {
			for i := range n {
				axis[i] = z[2*i+a]
			}
			layer.marginal[a] = newMarginal(axis)
			if len(layer.marginal[a].x) < 2 {
				return errors.New("flow: the points lie on a line")
			}
			for i := range n {
				z[2*i+a], _ = layer.marginal[a].forward(z[2*i+a])
			}
		}
		f.layers = append(f.layers, layer)
	}
	return nil
}

func (f *flow) Sample(n int, temperature float64, r *rand.Rand) (Data, error) {
	d := Data{Width: 2, X: make([]float64, 2*n)}
	s := math.Sqrt(temperature)
	for i := range n {
		x, y := s*r.NormFloat64(), s*r.NormFloat64()
		for _, layer := range slices.Backward(f.layers) {
			x, y = layer.marginal[0].inverse(x), layer.marginal[1].inverse(y)
			x, y = layer.cos*x+layer.sin*y, -layer.sin*x+layer.cos*y
		}
		d.X[2*i], d.X[2*i+1] = x, y
	}
	return d, nil
}

// latent returns where a point comes from, and its log density.
func (f *flow) latent(x, y float64) (u, v, logDensity float64) {
	for _, layer := range f.layers {
		x, y = layer.cos*x-layer.sin*y, layer.sin*x+layer.cos*y
		var a, b float64
		x, a = layer.marginal[0].forward(x)
		y, b = layer.marginal[1].forward(y)
		logDensity += a + b
	}
	return x, y, logDensity - math.Log(2*math.Pi) - (x*x+y*y)/2
}

func (f *flow) Entropy(r *rand.Rand) float64 {
	d, err := f.Sample(2000, 1, r)
	if err != nil {
		return math.NaN()
	}
	return f.Energy(d)
}

func (f *flow) Energy(data Data) float64 {
	e := 0.0
	for i := range data.Len() {
		_, _, l := f.latent(data.X[2*i], data.X[2*i+1])
		e -= l / float64(data.Len())
	}
	return e
}

// Temperature is the mean square of the latent numbers.
func (f *flow) Temperature(data Data) float64 {
	sum := 0.0
	for i := range data.Len() {
		u, v, _ := f.latent(data.X[2*i], data.X[2*i+1])
		sum += (u*u + v*v) / 2
	}
	return sum / float64(data.Len())
}

func (f *flow) Diversity(data Data) float64   { return planeSpread(data) }
func (f *flow) LogVariance(data Data) float64 { return planeVariance(data) }
