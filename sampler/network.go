package sampler

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/nn"
)

// A NetworkEnergy is the posterior of a network's parameters given data, as a
// [Density]: the sum of the losses over all n examples (n times the energy that
// nn.Network gives, its weight decay included) plus |θ|²/(2·Prior²).
//
// Sums are in float64, signals in float32. It must not be used by two chains at
// once: give each its own.
type NetworkEnergy struct {
	network   *nn.Network[float32]
	set       *dataset.Set
	whole     nn.Batch[float32]
	precision float64 // 1/variance of the prior; 0: flat

	size  int // examples in a minibatch; 0: all of them
	rng   *rand.Rand
	order []int
	next  int
	part  nn.Batch[float32]
}

// NewNetworkEnergy returns the posterior of a copy of the network. prior is the
// standard deviation of a normal prior, or 0 for a flat one.
func NewNetworkEnergy(network *nn.Network[float32], set *dataset.Set, prior float64) (*NetworkEnergy, error) {
	if !(prior >= 0) || math.IsInf(prior, 0) {
		return nil, fmt.Errorf("network posterior: expected a prior of standard deviation above 0 (0: flat), got %v", prior)
	}
	e := &NetworkEnergy{network: network.Clone(), set: set, whole: nn.Batch[float32]{X: set.X, N: set.N, Labels: set.Labels, Y: set.Y}}
	if prior > 0 {
		e.precision = 1 / (prior * prior)
	}
	if _, err := e.network.Energy(e.whole); err != nil {
		return nil, fmt.Errorf("network posterior: %w", err)
	}
	return e, nil
}

// Minibatches makes Gradient an estimate from the given number of examples,
// taken in turn from a shuffled order that rng makes anew for every epoch. It is
// for kernels without an acceptance test.
func (e *NetworkEnergy) Minibatches(size int, rng *rand.Rand) error {
	if size < 1 || size > e.set.N {
		return fmt.Errorf("network posterior: expected minibatches of 1 to %d examples, got %d", e.set.N, size)
	}
	e.size, e.rng, e.order, e.next = size, rng, rng.Perm(e.set.N), 0
	features := e.set.Features()
	e.part = nn.Batch[float32]{X: make([]float32, size*features), N: size}
	if e.set.Labels != nil {
		e.part.Labels = make([]int32, size*e.set.Positions())
	}
	if e.set.Y != nil {
		e.part.Y = make([]float32, size*e.set.Outputs)
	}
	return nil
}

// Epoch implements [Estimator].
func (e *NetworkEnergy) Epoch() int {
	if e.size == 0 {
		return 1
	}
	return (e.set.N + e.size - 1) / e.size
}

// Skip passes over the next minibatches, as if so many had been drawn: a stored
// chain goes on with those that it has not seen.
func (e *NetworkEnergy) Skip(minibatches int) {
	for range minibatches {
		e.advance()
	}
}

// Theta returns the network's own parameters, a place to start from.
func (e *NetworkEnergy) Theta() []float64 {
	theta := make([]float64, len(e.network.Params))
	for i, p := range e.network.Params {
		theta[i] = float64(p)
	}
	return theta
}

// Dim implements [Density].
func (e *NetworkEnergy) Dim() int { return len(e.network.Params) }

// Energy implements [Density]: over all examples, whatever the minibatches.
func (e *NetworkEnergy) Energy(theta []float64) float64 {
	e.load(theta)
	mean, err := e.network.Energy(e.whole)
	if err != nil {
		return math.Inf(1) // the loss overflows: no mass here
	}
	return float64(e.set.N)*mean + e.priorEnergy(theta)
}

// Gradient implements [Density].
func (e *NetworkEnergy) Gradient(theta, gradient []float64) float64 {
	batch := e.whole
	if e.size > 0 {
		batch = e.draw()
	}
	return e.gradient(batch, theta, gradient)
}

// Exact implements [Estimator].
func (e *NetworkEnergy) Exact(theta, gradient []float64) float64 {
	return e.gradient(e.whole, theta, gradient)
}

func (e *NetworkEnergy) gradient(batch nn.Batch[float32], theta, gradient []float64) float64 {
	e.load(theta)
	mean, err := e.network.Backward(batch, nil)
	if err != nil {
		for i := range gradient {
			gradient[i] = math.NaN()
		}
		return math.Inf(1)
	}
	n, precision := float64(e.set.N), e.precision
	theta = theta[:len(gradient)]
	for i, g := range e.network.Grad[:len(gradient)] {
		gradient[i] = n*float64(g) + precision*theta[i]
	}
	return n*mean + e.priorEnergy(theta)
}

func (e *NetworkEnergy) priorEnergy(theta []float64) float64 {
	return e.precision / 2 * sumSquares(theta)
}

func (e *NetworkEnergy) load(theta []float64) {
	params := e.network.Params[:len(theta)]
	for i, v := range theta {
		params[i] = float32(v)
	}
}

// advance returns the examples of the next minibatch. An epoch that does not
// divide evenly leaves its last examples out, which a new shuffle makes up for.
func (e *NetworkEnergy) advance() []int {
	if e.next+e.size > len(e.order) {
		e.rng.Shuffle(len(e.order), func(i, j int) { e.order[i], e.order[j] = e.order[j], e.order[i] })
		e.next = 0
	}
	e.next += e.size
	return e.order[e.next-e.size : e.next]
}

// draw fills the next minibatch.
func (e *NetworkEnergy) draw() nn.Batch[float32] {
	examples := e.advance()
	gather(e.part.X, e.set.X, e.set.Features(), examples)
	gather(e.part.Labels, e.set.Labels, e.set.Positions(), examples)
	gather(e.part.Y, e.set.Y, e.set.Outputs, examples)
	return e.part
}

// gather fills dst, unless it is empty, with rows of src, width elements each.
func gather[E any](dst, src []E, width int, rows []int) {
	if len(dst) == 0 {
		return
	}
	for i, at := range rows {
		copy(dst[i*width:(i+1)*width], src[at*width:])
	}
}
