package main

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/training"
)

// An experiment is what all rows have in common.
type experiment struct {
	train, test         *dataset.Set
	width, batch, steps int
	rates               []float64 // of Adam, of which every row takes its best
	seeds               int
}

// A scheme is an initialisation: one of package nn, its weights times the gain.
// With an energy, the first layer's weights are scaled so that the signal enters
// the activations with that energy (the input has 1), and the last layer's so that
// it leaves with 1.
type scheme struct {
	name, init string
	gain       float64
	energy     float64
}

// schemes returns the balanced initialisation at signal energy 1 and where its
// slope is 1, PyTorch's default, and what PyTorch recommends.
// torch.nn.init.calculate_gain has 5/3 for tanh and 1 for sigmoid, which go with
// Glorot's variance, and nothing for the others. There we take what is common: 1
// with Glorot's for softsign, as he proposed it; √2 over √fan_in, uniform, for sin,
// as SIREN has it between hidden layers (arXiv 2006.09661), and for gelu, silu and
// elu, the gain of relu that they stand in for. For tanh and sin, as for softsign,
// a gain of 1 is the edge of chaos: it comes last.
func schemes(activation string) ([]scheme, error) {
	q, err := criticalEnergy(activation)
	if err != nil {
		return nil, err
	}
	all := []scheme{{"balanced", "balanced", 1, 1}, {fmt.Sprintf("balanced at %.2g", q), fmt.Sprintf("balanced(%g)", q), 1, q},
		{"PyTorch default", "pytorch", 1, 1}}
	edge, wide := scheme{"xavier 1", "glorot", 1, 1}, "uniform(1.4142135623730951)"
	switch activation {
	case "tanh":
		return append(all, scheme{"xavier 5/3", "glorot", 5. / 3, 1}, edge), nil
	case "sin":
		return append(all, scheme{"SIREN √2", wide, 1, 1}, edge), nil
	case "softsign", "sigmoid":
		return append(all, edge), nil
	}
	return append(all, scheme{"kaiming √2", wide, 1, 1}), nil
}

// criticalEnergy returns the signal energy at which a balanced network of 100
// layers passes differences and gradients on: the largest up to 1 at which a layer
// changes them by at most 1 %, and lets no disturbance of the energy grow by more
// than that; or else the least above 1. Energies are tried at a hundred a decade.
func criticalEnergy(activation string) (float64, error) {
	const decade, tolerance = 100, 0.01
	for i := 0; i <= 6*decade; i++ {
		q := math.Pow(10, -float64(i)/decade) // from 1 to 0.001, then from 1 to 1000
		if i > 3*decade {
			q = math.Pow(10, float64(i-3*decade)/decade)
		}
		_, slope, response, err := gains(activation, q)
		if err != nil {
			return 0, err
		}
		if math.Abs(slope-1) <= tolerance && response <= 1+tolerance {
			return q, nil
		}
	}
	return 0, fmt.Errorf("activation %s: no signal energy from 0.001 to 1000 keeps differences", activation)
}

// A result is one training.
type result struct {
	energies   []float64 // mean square of the input of every activation, before the first step
	varies     float64   // share of the last of them that differs between examples
	loss, held float64   // at the end; NaN if a loss was not finite on the way
}

// start returns a training before its first step.
func (e experiment) start(activation string, depth int, s scheme, rate float64, seed uint64) (*training.Trainer, error) {
	spec, err := nn.ParseArch(fmt.Sprintf("%d%s-%d:%s", e.train.Features(), strings.Repeat(fmt.Sprint("-", e.width), depth-1), e.train.Classes, activation), "ce")
	if err != nil {
		return nil, err
	}
	t, err := training.New(training.Config{Network: spec, Init: s.init, Seed: seed, Batch: e.batch, Steps: e.steps,
		Optimizer: nn.OptimizerSpec{Kind: "adam", LearningRate: rate}}, e.train)
	if err != nil {
		return nil, err
	}
	groups := t.Network.Groups
	for i, g := range groups {
		gain := s.gain
		if i == 0 {
			gain *= math.Sqrt(s.energy)
		}
		if i == len(groups)-1 {
			gain /= math.Sqrt(s.energy)
		}
		for j := g.Offset; j < g.Offset+g.Size; j++ {
			t.Network.Params[j] *= float32(gain) // the biases are 0 where the gain is not 1
		}
	}
	return t, nil
}

