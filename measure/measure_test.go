package measure

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/thermo"
	"github.com/kelvin-ml/kelvin/training"
)

// linearProblem is a linear regression without bias: its energy is quadratic,
// so every reading has a closed form.
func linearProblem(t *testing.T) (*nn.Network[float32], *dataset.Set) {
	t.Helper()
	set, err := dataset.Make("teacher-student-linear", dataset.Options{Examples: 400, Features: 12, Noise: 0.3, Seed: 5})
	if err != nil {
		t.Fatal(err)
	}
	spec := nn.Spec{Input: []int{12}, Layers: []nn.LayerSpec{{Type: "linear", Out: 1, NoBias: true}}, Loss: "mse"}
	network, err := nn.New[float32](spec)
	if err != nil {
		t.Fatal(err)
	}
	return network, set
}

// curvature returns tr H of the mean squared error, 2 Σ_j ⟨x_j²⟩.
func curvature(set *dataset.Set) float64 {
	sum := 0.0
	for _, x := range set.X {
		sum += 2 * float64(x) * float64(x)
	}
	return sum / float64(set.N)
}

func within(t *testing.T, what string, r thermo.Reading, want, sigmas float64) {
	t.Helper()
	if !r.Valid() || !(r.StdErr > 0) {
		t.Fatalf("%s: %v, expected a valid reading with an error", what, r)
	}
	if math.Abs(r.Value-want) > sigmas*r.StdErr {
		t.Errorf("%s: %v, want %.6g: %.1f standard errors off", what, r, want, (r.Value-want)/r.StdErr)
	}
}

