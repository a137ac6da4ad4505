package nn

import "github.com/kelvin-ml/kelvin/nn/internal/kernel"

// An Observation is what one backward pass shows besides the gradient, for each
// group of parameters (indexed as Network.Groups) and each example of the
// batch. All of it is of the example's own loss, without weight decay, so the
// means over the batch are those of the data energy. See docs/theory.md#t2.
//
// Virials cost one dot product a layer: every layer is linear in its parameters
// taken together, y = W·x + b, so θ·∇loss = Σ y·δ. Squared gradient norms come
// from closed forms where there are any:
//
//	linear                 (|x|² + 1)|δ|²; for the positions r, s of a sequence the Gram form
//	                       Σ (x_r·x_s + 1)(δ_r·δ_s), or the example's gradient where that is cheaper
//	attention              those of its two linear layers; of the queries, keys and values, and out
//	position               |δ|²
//	embedding              Σ over tokens of |Σ δ at the token's positions|²
//	norms                  the example's gradients Σ x̂δ and Σ δ, which are short
//	conv2d                 the example's gradient, on the way to the batch's
//
// With batchnorm while training, examples act on each other's losses; then the
// values are each example's share of the batch's.
type Observation struct {
	Loss      []float64   // [example]
	Virial    [][]float64 // [group][example] θ_l·∇_l loss_i
	GradNorm2 [][]float64 // [group][example] |∇_l loss_i|²
}

// fit sizes the observation and clears it, keeping its memory.
func (o *Observation) fit(groups, examples int) {
	o.Loss = fit(o.Loss, examples)
	o.Virial = fit(o.Virial, groups)
	o.GradNorm2 = fit(o.GradNorm2, groups)
	for g := range groups {
		o.Virial[g] = fit(o.Virial[g], examples)
		o.GradNorm2[g] = fit(o.GradNorm2[g], examples)
		clear(o.Virial[g])
		clear(o.GradNorm2[g])
	}
}

// observe adds to an example of a group the virial Σ y·δ, which holds for every
// operation linear in its parameters taken together (y = W·x + b), and the
// squared norm of their gradient g.
func (p *pass[T]) observe(group, example int, y, d, g []T) {
	n := float64(p.n) // adjoints are of the mean over the batch
	p.obs.Virial[group][example] += n * kernel.Dot(y, d)
	p.obs.GradNorm2[group][example] += n * n * kernel.SumSquares(g)
}

// A Signal is what one activation layer did to the last batch: A = φ(Z), both
// Rows × Units. The slices belong to the network and live until its next pass.
type Signal[T Float] struct {
	Name        string // of the activation layer
	Group       string // the nearest layer with parameters upstream; empty if none
	Activation  string // "relu", …
	Z, A        []T
	Rows, Units int
	Shape       []int // of one row: [units], [positions, features] or [channels, height, width]
}

// Signals yields the signal of every activation layer in order, after a pass.
// It can be ranged over: for s := range network.Signals { … }.
func (n *Network[T]) Signals(yield func(Signal[T]) bool) {
	for _, y := range n.nodes {
		o, ok := y.op.(*activate[T])
		if !ok || len(y.a) == 0 {
			continue
		}
		s := Signal[T]{Name: y.name, Activation: o.act.name, Z: y.in[0].a, A: y.a, Rows: len(y.a) / y.size, Units: y.size, Shape: y.shape}
		if y.source >= 0 {
			s.Group = n.Groups[y.source].Name
		}
		if !yield(s) {
			return
		}
	}
}
