package web

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestCoverage: two standard errors about the means of intervals cover what the
// mean of the noise is 95 times of 100, whatever its correlation and the trend;
// where they cannot be told, none are given.
func TestCoverage(t *testing.T) {
	for _, test := range []struct {
		name    string
		records int
		each    int // values to an interval
		rho     float64
		white   float64 // standard deviation of independent noise besides
		trend   func(x float64) float64
		least   float64 // share of intervals that have an error
	}{
		{"independent", 3000, 8, 0, 0, nil, 0.99},
		{"short", 60, 2, 0, 0, nil, 0.6},
		{"correlated", 3000, 8, 0.9, 0, nil, 0.99},
		{"of two kinds", 4800, 16, 0.9, 3, nil, 0.99},
		{"slow", 3000, 8, 0.98, 0, nil, 0.3},
		{"anticorrelated", 3000, 8, -0.6, 0, nil, 0.99},
		{"falling", 4800, 16, 0.5, 0, func(x float64) float64 { return 200 * math.Exp(-10*x) }, 0.99},
		{"a walk", 3000, 8, 1, 0, nil, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(3, 5))
			with, within, all := 0, 0, 0
			for range 40 {
				values := make([]float64, test.records)
				state := 0.0
				if test.rho < 1 {
					state = rng.NormFloat64() / math.Sqrt(1-test.rho*test.rho)
				}
				for i := range values {
					values[i] = state + test.white*rng.NormFloat64()
					state = test.rho*state + rng.NormFloat64()
				}
				trend := make([]float64, test.records)
				for i := range trend {
					if test.trend != nil {
						trend[i] = test.trend(float64(i) / float64(test.records))
					}
					values[i] += trend[i]
				}
				z := readNoise(values)
				for i := 0; i < test.records; i += test.each {
					all++
					e := z.stderr(i, i+test.each)
					if !finite(e) {
						continue
					}
					var off float64
					for j := range test.each {
						off += (values[i+j] - trend[i+j]) / float64(test.each)
					}
					with++
					if math.Abs(off) <= 2*e {
						within++
					}
				}
			}
			share, covered := float64(with)/float64(all), float64(within)/float64(with)
			t.Logf("%.3f have an error, %.3f of these cover", share, covered)
			if share < test.least || test.least == 0 && share > 0.1 {
				t.Errorf("%.3f of the intervals have an error, expected at least %v", share, test.least)
			}
			if test.least > 0 && (covered < 0.91 || covered > 0.98) {
				t.Errorf("two standard errors cover in %.3f of the intervals", covered)
			}
		})
	}
}

// TestNoiseOfSteps: what changes at once is not noise about it.
func TestNoiseOfSteps(t *testing.T) {
	values := make([]float64, 1000)
	for i := range values {
		values[i] = 0.1
		if i >= 500 {
			values[i] = 0.01
		}
	}
	if e := readNoise(values).stderr(0, 16); e != 0 && finite(e) {
		t.Errorf("the error of a constant rate is %v", e)
	}
	if z := readNoise(values[:3]); finite(z.stderr(0, 3)) && z.stderr(0, 3) != 0 {
		t.Error("three values have an error")
	}
}

func BenchmarkNoise(b *testing.B) {
	rng := rand.New(rand.NewPCG(3, 5))
	values := make([]float64, 4800)
	for i := range values {
		values[i] = rng.NormFloat64()
	}
	for b.Loop() {
		readNoise(values)
	}
}