// run trains one network. That it diverges is a result and no error.
func (e experiment) run(ctx context.Context, activation string, depth int, s scheme, rate float64, seed uint64) (result, error) {
	t, err := e.start(activation, depth, s, rate, seed)
	if err != nil {
		return result{}, err
	}
	r := result{loss: math.NaN(), held: math.NaN()}
	if _, err := energy(t.Network, e.train); err != nil {
		return r, err
	}
	for signal := range t.Network.Signals {
		var q float64
		q, r.varies = meanSquare(signal)
		r.energies = append(r.energies, q)
	}
	for range e.steps {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		if _, err := t.Advance(nil); err != nil {
			return r, nil // the data fit the network: what is left is a loss that is not finite
		}
	}
	loss, failed := energy(t.Network, e.train)
	held, alsoFailed := energy(t.Network, e.test)
	if failed == nil && alsoFailed == nil {
		r.loss, r.held = loss, held
	}
	return r, nil
}

// energy returns the loss on a whole set.
func energy(n *nn.Network[float32], set *dataset.Set) (float64, error) {
	return n.Energy(nn.Batch[float32]{X: set.X, N: set.N, Labels: set.Labels})
}

// meanSquare returns the mean square of what enters an activation, and the share
// of it that is variance over the examples.
func meanSquare(s nn.Signal[float32]) (q, varies float64) {
	for unit := range s.Units {
		mean := 0.0
		for row := range s.Rows {
			mean += float64(s.Z[row*s.Units+unit])
		}
		mean /= float64(s.Rows)
		for row := range s.Rows {
			z := float64(s.Z[row*s.Units+unit])
			q += z * z
			varies += (z - mean) * (z - mean)
		}
	}
	return q / float64(s.Rows*s.Units), varies / q
}

// A row is one line of the table.
type row struct {
	activation string
	depth      int
	scheme     scheme
	rate       float64
	runs       []result
	loss, held interval
	varies     interval // log10
	diverged   int
	balanced   []result // of the same activation and depth; nil for itself
}

// row chooses the learning rate by one seed, the lowest training loss, and runs
// the others at it.
func (e experiment) row(ctx context.Context, activation string, depth int, s scheme) (row, error) {
	r, best := row{activation: activation, depth: depth, scheme: s, rate: e.rates[0]}, math.Inf(1)
	for _, rate := range e.rates {
		one, err := e.run(ctx, activation, depth, s, rate, 0)
		if err != nil {
			return r, err
		}
		if one.loss < best {
			r.rate, best = rate, one.loss
		}
	}
	for seed := range e.seeds {
		one, err := e.run(ctx, activation, depth, s, r.rate, uint64(seed)+1)
		if err != nil {
			return r, err
		}
		if !(one.loss < 2*math.Log(float64(e.train.Classes))) { // twice that of guessing
			r.diverged++
		}
		r.runs = append(r.runs, one)
	}
	r.loss = r.over(func(x result) float64 { return x.loss })
	r.held = r.over(func(x result) float64 { return x.held })
	r.varies = r.over(func(x result) float64 { return math.Log10(x.varies) })
	return r, nil
}

// energy is log10 of the energy that enters an activation, before training.
func (r row) energy(layer int) interval {
	return r.over(func(x result) float64 { return math.Log10(x.energies[layer]) })
}

// over is the mean over the seeds.
func (r row) over(f func(result) float64) interval {
	var xs []float64
	for _, x := range r.runs {
		xs = append(xs, f(x))
	}
	return mean95(xs)
}
