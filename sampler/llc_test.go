package sampler

import (
	"context"
	"flag"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kelvin-ml/kelvin/thermo"
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

// The burn-in is what a series needs to forget its beginning: nothing of one in
// equilibrium, what falls of one that falls, and no answer while it does.
func TestBurnIn(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for _, c := range []struct {
		falls   int
		most    int
		settled bool
		atLeast int
	}{{0, 150, true, 0}, {200, 400, true, 100}, {10000, 500, false, 500}} {
		chains := make([][]float64, 4)
		for i := range chains {
			for n := range 1000 {
				chains[i] = append(chains[i], rng.NormFloat64()+20*max(1-float64(n)/float64(max(c.falls, 1)), 0))
			}
		}
		if got, settled := burnIn(chains); got < c.atLeast || got > c.most || settled != c.settled {
			t.Errorf("falls for %d draws: burn-in %d, settled %v", c.falls, got, settled)
		}
	}
}

// Chains that begin far from where they settle, without a warm-up: the reading
// is refused or the way there is left out, and never counted.
func TestLearningCoefficientWithoutWarmup(t *testing.T) {
	d := reducedRank{5, 3, 5}
	for _, draws := range []int{30, 600} {
		o := LLCOptions{Options: Options{Draws: draws, Temperature: 1e-6, Seed: 1}, Localisation: 1}
		l, err := LearningCoefficient(context.Background(), shared(d), NUTS{StepSize: 0.3, MaxDepth: 7}, make([]float64, d.Dim()), o)
		if err != nil {
			t.Fatal(err)
		}
		if t.Logf("%d draws: %v, burn-in %d, %v", draws, l.Value, l.BurnIn, l.Findings); l.Value.Valid() && math.Abs(l.Value.Value-6.5) > 4*l.Value.StdErr {
			t.Errorf("%d draws: %v counts as valid", draws, l.Value)
		}
	}
}

// Parameters that are not at a minimum are refused, however small the error of the
// chains, and those at one are not.
func TestLearningCoefficientOffTheMinimum(t *testing.T) {
	d := gaussian{lambda: []float64{1, 10, 100}}
	for _, c := range []struct {
		off   float64 // β·E at the parameters
		valid bool
	}{{0, true}, {0.01, true}, {1, false}} {
		const temperature = 1e-4
		theta := []float64{math.Sqrt(2 * c.off * temperature), 0, 0}
		o := LLCOptions{Options: Options{Warmup: 300, Draws: 1000, Temperature: temperature, Seed: 1}, Localisation: 1}
		l, err := LearningCoefficient(context.Background(), shared(d), NUTS{StepSize: 0.1}, theta, o)
		if err != nil {
			t.Fatal(err)
		}
		found := slices.ContainsFunc(l.Findings, func(f thermo.Finding) bool { return f.ID == "not-a-minimum" })
		if l.Value.Valid() != c.valid || found == c.valid || math.Abs(l.Beta*(l.Minimum-l.Lowest)-c.off) > 1e-3 {
			t.Errorf("%g off: %v, lowest %g, findings %v", c.off, l.Value, l.Lowest, l.Findings)
		}
		near(t, "learning coefficient", l.Value.Value, 1.5-c.off, l.Value.StdErr)
	}
}

// A reading that is refused has a finding.
func TestLearningCoefficientOfFewDraws(t *testing.T) {
	o := LLCOptions{Options: Options{Warmup: 50, Draws: 3, Seed: 1}, Localisation: 1}
	l, err := LearningCoefficient(context.Background(), shared(gaussian{lambda: []float64{1, 2}}), NUTS{StepSize: 0.5}, []float64{0, 0}, o)
	if err != nil || l.Value.Valid() || len(l.Findings) == 0 {
		t.Errorf("%+v, %v", l, err)
	}
}
