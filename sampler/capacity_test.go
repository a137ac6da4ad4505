package sampler

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/kelvin-ml/kelvin/thermo"
)

// A quadratic in k dimensions has U = kT/2, C = k/2 and S = (k/2) ln T, exactly.
func TestCapacityOfAQuadratic(t *testing.T) {
	d := gaussian{lambda: []float64{1, 10, 0.1, 3}}
	temperatures := []float64{0.1, 0.3, 1, 3}
	c, err := HeatCapacity(context.Background(), shared(d), NUTS{StepSize: 0.1}, temperatures, Options{Warmup: 300, Draws: 4000, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range c.Points {
		near(t, "U", p.Energy.Value, 2*p.Temperature, p.Energy.StdErr)
		near(t, "C", p.Capacity.Value, 2, p.Capacity.StdErr)
		near(t, "virial", p.Virial.Value, p.Temperature, p.Virial.StdErr)
		near(t, "S", p.Entropy.Value, 2*math.Log(p.Temperature/temperatures[0]), p.Entropy.StdErr+1e-12)
		near(t, "dU/dT", p.Slope.Value, 2, p.Slope.StdErr)
	}
	if c.PValue < 0.001 || len(c.Peaks) > 0 {
		t.Errorf("p = %v, peaks %v", c.PValue, c.Peaks)
	}
}

// twoLevel is a valley at 0 beside a wider one that is higher by gap: the energy
// moves from one to the other over a Schottky peak of C. Here as a smooth minimum
// of two quadratics.
type twoLevel struct{ gap, stiff float64 }

func (twoLevel) Dim() int                         { return 3 }
func (d twoLevel) Energy(theta []float64) float64 { return d.Gradient(theta, make([]float64, 3)) }

func (d twoLevel) Gradient(theta, gradient []float64) float64 {
	narrow, wide := d.stiff*sumSquares(theta)/2, d.gap+sumSquares(theta)/2
	lambda := 1.0
	if narrow < wide {
		lambda = d.stiff
	}
	for i, x := range theta {
		gradient[i] = lambda * x
	}
	return min(narrow, wide)
}

// The curve of a system with a transition, against quadrature in the radius.
func TestCapacityPeak(t *testing.T) {
	if !*long {
		t.Skip("SKIP: takes 5 seconds; run with -long")
	}
	d := twoLevel{2, 30}
	var temperatures []float64
	for i := range 13 {
		temperatures = append(temperatures, 0.12*math.Pow(1.25, float64(i)))
	}
	c, err := HeatCapacity(context.Background(), shared(d), HMC{StepSize: 0.1, Steps: 5}, temperatures, Options{Warmup: 500, Draws: 10000, Seed: 2})
	if err != nil {
		t.Fatal(err)
	}
	exact := func(temperature float64) (u, capacity float64) {
		var z, e1, e2 float64
		for r := 0.0005; r < 20; r += 0.001 {
			e := d.Energy([]float64{r, 0, 0})
			w := math.Pow(r, 2) * math.Exp(-e/temperature)
			z += w
			e1 += w * e
			e2 += w * e * e
		}
		u = e1 / z
		return u, (e2/z - u*u) / (temperature * temperature)
	}
	highest, at := 0.0, 0.0
	for _, p := range c.Points {
		u, capacity := exact(p.Temperature)
		near(t, "U", p.Energy.Value, u, p.Energy.StdErr)
		near(t, "C", p.Capacity.Value, capacity, p.Capacity.StdErr)
		if capacity > highest {
			highest, at = capacity, p.Temperature
		}
	}
	if len(c.Peaks) != 1 || math.Abs(c.Peaks[0].Temperature-at) > 3*c.Peaks[0].StdErr {
		t.Errorf("peaks %+v, want one near %.3g", c.Peaks, at)
	}
}

// A cancelled curve has the temperatures that were done, with entropies from the
// coldest of them.
func TestHeatCapacityCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var steps atomic.Int64
	o := Options{Chains: 2, Warmup: 50, Draws: 200, Seed: 3, Progress: func(n int) {
		if steps.Add(int64(n)) > 1250 { // 500 a temperature
			cancel()
		}
	}}
	density := shared(gaussian{lambda: []float64{1, 2}})
	c, err := HeatCapacity(ctx, density, NUTS{StepSize: 0.5}, []float64{1, 2, 4, 8}, o)
	if !errors.Is(err, context.Canceled) || c == nil || len(c.Points) != 2 {
		t.Fatalf("%+v, %v", c, err)
	}
	if c.Points[0].Temperature != 4 || c.Points[0].Entropy.Value != 0 || !(c.Points[1].Entropy.Value > 0) {
		t.Errorf("%+v", c.Points)
	}
	steps.Store(1000)
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	if c, err := HeatCapacity(ctx, density, NUTS{StepSize: 0.5}, []float64{1, 2}, o); c != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled at once: %+v, %v", c, err)
	}
}

// The test of C against dU/dT sees a jump of the energy in any interval, and
// raises no false alarm where errors of U and C are as said.
func TestCapacityComparesAllIntervals(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	curve := func(n, jumpAt int) *CapacityCurve {
		c := &CapacityCurve{}
		for i := range n {
			T := math.Pow(2, float64(i))
			sd, sc := 0.1*T, 0.05
			u, v := rng.NormFloat64(), rng.NormFloat64()
			p := CapacityPoint{Temperature: T, Energy: thermo.Reading{Value: 2*T + sd*u, StdErr: sd},
				Capacity: thermo.Reading{Value: 2 + sc*(0.6*u+0.8*v), StdErr: sc}, covariance: 0.6 * sd * sc}
			if i >= jumpAt {
				p.Energy.Value += 10 * sd * 2
			}
			c.Points = append(c.Points, p)
		}
		c.compare()
		return c
	}
	for _, n := range []int{3, 6} {
		for at := 1; at < n; at++ {
			if p := curve(n, at).PValue; !(p < 1e-6) {
				t.Errorf("%d temperatures, a jump before number %d: p = %v", n, at, p)
			}
		}
		var below float64 // share of p-values below 0.1
		for range 2000 {
			if curve(n, n).PValue < 0.1 {
				below += 1.0 / 2000
			}
		}
		near(t, "share of p < 0.1", below, 0.1, math.Sqrt(0.1*0.9/2000))
	}
}

// What rests on an energy that is not valid is not valid.
func TestCapacityOfOneDraw(t *testing.T) {
	c, err := HeatCapacity(context.Background(), shared(gaussian{lambda: []float64{1, 2}}), NUTS{StepSize: 0.5}, []float64{1, 2, 4}, Options{Warmup: 20, Draws: 1, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range c.Points {
		if p.Slope.Valid() || i > 0 && p.Entropy.Valid() || !math.IsNaN(c.PValue) {
			t.Errorf("%+v, p = %v", p, c.PValue)
		}
	}
}
