package theory

import (
	"fmt"
	"math"
)

// A WideLayer is a fully connected layer at initialisation: independent weights
// and biases of mean 0, after the activation function Before.
type WideLayer struct {
	FanIn, FanOut  int
	WeightVariance float64    // of one weight; σ_w² of docs/theory.md#t4 is FanIn·WeightVariance
	BiasVariance   float64    // of one bias; 0 for none
	HasBias        bool       // whether biases count as parameters of the layer
	Before         Activation // φ between the layer below and this one; identity (or the zero Activation) for the first
}

// Parameters returns how many weights and biases the layer has.
func (l WideLayer) Parameters() int {
	k := l.FanIn * l.FanOut
	if l.HasBias {
		k += l.FanOut
	}
	return k
}

// An MLP is a multilayer perceptron at initialisation in the limit of infinite
// width, layers from input to output (docs/theory.md#t4).
type MLP struct {
	Layers []WideLayer
	Loss   Loss // on the outputs of the last layer: MSE and MAE are means over outputs
}

// A WideState is the energy and the heats of an MLP at initialisation.
type WideState struct {
	Energy      float64
	Temperature float64   // Σ Heat / Σ parameters
	Q           []float64 // [layer] second moment of the outputs of the layer, averaged over examples
	Efficiency  []float64 // [layer] work efficiency of the activation before the layer at its Q; 0 for the first
	// Heat is [layer] k_l T_l = ∂U/∂ln s_l, the response of the energy to the
	// spread of all parameters of the layer.
	Heat []float64
}

// InitVariance returns the variances of a weight and of a bias under a named
// initialisation: normal, uniform, mixed and lecun 1/fan_in; he 2/fan_in; glorot
// 2/(fan_in+fan_out); orthogonal 1/max(fan_in, fan_out); pytorch 1/(3 fan_in) for
// weights and biases; and balanced, the gain law of docs/theory.md#t5, which
// restores signal energy 1 after the activation before the layer. A shape enters
// the wide limit through its variance only.
func InitVariance(scheme string, fanIn, fanOut int, before Activation) (weight, bias float64, err error) {
	if fanIn < 1 || fanOut < 1 {
		return 0, 0, fmt.Errorf("initialisation %s: expected a positive fan in and out, got %d and %d", scheme, fanIn, fanOut)
	}
	in, out := float64(fanIn), float64(fanOut)
	switch scheme {
	case "normal", "uniform", "mixed", "lecun":
		return 1 / in, 0, nil
	case "he":
		return 2 / in, 0, nil
	case "glorot":
		return 2 / (in + out), 0, nil
	case "orthogonal":
		return 1 / math.Max(in, out), 0, nil
	case "pytorch":
		return 1 / (3 * in), 1 / (3 * in), nil
	case "balanced":
		e, err := before.orIdentity().Efficiency(1)
		return e.Gain * e.Gain / in, 0, err
	}
	return 0, 0, fmt.Errorf("initialisation %q: expected normal, uniform, mixed, he, glorot, lecun, orthogonal, pytorch or balanced", scheme)
}

func (a Activation) orIdentity() Activation {
	if a.Value == nil {
		return identity()
	}
	return a
}

// State averages energy and heats over examples, of which only their signal
// energy q₀ = |x|²/FanIn matters, and for MSE and MAE their targets: y[i] holds
// the outputs wanted of example i (for the cross entropy over the classes, y is
// not used: the labels do not matter in this limit).
//
// The spread s_l of a layer multiplies q_l by s_l² and then passes up:
// ∂U/∂ln s_l = 2 (∂U/∂ln q_L) Π χ, with χ = ∂ln q_{l+1}/∂ln q_l.
func (m MLP) State(q0 []float64, y [][]float64) (WideState, error) {
	if err := m.validate(q0, y); err != nil {
		return WideState{}, err
	}
	depth := len(m.Layers)
	state := WideState{Q: make([]float64, depth), Efficiency: make([]float64, depth), Heat: make([]float64, depth)}
	n := float64(len(q0))
	seen := map[float64]propagated{}
	for i, q := range q0 {
		p, known := seen[q]
		if !known {
			var err error
			if p, err = m.propagate(q); err != nil {
				return WideState{}, err
			}
			seen[q] = p
		}
		energy, heat := p.energy, p.heat
		if m.Loss != CrossEntropy {
			energy, heat = m.outputLoss(p.q[depth-1], y[i])
		}
		state.Energy += energy / n
		for l := range m.Layers {
			state.Q[l] += p.q[l] / n
			state.Heat[l] += heat * p.response[l] / n
		}
	}
	parameters := 0
	for l, layer := range m.Layers {
		state.Temperature += state.Heat[l]
		parameters += layer.Parameters()
		if l > 0 {
			ratio, _ := layer.Before.orIdentity().secondMoment(state.Q[l-1])
			state.Efficiency[l] = 1 - ratio
		}
	}
	state.Temperature /= float64(parameters)
	return state, allFinite("energy and temperature of the wide network", []float64{state.Energy, state.Temperature})
}

