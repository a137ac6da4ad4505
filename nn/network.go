package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/kelvin-ml/kelvin/nn/internal/kernel"
)

// A Network is a model with its parameters, its loss, and the buffers of the
// largest batch it has seen.
type Network[T Float] struct {
	Spec   Spec
	Params []T     // θ: all parameters, flat; change the values freely
	Grad   []T     // ∇E, laid out as Params; filled by Backward
	Groups []Group // one for each layer that has parameters, in order

	// Training makes batchnorm use the statistics of the batch and update State,
	// and dropout drop. It is off for measuring.
	Training bool
	Rand     *rand.Rand // draws what dropout drops; needed only then
	// State holds the running means and variances of batchnorm layers, which are
	// not parameters; StateTensors says where. New sets them to 0 and 1.
	State        []T
	StateTensors []Tensor

	nodes    []*node[T]
	inits    []initializer
	loss     loss[T]
	vocab    int
	capacity int // examples the buffers hold
	losses   []float64
	pass     pass[T]
}

// A Group is the parameters of one layer: Params[Offset : Offset+Size].
type Group struct {
	Name         string
	Offset, Size int
	Tensors      []Tensor
}

// A Tensor is one parameter tensor: row-major from Params[Offset].
type Tensor struct {
	Name   string // as in PyTorch's state_dict: "0.weight"
	Shape  []int  // as in PyTorch: [out, in] for a linear weight
	Offset int
}

// Size returns the number of elements.
func (t Tensor) Size() int {
	size := 1
	for _, d := range t.Shape {
		size *= d
	}
	return size
}

// A Batch is N examples: X holds N×(elements of an example) values. Labels
// holds the N classes for ce, Y the N×outputs targets for mse and mae.
type Batch[T Float] struct {
	X      []T
	N      int
	Labels []int32
	Y      []T
}

// New returns the network of a Spec with all parameters zero; see
// [Network.Init]. It fails if the Spec does not describe a network.
func New[T Float](spec Spec) (*Network[T], error) {
	b, err := plan[T](spec)
	if err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	last := b.nodes[len(b.nodes)-1]
	classes := last.shape[len(last.shape)-1]
	n := &Network[T]{
		Spec:   spec,
		Params: make([]T, b.params),
		Grad:   make([]T, b.params),
		Groups: b.groups,
		nodes:  b.nodes,
		inits:  b.inits,
		loss:   loss[T]{kind: losses[spec.Loss], classes: classes, rows: last.size / classes},
		vocab:  b.vocab,

		State:        make([]T, b.stateSize),
		StateTensors: b.state,
	}
	n.resetState()
	return n, nil
}

// resetState sets running means to 0 and variances to 1.
func (n *Network[T]) resetState() {
	for i, t := range n.StateTensors {
		for j := range t.Size() {
			n.State[t.Offset+j] = T(i % 2) // they come in pairs
		}
	}
}

// Clone returns a network with the same Spec, parameters and state that shares
// no memory with n; Training and Rand are not set.
func (n *Network[T]) Clone() *Network[T] {
	c, err := New[T](n.Spec)
	if err != nil {
		panic(err) // n was made from the same Spec
	}
	copy(c.Params, n.Params)
	copy(c.State, n.State)
	return c
}

// OutputShape returns the shape of one example's output.
func (n *Network[T]) OutputShape() []int { return slices.Clone(n.output().shape) }

// Outputs returns the outputs (logits for ce) of the last batch, examples ×
// outputs. The slice is overwritten by the next pass.
func (n *Network[T]) Outputs() []T { return n.output().a }

func (n *Network[T]) output() *node[T] { return n.nodes[len(n.nodes)-1] }

// Energy returns the mean loss over the batch plus the weight decay, by a
// forward pass alone. It fails if the batch does not fit the network or the
// energy is not finite.
func (n *Network[T]) Energy(b Batch[T]) (float64, error) {
	if err := n.forward(b); err != nil {
		return 0, err
	}
	return n.energy(b)
}

