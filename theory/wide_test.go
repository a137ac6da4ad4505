package theory

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// mlp returns a network with the given widths, without biases unless the scheme
// has them.
func mlp(tb testing.TB, loss Loss, scheme, activation string, widths ...int) MLP {
	tb.Helper()
	m := MLP{Loss: loss}
	for l := 1; l < len(widths); l++ {
		layer := WideLayer{FanIn: widths[l-1], FanOut: widths[l]}
		var err error
		if l > 1 {
			if layer.Before, err = ActivationByName(activation); err != nil {
				tb.Fatal(err)
			}
		}
		layer.WeightVariance, layer.BiasVariance, err = InitVariance(scheme, layer.FanIn, layer.FanOut, layer.Before)
		if err != nil {
			tb.Fatal(err)
		}
		layer.HasBias = layer.BiasVariance > 0
		m.Layers = append(m.Layers, layer)
	}
	return m
}

// Positively homogeneous networks: the heat is the same in every layer, He and
// balanced hold the signal at its level.
func TestWideHomogeneous(t *testing.T) {
	for _, loss := range Losses {
		for _, scheme := range []string{"he", "balanced"} {
			m := mlp(t, loss, scheme, "relu", 20, 100, 100, 100, 5)
			y := [][]float64{{1, 0, -1, 2, 0.5}, {0, 0, 0, 0, 0}}
			s, err := m.State([]float64{1, 1}, y)
			if err != nil {
				t.Fatal(err)
			}
			for l := range m.Layers {
				near(t, fmt.Sprint(loss, " heat of layer ", l), s.Heat[l], s.Heat[0], 1e-12)
				first := map[string]float64{"he": 2, "balanced": 1}[scheme]
				near(t, "q", s.Q[l], first, 1e-12)
			}
			near(t, "T", s.Temperature, 4*s.Heat[0]/(20*100+2*100*100+500), 1e-15)
			near(t, "efficiency", s.Efficiency[2], 0.5, 1e-15)
		}
	}
}

// Balanced initialisation holds signal energy 1 for every activation.
func TestBalancedHoldsSignal(t *testing.T) {
	for _, a := range Activations() {
		s, err := mlp(t, CrossEntropy, "balanced", a.Name, 30, 64, 64, 10).State([]float64{1}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for l, q := range s.Q {
			near(t, fmt.Sprintf("%s: q of layer %d", a.Name, l), q, 1, 1e-12)
		}
	}
}

// Heat is the response of the energy to the spread of a layer, whatever the
// activation, loss and biases.
func TestWideHeatIsResponse(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a := rapid.SampledFrom(Activations()).Draw(rt, "activation")
		loss := rapid.SampledFrom(Losses).Draw(rt, "loss")
		m := MLP{Loss: loss}
		for l := range 3 {
			layer := WideLayer{FanIn: 4, FanOut: 4, HasBias: true}
			layer.WeightVariance = rapid.Float64Range(0.1, 1).Draw(rt, "weight variance")
			layer.BiasVariance = rapid.Float64Range(0, 1).Draw(rt, "bias variance")
			if l > 0 {
				layer.Before = a
			}
			m.Layers = append(m.Layers, layer)
		}
		q0, y := []float64{0.5, 2}, [][]float64{{1, 2, 3, 4}, {0, 0, 0, 1}}
		layer := rapid.IntRange(0, 2).Draw(rt, "layer")
		at := func(s float64) WideState {
			c := MLP{Loss: loss, Layers: append([]WideLayer(nil), m.Layers...)}
			c.Layers[layer].WeightVariance *= s * s
			c.Layers[layer].BiasVariance *= s * s
			state, err := c.State(q0, y)
			if err != nil {
				rt.Fatal(err)
			}
			return state
		}
		const h = 1e-4
		numeric := (at(1+h).Energy - at(1-h).Energy) / (2 * h)
		if got := at(1).Heat[layer]; math.Abs(numeric-got) > 1e-6*(1+math.Abs(got)) {
			rt.Errorf("%s, %s: heat of layer %d is %g, difference quotient %g", a.Name, loss, layer, got, numeric)
		}
	})
}