func TestInitialStateOfLinearModel(t *testing.T) {
	network, set := linearProblem(t)
	r, err := Network(context.Background(), network, set, Options{State: Initial, Init: "normal(0.7)", Draws: 400, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	// docs/theory.md#t3: T = (1/k) Σ 2σ²⟨x_j²⟩, U = ⟨y²⟩ + Σ σ²⟨x_j²⟩.
	variance := 0.7 * 0.7 / 12
	y2 := 0.0
	for _, y := range set.Y {
		y2 += float64(y) * float64(y) / float64(set.N)
	}
	within(t, "temperature", r.Temperature, variance*curvature(set)/12, 4)
	within(t, "energy", r.Energy, y2+variance*curvature(set)/2, 4)
	want := 12 * 0.5 * math.Log(2*math.Pi*math.E*variance)
	if math.Abs(r.Entropy.Value-want) > 1e-9 {
		t.Errorf("entropy %v, want %v", r.Entropy.Value, want)
	}
}

func TestPosteriorOfLinearModel(t *testing.T) {
	network, set := linearProblem(t)
	before := slices.Clone(network.Params)
	r, err := Network(context.Background(), network, set, Options{State: Trained, Init: "normal", Draws: 300, Seed: 2})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(before, network.Params) {
		t.Error("the weights were not left as they were")
	}
	// E is quadratic: U rises by s² tr H/2, and that by the standard error of E.
	var sum, sum2 float64
	for _, y := range set.Y {
		loss := float64(y) * float64(y) // of the zero weights
		sum, sum2 = sum+loss, sum2+loss*loss
	}
	n := float64(set.N)
	rise := math.Sqrt((sum2/n - sum*sum/n/n) / (n - 1))
	if got := r.Energy.Value - r.AtWeights.Energy; math.Abs(got/rise-1) > 0.5 { // few pairs set the width
		t.Errorf("energy rises by %v, want about its standard error %v", got, rise)
	}
	s2 := 2 * rise / curvature(set)
	if want := 6 * math.Log(2*math.Pi*math.E*s2); math.Abs(r.Entropy.Value-want) > 12*0.5*math.Log(1.5) {
		t.Errorf("entropy %v, want about %v", r.Entropy.Value, want)
	}
	// U rises by kT/2 on a quadratic, whatever the width turned out to be.
	measured := r.Energy.Value - r.AtWeights.Energy
	if want := r.Heat.Value / 2; math.Abs(measured-want) > 4*(r.Energy.StdErr+r.Heat.StdErr/2) {
		t.Errorf("energy rises by %v, want kT/2 = %v", measured, want)
	}
}

func TestFluctuationsInEquilibrium(t *testing.T) {
	_, set := linearProblem(t)
	config := training.Config{
		Network:   nn.Spec{Input: []int{12}, Layers: []nn.LayerSpec{{Type: "linear", Out: 1, NoBias: true}}, Loss: "mse"},
		Init:      "normal",
		Optimizer: nn.OptimizerSpec{Kind: "sgd", LearningRate: 0.05, Momentum: 0.5},
		Batch:     8, Steps: 2000, Seed: 3,
	}
	trainer, err := training.New(config, set)
	if err != nil {
		t.Fatal(err)
	}
	for trainer.Step < config.Steps {
		if _, err := trainer.Advance(nil); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Network(context.Background(), trainer.Network, set, Options{State: Trained, Init: "normal", Trainer: trainer, Draws: 20000})
	if err != nil {
		t.Fatal(err)
	}
	within(t, "stationarity", *r.Stationarity, 1, 4)
	if r.ZerothLaw.Verdict != thermo.Equilibrium {
		t.Errorf("zeroth law: %+v, want equilibrium", r.ZerothLaw)
	}
}

// TestNormsBeginWithoutTemperature: gains begin at 1 and shifts at 0, always.
func TestNormsBeginWithoutTemperature(t *testing.T) {
	_, set := linearProblem(t)
	spec := nn.Spec{Input: []int{12}, Layers: []nn.LayerSpec{{Type: "linear", Out: 6}, {Type: "layernorm"}, {Type: "linear", Out: 1}}, Loss: "mse"}
	network, err := nn.New[float32](spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := network.Init("pytorch", rand.New(rand.NewPCG(1, 1))); err != nil {
		t.Fatal(err)
	}
	for _, state := range []string{Initial, Trained} {
		r, err := Network(context.Background(), network, set, Options{State: state, Init: "pytorch", Draws: 16, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		for i, l := range r.Layers {
			drawn := i != 1 || state == Trained
			if l.Temperature.Valid() != drawn || l.Temperature.Group != l.Name || math.IsNaN(l.Heat.Value) == drawn {
				t.Errorf("%s state, layer %s: temperature %v, heat %v", state, l.Name, l.Temperature, l.Heat)
			}
		}
		if !r.Temperature.Valid() {
			t.Errorf("%s state: temperature %v", state, r.Temperature)
		}
	}
}

// TestRunningStatisticsAreKept: the draws of the initial state have statistics of
// their own, and the trained state those of the training.
func TestRunningStatisticsAreKept(t *testing.T) {
	_, set := linearProblem(t)
	for i := range set.X {
		set.X[i] = 5 + 3*set.X[i]
	}
	trainer, err := training.New(training.Config{
		Network: nn.Spec{Input: []int{12}, Layers: []nn.LayerSpec{{Type: "linear", Out: 6}, {Type: "batchnorm"}, {Type: "linear", Out: 1}}, Loss: "mse"},
		Init:    "pytorch", Optimizer: nn.OptimizerSpec{Kind: "sgd", LearningRate: 0.01}, Batch: 32}, set)
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		if _, err := trainer.Advance(nil); err != nil {
			t.Fatal(err)
		}
	}
	before := slices.Clone(trainer.Network.State)
	r, err := Network(context.Background(), trainer.Network, set, Options{State: Trained, Init: "pytorch", Draws: 16})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(before, trainer.Network.State) {
		t.Errorf("running statistics %v, before %v", trainer.Network.State, before)
	}
	if rise := r.Energy.Value - r.AtWeights.Energy; !(rise > 0 && rise < 0.2*r.AtWeights.Energy) {
		t.Errorf("energy %v, at the weights %v", r.Energy, r.AtWeights.Energy)
	}
}

// TestSteepest: a stretch is named by where the energy changes, however long the
// network is on either side, and one step alone is none.
func TestSteepest(t *testing.T) {
	for _, c := range []struct {
		energies    []float64
		sign        float64
		first, last int
	}{
		{[]float64{1, 1, 1, .5, .3, .1, .1, .1}, -1, 2, 5},
		{[]float64{1, 1, 1, .5, .3, .1, .1, .1}, 1, 0, 0},
		{[]float64{1, 4, 12, 18, 100, 90}, 1, 0, 4},
		{[]float64{1, 1, .01, .01}, -1, 0, 0},
		{[]float64{1, .4, .35, .1}, -1, 0, 3},
		{[]float64{2, 1}, -1, 0, 0},
		{nil, 1, 0, 0},
	} {
		if i, j := steepest(c.energies, c.sign); i != c.first || j != c.last {
			t.Errorf("%v by %v: layers %d to %d, want %d to %d", c.energies, c.sign, i, j, c.first, c.last)
		}
	}
}

// TestExamplesOfADraw: as many as have 4,096 labels, and never fewer than 16.
func TestExamplesOfADraw(t *testing.T) {
	for _, c := range []struct{ positions, want int }{{1, 4096}, {64, 64}, {2048, 16}} {
		set := &dataset.Set{N: 5000, Labels: make([]int32, 5000*c.positions)}
		l := &lens[float32]{set: set, indices: make([]int, set.N), random: rand.New(rand.NewPCG(1, 1))}
		if got := len(l.examples()); got != c.want {
			t.Errorf("%d labels each: %d examples, want %d", c.positions, got, c.want)
		}
	}
}

func TestInterruptedMeasurementSaysSo(t *testing.T) {
	network, set := linearProblem(t)
	ctx, cancel := context.WithCancel(context.Background())
	r, err := Network(ctx, network, set, Options{State: Initial, Init: "normal", Draws: 1000,
		Progress: func(done, _ int) {
			if done == 50 {
				cancel()
			}
		}})
	if err == nil || r == nil || !r.Partial || r.Draws != 50 {
		t.Fatalf("got %+v and error %v, want a partial result of 50 draws and the cause", r, err)
	}
	if !r.Temperature.Valid() {
		t.Errorf("temperature %v, want a usable one", r.Temperature)
	}
}

func TestWrongDataIsRefused(t *testing.T) {
	network, _ := linearProblem(t)
	moons, err := dataset.Make("two-moons", dataset.Options{Examples: 20})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Network(context.Background(), network, moons, Options{State: Trained}); err == nil {
		t.Error("two features went into a network of twelve")
	}
}
