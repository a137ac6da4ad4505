package thermo

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// addGradients adds a batch of n gradients G + √C ξ to two groups.
func addGradients(t *testing.T, g *GradientNoise, rng *rand.Rand, n int, mean, sigma [2]float64, sizes [2]int) {
	t.Helper()
	sums, squares := make([]float64, 2), make([]float64, 2)
	for l := range sums {
		for range sizes[l] {
			var total float64
			for range n {
				x := mean[l] + sigma[l]*rng.NormFloat64()
				total += x
				sums[l] += x * x
			}
			squares[l] += sq(total / float64(n))
		}
	}
	if err := g.Add(n, sums, squares); err != nil {
		t.Fatal(err)
	}
}

func TestGradientNoise(t *testing.T) {
	rng := rand.New(rand.NewPCG(40, 0))
	sizes := [2]int{5, 20}
	g, err := NewGradientNoise([]Group{{"a", sizes[0]}, {"b", sizes[1]}})
	if err != nil {
		t.Fatal(err)
	}
	mean, sigma := [2]float64{0.3, 0.1}, [2]float64{1, 0.5}
	for range 4000 {
		addGradients(t, g, rng, 8, mean, sigma, sizes)
	}
	trace := [2]float64{5, 20 * 0.25}
	signal := [2]float64{5 * 0.09, 20 * 0.01}
	temperatures, err := g.Temperatures(0.1, 8)
	if err != nil {
		t.Fatal(err)
	}
	for l, r := range g.Scales() {
		reads(t, "noise", r, trace[l]/signal[l])
		reads(t, "noise", temperatures[l], 0.1*trace[l]/(16*float64(sizes[l])))
	}
	reads(t, "noise", g.Scale(), (trace[0]+trace[1])/(signal[0]+signal[1]))
	all, err := g.Temperature(0.1, 8)
	if err != nil {
		t.Fatal(err)
	}
	reads(t, "noise", all, 0.1*(trace[0]+trace[1])/(16*25))
}

func TestGradientNoiseWithoutSignal(t *testing.T) {
	rng := rand.New(rand.NewPCG(41, 0))
	valid := 0
	for range 200 {
		g, _ := NewGradientNoise([]Group{{"a", 5}, {"b", 5}})
		for range 50 {
			addGradients(t, g, rng, 8, [2]float64{}, [2]float64{1, 1}, [2]int{5, 5})
		}
		if r := g.Scale(); r.Valid() {
			valid++
		} else if !strings.Contains(r.Invalid, "zero") {
			t.Errorf("invalid for another reason: %s", r.Invalid)
		}
	}
	if valid > 15 { // 2.5 % are expected
		t.Errorf("%d of 200 noise scales of pure noise are valid", valid)
	}
	g, _ := NewGradientNoise([]Group{{"a", 5}})
	for _, err := range []error{g.Add(1, []float64{1}, []float64{1}), g.Add(2, nil, []float64{1}), g.Add(2, []float64{1}, nil)} {
		if err == nil {
			t.Error("a malformed batch is accepted")
		}
	}
	for _, bad := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if _, err := g.Temperature(bad, 1); err == nil {
			t.Errorf("a learning rate of %g is accepted", bad)
		}
	}
	if _, err := g.Temperatures(1, 0); err == nil {
		t.Error("a batch of 0 is accepted")
	}
}

// optimise runs Adam-like normalised descent with momentum on a noisy quadratic
// whose minimum moves by drift a step, and returns ρ.
func optimise(t *testing.T, rng *rand.Rand, drift float64) Reading {
	t.Helper()
	s, err := NewStationarity([]Group{{"a", 3}, {"b", 7}})
	if err != nil {
		t.Fatal(err)
	}
	const window = 4000
	theta, u, scale, centre := make([]float64, 10), make([]float64, 10), make([]float64, 10), make([]float64, 10)
	for step := range 1000 + 2*window {
		overlap, squares := make([]float64, 2), make([]float64, 2)
		for i := range theta {
			g := (theta[i] - drift*float64(step)) + rng.NormFloat64()
			scale[i] = 0.99*scale[i] + 0.01*g*g
			u[i] = 0.8*u[i] - 0.01*g/math.Sqrt(scale[i]+1e-8)
			l := min(1, i/3)
			overlap[l] += (theta[i] - centre[i]) * u[i]
			squares[l] += u[i] * u[i]
			if step >= 1000 && step < 1000+window {
				centre[i] += theta[i] / window
			}
			theta[i] += u[i]
		}
		if step >= 1000+window {
			if err := s.Add(overlap, squares); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, r := range s.Readings() {
		if drift == 0 {
			reads(t, "optimiser", r, 1)
		}
	}
	return s.Global()
}

func TestStationarityOfAnyOptimiser(t *testing.T) {
	rng := rand.New(rand.NewPCG(42, 0))
	reads(t, "optimiser", optimise(t, rng, 0), 1)
	r := optimise(t, rng, 0.001)
	t.Logf("drifting: %v", r)
	if low, high := r.Interval(0.99); r.Valid() && low < 1 && 1 < high {
		t.Errorf("a drifting optimiser is stationary: %v", r)
	}
	s, _ := NewStationarity(quadraticGroups())
	if s.Add([]float64{1}, []float64{1, 2}) == nil || s.Add([]float64{1, 2}, nil) == nil {
		t.Error("a malformed step is accepted")
	}
	for range 100 {
		_ = s.Add([]float64{0, 0}, []float64{0, 0})
	}
	if r := s.Global(); r.Valid() {
		t.Errorf("an optimiser that stands still reads %v", r)
	}
}
