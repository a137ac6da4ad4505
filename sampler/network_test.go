package sampler

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/nn"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
)

func network(t *testing.T, arch, loss string) *nn.Network[float32] {
	t.Helper()
	spec, err := nn.ParseArch(arch, loss)
	if err != nil {
		t.Fatal(err)
	}
	n, err := nn.New[float32](spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Init("pytorch", rand.New(rand.NewPCG(1, 1))); err != nil {
		t.Fatal(err)
	}
	return n
}

func making(t *testing.T, name string, o dataset.Options) *dataset.Set {
	t.Helper()
	s, err := dataset.Make(name, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A linear network with a normal prior has a Gaussian posterior: mean
// (2XᵀX + I/σ²)⁻¹·2Xᵀy for the sum of squared errors, at any temperature.
func TestLinearNetworkPosterior(t *testing.T) {
	const T, sd = 0.3, 2.0
	set := making(t, "teacher-student-linear", dataset.Options{Examples: 60, Features: 3, Noise: 0.5, Seed: 1})
	net := network(t, "3-1:identity:nobias", "mse")
	density := func(int) (Density, error) { return NewNetworkEnergy(net, set, sd) }
	r, err := Run(context.Background(), density, NUTS{StepSize: 0.01}, Options{Warmup: 500, Draws: 4000, Temperature: T, Seed: 1, Dense: true})
	if err != nil {
		t.Fatal(err)
	}
	precision, right := mat.NewSymDense(3, nil), mat.NewVecDense(3, nil)
	for j := range 3 {
		for k := range j + 1 {
			var sum float64
			for i := range set.N {
				sum += 2 * float64(set.X[3*i+j]) * float64(set.X[3*i+k])
			}
			if j == k {
				sum += 1 / (sd * sd)
			}
			precision.SetSym(j, k, sum)
		}
		for i := range set.N {
			right.SetVec(j, right.AtVec(j)+2*float64(set.X[3*i+j])*float64(set.Y[i]))
		}
	}
	var factor mat.Cholesky
	factor.Factorize(precision)
	var mean mat.VecDense
	if err := factor.SolveVecTo(&mean, right); err != nil {
		t.Fatal(err)
	}
	var covariance mat.SymDense
	if err := factor.InverseTo(&covariance); err != nil {
		t.Fatal(err)
	}
	for i, s := range r.Summaries() {
		near(t, s.Name, s.Mean, mean.AtVec(i), s.MCSE)
		if want := math.Sqrt(T * covariance.At(i, i)); math.Abs(s.SD/want-1) > 0.04 {
			t.Errorf("%s: standard deviation %.5f, want %.5f", s.Name, s.SD, want)
		}
	}
	for _, reading := range r.Thermometers() {
		near(t, reading.Name, reading.Value, T, reading.StdErr)
	}
}

// The mean of the minibatch gradients of one epoch is the whole gradient.
func TestMinibatchesAreUnbiased(t *testing.T) {
	set := making(t, "two-moons", dataset.Options{Examples: 60, Noise: 0.1})
	net := network(t, "2-5-2:tanh", "ce")
	e, err := NewNetworkEnergy(net, set, 1)
	if err != nil {
		t.Fatal(err)
	}
	theta := e.Theta()
	whole, part, sum := make([]float64, len(theta)), make([]float64, len(theta)), make([]float64, len(theta))
	energy := e.Gradient(theta, whole)
	if other := e.Energy(theta); math.Abs(energy-other) > 1e-5*energy {
		t.Errorf("Gradient returns %v, Energy %v", energy, other)
	}
	if err := e.Minibatches(12, rand.New(rand.NewPCG(2, 2))); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		e.Gradient(theta, part)
		for i, g := range part {
			sum[i] += g / 5
		}
	}
	for i := range sum {
		if math.Abs(sum[i]-whole[i]) > 1e-3 {
			t.Errorf("slope %d: minibatches average to %v, the whole is %v", i, sum[i], whole[i])
		}
	}
	if err := e.Minibatches(61, nil); err == nil {
		t.Error("minibatches larger than the data: no error")
	}
}

// Of a sampler with minibatches the energies and the thermometers of all seeds
// spread as their errors say, and their mean is right: that of the exact posterior,
// up to the known bias of the noise.
func TestErrorsOfMinibatchesCoverSeeds(t *testing.T) {
	if testing.Short() {
		t.Skip("statistics alone: ten times as slow under the race detector")
	}
	set := making(t, "two-moons", dataset.Options{Examples: 100, Noise: 0.3, Seed: 1})
	net := network(t, "2-3-2:tanh", "ce")
	const seeds = 16
	var energies, virials, energyErrors, virialErrors []float64
	for seed := range uint64(seeds) {
		density := func(chain int) (Density, error) {
			e, err := NewNetworkEnergy(net, set, 1)
			if err != nil {
				return nil, err
			}
			return e, e.Minibatches(10, rand.New(rand.NewPCG(seed, uint64(chain))))
		}
		r, err := Run(context.Background(), density, SGLD{0.001}, Options{Warmup: 2000, Draws: 8000, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		if r.Thin != 10 || !r.Estimated {
			t.Fatalf("thinned by %d, want an epoch", r.Thin)
		}
		e, v := r.Energy(), r.Thermometers()[0]
		energies, energyErrors = append(energies, e.Value), append(energyErrors, e.StdErr)
		virials, virialErrors = append(virials, v.Value), append(virialErrors, v.StdErr)
		// An estimate of the energy would be negative or twice as large now and then.
		if h := r.EnergyHistogram(); h.Low < 0.5*e.Value || h.High > 1.6*e.Value {
			t.Errorf("energies from %.3g to %.3g, mean %v", h.Low, h.High, e)
		}
	}
	for _, c := range []struct {
		name           string
		values, errors []float64
	}{{"energies", energies, energyErrors}, {"virials", virials, virialErrors}} {
		spread, claimed := stat.StdDev(c.values, nil), stat.Mean(c.errors, nil)
		t.Logf("%s: spread %.3g, claimed %.3g", c.name, spread, claimed)
		// √(χ²/15) is below 1.55 with a chance of 99.9 %.
		if spread > 1.55*claimed || claimed > 2.5*spread {
			t.Errorf("%s spread by %.3g over seeds, their errors are %.3g", c.name, spread, claimed)
		}
	}
}

// A regular model has the learning coefficient k/2, here per layer too: the
// window of a layer of a linear network is regular with that layer's rank.
func TestLearningCoefficientOfANetwork(t *testing.T) {
	if testing.Short() {
		t.Skip("statistics alone: ten times as slow under the race detector")
	}
	set := making(t, "teacher-student-linear", dataset.Options{Examples: 400, Features: 4, Noise: 0.5, Seed: 1})
	net := network(t, "4-1:identity", "mse")
	e, err := NewNetworkEnergy(net, set, 0)
	if err != nil {
		t.Fatal(err)
	}
	// the minimum, by annealing to nothing
	_, best, err := Anneal(context.Background(), e, NUTS{StepSize: 0.01}, e.Theta(), Geometric(10, 1e-5), 200, rand.New(rand.NewPCG(1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	density := func(int) (Density, error) { return NewNetworkEnergy(net, set, 0) }
	o := LLCOptions{Options: Options{Warmup: 500, Draws: 2000, Temperature: math.Log(400), Seed: 2}, Localisation: 1}
	l, err := LearningCoefficient(context.Background(), density, NUTS{StepSize: 0.01}, best, o)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "five parameters", l.Value.Value, 2.5, l.Value.StdErr)
	if !l.Value.Valid() || l.Value.StdErr > 0.1 {
		t.Errorf("%v", l.Value)
	}
	window := func(int) (Density, error) {
		d, err := NewNetworkEnergy(net, set, 0)
		if err != nil {
			return nil, err
		}
		return NewWindow(d, best, 1, 2)
	}
	if l, err = LearningCoefficient(context.Background(), window, NUTS{StepSize: 0.01}, best[1:3], o); err != nil {
		t.Fatal(err)
	}
	near(t, "two of them", l.Value.Value, 1, l.Value.StdErr)

	// Far from a minimum the reading is refused.
	if l, err = LearningCoefficient(context.Background(), density, NUTS{StepSize: 0.01}, make([]float64, 5), o); err != nil {
		t.Fatal(err)
	}
	if l.Value.Valid() {
		t.Errorf("at no minimum: %v", l.Value)
	}
}
