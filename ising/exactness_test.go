package ising

import (
	"context"
	"flag"
	"fmt"
	"testing"
)

var precision = flag.Float64("precision", 7e-4, "standard error of the energies in the long test: 1e-4 takes three quarters of an hour of one core")

// until runs a simulation until the errors that done looks at are small.
func until(t *testing.T, c Config, done func(Point) bool) []Point {
	t.Helper()
	step := c.Sweeps
	c.Sweeps = maxSweeps
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	for at := c.Warmup + step; ; at += max(step, at/4) {
		if err := s.Advance(context.Background(), at); err != nil {
			t.Fatal(err)
		}
		enough := true
		points := s.Points()
		for _, p := range points {
			enough = enough && done(p)
		}
		if enough {
			return points
		}
	}
}

// precise is a configuration that gets small errors fast: 512 replicas in
// lanes for the local updates, two chains a temperature for the clusters.
func precise(a Algorithm, size int, temperature float64) Config {
	c := Config{Model: Model{Square, size, 1, 0}, Algorithm: a, Temperatures: []float64{temperature},
		Sweeps: 4000, Warmup: 1000, Interval: 1, Replicas: 2, Seed: 11}
	if a == SwendsenWang {
		c.Replicas = 2 * clusterReplicas(size)
	}
	if c.onBits() {
		c.Replicas, c.Interval = 1024, 4
		c.Sweeps, c.Warmup = max(400, 4*size), max(200, 4*size)
		if temperature > 2.2 && temperature < 2.3 {
			c.Replicas, c.Warmup = 512, 40*size*size // the heat bath takes some 10 L² sweeps to forget its start
		}
	}
	c.Warmup = max(c.Warmup, c.LeastWarmup())
	return c
}

// TestExactnessLong compares all algorithms with Kaufman's finite lattices and
// with Onsager's energy and Yang's magnetisation of the infinite one, to the
// precision that is asked for. The specific heat of the two smallest lattices
// comes to three times that.
func TestExactnessLong(t *testing.T) {
	if !*long {
		t.Skip("needs -long: two minutes of one core")
	}
	reference := readReference(t)
	for _, a := range algorithms {
		for _, r := range reference.Finite {
			t.Run(fmt.Sprintf("%s/%d/%s", a, r.L, r.T), func(t *testing.T) {
				small := r.L <= 8
				p := until(t, precise(a, r.L, number(t, r.T)), func(p Point) bool {
					return p.Energy.StdErr < *precision && (!small || p.SpecificHeat.StdErr < 3**precision)
				})[0]
				within(t, "energy", p.Energy, number(t, r.Energy_per_spin), *precision)
				within(t, "specific heat", p.SpecificHeat, number(t, r.Specific_heat_per_spin), 50**precision)
			})
		}
		for _, r := range reference.Infinite {
			temperature := number(t, r.T)
			if temperature > 2.2 {
				continue
			}
			size := 128 // the correlation length is below 3, at 2.2 below 15
			if temperature > 2.1 {
				size = 256
			}
			t.Run(fmt.Sprintf("%s/infinite/%s", a, r.T), func(t *testing.T) {
				p := until(t, precise(a, size, temperature), func(p Point) bool {
					return p.AbsMagnetisation.StdErr < *precision && p.Energy.StdErr < *precision
				})[0]
				within(t, "|m|", p.AbsMagnetisation, number(t, r.Magnetization), *precision)
				within(t, "energy", p.Energy, number(t, r.Energy_per_spin), *precision)
			})
		}
	}
}
