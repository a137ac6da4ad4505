package sampler

import (
	"context"
	"flag"
	"math"
	"testing"
)

var long = flag.Bool("long", false, "run the long tests")

// crossing is the normal crossing Π w_i^{2k_i}.
type crossing []float64

func (c crossing) Dim() int { return len(c) }

func (c crossing) Energy(w []float64) float64 {
	e := 1.0
	for i, k := range c {
		e *= math.Pow(w[i]*w[i], k)
	}
	return e
}

func (c crossing) Gradient(w, gradient []float64) float64 {
	for i, k := range c {
		gradient[i] = 0
		if k > 0 {
			gradient[i] = 2 * k * math.Pow(w[i]*w[i], k-1) * w[i]
		}
		for j, kj := range c {
			if j != i {
				gradient[i] *= math.Pow(w[j]*w[j], kj)
			}
		}
	}
	return c.Energy(w)
}

// reducedRank is E = |B·A|²/2: reduced-rank regression on white inputs whose
// truth has rank 0, A hidden × in, B out × hidden.
type reducedRank struct{ in, hidden, out int }

func (r reducedRank) Dim() int { return r.hidden * (r.in + r.out) }

func (r reducedRank) Energy(w []float64) float64 { return r.Gradient(w, make([]float64, len(w))) }

func (r reducedRank) Gradient(w, gradient []float64) float64 {
	a, b := w[:r.hidden*r.in], w[r.hidden*r.in:]
	ga, gb := gradient[:r.hidden*r.in], gradient[r.hidden*r.in:]
	clear(gradient)
	var e float64
	for o := range r.out {
		for i := range r.in {
			var p float64
			for h := range r.hidden {
				p += b[o*r.hidden+h] * a[h*r.in+i]
			}
			e += p * p / 2
			for h := range r.hidden {
				ga[h*r.in+i] += p * b[o*r.hidden+h]
				gb[o*r.hidden+h] += p * a[h*r.in+i]
			}
		}
	}
	return e
}

// The real log canonical thresholds of normal crossings and of reduced-rank
// regression (Aoyagi and Watanabe 2005), at temperatures so low that the terms
// that the estimator leaves out, (m−1)/ln β and smaller, do not matter.
func TestLearningCoefficients(t *testing.T) {
	for _, c := range []struct {
		name    string
		d       Density
		coldest float64
		rungs   int // of parallel tempering; 0: none
		want    float64
	}{
		{"w²", crossing{1, 0}, 1e-6, 0, 0.5},
		{"w²v⁴", crossing{1, 2}, 1e-14, 20, 0.25},
		{"w²v⁶", crossing{1, 3}, 1e-14, 20, 1.0 / 6},
		{"w²v²", crossing{1, 1}, 1e-20, 28, 0.5},
		{"rank 5-3-5", reducedRank{5, 3, 5}, 1e-6, 0, 6.5},
		{"rank 4-3-8", reducedRank{4, 3, 8}, 1e-6, 0, 6},
		{"rank 5-4-5", reducedRank{5, 4, 5}, 1e-6, 0, 8},
	} {
		if !*long && c.name != "w²" {
			continue
		}
		o := LLCOptions{Options: Options{Warmup: 1000, Draws: 2000, Temperature: c.coldest, Seed: 1}, Localisation: 1}
		if c.rungs > 0 {
			o.Hottest, o.Rungs = 1, c.rungs
		}
		l, err := LearningCoefficient(context.Background(), shared(c.d), NUTS{StepSize: 0.1, MaxDepth: 7}, make([]float64, c.d.Dim()), o)
		if err != nil {
			t.Fatal(err)
		}
		v := l.Value
		t.Logf("%s: %v, theory %.4f; %v", c.name, v, c.want, l.Zeroth.Reason)
		if math.Abs(v.Value-c.want) > 2*v.StdErr || v.StdErr > 0.05*c.want || !v.Valid() {
			t.Errorf("%s: %v, theory %.4f", c.name, v, c.want)
		}
	}
}
