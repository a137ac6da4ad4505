package collapse

import (
	"errors"
	"math"
	"math/rand/v2"
)

// kernels is a kernel density in the plane: a normal cloud about every point, with
// Silverman's bandwidth along both axes.
type kernels struct {
	truth *mixture
	x     []float64
	h     [2]float64
}

// NewKernels returns the world of NewMixture, refitted by a kernel density. It adds its
// bandwidth to the variance in every generation: it heats by itself.
func NewKernels() *World {
	truth := NewMixture().Truth.(*mixture)
	return plane("kde", truth, func() Model { return &kernels{truth: truth} })
}

func (k *kernels) Fit(data Data, _ *rand.Rand) error {
	n := data.Len()
	if n < 3 {
		return errors.New("kernel density: fewer than three points")
	}
	k.x = data.X
	for axis := range 2 {
		mean, square := 0.0, 0.0
		for i := range n {
			d := data.X[2*i+axis] - mean
			mean += d / float64(i+1)
			square += d * (data.X[2*i+axis] - mean)
		}
		k.h[axis] = math.Sqrt(square/float64(n-1)) * math.Pow(float64(n), -1.0/6) // d = 2: (4/(d+2))^(1/6) is 1
	}
	if !(k.h[0] > 0 && k.h[1] > 0) {
		return errors.New("kernel density: the points lie on a line")
	}
	return nil
}

// terms returns Σ K and Σ K^power of the kernels at a point, each over its height.
func (k *kernels) terms(x, y, power float64) (sum, powers float64) {
	for i := 0; i < len(k.x); i += 2 {
		u, v := (x-k.x[i])/k.h[0], (y-k.x[i+1])/k.h[1]
		if q := 0.5 * (u*u + v*v); q < 40*math.Max(1, 1/power) {
			sum += math.Exp(-q)
			if power != 1 {
				powers += math.Exp(-q * power)
			}
		}
	}
	return sum, powers
}

// Sample draws from p^(1/τ) by rejection, as the mixture does.
func (k *kernels) Sample(n int, temperature float64, r *rand.Rand) (Data, error) {
	d := Data{Width: 2, X: make([]float64, 0, 2*n)}
	points := len(k.x) / 2
	bound, s := 0.0, math.Sqrt(temperature)
	if temperature < 1 {
		bound = (1/temperature - 1) * math.Log(float64(points))
	}
	for tries := 0; len(d.X) < 2*n; tries++ {
		if tries > 10_000*n {
			return d, errors.New("kernel density: samples at this temperature are too rare to be drawn")
		}
		i := r.IntN(points)
		x, y := k.x[2*i]+s*k.h[0]*r.NormFloat64(), k.x[2*i+1]+s*k.h[1]*r.NormFloat64()
		if temperature != 1 {
			sum, powers := k.terms(x, y, 1/temperature)
			if math.Log(1-r.Float64()) > math.Log(sum)/temperature-math.Log(powers)-bound {
				continue
			}
		}
		d.X = append(d.X, x, y)
	}
	return d, nil
}

// Entropy is −⟨ln p⟩ over 500 draws.
func (k *kernels) Entropy(r *rand.Rand) float64 {
	d, err := k.Sample(500, 1, r)
	if err != nil {
		return math.NaN()
	}
	return k.Energy(d)
}

func (k *kernels) Energy(data Data) float64 {
	height := math.Log(float64(len(k.x)/2) * 2 * math.Pi * k.h[0] * k.h[1])
	e := 0.0
	for i := range data.Len() {
		sum, _ := k.terms(data.X[2*i], data.X[2*i+1], 1)
		e += (height - math.Log(sum)) / float64(data.Len())
	}
	return e
}

// Temperature is that of the world's clouds.
func (k *kernels) Temperature(data Data) float64 { return k.truth.Temperature(data) }

func (k *kernels) Diversity(data Data) float64   { return planeSpread(data) }
func (k *kernels) LogVariance(data Data) float64 { return planeVariance(data) }
