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

// exact is β⟨E⟩ of Π w² v_i^{2k} and of |B·A|²/2 under exp(−βE) and N(0, 1) priors,
// γ = 1. Over the rows of B, or w, the integral is normal: Z is the mean of
// Π (1 + βs)^{−rows/2} over the s, the eigenvalues of A·Aᵀ or 2v^{2k}, for which
// this is quadrature in log s. density is theirs without the repulsion |s_i − s_j|.
func exact(beta float64, rows, eigenvalues int, lowest float64, density func(s float64) float64) float64 {
	const h = 0.15
	var s, weight, share []float64
	for x := math.Log(lowest); x < math.Log(200); x += h {
		v := math.Exp(x)
		s = append(s, v)
		weight = append(weight, v*density(v)*math.Pow(1+beta*v, -float64(rows)/2))
		share = append(share, beta*v/(1+beta*v)*float64(rows)/2)
	}
	var z, sum float64
	var add func(from, left int, chosen []int, w, n float64)
	add = func(from, left int, chosen []int, w, n float64) {
		if left == 0 {
			z += w
			sum += w * n
			return
		}
		for i := from; i < len(s); i++ {
			v := w * weight[i]
			for _, j := range chosen {
				v *= s[i] - s[j]
			}
			add(i+1, left-1, append(chosen, i), v, n+share[i])
		}
	}
	add(0, eigenvalues, make([]int, 0, eigenvalues), 1, 0)
	return sum / z
}

// wishart is the density of the eigenvalues of A·Aᵀ, A hidden × in.
func wishart(in, hidden int) func(s float64) float64 {
	return func(s float64) float64 { return math.Pow(s, float64(in-hidden-1)/2) * math.Exp(-s/2) }
}

// power is the density of s = 2v^{2k}.
func power(k float64) func(s float64) float64 {
	return func(s float64) float64 {
		v := math.Pow(s/2, 1/(2*k))
		return v / s * math.Exp(-v*v/2)
	}
}

// Learning coefficients of normal crossings and of reduced-rank regression
// (Aoyagi and Watanabe 2005), at temperatures so low that the terms that the
// estimator leaves out, (m − 1)/ln β and smaller, are small. What it should read
// at its β is known exactly; over many seeds the readings scatter about that as
// their errors say.
func TestLearningCoefficients(t *testing.T) {
	for _, c := range []struct {
		name          string
		d             Density
		coldest       float64
		kernel        NUTS
		warmup, draws int
		rungs         int     // of parallel tempering; 0: none
		theory        float64 // β → ∞
		at            func(beta float64) float64
	}{
		{"w²", crossing{1, 0}, 1e-6, NUTS{StepSize: 0.1}, 300, 1000, 0, 0.5, func(beta float64) float64 { return beta / (1 + 2*beta) }},
		{"w²v⁴", crossing{1, 2}, 1e-14, NUTS{StepSize: 0.1, MaxDepth: 4}, 500, 4000, 14, 0.25, func(beta float64) float64 { return exact(beta, 1, 1, 1e-40, power(2)) }},
		{"w²v⁶", crossing{1, 3}, 1e-14, NUTS{StepSize: 0.1, MaxDepth: 4}, 500, 4000, 14, 1.0 / 6, func(beta float64) float64 { return exact(beta, 1, 1, 1e-60, power(3)) }},
		{"w²v²", crossing{1, 1}, 1e-20, NUTS{StepSize: 0.1, MaxDepth: 3}, 1000, 4000, 28, 0.5, func(beta float64) float64 { return exact(beta, 1, 1, 1e-50, power(1)) }},
		{"rank 5-3-5", reducedRank{5, 3, 5}, 1e-4, NUTS{StepSize: 0.1, MaxDepth: 8}, 500, 1000, 0, 6.5, func(beta float64) float64 { return exact(beta, 5, 3, 1e-8, wishart(5, 3)) }},
		{"rank 4-3-8", reducedRank{4, 3, 8}, 1e-4, NUTS{StepSize: 0.1, MaxDepth: 8}, 500, 1000, 0, 6, func(beta float64) float64 { return exact(beta, 8, 3, 1e-8, wishart(4, 3)) }},
		{"rank 5-4-5", reducedRank{5, 4, 5}, 1e-4, NUTS{StepSize: 0.1, MaxDepth: 8}, 500, 1000, 0, 8, func(beta float64) float64 { return exact(beta, 5, 4, 1e-8, wishart(5, 4)) }},
	} {
		seeds := 20
		if !*long {
			if seeds = 2; c.name != "w²" && c.name != "w²v⁴" {
				continue
			}
		}
		want := c.at(1 / c.coldest)
		var sum, squares, variance, refused float64
		within := 0
		for seed := range seeds {
			o := LLCOptions{Options: Options{Warmup: c.warmup, Draws: c.draws, Temperature: c.coldest, Seed: uint64(seed + 1)}, Localisation: 1}
			if c.rungs > 0 {
				o.Hottest, o.Rungs = 1, c.rungs
			}
			l, err := LearningCoefficient(context.Background(), shared(c.d), c.kernel, make([]float64, c.d.Dim()), o)
			if err != nil {
				t.Fatal(err)
			}
			v := l.Value
			z := (v.Value - want) / v.StdErr
			sum += v.Value / float64(seeds)
			squares += z * z / float64(seeds)
			variance += v.StdErr * v.StdErr / float64(seeds)
			if math.Abs(z) <= 2 {
				within++
			}
			if !v.Valid() {
				refused++
			}
			t.Logf("%s: %v, %v", c.name, v, l.Zeroth.Reason)
			if math.Abs(z) > 4 && v.Valid() {
				t.Errorf("%s, seed %d: %v, exactly %.4f", c.name, seed+1, v, want)
			}
		}
		t.Logf("%s: mean %.4f, error %.4f, exactly %.4f, theory %.4f; rms z %.2f, %d of %d within 2, %v refused", c.name, sum, math.Sqrt(variance), want, c.theory, math.Sqrt(squares), within, seeds, refused)
		if math.Sqrt(variance) > 0.05*want {
			t.Errorf("%s: a standard error of %.2g says little", c.name, math.Sqrt(variance))
		}
		if *long && (squares > 1.3*1.3 || within < 17 || refused > 2) {
			t.Errorf("%s: rms z %.2f, %d of %d within two standard errors, %v refused", c.name, math.Sqrt(squares), within, seeds, refused)
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
