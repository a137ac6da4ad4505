package ising

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestTemperatureOfOneConfiguration reads single snapshots from 1.5 to 5,
// through the critical point, and checks that the error bars cover the truth
// as often as they say.
func TestTemperatureOfOneConfiguration(t *testing.T) {
	statistical(t)
	temperatures := []float64{1.5, 2, Tc, 2.5, 3, 4, 5}
	s, err := New(Config{Model: Model{Square, 128, 1, 0}, Temperatures: temperatures, Algorithm: SwendsenWang,
		Sweeps: 300, Warmup: 100, Interval: 10, Replicas: 1, Seed: 5})
	if err != nil {
		t.Fatal(err)
	}
	z := make([][]float64, len(temperatures))
	for k := range 20 {
		if err := s.Advance(context.Background(), 100+15*k); err != nil {
			t.Fatal(err)
		}
		for i, want := range temperatures {
			spins, err := s.Spins(i, 0)
			if err != nil {
				t.Fatal(err)
			}
			r, err := s.Config.Model.Temperature(spins)
			if err != nil || !r.Valid() {
				t.Fatal(r, err)
			}
			if k == 0 {
				within(t, fmt.Sprintf("temperature %.3g", want), r, want, 0.02*want*want)
			}
			z[i] = append(z[i], (r.Value-want)/r.StdErr)
		}
	}
	for i, list := range z {
		var mean, square float64
		for _, x := range list {
			mean += x / float64(len(list))
			square += x * x / float64(len(list))
		}
		t.Logf("T %.3g: z mean %+.2f, rms %.2f", temperatures[i], mean, math.Sqrt(square))
		if math.Abs(mean) > 4/math.Sqrt(20) || square < 0.35 || square > 2.2 {
			t.Errorf("T %g: z has mean %g and mean square %g over %d snapshots", temperatures[i], mean, square, len(list))
		}
	}
}

// TestTemperatureCoverage counts how often ± 1.96 standard errors hold the
// truth, over many small lattices.
func TestTemperatureCoverage(t *testing.T) {
	statistical(t)
	for _, m := range []Model{{Square, 32, 1, 0}, {Square, 32, -1, 0.5}} {
		s, err := New(Config{Model: m, Temperatures: []float64{2.6}, Algorithm: HeatBath, Sweeps: 400, Interval: 400, Replicas: 512, Seed: 2})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		held := 0
		for r := range 512 {
			spins, err := s.Spins(0, r)
			if err != nil {
				t.Fatal(err)
			}
			reading, err := m.Temperature(spins)
			if err != nil {
				t.Fatal(err)
			}
			if math.Abs(1/reading.Value-1/2.6) < 1.96*reading.StdErr/(reading.Value*reading.Value) {
				held++
			}
		}
		t.Logf("%+v: %d of 512 intervals hold the truth", m, held)
		if held < 463 || held > 505 { // 0.95 ± 4 standard errors, less a little for the normal approximation
			t.Errorf("%+v: %d of 512 95%% intervals hold the truth", m, held)
		}
	}
}

func TestTemperatureExtremes(t *testing.T) {
	m := Model{Square, 4, 1, 0}
	up := slices.Repeat([]int8{1}, 16)
	stagger := make([]int8, 16)
	for i := range stagger {
		stagger[i] = int8(1 - 2*((i+i/4)%2))
	}
	for want, spins := range map[string][]int8{"distinguishable from zero": up, "other sign": stagger} {
		if r, err := m.Temperature(spins); err != nil || !strings.Contains(r.Invalid, want) {
			t.Errorf("got %v, %v; want %q", r, err, want)
		}
	}
	rng := rand.New(rand.NewPCG(3, 3))
	hot := Model{Square, 64, 1, 0}
	spins := make([]int8, 64*64)
	for i := range spins {
		spins[i] = int8(2*rng.IntN(2) - 1)
	}
	if r, err := hot.Temperature(spins); err != nil || !strings.Contains(r.Invalid, "infinite temperature") {
		t.Errorf("got %v, %v", r, err)
	}
	for want, bad := range map[string][]int8{"expected 16 spins": {1}, "spin 3 is 0": append([]int8{1, 1, 1, 0}, up[4:]...)} {
		if _, err := m.Temperature(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v; want %q", err, want)
		}
	}
	if _, err := m.Temperature(); err == nil {
		t.Error("no configuration passed")
	}
}

// machine is a Boltzmann machine with known couplings, sampled exactly by
// enumeration: an energy-based model that is not a lattice.
type machine struct {
	j       [][]float64
	samples [][]int8
}

func newMachine(variables, samples int, temperature float64, seed uint64) *machine {
	rng := rand.New(rand.NewPCG(seed, 0))
	m := &machine{}
	for range variables {
		m.j = append(m.j, make([]float64, variables))
	}
	for i := range variables {
		for k := range i {
			m.j[i][k] = rng.NormFloat64() / math.Sqrt(float64(variables))
			m.j[k][i] = m.j[i][k]
		}
	}
	cumulative := make([]float64, 1<<variables)
	s := make([]int8, variables)
	var total float64
	for state := range cumulative {
		unpack(s, state)
		e := 0.0
		for i := range s {
			for k := range i {
				e -= m.j[i][k] * float64(s[i]*s[k])
			}
		}
		total += math.Exp(-e / temperature)
		cumulative[state] = total
	}
	for range samples {
		state, _ := slices.BinarySearch(cumulative, rng.Float64()*total)
		unpack(s, state)
		m.samples = append(m.samples, slices.Clone(s))
	}
	return m
}

