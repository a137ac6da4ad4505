package collapse

import (
	"context"
	"encoding/json"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/kelvin-ml/kelvin/thermo"
)

var long = flag.Bool("long", false, "run the long tests")

func within(t *testing.T, what string, r thermo.Reading, want, sigmas float64) {
	t.Helper()
	if !r.Valid() || !(math.Abs(r.Value-want) <= sigmas*r.StdErr+1e-9) {
		t.Errorf("%s: %v (%s), expected %g", what, r, r.Invalid, want)
	}
}

func simulate(t *testing.T, w *World, c Config) []Generation {
	t.Helper()
	g, err := Simulate(t.Context(), w, c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

type law struct {
	Name                   string
	N, T                   float64
	H0, Value, Limit_ratio float64
	Table                  []struct{ N, Tau, Mu_c, Mu_fold float64 }
}

// TestLaws compares simulations with the exact laws, and those with the numbers of
// the reference.
func TestLaws(t *testing.T) {
	text, err := os.ReadFile("testdata/collapse.json")
	if err != nil {
		t.Fatal(err)
	}
	var reference struct{ Laws []law }
	if err := json.Unmarshal(text, &reference); err != nil {
		t.Fatal(err)
	}
	laws := reference.Laws
	uniform5, err := NewCategorical(5, true) // H₀ = 1 − 1/5
	if err != nil {
		t.Fatal(err)
	}

	c := Config{Mode: Replace, Temperature: 1, Generations: int(laws[0].T), Samples: int(laws[0].N), Runs: 2000, Seed: 1}
	g := simulate(t, uniform5, c)
	exact := Laws(uniform5, c)[0]
	if got := exact.Values[c.Generations]; math.Abs(got-laws[0].Value) > 1e-12 {
		t.Errorf("law %g, reference %g", got, laws[0].Value)
	}
	for i := range g {
		within(t, "Wright-Fisher", g[i].Diversity, exact.Values[i], 3.5)
	}
	if Judge(g) != Collapse {
		t.Errorf("%s", Judge(g))
	}

	c = Config{Mode: Accumulate, Temperature: 1, Generations: 60, Samples: int(laws[1].N), Runs: 1000, Seed: 2}
	g = simulate(t, uniform5, c)
	exact = Laws(uniform5, c)[0]
	for i := range g {
		within(t, "accumulation", g[i].Diversity, exact.Values[i], 3.5)
	}
	// The tail of the product beyond t is 1 − 1/(n t) nearly.
	if got := exact.Values[60] / 0.8 * (1 - 1.0/(20*60)); math.Abs(got-laws[1].Limit_ratio) > 1e-5 {
		t.Errorf("limit %g, reference %g", got, laws[1].Limit_ratio)
	}
	if Judge(g) != Stable {
		t.Errorf("%s", Judge(g))
	}

	c = Config{Mode: Replace, Temperature: 1, Generations: int(laws[2].T), Samples: int(laws[2].N), Runs: 2000, Seed: 3}
	g = simulate(t, NewGaussian(), c)
	exact = Laws(NewGaussian(), c)[0]
	if got := exact.Values[c.Generations]; math.Abs(got-laws[2].Value) > 1e-9 {
		t.Errorf("law %g, reference %g", got, laws[2].Value)
	}
	for i := range g {
		within(t, "Gaussian", g[i].LogVariance, exact.Values[i], 3.5)
	}
	// The unbiased refit differs by t ln(n/(n − 1)).
	if got := exact.Values[c.Generations] + laws[3].T*math.Log(20.0/19); math.Abs(got-laws[3].Value) > 1e-9 {
		t.Errorf("unbiased %g, reference %g", got, laws[3].Value)
	}

	for _, r := range laws[4].Table {
		if got := CriticalFresh(r.Tau); math.Abs(got-r.Mu_c) > 1e-12 {
			t.Errorf("μ_c(%g) = %g, reference %g", r.Tau, got, r.Mu_c)
		}
		if got := Fold(int(r.N), r.Tau); math.Abs(got-r.Mu_fold) > 1e-4 {
			t.Errorf("fold(%g, %g) = %g, reference %g", r.N, r.Tau, got, r.Mu_fold)
		}
	}
}

// TestHot heats and cools: samples above temperature 1 end uniform, below it in one
// class, and enough fresh data hold both.
func TestHot(t *testing.T) {
	zipf, err := NewCategorical(10, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		t, fresh float64
		want     Verdict
	}{{0.8, 0, Collapse}, {1.3, 0, HeatDeath}, {0.95, 3, Stable}, {1.05, 3, Stable}} {
		config := Config{Mode: Replace, Temperature: c.t, Fresh: c.fresh, Generations: 25, Samples: 4000, Runs: 8, Seed: 1}
		g := simulate(t, zipf, config)
		if got := Judge(g); got != c.want {
			t.Errorf("τ = %g, μ = %g: %s, expected %s", c.t, c.fresh, got, c.want)
		}
		// So many samples follow the law of infinitely many.
		for _, l := range Laws(zipf, config) {
			if l.Quantity == "entropy" {
				if got := g[25].Entropy.Value; math.Abs(got-l.Values[25]) > 0.03 {
					t.Errorf("τ = %g: entropy %g, in the limit %g", c.t, got, l.Values[25])
				}
			}
		}
	}
}

// TestModels fits every model to its own world: real data get about the energy
// that they should, samples the temperature they were drawn at.
func TestModels(t *testing.T) {
	worlds := []*World{NewGaussian(), NewMixture(), NewFlow(), NewNgram(), NewKernels()}
	if *long {
		worlds = append(worlds, NewTransformer())
	}
	for _, w := range worlds {
		r := rand.New(rand.NewPCG(3, 4))
		data, err := w.Truth.Sample(4000, 1, r)
		if err != nil {
			t.Fatal(err)
		}
		m := w.New()
		if err := m.Fit(data, r); err != nil {
			t.Fatal(err)
		}
		fresh, err := w.Truth.Sample(4000, 1, r)
		if err != nil {
			t.Fatal(err)
		}
		best, got := w.Truth.Energy(fresh), m.Energy(fresh)
		// A flow of piecewise linear maps costs a little more; a transformer has less
		// than it needs; a table of counts is noisy.
		allowed := map[string]float64{"flow": 0.15, "kde": 0.45, "ngram": 0.02, "transformer": 0.25}[w.Name] + 0.03
		if got < best-0.02 || got > best+allowed {
			t.Errorf("%s: energy %g, of the world %g", w.Name, got, best)
		}
		if s := m.Entropy(r); math.Abs(s-best) > allowed+0.07 {
			t.Errorf("%s: entropy %g, of the world %g", w.Name, s, best)
		}
		for _, temperature := range []float64{0.7, 1, 1.5} {
			if w.Name == "kde" {
				break // smears the world: see TestKernels
			}
			own, err := m.Sample(2000, temperature, r)
			if err != nil {
				t.Fatal(err)
			}
			tolerance := 0.06
			if w.Name == "mixture" {
				tolerance = 0.12 // clouds that overlap
			}
			if got := m.Temperature(own); math.Abs(got/temperature-1) > tolerance {
				t.Errorf("%s: samples at %g read %g", w.Name, temperature, got)
			}
		}
		tail := 0.0
		for i := range fresh.Len() {
			if w.Tail(fresh, i) {
				tail++
			}
		}
		if share := tail / float64(fresh.Len()); math.Abs(share-0.1) > 0.02 {
			t.Errorf("%s: %g of the world is in its tail", w.Name, share)
		}
	}
}

func TestSimulateRefuses(t *testing.T) {
	w := NewGaussian()
	good := Config{Mode: Replace, Temperature: 1, Generations: 2, Samples: 5, Runs: 2}
	for _, spoil := range []func(*Config){
		func(c *Config) { c.Mode = "other" }, func(c *Config) { c.Temperature = 0 }, func(c *Config) { c.Temperature = math.NaN() },
		func(c *Config) { c.Fresh = -1 }, func(c *Config) { c.Generations = 0 }, func(c *Config) { c.Samples = 1 }, func(c *Config) { c.Runs = 1 },
	} {
		c := good
		spoil(&c)
		if _, err := Simulate(t.Context(), w, c, nil); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	good.Generations = 100
	g, err := Simulate(ctx, w, good, func(done, _ int) {
		if done == 40 {
			cancel()
		}
	})
	if err == nil || len(g) < 2 || len(g) > 60 {
		t.Errorf("%d generations after an interruption, %v", len(g), err)
	}
}

// TestKernels draws from powers of a kernel density of three points, whose moments are
// found by summing over a grid.
func TestKernels(t *testing.T) {
	k := &kernels{x: []float64{0, 0, 1, 0, 4, 2}, h: [2]float64{0.7, 0.5}}
	r := rand.New(rand.NewPCG(1, 8))
	for _, temperature := range []float64{0.6, 1, 1.8} {
		d, err := k.Sample(20_000, temperature, r)
		if err != nil {
			t.Fatal(err)
		}
		z, mean, second := 0.0, 0.0, 0.0
		for x := -6.0; x < 10; x += 0.05 {
			for y := -6.0; y < 8; y += 0.05 {
				p, _ := k.terms(x, y, 1)
				w := math.Pow(p, 1/temperature)
				z, mean, second = z+w, mean+w*x, second+w*x*x
			}
		}
		mean, second = mean/z, second/z
		got := 0.0
		for i := range d.Len() {
			got += d.X[2*i] / float64(d.Len())
		}
		if stderr := math.Sqrt((second - mean*mean) / 20_000); math.Abs(got-mean) > 4*stderr {
			t.Errorf("at %g the mean is %g ± %g, expected %g", temperature, got, stderr, mean)
		}
	}
}