// Losses returns the loss of each example of the last batch, without weight
// decay. The slice is overwritten by the next pass.
func (n *Network[T]) Losses() []float64 { return n.losses[:n.pass.n] }

// Backward returns the energy as Energy does, fills Grad with its gradient
// (weight decay included) and, if obs is not nil, obs with what the pass shows
// of each example. It fails as Energy does.
func (n *Network[T]) Backward(b Batch[T], obs *Observation) (float64, error) {
	if err := n.forward(b); err != nil {
		return 0, err
	}
	energy, err := n.energy(b)
	if err != nil {
		return 0, err
	}
	n.pass.grad, n.pass.obs = n.Grad, obs
	if obs != nil {
		obs.fit(len(n.Groups), b.N)
		copy(obs.Loss, n.losses)
	}
	n.backward(b)
	n.pass.grad, n.pass.obs = nil, nil
	if n.Spec.WeightDecay > 0 {
		kernel.Axpy(T(n.Spec.WeightDecay), n.Params, n.Grad)
	}
	return energy, nil
}

// HVP writes the product of the energy's Hessian (weight decay included) with v
// to out, exactly, by differentiating the backward pass along v. Second
// derivatives at kinks are taken as zero, as autodiff does. Grad is untouched.
// It fails as Energy does, or if v or out has not one element per parameter.
func (n *Network[T]) HVP(b Batch[T], v, out []T) error {
	if len(v) != len(n.Params) || len(out) != len(n.Params) {
		return fmt.Errorf("product with the Hessian: expected vectors of %d parameters, got %d and %d", len(n.Params), len(v), len(out))
	}
	if err := n.forward(b); err != nil {
		return err
	}
	if _, err := n.energy(b); err != nil {
		return err
	}
	n.backward(b)
	n.pass.v, n.pass.hv = v, out
	for _, y := range n.nodes[1:] {
		y.at = fit(y.at, n.capacity*y.size)[:b.N*y.size]
		y.dt = fit(y.dt, n.capacity*y.size)[:b.N*y.size]
		y.seenDt = false
		if y.needs {
			y.op.tangent(&n.pass, y)
		}
	}
	n.loss.cotangent(b, n.output())
	for i := len(n.nodes) - 1; i > 0; i-- {
		if y := n.nodes[i]; y.needs && y.seenDt {
			y.op.cotangent(&n.pass, y)
		}
	}
	n.pass.v, n.pass.hv = nil, nil
	if n.Spec.WeightDecay > 0 {
		kernel.Axpy(T(n.Spec.WeightDecay), v, out)
	}
	return nil
}

// forward checks the batch and fills every node's signal.
func (n *Network[T]) forward(b Batch[T]) error {
	if err := n.check(b); err != nil {
		return fmt.Errorf("batch: %w", err)
	}
	n.capacity = max(n.capacity, b.N)
	n.pass.n, n.pass.params, n.pass.state = b.N, n.Params, n.State
	n.pass.training, n.pass.rng = n.Training, n.Rand
	n.losses = fit(n.losses, n.capacity)
	n.nodes[0].a = b.X
	for _, y := range n.nodes[1:] {
		y.a = fit(y.a, n.capacity*y.size)[:b.N*y.size]
		y.op.forward(&n.pass, y)
	}
	return nil
}

// energy evaluates the loss of the last forward pass.
func (n *Network[T]) energy(b Batch[T]) (float64, error) {
	n.loss.value(b, n.output().a, n.losses[:b.N])
	energy := 0.0
	for _, l := range n.losses[:b.N] {
		energy += l
	}
	energy /= float64(b.N)
	if n.Spec.WeightDecay > 0 {
		energy += n.Spec.WeightDecay / 2 * kernel.SumSquares(n.Params)
	}
	if math.IsNaN(energy) || math.IsInf(energy, 0) {
		return 0, fmt.Errorf("energy is %v: %s", energy, n.whyNotFinite(b))
	}
	return energy, nil
}

