package curvature

import (
	"fmt"
	"math"
	"slices"

	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/thermo"
)

// An Operator is a symmetric matrix.
type Operator interface {
	// Dim returns the number of rows.
	Dim() int
	// Apply writes the product with v to out; both have Dim elements.
	Apply(v, out []float64) error
}

// A Parted operator is a weighted mean of parts that belong to independent,
// equally distributed sets of examples. Their spread is the sampling error.
type Parted interface {
	Operator
	// Weights returns the weight of every part; they sum to 1.
	Weights() []float64
	// ApplyPart writes the product of one part with v to out.
	ApplyPart(part int, v, out []float64) error
}

// Kind says which matrix of an energy an operator is.
type Kind string

// The matrices of an energy.
const (
	Hessian     Kind = "hessian"      // ∇²E
	GaussNewton Kind = "gauss-newton" // JᵀSJ; for cross entropy the Fisher information
)

// energy is the operator of a network's energy on batches.
type energy[T nn.Float] struct {
	network *nn.Network[T]
	product func(b nn.Batch[T], v, out []T) error
	batches []nn.Batch[T]
	weights []float64
	v, out  []T
	part    []float64
}

// NewOperator returns the operator of the network's energy (mean loss over all
// examples of the batches, and weight decay) at its parameters, part by part.
// The parts are the batches: for [TraceOptions].Population they must be random
// and of about one size. It fails without examples.
func NewOperator[T nn.Float](network *nn.Network[T], batches []nn.Batch[T], kind Kind) (Parted, error) {
	k := len(network.Params)
	e := &energy[T]{network: network, batches: batches, v: make([]T, k), out: make([]T, k), part: make([]float64, k)}
	switch kind {
	case Hessian:
		e.product = network.HVP
	case GaussNewton:
		e.product = network.GaussNewton
	default:
		return nil, fmt.Errorf("curvature: matrix %q: expected %s or %s", kind, Hessian, GaussNewton)
	}
	total := 0
	for _, b := range batches {
		total += b.N
	}
	if total == 0 {
		return nil, fmt.Errorf("curvature: no examples")
	}
	for _, b := range batches {
		e.weights = append(e.weights, float64(b.N)/float64(total))
	}
	return e, nil
}

func (e *energy[T]) Dim() int           { return len(e.network.Params) }
func (e *energy[T]) Weights() []float64 { return e.weights }

func (e *energy[T]) ApplyPart(part int, v, out []float64) error {
	for i, x := range v {
		e.v[i] = T(x)
	}
	if err := e.product(e.batches[part], e.v, e.out); err != nil {
		return err
	}
	for i, x := range e.out {
		out[i] = float64(x)
	}
	return nil
}

func (e *energy[T]) Apply(v, out []float64) error {
	if len(e.batches) == 1 {
		return e.ApplyPart(0, v, out)
	}
	for i, x := range v {
		e.v[i] = T(x)
	}
	clear(out)
	for c, w := range e.weights {
		if err := e.product(e.batches[c], e.v, e.out); err != nil {
			return err
		}
		for i, x := range e.out {
			out[i] += w * float64(x)
		}
	}
	return nil
}

// Layers returns the groups of a network's parameters.
func Layers[T nn.Float](network *nn.Network[T]) []thermo.Group {
	groups := make([]thermo.Group, len(network.Groups))
	for i, g := range network.Groups {
		groups[i] = thermo.Group{Name: g.Name, Size: g.Size}
	}
	return groups
}

// forms applies an operator and adds up the local quadratic forms of what it
// applies: for every part and layer Σ_i v_i (Hv)_i over the layer's parameters.
type forms struct {
	operator Operator
	groups   []thermo.Group
	parts    Parted // nil when the whole is one part
	product  []float64
	products int // so far
}

func newForms(operator Operator, groups []thermo.Group, population bool) (*forms, error) {
	n := operator.Dim()
	if n < 1 {
		return nil, fmt.Errorf("curvature: a matrix of %d rows", n)
	}
	sum := 0
	for _, g := range groups {
		sum += g.Size
	}
	if len(groups) == 0 || sum != n {
		return nil, fmt.Errorf("curvature: groups of %d parameters for a matrix of %d rows", sum, n)
	}
	f := &forms{operator: operator, groups: groups}
	if population {
		parts, ok := operator.(Parted)
		if !ok || len(parts.Weights()) < minParts {
			return nil, fmt.Errorf("curvature: the error from the choice of examples needs an operator of at least %d parts", minParts)
		}
		f.parts, f.product = parts, make([]float64, n)
	}
	return f, nil
}

// minParts is the number of parts below which their spread says too little.
const minParts = 8

func (f *forms) count() int {
	if f.parts == nil {
		return 1
	}
	return len(f.parts.Weights())
}

// table returns a zero for every part and group.
func (f *forms) table() [][]float64 {
	t := make([][]float64, f.count())
	for c := range t {
		t[c] = make([]float64, len(f.groups))
	}
	return t
}

// apply writes Hv to out and, unless sums is nil, adds the forms to it.
func (f *forms) apply(v, out []float64, sums [][]float64) error {
	f.products++
	if f.parts == nil || sums == nil {
		if err := f.operator.Apply(v, out); err != nil {
			return err
		}
		if sums != nil {
			f.add(v, out, sums[0])
		}
	} else {
		clear(out)
		for c, w := range f.parts.Weights() {
			if err := f.parts.ApplyPart(c, v, f.product); err != nil {
				return err
			}
			f.add(v, f.product, sums[c])
			for i, x := range f.product {
				out[i] += w * x
			}
		}
	}
	if i := slices.IndexFunc(out, func(x float64) bool { return x-x != 0 }); i >= 0 {
		return fmt.Errorf("curvature: element %d of a product is %v: the curvature overflows the precision of the network", i, out[i])
	}
	return nil
}

func (f *forms) add(v, product, sums []float64) {
	offset := 0
	for g, group := range f.groups {
		sums[g] += dot(v[offset:offset+group.Size], product[offset:offset+group.Size])
		offset += group.Size
	}
}

func norm(v []float64) float64 { return math.Sqrt(dot(v, v)) }