// Energy and the virial heat of each layer of finite networks approach the wide
// limit: within the error of the simulation and a width correction of O(1/width).
func TestWideMonteCarlo(t *testing.T) {
	const in, classes, width, draws = 12, 4, 96, 1500
	rng := rand.New(rand.NewPCG(21, 4))
	x := make([]float64, in)
	for i := range x {
		x[i] = 1
	}
	for _, name := range []string{"tanh", "relu"} {
		m := mlp(t, CrossEntropy, "pytorch", name, in, width, width, classes)
		for l := range m.Layers {
			m.Layers[l].WeightVariance *= 6 // away from the linear response of small signals
		}
		want, err := m.State([]float64{1}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var energy estimate
		heats := make([]estimate, len(m.Layers))
		for range draws {
			e, virials := drawNetwork(m, x, rng)
			energy.add(e)
			for l, v := range virials {
				heats[l].add(v)
			}
		}
		checkWide(t, name+": U", energy, want.Energy, width)
		for l := range heats {
			checkWide(t, fmt.Sprint(name, ": heat of layer ", l), heats[l], want.Heat[l], width)
		}
	}
}

func checkWide(t *testing.T, what string, got estimate, want, width float64) {
	t.Helper()
	m := got.sum / got.n
	stderr := math.Sqrt((got.sum2/got.n - m*m) / got.n)
	near(t, what, m, want, 4*stderr+3*math.Abs(want)/width)
}

// drawNetwork draws the parameters and returns the cross entropy of label 0 and
// θ_l·∂/∂θ_l of it for each layer: Σ z·δ, as a layer is linear in its parameters.
func drawNetwork(m MLP, x []float64, rng *rand.Rand) (energy float64, virials []float64) {
	depth := len(m.Layers)
	weights, outputs := make([][]float64, depth), make([][]float64, depth)
	signal := x
	for l, layer := range m.Layers {
		if l > 0 {
			signal = make([]float64, layer.FanIn)
			for i, z := range outputs[l-1] {
				signal[i] = layer.Before.Value(z)
			}
		}
		weights[l], outputs[l] = make([]float64, layer.FanIn*layer.FanOut), make([]float64, layer.FanOut)
		for o := range outputs[l] {
			z := math.Sqrt(layer.BiasVariance) * rng.NormFloat64()
			for i, a := range signal {
				w := math.Sqrt(layer.WeightVariance) * rng.NormFloat64()
				weights[l][o*layer.FanIn+i] = w
				z += w * a
			}
			outputs[l][o] = z
		}
	}
	delta := make([]float64, len(outputs[depth-1]))
	total := 0.0
	for _, z := range outputs[depth-1] {
		total += math.Exp(z)
	}
	for o, z := range outputs[depth-1] {
		delta[o] = math.Exp(z) / total
	}
	delta[0]--
	energy = math.Log(total) - outputs[depth-1][0]
	virials = make([]float64, depth)
	for l := depth - 1; l >= 0; l-- {
		for o, z := range outputs[l] {
			virials[l] += z * delta[o]
		}
		if l == 0 {
			break
		}
		below := make([]float64, m.Layers[l].FanIn)
		for o, d := range delta {
			for i := range below {
				below[i] += weights[l][o*len(below)+i] * d
			}
		}
		for i, z := range outputs[l-1] {
			below[i] *= m.Layers[l].Before.Derivative(z)
		}
		delta = below
	}
	return energy, virials
}

func TestWideErrors(t *testing.T) {
	good := func() MLP { return mlp(t, CrossEntropy, "he", "relu", 4, 4, 3) }
	for name, c := range map[string]struct {
		change func(*MLP)
		q0     []float64
	}{
		"no layers":         {func(m *MLP) { m.Layers = nil }, []float64{1}},
		"no examples":       {func(*MLP) {}, nil},
		"negative energy":   {func(*MLP) {}, []float64{-1}},
		"no signal":         {func(*MLP) {}, []float64{0}},
		"shape":             {func(m *MLP) { m.Layers[1].FanIn = 5 }, []float64{1}},
		"negative variance": {func(m *MLP) { m.Layers[1].WeightVariance = -1 }, []float64{1}},
		"loss":              {func(m *MLP) { m.Loss = "hinge" }, []float64{1}},
		"targets":           {func(m *MLP) { m.Loss = MSE }, []float64{1}},
		"one class":         {func(m *MLP) { m.Layers[1].FanOut = 1 }, []float64{1}},
		"activation first":  {func(m *MLP) { m.Layers[0].Before = relu() }, []float64{1}},
	} {
		m := good()
		c.change(&m)
		if s, err := m.State(c.q0, nil); err == nil {
			t.Errorf("%s did not fail: %+v", name, s)
		}
	}
	if _, _, err := InitVariance("xavier", 3, 3, relu()); err == nil {
		t.Error("unknown scheme did not fail")
	}
	if _, _, err := InitVariance("he", 0, 3, relu()); err == nil {
		t.Error("no fan in did not fail")
	}
}
