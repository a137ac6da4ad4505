package nn

import (
	"fmt"
	"math/rand/v2"
	"strconv"
)

// Float is the type of parameters and signals.
type Float interface{ float32 | float64 }

// An op computes one node from its inputs. Each method reads what the ones
// before it left in the nodes: forward fills y.a; backward adds to the adjoints
// of the inputs and writes the parameters' gradients; tangent and cotangent are
// the derivatives of forward and backward along the direction (p.v), for
// Hessian-vector products.
type op[T Float] interface {
	forward(p *pass[T], y *node[T])
	backward(p *pass[T], y *node[T])
	tangent(p *pass[T], y *node[T])
	cotangent(p *pass[T], y *node[T])
}

// A node is a signal and the operation that makes it.
type node[T Float] struct {
	op     op[T]
	kind   string // the layer's type, "input" for the input
	name   string
	in     []*node[T]
	shape  []int // of one example
	size   int   // elements of one example
	group  int   // index into Network.Groups, −1 without parameters
	source int   // the nearest group upstream or here, −1 for the input
	needs  bool  // whether it depends on parameters, so that adjoint and tangent exist

	a, d         []T // signal and adjoint ∂E/∂a, examples × size
	at, dt       []T // their tangents
	seen, seenDt bool
}

// claim returns the factor for what the adjoint already holds: 0 for the first
// of the node's readers to write to it in this pass, 1 for the others.
func (x *node[T]) claim() T {
	if x.seen {
		return 1
	}
	x.seen = true
	return 0
}

// claimTangent is claim for the adjoint's tangent.
func (x *node[T]) claimTangent() T {
	if x.seenDt {
		return 1
	}
	x.seenDt = true
	return 0
}

// A pass is what the operations share while one batch goes through.
type pass[T Float] struct {
	n      int // examples
	params []T
	grad   []T // nil when the parameters' gradient is not wanted
	v, hv  []T // direction and result of a Hessian-vector product
	obs    *Observation

	training bool
	state    []T        // running statistics
	rng      *rand.Rand // for dropout
}

// A span is the place of one parameter tensor in the flat vectors.
type span struct{ offset, size int }

func of[T Float](s span, flat []T) []T { return flat[s.offset : s.offset+s.size] }

// builder collects nodes, parameters and groups while a Spec is read.
type builder[T Float] struct {
	nodes  []*node[T]
	groups []Group
	params int
	state  []Tensor // running statistics

	stateSize int
	vocab     int           // of the tokens that the input holds; 0 when it holds none
	inits     []initializer // parallel to all tensors of all groups in order
}

// param adds a parameter tensor to the group of the layer being built.
func (b *builder[T]) param(layer, tensor string, init initializer, shape ...int) (span, error) {
	size, err := volume(shape)
	if err != nil {
		return span{}, err
	}
	if b.params > maxParams-size {
		return span{}, fmt.Errorf("more than %d parameters", maxParams)
	}
	if len(b.groups) == 0 || b.groups[len(b.groups)-1].Name != layer {
		b.groups = append(b.groups, Group{Name: layer, Offset: b.params})
	}
	g := &b.groups[len(b.groups)-1]
	g.Tensors = append(g.Tensors, Tensor{Name: layer + "." + tensor, Shape: shape, Offset: b.params})
	g.Size += size
	s := span{b.params, size}
	b.params += size
	b.inits = append(b.inits, init)
	return s, nil
}

// add appends a node. It belongs to the group of the layer's parameters if
// parametric, and depends on parameters if that is so or an input does.
func (b *builder[T]) add(l LayerSpec, o op[T], shape []int, parametric bool, in ...*node[T]) (*node[T], error) {
	size, err := volume(shape)
	if err != nil {
		return nil, err
	}
	y := &node[T]{op: o, kind: l.Type, name: l.Name, in: in, shape: shape, size: size, group: -1, source: -1, needs: parametric}
	for _, x := range in {
		y.needs = y.needs || x.needs
		y.source = max(y.source, x.source)
	}
	if parametric {
		y.group = len(b.groups) - 1
		y.source = y.group
	}
	b.nodes = append(b.nodes, y)
	return y, nil
}

// plan checks a Spec and lays out its network without allocating what a batch
// or the parameters need.
func plan[T Float](spec Spec) (*builder[T], error) {
	if err := checkLoss(spec); err != nil {
		return nil, err
	}
	if len(spec.Input) == 0 {
		return nil, fmt.Errorf("input shape is empty")
	}
	if len(spec.Layers) == 0 || len(spec.Layers) > maxLayers {
		return nil, fmt.Errorf("%d layers: expected 1 to %d", len(spec.Layers), maxLayers)
	}
	b := &builder[T]{}
	input, err := b.add(LayerSpec{Type: "input", Name: "input"}, nil, spec.Input, false)
	if err != nil {
		return nil, fmt.Errorf("input %w", err)
	}
	outputs := map[string]*node[T]{"input": input} // of each layer so far, by name
	used := map[string]bool{}
	last := "input"
	for i, layer := range spec.Layers {
		if layer.Name == "" {
			layer.Name = strconv.Itoa(i)
		}
		if outputs[layer.Name] != nil {
			return nil, fmt.Errorf("layer %d: the name %q is taken", i, layer.Name)
		}
		if len(layer.Inputs) == 0 {
			layer.Inputs = []string{last}
		}
		y, err := b.layer(layer, outputs, used)
		if err != nil {
			return nil, fmt.Errorf("layer %q (%s): %w", layer.Name, layer.Type, err)
		}
		outputs[layer.Name], last = y, layer.Name
	}
	for _, y := range b.nodes {
		if outputs[y.name] == y && !used[y.name] && y.name != last {
			return nil, fmt.Errorf("nothing reads layer %q", y.name)
		}
	}
	if b.params == 0 {
		return nil, fmt.Errorf("the network has no parameters")
	}
	return b, nil
}
