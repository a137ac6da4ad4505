package measure

import (
	"fmt"
	"math"

	"github.com/kelvin-ml/kelvin/heatengine"
	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/thermo"
	"github.com/kelvin-ml/kelvin/training"
)

// noiseBatches is about how many batches the examples are split into to see how
// gradients scatter: enough for an error, few enough for efficient passes.
const noiseBatches = 64

// Temperatures between which the likelihood thermometer looks for the labels'.
const lowestLikelihood, highestLikelihood = 1e-3, 1e3

// A weightsReading is what one pass over all examples shows at the trained
// weights.
type weightsReading struct {
	AtWeights
	gradNorm, virial []float64 // per group, of the energy
	noise            *thermo.GradientNoise
	energyError      float64 // standard error of the energy, from the scatter of the examples
}

// atWeights reads the trained weights on all examples, in random order. At a
// minimum gradients cancel, so this one pass is made in float64.
func (l *lens[T]) atWeights(o Options, groups []thermo.Group) (*weightsReading, *heatengine.Meter, error) {
	network, err := nn.New[float64](l.network.Spec)
	if err != nil {
		return nil, nil, err
	}
	for i, p := range l.network.Params {
		network.Params[i] = float64(p)
	}
	for i, x := range l.network.State {
		network.State[i] = float64(x)
	}
	precise := newLens(network, l.set, l.random)
	precise.meter = &heatengine.Meter{}
	w, err := precise.readWeights(o, groups)
	return w, precise.meter, err
}

func (l *lens[T]) readWeights(o Options, groups []thermo.Group) (*weightsReading, error) {
	w := &weightsReading{gradNorm: make([]float64, len(groups)), virial: make([]float64, len(groups))}
	var err error
	if w.noise, err = thermo.NewGradientNoise(groups); err != nil {
		return nil, err
	}
	labels, err := thermo.NewLikelihood(lowestLikelihood, highestLikelihood)
	if err != nil {
		return nil, err
	}
	size := min(max(l.set.N/noiseBatches, 16), chunk)
	correct := 0
	var sum, sumSquares float64
	energy, err := l.evaluate(l.random.Perm(l.set.N), size, func(obs *nn.Observation) error {
		if err := l.addNoise(w.noise, obs); err != nil {
			return err
		}
		for _, loss := range obs.Loss {
			sum += loss
			sumSquares += loss * loss
		}
		hits, err := l.addChoices(labels)
		correct += hits
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("at the trained weights: %w", err)
	}
	w.Energy = energy
	n := float64(l.set.N)
	w.energyError = math.Sqrt(math.Max(0, sumSquares-sum*sum/n) / (n * math.Max(1, n-1)))
	for i, g := range l.network.Groups {
		grad := l.grad[g.Offset : g.Offset+g.Size]
		norm2 := 0.0
		for _, x := range grad {
			norm2 += x * x
		}
		w.gradNorm[i] = math.Sqrt(norm2)
		w.virial[i] = dot(l.network.Params[g.Offset:g.Offset+g.Size], grad)
	}
	w.NoiseScale = w.noise.Scale()
	if l.set.Labels != nil {
		w.Accuracy = float64(correct) / float64(len(l.set.Labels))
		calibration := labels.Reading("likelihood", "", "1")
		w.Calibration = &calibration
	}
	return w, w.addSGDNoise(o.Trainer)
}

// addSGDNoise adds the temperature that the noise of the run's minibatches would
// sustain. With momentum µ the steps add up to a learning rate of η/(1 − µ).
func (w *weightsReading) addSGDNoise(t *training.Trainer) error {
	if t == nil || t.Config.Optimizer.Kind != "sgd" {
		return nil
	}
	spec := t.Config.Optimizer
	reading, err := w.noise.Temperature(spec.LearningRate/(1-spec.Momentum), t.Config.Batch)
	w.SGDNoise = &reading
	return err
}

// addNoise adds the last batch: per-example gradients of the loss and their
// mean, from which the weight decay in the network's gradient is taken off.
func (l *lens[T]) addNoise(noise *thermo.GradientNoise, obs *nn.Observation) error {
	if l.batch.N < 2 {
		return nil // a last example alone tells nothing of scatter
	}
	sums, means := l.scratch.virial, l.scratch.squares
	decay := T(l.network.Spec.WeightDecay)
	for i, g := range l.network.Groups {
		sums[i], means[i] = 0, 0
		for _, norm2 := range obs.GradNorm2[i] {
			sums[i] += norm2
		}
		for j := g.Offset; j < g.Offset+g.Size; j++ {
			x := float64(l.network.Grad[j] - decay*l.network.Params[j])
			means[i] += x * x
		}
	}
	return noise.Add(l.batch.N, sums, means)
}

// addChoices adds the labels of the last batch as choices among their logits,
// and counts those that are the largest. The labels of one sequence may depend
// on each other.
func (l *lens[T]) addChoices(labels *thermo.Likelihood) (hits int, err error) {
	outputs, positions := l.network.Outputs(), l.set.Positions()
	if positions == 0 {
		return 0, nil
	}
	energies := make([]float64, len(outputs)/len(l.batch.Labels))
	for i, label := range l.batch.Labels {
		least := 0
		for j := range energies {
			energies[j] = -float64(outputs[i*len(energies)+j])
			if energies[j] < energies[least] {
				least = j
			}
		}
		if least == int(label) {
			hits++
		}
		if err := labels.Add(energies, int(label)); err != nil {
			return hits, err
		}
		if positions > 1 && (i+1)%positions == 0 {
			labels.EndCluster()
		}
	}
	return hits, nil
}
