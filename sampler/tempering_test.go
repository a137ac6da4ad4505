package sampler

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"
)

// A double well whose barrier of 16 T no chain crosses by itself. Tempering
// finds the weight of the shallow well, the energies of all rungs, and makes the
// swaps equally likely.
func TestTemperingCrossesBarriers(t *testing.T) {
	const T = 0.5
	d := doubleWell{8}
	integrate := func(temperature float64, f func(x float64) float64) float64 {
		var mass, sum float64
		for x := -3.0; x < 3; x += 1e-4 {
			p := math.Exp(-d.Energy([]float64{x}) / temperature)
			mass += p
			sum += p * f(x)
		}
		return sum / mass
	}
	o := Options{Warmup: 2000, Draws: 20000, Thin: 1, Temperature: T, Seed: 1}
	r, err := RunTempered(context.Background(), shared(d), HMC{StepSize: 0.1, Steps: 4}, Ladder{Hottest: 10, Rungs: 6}, o)
	if err != nil {
		t.Fatal(err)
	}
	right := transform(r.Chain(0), func(x float64) float64 {
		if x > 0 {
			return 1
		}
		return 0
	})
	var got float64
	for _, c := range right {
		for _, x := range c {
			got += x / float64(len(right)*len(c))
		}
	}
	near(t, "weight of the shallow well", got, integrate(T, func(x float64) float64 { return math.Max(0, math.Copysign(1, x)) }), MCSE(right))
	if se := MCSE(right); se > 0.004 {
		t.Errorf("the standard error %.2g says little", se)
	}
	for i, temperature := range r.Temperatures {
		want := integrate(temperature, func(x float64) float64 { return d.Energy([]float64{x}) })
		near(t, "energy of a rung", r.Energies[i].Value, want, r.Energies[i].StdErr)
		square := integrate(temperature, func(x float64) float64 { e := d.Energy([]float64{x}); return e * e })
		near(t, "heat capacity of a rung", r.Capacities[i].Value, (square-want*want)/(temperature*temperature), r.Capacities[i].StdErr)
		if e := r.Energies[i]; !e.Valid() || e.StdErr > 0.02*max(math.Abs(want), 1) || !(e.ESS > 1000) {
			t.Errorf("rung %d: the energy %v says little", i, e)
		}
	}
	low, high := r.SwapRates[0], r.SwapRates[0]
	for _, rate := range r.SwapRates {
		low, high = min(low, rate), max(high, rate)
	}
	if high-low > 0.06 {
		t.Errorf("swap rates %v are not level", r.SwapRates)
	}
	if r.RoundTrips < 1000 {
		t.Errorf("%d round trips", r.RoundTrips)
	}
	for _, reading := range r.Thermometers() {
		near(t, reading.Name, reading.Value, T, reading.StdErr)
	}
	// Without tempering the chains do not meet, and the diagnostics say so.
	alone := run(t, d, NUTS{StepSize: 0.1}, Options{Warmup: 500, Draws: 2000, Temperature: T, Seed: 1})
	if s := alone.Summaries()[0]; s.RHat < 1.5 {
		t.Errorf("R̂ %.2f of chains in different wells", s.RHat)
	}
}

func TestAdaptLadder(t *testing.T) {
	level := adaptLadder([]float64{1, 2, 4, 8}, []float64{0.5, 0.5, 0.5})
	skewed := adaptLadder([]float64{1, 2, 4, 8}, []float64{0.9, 0.3, 0.3})
	for i, want := range []float64{1, 2, 4, 8} {
		if math.Abs(level[i]-want) > 1e-12 {
			t.Errorf("a level ladder moved: %v", level)
		}
	}
	if skewed[0] != 1 || skewed[3] != 8 || !(skewed[1] < 2 && skewed[2] < 4 && skewed[1] < skewed[2]) {
		t.Errorf("a barrier at the cold end gives %v", skewed)
	}
}

// Slow cooling from the shallow well ends in the deeper one, nearly always.
func TestAnneal(t *testing.T) {
	d := doubleWell{3}
	shallow := 0
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		for _, schedule := range []Schedule{Geometric(5, 0.01), Linear(5, 0.01)} {
			last, best, err := Anneal(context.Background(), d, SGHMC{0.05, 1}, []float64{1}, schedule, 20000, rng)
			if err != nil {
				t.Fatal(err)
			}
			if last.Theta[0] > 0 {
				shallow++
			}
			if math.Abs(best[0]+1.04) > 0.05 {
				t.Errorf("seed %d: best %v", seed, best)
			}
		}
	}
	if shallow > 4 {
		t.Errorf("%d of 40 ended in the shallow well", shallow)
	}
	if _, _, err := Anneal(context.Background(), d, SGHMC{0.05, 1}, []float64{1}, Linear(1, -1), 100, rand.New(rand.NewPCG(1, 1))); err == nil {
		t.Error("a negative temperature: no error")
	}
}
