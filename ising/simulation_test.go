package ising

import (
	"context"
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/kelvin-ml/kelvin/thermo"
)

var long = flag.Bool("long", false, "run the long tests")

// statistical skips a test of numbers, not of concurrency, under -short, as the
// race detector is run.
func statistical(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short leaves out the statistics")
	}
}

// within fails unless the reading is within four standard errors of the exact
// value and its error is at most so large.
func within(t *testing.T, what string, r thermo.Reading, exact, largest float64) {
	t.Helper()
	z := (r.Value - exact) / r.StdErr
	t.Logf("%-40s %-24s exact %.6f  z %+.2f  ess %.3g", what, thermo.FormatError(r.Value, r.StdErr), exact, z, r.ESS)
	if !r.Valid() || !(math.Abs(z) <= 4) {
		t.Errorf("%s: %v, exact %g (z = %.1f)", what, r, exact, z)
	}
	if !(r.StdErr <= largest) {
		t.Errorf("%s: error %g, expected at most %g", what, r.StdErr, largest)
	}
}

func simulate(t *testing.T, c Config) []Point {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	return s.Points()
}

var square = Model{Lattice: Square, Size: 16, Coupling: 1}

// TestTorusQuick compares every algorithm with Kaufman's finite lattices; the
// long test does so to 10⁻⁴.
func TestTorusQuick(t *testing.T) {
	statistical(t)
	for _, a := range algorithms {
		for _, size := range []int{4, 16, 64} {
			c := Config{Model: square, Algorithm: a, Temperatures: []float64{1.8, Tc, 3}, Sweeps: 800, Warmup: 400, Interval: 4, Replicas: 512, Seed: 3}
			c.Model.Size = size
			temperatures := c.Temperatures
			if size == 64 {
				temperatures = []float64{1.8, 3} // Metropolis is slow at Tc
			}
			c.Temperatures = temperatures
			if !c.onBits() {
				c.Replicas, c.Sweeps, c.Interval = 2, 60_000/size, 1
			}
			for _, p := range simulate(t, c) {
				e, h := Torus(size, p.Temperature)
				name := string(a)
				within(t, name+" energy", p.Energy, e, 1e-2)
				within(t, name+" specific heat", p.SpecificHeat, h, 0.1)
				if c.onBits() {
					within(t, name+" temperature", p.MeasuredTemperature, p.Temperature, 0.1)
				}
			}
		}
	}
}

// configurations are one of each kind of chain.
func configurations() []Config {
	base := Config{Temperatures: []float64{2, 3}, Sweeps: 60, Warmup: 20, Interval: 2, Replicas: 1, Seed: 7, Hot: true}
	var list []Config
	for _, change := range []func(*Config){
		func(c *Config) { c.Model = Model{Square, 66, 1, 0}; c.Algorithm = Metropolis },
		func(c *Config) {
			c.Model = Model{Square, 2048, -1, 0}
			c.Algorithm = HeatBath
			c.Sweeps = 6
			c.Warmup = 2
		},
		func(c *Config) { c.Model = Model{Square, 10, 1, 0}; c.Algorithm = Metropolis; c.Replicas = 600 },
		func(c *Config) { c.Model = Model{Square, 12, 1, 0.5}; c.Algorithm = HeatBath; c.Replicas = 70 },
		func(c *Config) { c.Model = Model{Square, 12, 1, 0}; c.Algorithm = Wolff; c.Replicas = 3 },
		func(c *Config) { c.Model = Model{Honeycomb, 8, 1, 0.1}; c.Algorithm = SwendsenWang },
		func(c *Config) { c.Model = Model{Triangular, 10, 1, 0}; c.Algorithm = Metropolis },
	} {
		c := base
		change(&c)
		list = append(list, c)
	}
	return list
}

// bare is a simulation's points without what the clock decides.
func bare(s *Simulation) []Point {
	points := s.Points()
	for i := range points {
		points[i].FlipsPerNs = 0
	}
	return points
}

