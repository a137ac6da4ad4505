package ising

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"
)

// gibbs draws samples of spins with normal couplings from one long chain, and
// returns the temperature in units of the couplings as they came out.
func gibbs(samples, n int, temperature float64, seed uint64) (x *mat.Dense, truth float64) {
	rng := rand.New(rand.NewPCG(77, seed))
	j, square := mat.NewDense(n, n, nil), 0.0
	for i := range n {
		for k := range i {
			c := rng.NormFloat64() / math.Sqrt(float64(n))
			j.Set(i, k, c)
			j.Set(k, i, c)
			square += 2 * c * c / float64(n)
		}
	}
	s := make([]float64, n)
	for i := range s {
		s[i] = float64(2*rng.IntN(2) - 1)
	}
	x = mat.NewDense(samples, n, nil)
	for k := -5; k < samples; k++ {
		for range 20 {
			for i := range s {
				h := 0.0
				for l, c := range j.RawRowView(i) {
					h += c * s[l]
				}
				s[i] = -1
				if rng.Float64()*(1+math.Exp(-2*h/temperature)) < 1 {
					s[i] = 1
				}
			}
		}
		if k >= 0 {
			x.SetRow(k, s)
		}
	}
	return x, temperature / math.Sqrt(square)
}

// TestGlassTemperature: few samples of many spins read the temperature with an
// error that covers, or say that they do not tell.
func TestGlassTemperature(t *testing.T) {
	statistical(t)
	seeds := uint64(1)
	if *long {
		seeds = 4
	}
	for _, c := range []struct {
		samples     int
		temperature float64
		reason      string // of what is not valid
	}{
		{150, 0.8, "samples of 64 variables"}, {150, 1.2, "only: some"}, {150, 2, ""}, {150, 6, "150 samples"}, {500, 1.2, ""},
	} {
		if !*long && (c.temperature == 1.2 || c.samples > 150) {
			continue // seconds each
		}
		square := 0.0
		for seed := range seeds {
			x, truth := gibbs(c.samples, 64, c.temperature, seed)
			r, err := glassTemperature(context.Background(), x)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d samples at %.3f: %v", c.samples, truth, r)
			if !r.Valid() && (c.reason == "" || !strings.Contains(r.Invalid, c.reason)) {
				t.Errorf("%d samples at %g: %v", c.samples, c.temperature, r)
			}
			if r.Valid() {
				z := (r.Value - truth) / r.StdErr
				square += z * z / float64(seeds)
			}
			if c.temperature == 0.8 && r.Valid() {
				t.Errorf("%v is valid", r)
			}
		}
		if square > 4 {
			t.Errorf("%d samples at %g: root mean square z %.1f", c.samples, c.temperature, math.Sqrt(square))
		}
	}
}
