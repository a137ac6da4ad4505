package ising

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/kelvin-ml/kelvin/thermo"
)

// TestErrorsCover compares the scatter over seeds with the errors of what is
// declared valid, at and beside the critical temperature: of one chain, and of
// few and many replicas.
func TestErrorsCover(t *testing.T) {
	statistical(t)
	const size, seeds = 16, 40
	temperatures := []float64{Tc}
	if *long {
		temperatures = []float64{2.15, Tc, 2.4}
	}
	for _, temperature := range temperatures {
		base := Config{Model: Model{Square, size, 1, 0}, Algorithm: Metropolis, Temperatures: []float64{temperature}, Interval: 2, Sweeps: 40_000, Warmup: 1000, Replicas: 512}
		truth := simulate(t, base)[0]
		for _, run := range []struct {
			algorithm        Algorithm
			replicas, sweeps int
			valid            bool // expected at Tc
		}{
			{Metropolis, 1, 500, false}, {Metropolis, 1, 16_000, true}, {Metropolis, 8, 20, false}, {Metropolis, 64, 200, true},
			{HeatBath, 16, 3000, true}, {Wolff, 1, 300, false}, {Wolff, 1, 4000, true}, {SwendsenWang, 1, 4000, true},
		} {
			c := base
			c.Algorithm, c.Replicas, c.Sweeps = run.algorithm, run.replicas, run.sweeps
			squares, valid := map[string]float64{}, map[string]float64{}
			for seed := range seeds {
				c.Seed = uint64(100 + seed)
				p := simulate(t, c)[0]
				for _, pair := range [][2]thermo.Reading{{p.Energy, truth.Energy}, {p.AbsMagnetisation, truth.AbsMagnetisation},
					{p.SpecificHeat, truth.SpecificHeat}, {p.Susceptibility, truth.Susceptibility}, {p.Binder, truth.Binder}} {
					if got, want := pair[0], pair[1]; got.Valid() {
						z := (got.Value - want.Value) / math.Hypot(got.StdErr, want.StdErr)
						squares[got.Name] += z * z
						valid[got.Name]++
					}
				}
			}
			text := fmt.Sprintf("%s at %.4g, %d × %d sweeps:", c.Algorithm, temperature, c.Replicas, c.Sweeps)
			for name, n := range valid {
				rms := math.Sqrt(squares[name] / n)
				text += fmt.Sprintf(" %s %.2f", name, rms)
				if n > 20 && (rms < 0.6 || rms > 1.5) {
					t.Errorf("%s %s: root mean square z %.2f over %g seeds", text, name, rms, n)
				}
			}
			t.Log(text)
			if temperature == Tc && (valid["susceptibility"] == seeds) != run.valid {
				t.Errorf("%s susceptibility valid for %g of %d seeds, expected all: %v", text, valid["susceptibility"], seeds, run.valid)
			}
		}
	}
}

// TestDoubt: what cannot be told says what would tell it.
func TestDoubt(t *testing.T) {
	at := func(change func(*Config)) Point {
		c := Config{Model: Model{Square, 32, 1, 0}, Algorithm: Metropolis, Temperatures: []float64{Tc}, Sweeps: 200, Warmup: 2000, Interval: 1, Replicas: 1, Seed: 1}
		change(&c)
		return simulate(t, c)[0]
	}
	for _, x := range []struct {
		what, want string
		change     func(*Config)
		of         func(Point) thermo.Reading
	}{
		{"short chain", "sweeps are too few", func(*Config) {}, func(p Point) thermo.Reading { return p.Susceptibility }},
		{"short warm-up", "does not forget the start", func(c *Config) { c.Warmup, c.Replicas = 20, 64 }, func(p Point) thermo.Reading { return p.AbsMagnetisation }},
		{"short chain in a field", "(sw needs fewer)", func(c *Config) { c.Model.Field = 1e-6 }, func(p Point) thermo.Reading { return p.Binder }},
		{"hot Metropolis", "heatbath needs few", func(c *Config) { c.Temperatures[0] = 1e5 }, func(p Point) thermo.Reading { return p.MeasuredTemperature }},
		{"cold", "no measurement differs", func(c *Config) { c.Temperatures[0] = 0.1 }, func(p Point) thermo.Reading { return p.SpecificHeat }},
		{"cold in three replicas", "no measurement differs", func(c *Config) { c.Temperatures[0], c.Replicas = 0.1, 3 }, func(p Point) thermo.Reading { return p.AbsMagnetisation }},
		{"cold in many replicas", "no measurement differs", func(c *Config) { c.Temperatures[0], c.Replicas = 0.1, 700 }, func(p Point) thermo.Reading { return p.Energy }},
		{"strong field", "no measurement differs", func(c *Config) { c.Temperatures[0], c.Model.Field = 0.001, 1e6 }, func(p Point) thermo.Reading { return p.SpecificHeat }},
		{"frustrated", "", func(c *Config) {
			c.Model.Lattice, c.Model.Coupling, c.Temperatures[0] = Triangular, -1, 2
		}, func(p Point) thermo.Reading { return p.Energy }},
	} {
		r := x.of(at(x.change))
		if x.want == "" != r.Valid() || !strings.Contains(r.Invalid, x.want) {
			t.Errorf("%s: %v, expected %q", x.what, r, x.want)
		}
		if r.Name == "specific_heat" && r.Value != 0 || r.Name == "abs_magnetization" && r.Value > 1 {
			t.Errorf("%s: %v", x.what, r)
		}
	}
}

// TestGroups: the moments of groups of replicas say the same as those of the
// whole, whatever shares a chain.
func TestGroups(t *testing.T) {
	c := Config{Model: Model{Square, 10, 1, 0}, Algorithm: Metropolis, Temperatures: []float64{3}, Sweeps: 50, Warmup: 100, Interval: 1, Replicas: 600, Seed: 7}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	m := s.Config.measured(s.chains)
	if len(m.blocks) != 64+11 || m.weight != 600*50 {
		t.Errorf("%d groups of weight %g, expected 75 of 30000", len(m.blocks), m.weight)
	}
	p := s.Points()[0]
	exact, heat := Torus(10, 3)
	within(t, "energy", p.Energy, exact, 0.01)
	within(t, "specific heat", p.SpecificHeat, heat, 0.02)
}

// TestExtend: a run that is made longer is the longer run, bit for bit.
func TestExtend(t *testing.T) {
	c := configurations()[2]
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	run := func(s *Simulation) {
		if err := s.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	run(s)
	if err := s.Extend(c.Sweeps - 1); err == nil {
		t.Error("a shorter run passed")
	}
	if err := s.Extend(2 * c.Sweeps); err != nil {
		t.Fatal(err)
	}
	run(s)
	c.Sweeps *= 2
	whole, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	run(whole)
	if a, b := show(bare(whole)), show(bare(s)); a != b {
		t.Errorf("extended:\n%s\nwant\n%s", b, a)
	}
}
