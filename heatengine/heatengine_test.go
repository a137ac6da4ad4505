package heatengine

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/theory"
)

// observed returns the engine of a wide layer with the given activation, whose
// pre-activations are Gaussian of variance q by construction.
func observed(t *testing.T, activation string, q float64, draws int) Layer {
	t.Helper()
	const in, wide, examples = 50, 200, 40
	network, err := nn.New[float64](nn.Spec{Input: []int{in}, Loss: "mse",
		Layers: []nn.LayerSpec{{Type: "linear", Out: wide, NoBias: true}, {Type: activation}, {Type: "linear", Out: 1, NoBias: true}}})
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	batch := nn.Batch[float64]{N: examples, X: make([]float64, examples*in), Y: make([]float64, examples)}
	m := Meter{Drawn: draws > 1}
	for range draws {
		for i := range batch.X {
			batch.X[i] = random.NormFloat64()
		}
		for i := range network.Params {
			network.Params[i] = math.Sqrt(q/in) * random.NormFloat64()
		}
		if _, err := network.Energy(batch); err != nil {
			t.Fatal(err)
		}
		if err := Observe(&m, network); err != nil {
			t.Fatal(err)
		}
		if m.Drawn {
			m.EndDraw()
		}
	}
	layers, err := m.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, error %v", len(layers), err)
	}
	return layers[0]
}

func TestEfficiencyOfGaussianSignals(t *testing.T) {
	for _, name := range []string{"relu", "tanh", "gelu", "selu", "softplus", "sin"} {
		phi, err := theory.ActivationByName(name)
		if err != nil {
			t.Fatal(err)
		}
		want, err := phi.Efficiency(1)
		if err != nil {
			t.Fatal(err)
		}
		l := observed(t, name, 1, 100)
		if math.Abs(l.Efficiency.Value-want.Efficiency) > 4*l.Efficiency.StdErr+0.01 {
			t.Errorf("%s: efficiency %v, the Gaussian model has %.4f", name, l.Efficiency, want.Efficiency)
		}
		if math.Abs(l.EnergyIn.Value-1) > 4*l.EnergyIn.StdErr {
			t.Errorf("%s: energy in %v, want 1", name, l.EnergyIn)
		}
		if l.Type != want.Type || l.Group != "0" || l.Name != "1" {
			t.Errorf("%s: %+v", name, l)
		}
	}
}

func TestErrorsCoverOverDraws(t *testing.T) {
	// The scatter of weights within one draw is common to its examples: errors of
	// independent examples would be too small.
	draws := observed(t, "relu", 1, 100)
	if draws.Efficiency.ESS != 100 {
		t.Errorf("%v effective draws, want 100", draws.Efficiency.ESS)
	}
}

func TestDeadAndSaturatedUnits(t *testing.T) {
	network, err := nn.New[float64](nn.Spec{Input: []int{1}, Loss: "mse", Layers: []nn.LayerSpec{
		{Type: "linear", Out: 3}, {Type: "relu"}, {Type: "linear", Out: 2}, {Type: "tanh"}, {Type: "linear", Out: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	copy(network.Params, []float64{1, -1, 0 /* weights */, 0, 0, -1 /* biases: the third unit is dead */, 0, 0, 0, 0, 0, 0, 9, 0.1 /* the first tanh is saturated */})
	batch := nn.Batch[float64]{N: 2, X: []float64{1, -1}, Y: []float64{0, 0}}
	if _, err := network.Energy(batch); err != nil {
		t.Fatal(err)
	}
	var m Meter
	if err := Observe(&m, network); err != nil {
		t.Fatal(err)
	}
	layers, err := m.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if layers[0].Dead != 1 || layers[0].Saturated != 0 || layers[1].Dead != 0 || layers[1].Saturated != 1 {
		t.Errorf("relu: %d dead, %d saturated; tanh: %d dead, %d saturated; want 1, 0, 0, 1",
			layers[0].Dead, layers[0].Saturated, layers[1].Dead, layers[1].Saturated)
	}
	if got, want := Cascade(layers), 1-(1-layers[0].Efficiency.Value)*(1-layers[1].Efficiency.Value); got != want {
		t.Errorf("cascade %v, want %v", got, want)
	}
}

// A unit of an image is a channel, wherever it is, and of a sequence a feature.
func TestUnitsOfImagesAndSequences(t *testing.T) {
	for _, c := range []struct {
		spec        nn.Spec
		params      []float64
		units, dead int
		in, out     float64
		x           []float64
	}{
		// The second channel is the negative of the first, and zero on positive inputs.
		{nn.Spec{Input: []int{1, 2, 2}, Loss: "mse", Layers: []nn.LayerSpec{{Type: "conv2d", Out: 2, Kernel: []int{1}, NoBias: true}, {Type: "relu"}, {Type: "global_avgpool"}}},
			[]float64{1, -1}, 2, 1, 30. / 4, 30. / 8, []float64{1, 2, 3, 4}},
		{nn.Spec{Input: []int{3}, Loss: "mse", Layers: []nn.LayerSpec{{Type: "embedding", Vocab: 2, Out: 4}, {Type: "relu"}, {Type: "mean"}}},
			[]float64{1, -1, -2, 0, 2, -1, 3, 0}, 4, 2, 26. / 12, 15. / 12, []float64{0, 1, 0}},
	} {
		network, err := nn.New[float64](c.spec)
		if err != nil {
			t.Fatal(err)
		}
		copy(network.Params, c.params)
		if _, err := network.Energy(nn.Batch[float64]{N: 1, X: c.x, Y: make([]float64, c.units)}); err != nil {
			t.Fatal(err)
		}
		var m Meter
		if err := Observe(&m, network); err != nil {
			t.Fatal(err)
		}
		layers, err := m.Layers()
		if err != nil {
			t.Fatal(err)
		}
		if l := layers[0]; l.Units != c.units || l.Dead != c.dead || math.Abs(l.EnergyIn.Value-c.in) > 1e-12 || math.Abs(l.EnergyOut.Value-c.out) > 1e-12 {
			t.Errorf("%d of %d units are dead, energy in %v, out %v; want %d of %d, %v, %v", l.Dead, l.Units, l.EnergyIn.Value, l.EnergyOut.Value, c.dead, c.units, c.in, c.out)
		}
	}
}

func TestNoSignal(t *testing.T) {
	network, err := nn.New[float64](nn.Spec{Input: []int{1}, Loss: "mse", Layers: []nn.LayerSpec{{Type: "linear", Out: 1}, {Type: "relu"}, {Type: "linear", Out: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := network.Energy(nn.Batch[float64]{N: 2, X: []float64{1, 2}, Y: []float64{0, 0}}); err != nil {
		t.Fatal(err)
	}
	var m Meter
	if err := Observe(&m, network); err != nil {
		t.Fatal(err)
	}
	layers, err := m.Layers()
	if err != nil || layers[0].Efficiency.Valid() {
		t.Errorf("%+v, error %v: no signal has no efficiency", layers, err)
	}
}