// TestSameBits: the result depends on the configuration only, not on the
// threads, the instruction set, nor where a run was saved and resumed.
func TestSameBits(t *testing.T) {
	defer func(k kernels) { fastest = k }(fastest)
	for i, c := range configurations() {
		run := func(interrupt bool) []Point {
			s, err := New(c)
			if err != nil {
				t.Fatal(err)
			}
			if interrupt {
				if err := s.Advance(context.Background(), s.Total()/3+1); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(t.TempDir(), "state")
				if err := s.Save(path); err != nil {
					t.Fatal(err)
				}
				if s, err = Load(path); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Run(context.Background()); err != nil {
				t.Fatal(err)
			}
			return bare(s)
		}
		fastest = goKernels
		want := run(false)
		for _, k := range availableKernels() {
			fastest = k
			threads := runtime.GOMAXPROCS(3)
			got := run(true)
			runtime.GOMAXPROCS(threads)
			// NaN is not equal to itself, so compare what is printed.
			if a, b := show(want), show(got); a != b {
				t.Errorf("configuration %d with %s, saved and resumed:\n%s\nwant\n%s", i, k.name, b, a)
			}
		}
	}
}

func show(points []Point) string {
	var b strings.Builder
	for _, p := range points {
		for _, r := range []thermo.Reading{p.Energy, p.SpecificHeat, p.Binder, p.Susceptibility, p.MeasuredTemperature} {
			b.WriteString(r.Name)
			for _, x := range []float64{r.Value, r.StdErr, r.ESS} {
				b.WriteByte(' ')
				b.WriteString(formatBits(x))
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func TestInterrupted(t *testing.T) {
	c := Config{Model: square, Algorithm: Metropolis, Temperatures: []float64{2, 3}, Sweeps: 1 << 40, Warmup: 50, Interval: 1, Replicas: 1, Seed: 1}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Advance(context.Background(), 250); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Run(ctx); !errors.Is(err, ErrInterrupted) || !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	points := s.Points()
	if len(points) != 2 || points[0].Measurements != 200 || !points[0].Energy.Valid() {
		t.Fatalf("partial result %+v", points)
	}
}

func TestBadConfig(t *testing.T) {
	good := Config{Model: square, Algorithm: Metropolis, Temperatures: []float64{2}, Sweeps: 1, Interval: 1, Replicas: 1}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"even":                   func(c *Config) { c.Model.Size = 5 },
		"from 4 to 65536":        func(c *Config) { c.Model.Size = 2 },
		"size 65538":             func(c *Config) { c.Model.Size = 65538 },
		"lattice \"kagome\"":     func(c *Config) { c.Model.Lattice = "kagome" },
		"coupling 0":             func(c *Config) { c.Model.Coupling = 0 },
		"coupling NaN":           func(c *Config) { c.Model.Coupling = math.NaN() },
		"field +Inf":             func(c *Config) { c.Model.Field = math.Inf(1) },
		"algorithm \"gibbs\"":    func(c *Config) { c.Algorithm = "gibbs" },
		"0 temperatures":         func(c *Config) { c.Temperatures = nil },
		"temperature 0":          func(c *Config) { c.Temperatures = []float64{0} },
		"temperature -1":         func(c *Config) { c.Temperatures = []float64{-1} },
		"temperature NaN":        func(c *Config) { c.Temperatures = []float64{math.NaN()} },
		"sweeps 0":               func(c *Config) { c.Sweeps = 0 },
		"warm-up sweeps -1":      func(c *Config) { c.Warmup = -1 },
		"between measurements 0": func(c *Config) { c.Interval = 0 },
		"wolff in a field":       func(c *Config) { c.Algorithm = Wolff; c.Model.Field = 0.1 },
		"at most the 1 sweeps":   func(c *Config) { c.Interval = 2 },
		"replicas 0":             func(c *Config) { c.Replicas = 0 },
		"GB of memory":           func(c *Config) { c.Model.Size = 65536; c.Replicas = 1 << 20 },
		"configurations in all":  func(c *Config) { c.Temperatures = make100(2); c.Replicas = 1 << 20 },
	} {
		c := good
		change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected an error about %q, got %v", want, err)
		}
	}
}

func make100(t float64) []float64 {
	list := make([]float64, 100)
	for i := range list {
		list[i] = t
	}
	return list
}

// TestDamagedCheckpoint: no damage passes, and none panics.
func TestDamagedCheckpoint(t *testing.T) {
	s, err := New(configurations()[3])
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Advance(context.Background(), 30); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "state")
	if err := s.Save(path); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(bad []byte) {
		if _, err := read(strings.NewReader(string(bad)), int64(len(bad))); err == nil {
			t.Error("damage passed")
		}
	}
	for i := 0; i < len(good); i += 1 + len(good)/400 {
		bad := append([]byte(nil), good...)
		bad[i] ^= 1 << (i % 8)
		try(bad)
		try(good[:i])
	}
	try(append(good, 0))
}

func FuzzLoad(f *testing.F) {
	s, err := New(Config{Model: Model{Square, 4, 1, 0}, Algorithm: Wolff, Temperatures: []float64{2}, Sweeps: 9, Interval: 1, Replicas: 1})
	if err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(f.TempDir(), "state")
	if err := s.Save(path); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:40])
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := read(strings.NewReader(string(data)), int64(len(data))); err == nil && !reflect.DeepEqual(s.Config.Validate(), error(nil)) {
			t.Error("an invalid configuration was loaded")
		}
	})
}

func formatBits(x float64) string {
	return strconv.FormatUint(math.Float64bits(x), 16)
}