// propagated is what an example of one signal energy does to the network.
type propagated struct {
	q        []float64 // [layer]
	response []float64 // [layer] ∂ln q_L/∂ln q_l
	// Cross entropy, which is costly and depends on nothing else: the energy and
	// its response to the logarithm of the spread of the logits.
	energy, heat float64
}

func (m MLP) propagate(q0 float64) (propagated, error) {
	depth := len(m.Layers)
	p := propagated{q: make([]float64, depth), response: make([]float64, depth)}
	chi := make([]float64, depth) // chi[l] = ∂ln q_l/∂ln q_{l−1}
	below := q0
	for l, layer := range m.Layers {
		ratio, slope := 1.0, 1.0
		if l > 0 && below > 0 {
			ratio, slope = layer.Before.orIdentity().secondMoment(below)
		}
		gain := float64(layer.FanIn) * layer.WeightVariance * below
		q := gain*ratio + layer.BiasVariance
		if !(q > 0) || math.IsInf(q, 0) {
			return p, fmt.Errorf("layer %d: the second moment of its outputs is %g, neither positive nor finite, at signal energy %g of the input", l, q, q0)
		}
		chi[l] = gain * slope / q
		p.q[l], below = q, q
	}
	response := 1.0
	for l := depth - 1; l >= 0; l-- {
		p.response[l] = response
		response *= chi[l]
	}
	if m.Loss == CrossEntropy {
		softmax, err := NewSoftmax(m.Layers[depth-1].FanOut, math.Sqrt(below))
		if err != nil {
			return p, err
		}
		p.energy, p.heat = softmax.Energy, softmax.Heat
	}
	return p, nil
}

// outputLoss returns the energy of outputs N(0, q) and its response to ln √q,
// averaged over the outputs.
func (m MLP) outputLoss(q float64, y []float64) (energy, heat float64) {
	n := float64(len(y))
	for _, target := range y {
		if m.Loss == MSE {
			energy += (target*target + q) / n
			heat += 2 * q / n
			continue
		}
		f := absoluteNormal(target, q)
		energy += f[0] / n
		heat += q * f[1] / n
	}
	return energy, heat
}

func (m MLP) validate(q0 []float64, y [][]float64) error {
	if len(m.Layers) == 0 || len(q0) == 0 {
		return fmt.Errorf("wide network: expected at least one layer and one example, got %d and %d", len(m.Layers), len(q0))
	}
	for l, layer := range m.Layers {
		switch {
		case layer.FanIn < 1 || layer.FanOut < 1:
			return fmt.Errorf("layer %d: expected a positive fan in and out, got %d and %d", l, layer.FanIn, layer.FanOut)
		case l > 0 && layer.FanIn != m.Layers[l-1].FanOut:
			return fmt.Errorf("layer %d: expected fan in %d, the fan out below, got %d", l, m.Layers[l-1].FanOut, layer.FanIn)
		case !(layer.WeightVariance >= 0) || !(layer.BiasVariance >= 0):
			return fmt.Errorf("layer %d: expected variances, not negative, got %g and %g", l, layer.WeightVariance, layer.BiasVariance)
		case l == 0 && layer.Before.Value != nil && layer.Before.Name != "identity":
			return fmt.Errorf("layer 0: its input is data, expected no activation before it, got %s", layer.Before.Name)
		}
	}
	for i, q := range q0 {
		if !(q >= 0) || math.IsInf(q, 0) {
			return fmt.Errorf("example %d: expected a signal energy, not negative, got %g", i, q)
		}
	}
	switch outputs := m.Layers[len(m.Layers)-1].FanOut; m.Loss {
	case CrossEntropy:
	case MSE, MAE:
		if len(y) != len(q0) {
			return fmt.Errorf("loss %s: expected targets for %d examples, got %d", m.Loss, len(q0), len(y))
		}
		for i, row := range y {
			if len(row) != outputs {
				return fmt.Errorf("example %d: expected %d targets, got %d", i, outputs, len(row))
			}
		}
	default:
		return fmt.Errorf("loss %q: expected one of %v", m.Loss, Losses)
	}
	return nil
}
