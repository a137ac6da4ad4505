// Package training trains networks so that every run can be stopped at any
// moment and resumed to the same weights: with its data, a [Config] determines
// every number.
package training

import (
	"fmt"
	"math/bits"
	"math/rand/v2"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/nn"
)

// A Config describes a training run.
type Config struct {
	Network   nn.Spec          `json:"network"`
	Init      string           `json:"init"` // scheme, as nn.Network.InitScales lists them
	Optimizer nn.OptimizerSpec `json:"optimizer"`
	Batch     int              `json:"batch"` // examples in a minibatch
	Steps     int              `json:"steps"` // of the optimiser
	Seed      uint64           `json:"seed"`  // of the initial weights and of the minibatches
	Data      string           `json:"data"`  // Fingerprint of the data; empty takes any
}

// Streams of the seed: each step has its own, so that it can be repeated without
// its past.
const (
	initStream    = 0
	batchStream   = 1       // plus the step
	dropoutStream = 1 << 63 // plus the step
)

// A Trainer is a training run between two steps.
type Trainer struct {
	Config    Config
	Network   *nn.Network[float32]
	Optimizer *nn.Optimizer[float32]
	Step      int // steps taken

	set     *dataset.Set
	random  *rand.PCG // of the minibatches
	dropout *rand.PCG // behind Network.Rand
	centre  centre    // of what was recorded
	batch   nn.Batch[float32]
	indices []int
}

// New returns a trainer at step 0, its weights drawn by the Config. It fails if
// the network, the optimiser and the data do not fit each other.
func New(config Config, set *dataset.Set) (*Trainer, error) {
	if config.Batch < 1 || config.Steps < 0 {
		return nil, fmt.Errorf("training: expected a batch of at least 1 and steps ≥ 0, got %d and %d", config.Batch, config.Steps)
	}
	network, err := nn.New[float32](config.Network)
	if err != nil {
		return nil, err
	}
	if err := Check(network, set); err != nil {
		return nil, err
	}
	if found := Fingerprint(set); config.Data != "" && config.Data != found {
		return nil, fmt.Errorf("%w: fingerprint %s, not %s", ErrOtherData, found, config.Data)
	}
	optimizer, err := nn.NewOptimizer[float32](config.Optimizer, len(network.Params))
	if err != nil {
		return nil, err
	}
	if err := network.Init(config.Init, rand.New(rand.NewPCG(config.Seed, initStream))); err != nil {
		return nil, err
	}
	t := &Trainer{
		Config: config, Network: network, Optimizer: optimizer,
		set: set, random: rand.NewPCG(0, 0), dropout: rand.NewPCG(0, 0), indices: make([]int, config.Batch),
	}
	network.Rand = rand.New(t.dropout)
	return t, nil
}

// Advance takes one step of the optimiser and returns the energy before it. If
// obs is not nil it is filled with what the minibatch showed. It does not
// allocate once the buffers have grown. An energy that is not finite is an
// error, and leaves the weights as they were.
func (t *Trainer) Advance(obs *nn.Observation) (float64, error) {
	// Drawn with replacement: the minibatch is then independent of the weights,
	// which the stationarity relations need (docs/theory.md#t6).
	t.random.Seed(t.Config.Seed, batchStream+uint64(t.Step))
	for i := range t.indices {
		t.indices[i] = uniform(t.random, t.set.N)
	}
	Minibatch(t.set, t.indices, &t.batch)
	t.dropout.Seed(t.Config.Seed, dropoutStream+uint64(t.Step))
	t.Network.Training = true
	energy, err := t.Network.Backward(t.batch, obs)
	t.Network.Training = false
	if err != nil {
		return 0, fmt.Errorf("training step %d: %w", t.Step, err)
	}
	t.Optimizer.Step(t.Network.Params, t.Network.Grad)
	t.Step++
	return energy, nil
}

// uniform returns a random index below n; its bias of n/2⁶⁴ cannot be seen.
func uniform(random *rand.PCG, n int) int {
	high, _ := bits.Mul64(random.Uint64(), uint64(n))
	return int(high)
}