// backward fills the adjoints from the loss down.
func (n *Network[T]) backward(b Batch[T]) {
	for _, y := range n.nodes[1:] {
		y.d = fit(y.d, n.capacity*y.size)[:b.N*y.size]
		y.seen = false
	}
	n.loss.adjoint(b, n.output())
	for i := len(n.nodes) - 1; i > 0; i-- {
		if y := n.nodes[i]; y.needs && y.seen {
			y.op.backward(&n.pass, y)
		}
	}
}

// check returns an error unless the batch fits the network.
func (n *Network[T]) check(b Batch[T]) error {
	in, out := n.nodes[0], n.output()
	if b.N < 1 {
		return fmt.Errorf("expected at least one example, got %d", b.N)
	}
	if len(b.X)%b.N != 0 || len(b.X)/b.N != in.size {
		return fmt.Errorf("expected %d examples × %d values (shape %v), got %d values", b.N, in.size, in.shape, len(b.X))
	}
	if err := n.checkTokens(b); err != nil {
		return err
	}
	if n.Spec.Loss != "ce" {
		if len(b.Y) != b.N*out.size {
			return fmt.Errorf("loss %s: expected %d examples × %d targets in Y, got %d values", n.Spec.Loss, b.N, out.size, len(b.Y))
		}
		return nil
	}
	if len(b.Labels) != b.N*n.loss.rows {
		return fmt.Errorf("loss ce: expected %d labels, got %d", b.N*n.loss.rows, len(b.Labels))
	}
	for i, label := range b.Labels {
		if label < 0 || int(label) >= n.loss.classes {
			return fmt.Errorf("label %d of example %d is out of range: the network has %d classes", label, i/n.loss.rows, n.loss.classes)
		}
	}
	return nil
}

// checkTokens returns an error unless an input of tokens holds tokens, and there
// is a source of randomness if dropout needs one.
func (n *Network[T]) checkTokens(b Batch[T]) error {
	if n.vocab > 0 {
		for i, x := range b.X {
			if !(x >= 0 && x < T(n.vocab)) || x != T(int(x)) {
				return fmt.Errorf("example %d holds %v: expected tokens from 0 to %d", i/n.nodes[0].size, x, n.vocab-1)
			}
		}
	}
	if n.Training && n.Rand == nil {
		for _, l := range n.Spec.Layers {
			if l.Type == "dropout" {
				return fmt.Errorf("training with dropout needs Network.Rand")
			}
		}
	}
	return nil
}

// whyNotFinite names the first thing that is not finite: input, parameters, a
// layer's signal, targets.
func (n *Network[T]) whyNotFinite(b Batch[T]) string {
	if i := firstNotFinite(b.X); i >= 0 {
		return fmt.Sprintf("the input of example %d holds %v", i/n.nodes[0].size, b.X[i])
	}
	if i := firstNotFinite(b.Y); i >= 0 {
		return fmt.Sprintf("the target of example %d is %v", i/n.output().size, b.Y[i])
	}
	for _, g := range n.Groups {
		for _, t := range g.Tensors {
			if i := firstNotFinite(n.Params[t.Offset : t.Offset+t.Size()]); i >= 0 {
				return fmt.Sprintf("parameter tensor %q holds %v", t.Name, n.Params[t.Offset+i])
			}
		}
	}
	for _, y := range n.nodes[1:] {
		if i := firstNotFinite(y.a); i >= 0 {
			return fmt.Sprintf("the signal overflows in layer %q (%s) for example %d", y.name, y.kind, i/y.size)
		}
	}
	return "the outputs are finite, but the loss overflows"
}

func firstNotFinite[T Float](xs []T) int {
	return slices.IndexFunc(xs, func(x T) bool { return x-x != 0 })
}

// fit returns a slice of at least size elements, s itself if it is that long.
func fit[E any](s []E, size int) []E {
	if cap(s) >= size {
		return s[:size]
	}
	return make([]E, size)
}
