package sampler

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

// The noise is normal: by the largest distance from its distribution function,
// in the tail that has a draw of its own, by moments, and without correlation of
// the two halves of a random number.
func TestNormals(t *testing.T) {
	const n = 4_000_000
	x := make([]float64, n)
	normals(x, rand.New(rand.NewPCG(1, 2)))
	var lag, fourth, beyond, square float64
	for i, v := range x {
		square += v * v / n
		fourth += v * v * v * v / n
		if math.Abs(v) > tail {
			beyond++
		}
		if i%2 == 1 {
			lag += x[i-1] * v
		}
	}
	near(t, "variance", square, 1, math.Sqrt(2.0/n))
	near(t, "fourth moment", fourth, 3, math.Sqrt(96.0/n))
	near(t, "correlation of pairs", lag/(n/2), 0, math.Sqrt(2.0/n))
	expected := 2 * distuv.UnitNormal.Survival(tail) * n
	near(t, "draws in the tail", beyond, expected, math.Sqrt(expected))
	slices.Sort(x)
	var distance float64
	for i, v := range x {
		distance = max(distance, math.Abs(distuv.UnitNormal.CDF(v)-(float64(i)+0.5)/n))
	}
	if p := 2 * math.Exp(-2*n*distance*distance); p < 1e-3 { // Kolmogorov
		t.Errorf("largest distance of the distribution functions %.2g: p = %.2g", distance, p)
	}
}

func BenchmarkNormals(b *testing.B) {
	x, rng := make([]float64, 1000), rand.New(rand.NewPCG(1, 2))
	for b.Loop() {
		normals(x, rng)
	}
}

func BenchmarkNormFloat64(b *testing.B) {
	x, rng := make([]float64, 1000), rand.New(rand.NewPCG(1, 2))
	for b.Loop() {
		for i := range x {
			x[i] = rng.NormFloat64()
		}
	}
}
