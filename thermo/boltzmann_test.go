package thermo

import (
	"math"
	"math/rand/v2"
	"testing"
)

// A quadratic is E(θ) = Σ λ_j θ_j²/2 in two groups of curvatures.
var quadratic = [][]float64{{1, 2, 4, 0.5}, {3, 3, 1, 2, 0.7, 5}}

func quadraticGroups() []Group {
	return []Group{{"0", len(quadratic[0])}, {"1", len(quadratic[1])}}
}

type thermometers struct {
	virial          *Virial
	configurational *Configurational
	kinetic         *Kinetic
}

func newThermometers(t *testing.T) thermometers {
	t.Helper()
	v, err := NewVirial(quadraticGroups())
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewConfigurational(quadraticGroups())
	if err != nil {
		t.Fatal(err)
	}
	k, err := NewKinetic(quadraticGroups())
	if err != nil {
		t.Fatal(err)
	}
	return thermometers{v, c, k}
}

// add measures the positions theta and momenta p of unit mass.
func (m thermometers) add(t *testing.T, theta, p [][]float64) {
	t.Helper()
	virial, gradient, trace, square := make([]float64, 2), make([]float64, 2), make([]float64, 2), make([]float64, 2)
	for l, group := range quadratic {
		for j, curvature := range group {
			g := curvature * theta[l][j]
			virial[l] += theta[l][j] * g
			gradient[l] += g * g
			trace[l] += curvature
			square[l] += sq(p[l][j])
		}
	}
	for _, err := range []error{m.virial.Add(virial), m.configurational.Add(gradient, trace), m.kinetic.Add(square)} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func reads(t *testing.T, what string, r Reading, want float64) {
	t.Helper()
	t.Logf("%s %s %s: %v, want %.5g (%.1f standard errors)", what, r.Name, r.Group, r, want, (r.Value-want)/r.StdErr)
	if !r.Valid() || !(math.Abs(r.Value-want) <= 4*r.StdErr) {
		t.Errorf("%s %s %s reads %v, want %.5g", what, r.Name, r.Group, r, want)
	}
}

func newState() [][]float64 {
	return [][]float64{make([]float64, len(quadratic[0])), make([]float64, len(quadratic[1]))}
}

func TestBoltzmannDrawsReadTheirTemperature(t *testing.T) {
	const temperature = 0.37
	rng := rand.New(rand.NewPCG(20, 0))
	m := newThermometers(t)
	theta, p := newState(), newState()
	for range 20_000 {
		for l, group := range quadratic {
			for j, curvature := range group {
				theta[l][j] = math.Sqrt(temperature/curvature) * rng.NormFloat64()
				p[l][j] = math.Sqrt(temperature) * rng.NormFloat64()
			}
		}
		m.add(t, theta, p)
	}
	for _, readings := range [][]Reading{
		m.virial.Readings(), m.configurational.Readings(), m.kinetic.Readings(),
		{m.virial.Global(), m.configurational.Global(), m.kinetic.Global()},
	} {
		for _, r := range readings {
			reads(t, "exact draws", r, temperature)
		}
	}
	for _, z := range []Zeroth{
		ZerothLawSameDraws(m.virial, m.configurational, m.kinetic),
		ZerothLaw([]Reading{m.virial.Global(), m.configurational.Global(), m.kinetic.Global()}),
	} {
		if z.Verdict != Equilibrium {
			t.Errorf("exact Boltzmann draws: %+v", z)
		}
	}
	low, high := m.kinetic.ChiSquared(0.95)
	a, b := m.kinetic.Global().Interval(0.95)
	if low > temperature || high < temperature || math.Abs(math.Log((high-low)/(b-a))) > 0.5 {
		t.Errorf("χ² interval [%g, %g], that of batch means [%g, %g]", low, high, a, b)
	}
}

func TestLangevinReadsItsDiscretisationBias(t *testing.T) {
	// θ' = θ − ε λ θ + √(2εT) ξ has the variance T/(λ(1 − ελ/2)) on each mode.
	const temperature = 0.5
	for _, test := range []struct {
		step float64
		want Verdict
	}{{0.001, Equilibrium}, {0.2, NotEquilibrium}} {
		rng := rand.New(rand.NewPCG(21, 0))
		m := newThermometers(t)
		theta, p := newState(), newState()
		var virial, gradient, trace float64
		for l, group := range quadratic {
			for j, curvature := range group {
				variance := temperature / (curvature * (1 - test.step*curvature/2))
				virial += curvature * variance / 10
				gradient += sq(curvature) * variance
				trace += curvature
				theta[l][j] = math.Sqrt(variance) * rng.NormFloat64()
			}
		}
		thin := max(1, int(0.02/test.step))
		for i := range 40_000 * thin {
			for l, group := range quadratic {
				for j, curvature := range group {
					theta[l][j] += -test.step*curvature*theta[l][j] + math.Sqrt(2*test.step*temperature)*rng.NormFloat64()
				}
			}
			if i%thin == 0 {
				for l := range p {
					for j := range p[l] {
						p[l][j] = math.Sqrt(temperature) * rng.NormFloat64()
					}
				}
				m.add(t, theta, p)
			}
		}
		reads(t, "Langevin", m.virial.Global(), virial)
		reads(t, "Langevin", m.configurational.Global(), gradient/trace)
		reads(t, "Langevin", m.kinetic.Global(), temperature)
		z := ZerothLawSameDraws(m.virial, m.configurational, m.kinetic)
		t.Logf("step %g: %s", test.step, z.Reason)
		if z.Verdict != test.want {
			t.Errorf("step %g: %+v, want %s", test.step, z, test.want)
		}
	}
}

// TestGradientDescentFluctuationDissipation runs SGD, with and without momentum,
// on a quadratic with gradient noise: ⟨(θ−θ̄)·g⟩ = (η/2)⟨|ĝ|²⟩ without, and
// (1+µ)⟨u²⟩/2η with.
func TestGradientDescentFluctuationDissipation(t *testing.T) {
	const rate = 0.1
	for _, momentum := range []float64{0, 0.9} {
		rng := rand.New(rand.NewPCG(22, 0))
		virial, _ := NewVirial(quadraticGroups())
		kinetic, err := NewMomentumKinetic(quadraticGroups(), rate, momentum)
		if err != nil {
			t.Fatal(err)
		}
		theta, u := newState(), newState()
		var dissipation, fluctuation Series
		for i := range 200_000 {
			v, squares := make([]float64, 2), make([]float64, 2)
			var noisy float64
			for l, group := range quadratic {
				for j, curvature := range group {
					g := curvature * (theta[l][j] - 1) // the minimum is at 1
					estimate := g + 0.3*rng.NormFloat64()
					v[l] += (theta[l][j] - 1) * g
					noisy += sq(estimate)
					u[l][j] = momentum*u[l][j] - rate*estimate
					squares[l] += sq(u[l][j])
				}
				for j := range group {
					theta[l][j] += u[l][j]
				}
			}
			if i < 5000 {
				continue
			}
			if err := virial.Add(v); err != nil {
				t.Fatal(err)
			}
			if err := kinetic.Add(squares); err != nil {
				t.Fatal(err)
			}
			dissipation.Add(v[0] + v[1])
			fluctuation.Add(rate / 2 * noisy)
		}
		z := ZerothLawSameDraws(virial, kinetic)
		t.Logf("momentum %g: virial %v, kinetic %v: %s", momentum, virial.Global(), kinetic.Global(), z.Reason)
		if z.Verdict != Equilibrium {
			t.Errorf("momentum %g: %+v", momentum, z)
		}
		for l := range quadratic {
			a, b := virial.Readings()[l], kinetic.Readings()[l]
			if math.Abs(a.Value-b.Value) > 4*math.Hypot(a.StdErr, b.StdErr) {
				t.Errorf("momentum %g, group %d: virial %v, kinetic %v", momentum, l, a, b)
			}
		}
		// Plain SGD has a closed form on each mode.
		if momentum == 0 {
			var want float64
			for _, group := range quadratic {
				for _, curvature := range group {
					want += rate * 0.09 / (2 - rate*curvature) / 10
				}
			}
			reads(t, "SGD", virial.Global(), want)
			reads(t, "SGD", Ratio("fluctuation-dissipation", "", "1", &dissipation, &fluctuation), 1)
		}
	}
}

func TestThermometersAllocateNothing(t *testing.T) {
	m := newThermometers(t)
	x, y := []float64{1, 2}, []float64{3, 4}
	if n := testing.AllocsPerRun(1000, func() {
		_ = m.virial.Add(x)
		_ = m.configurational.Add(x, y)
		_ = m.kinetic.Add(x)
	}); n != 0 {
		t.Errorf("adding a draw allocates %g times", n)
	}
}

func TestThermometersRejectWrongShapes(t *testing.T) {
	m := newThermometers(t)
	for _, err := range []error{m.virial.Add([]float64{1}), m.configurational.Add([]float64{1, 2}, nil),
		m.configurational.Add(nil, []float64{1, 2}), m.kinetic.Add([]float64{1, 2, 3})} {
		if err == nil {
			t.Error("a draw of the wrong shape is accepted")
		}
	}
	for _, groups := range [][]Group{nil, {{"a", 0}}, {{"a", math.MaxInt}, {"b", 1}}} {
		if _, err := NewVirial(groups); err == nil {
			t.Errorf("groups %v are accepted", groups)
		}
	}
	for _, bad := range [][2]float64{{0, 0}, {-1, 0}, {math.NaN(), 0}, {0.1, 1}, {0.1, -0.1}, {0.1, math.NaN()}} {
		if _, err := NewMomentumKinetic(quadraticGroups(), bad[0], bad[1]); err == nil {
			t.Errorf("learning rate %g, momentum %g are accepted", bad[0], bad[1])
		}
	}
	if err := m.virial.Add([]float64{1, math.NaN()}); err != nil {
		t.Fatal(err)
	}
	if r := m.virial.Global(); r.Valid() {
		t.Errorf("a draw that is not a number reads %v", r)
	}
}
