package ising

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

// enumerate returns the Boltzmann probability of each of the 65,536 states of
// a 4×4 model and their exact observables.
func enumerate(m Model, temperature float64) (p []float64, exact observables) {
	p = make([]float64, 1<<16)
	value := make([]moments, len(p))
	g := newGraph(m, 1, HeatBath, rand.NewPCG(1, 1))
	var total float64
	one := sums{make([]int64, 1), make([]int64, 1), make([]int64, 1)}
	for state := range p {
		for i := range g.spins {
			g.spins[i] = int8(state>>i&1)*2 - 1
		}
		g.tally(one, 1)
		energy := m.Coupling*float64(one.bonds[0]) - m.Field*float64(one.magnetisation[0])
		order := one.magnetisation[0]
		if m.Coupling < 0 && m.Lattice != Triangular {
			order = one.staggered[0]
		}
		p[state] = math.Exp(-energy / temperature)
		total += p[state]
		e, x := energy/16, math.Abs(float64(order))/16
		value[state] = moments{E: e, E2: e * e, AbsM: x, M2: x * x, M4: x * x * x * x}
	}
	var mean moments
	for state := range p {
		p[state] /= total
		mean.add(value[state], p[state])
	}
	return p, mean.observables(16, temperature)
}

// models are all the shapes of the energy.
var models = []Model{
	{Square, 4, 1, 0}, {Square, 4, -1, 0}, {Square, 4, 1, 0.3}, {Square, 4, -1, -0.7},
	{Triangular, 4, 1, 0}, {Triangular, 4, -1, 0.2}, {Honeycomb, 4, 1, 0}, {Honeycomb, 4, -1, 0.4},
}

var algorithms = []Algorithm{Metropolis, HeatBath, Wolff, SwendsenWang}

// TestAgainstEnumeration compares every algorithm on every model with the sum
// over all states.
func TestAgainstEnumeration(t *testing.T) {
	statistical(t)
	for _, m := range models {
		_, exact := enumerate(m, 2.5)
		for _, a := range algorithms {
			c := Config{Model: m, Algorithm: a, Temperatures: []float64{2.5}, Sweeps: 30000, Warmup: 100, Interval: 2, Replicas: 1, Seed: 5}
			if c.onBits() {
				c.Replicas = 512
				c.Sweeps = 1000
			}
			p := simulate(t, c)[0]
			name := string(m.Lattice) + " " + string(a)
			within(t, name+" energy", p.Energy, exact.energy, 0.02)
			within(t, name+" specific heat", p.SpecificHeat, exact.specificHeat, 0.04)
			within(t, name+" |m|", p.AbsMagnetisation, exact.absMagnetisation, 0.02)
			within(t, name+" susceptibility", p.Susceptibility, exact.susceptibility, 0.04)
			within(t, name+" Binder", p.Binder, exact.binder, 0.06)
		}
	}
}

// visits counts the states of a 4×4 chain, thinned to independence.
func visits(t *testing.T, c Config, draws, thin int) []float64 {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	counts := make([]float64, 1<<16)
	for done := 0; done < draws; {
		for _, ch := range s.chains {
			for range thin {
				ch.lattice.sweep(1, 1)
			}
			for r := range ch.replicas {
				state := 0
				for i := range 16 {
					state |= int(ch.lattice.spin(i%4, i/4, r)+1) / 2 << i
				}
				counts[state]++
				done++
			}
		}
	}
	return counts
}

// chiSquare returns the p-value of counts against probabilities; states that
// expect fewer than five visits are taken together.
func chiSquare(counts, p []float64) (pValue float64, cells int) {
	var n float64
	for _, x := range counts {
		n += x
	}
	var chi2, restSeen, restExpected float64
	for i, x := range counts {
		if want := n * p[i]; want >= 5 {
			chi2 += (x - want) * (x - want) / want
			cells++
		} else {
			restSeen, restExpected = restSeen+x, restExpected+want
		}
	}
	if restExpected >= 5 {
		chi2 += (restSeen - restExpected) * (restSeen - restExpected) / restExpected
		cells++
	}
	return distuv.ChiSquared{K: float64(cells - 1)}.Survival(chi2), cells
}

// TestStationaryDistribution compares the visits to all 65,536 states of the
// 4×4 lattice with the Boltzmann distribution. In twelve million draws at
// T = 10 every state is expected at least five times and is a cell of its own;
// checkerboard Metropolis without its lazy flips fails there with p = 10⁻⁵⁰.
func TestStationaryDistribution(t *testing.T) {
	statistical(t)
	for _, a := range algorithms {
		for _, temperature := range []float64{Tc, 10} {
			m := Model{Square, 4, 1, 0}
			c := Config{Model: m, Algorithm: a, Temperatures: []float64{temperature}, Sweeps: 1, Warmup: 200, Interval: 1, Replicas: 1, Seed: 9}
			draws, thin := 100_000, 4
			if c.onBits() {
				c.Replicas, draws, thin = 512, 1_000_000, 16
			}
			switch {
			case *long:
				draws = 12_000_000
			case a == Metropolis && temperature == 10:
				draws = 5_000_000
			}
			probabilities, _ := enumerate(m, temperature)
			p, cells := chiSquare(visits(t, c, draws, thin), probabilities)
			t.Logf("%s at %.3g: %d cells, p = %.3f", a, temperature, cells, p)
			if p < 1e-4 || p > 1-1e-4 {
				t.Errorf("%s at %g: p = %g over %d cells", a, temperature, p, cells)
			}
			if draws == 12_000_000 && temperature == 10 && cells != 1<<16 {
				t.Errorf("%s: %d cells, expected all states apart", a, cells)
			}
		}
	}
}