func unpack(s []int8, state int) {
	for i := range s {
		s[i] = int8(state>>i&1)*2 - 1
	}
}

func (m *machine) Samples() int { return len(m.samples) }

func (m *machine) Visit(sample int, choose func([]float64, int)) {
	s := m.samples[sample]
	for i, row := range m.j {
		h := 0.0
		for k, j := range row {
			h += j * float64(s[k])
		}
		choose([]float64{h, -h}, int(s[i]+1)/2)
	}
}

// Samples of a Boltzmann machine: machine.Visit tells what each unit's two
// options would cost with the others as they are, and which was taken.
func ExampleChoiceTemperature() {
	const units, samples, temperature, seed = 10, 1500, 2, 0
	reading, err := ChoiceTemperature(newMachine(units, samples, temperature, seed))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.2f ± %.2f\n", reading.Value, reading.StdErr)
	// Output: 1.98 ± 0.05
}

// TestChoiceTemperature reads the temperature of a Boltzmann machine's samples.
func TestChoiceTemperature(t *testing.T) {
	statistical(t)
	for _, temperature := range []float64{0.5, 1, 2} {
		var square float64
		for seed := range uint64(20) {
			r, err := ChoiceTemperature(newMachine(10, 1500, temperature, seed))
			if err != nil {
				t.Fatal(err)
			}
			if seed == 0 {
				within(t, fmt.Sprintf("machine at %g", temperature), r, temperature, 0.2*temperature*temperature)
			}
			square += (r.Value - temperature) * (r.Value - temperature) / (r.StdErr * r.StdErr) / 20
		}
		if square < 0.3 || square > 2.3 {
			t.Errorf("T %g: mean square z %g", temperature, square)
		}
	}
	one := newMachine(5, 1, 1, 1)
	if r, err := ChoiceTemperature(one); err != nil || r.Valid() {
		t.Errorf("one sample: %v, %v", r, err)
	}
	if _, err := ChoiceTemperature(&machine{}); err == nil {
		t.Error("no samples passed")
	}
	one.j[0][1] = math.NaN()
	if _, err := ChoiceTemperature(one); err == nil {
		t.Error("NaN passed")
	}
}

// TestFitCouplings recovers the couplings of a Boltzmann machine and its
// temperature in their own units.
func TestFitCouplings(t *testing.T) {
	statistical(t)
	const variables, temperature = 12, 1.5
	m := newMachine(variables, 1500, temperature, 7)
	c, err := FitCouplings(context.Background(), m.samples)
	if err != nil {
		t.Fatal(err)
	}
	var square, exact float64
	for i := range variables {
		for k := range variables {
			exact += m.j[i][k] * m.j[i][k] / variables
			if k < i {
				z := (c.J[i][k] - m.j[i][k]/temperature) / c.JError[i][k]
				square += z * z / (variables * (variables - 1) / 2)
			}
		}
	}
	if square < 0.5 || square > 1.6 {
		t.Errorf("mean square z of the couplings: %g", square)
	}
	within(t, "temperature of the couplings", c.Temperature, temperature/math.Sqrt(exact), 0.1)

	noise := newMachine(variables, 300, 1e6, 8)
	if c, err = FitCouplings(context.Background(), noise.samples); err != nil || c.Temperature.Valid() {
		t.Errorf("noise: %v, %v", c.Temperature, err)
	}
	if _, err := FitCouplings(context.Background(), [][]int8{{1, 1}, {1}}); err == nil {
		t.Error("ragged samples passed")
	}
	if _, err := FitCouplings(context.Background(), [][]int8{{1, 0}, {1, 1}}); err == nil {
		t.Error("a zero spin passed")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := FitCouplings(ctx, noise.samples); err == nil {
		t.Error("a cancelled fit passed")
	}
}

// TestTemperatureOfAnyShape reads odd and unequal sides: a chain of heat-bath
// updates on the torus, site by site, is where it says it is.
func TestTemperatureOfAnyShape(t *testing.T) {
	statistical(t)
	for _, lattice := range []Lattice{Square, Triangular} {
		const width, height, temperature = 45, 61, 4.0
		rng := rand.New(rand.NewPCG(1, 2))
		spins := make([]int8, width*height)
		for i := range spins {
			spins[i] = 1
		}
		var out [6]uint32
		for range 200 {
			for i := range spins {
				sum := 0
				for _, j := range out[:lattice.neighbours(i%width, i/width, width, height, &out)] {
					sum += int(spins[j])
				}
				spins[i] = -1
				if rng.Float64() < 1/(1+math.Exp(-2*float64(sum)/temperature)) {
					spins[i] = 1
				}
			}
		}
		m := Model{Lattice: lattice, Coupling: 1}
		r, err := m.TemperatureOf(width, height, spins)
		if err != nil || !r.Valid() || math.Abs(r.Value-temperature) > 4*r.StdErr || r.StdErr > 0.3 {
			t.Errorf("%s: %v, %v", lattice, r, err)
		}
		// Rows and columns exchanged, it is the same lattice.
		turned := make([]int8, len(spins))
		for i, s := range spins {
			turned[i%width*height+i/width] = s
		}
		if again, err := m.TemperatureOf(height, width, turned); err != nil || math.Abs(again.Value-r.Value) > 1e-9 {
			t.Errorf("%s, turned: %v for %v, %v", lattice, again, r, err)
		}
	}
	if _, err := (Model{Lattice: Honeycomb, Coupling: 1}).TemperatureOf(5, 6, make([]int8, 30)); err == nil || !strings.Contains(err.Error(), "even") {
		t.Errorf("an odd honeycomb: %v", err)
	}
}
