package nn

import (
	"fmt"
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
}

// A span is the place of one parameter tensor in the flat vectors.
type span struct{ offset, size int }

func of[T Float](s span, flat []T) []T { return flat[s.offset : s.offset+s.size] }

// builder collects nodes, parameters and groups while a Spec is read.
type builder[T Float] struct {
	nodes  []*node[T]
	groups []Group
	params int
	inits  []initializer // parallel to all tensors of all groups in order
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

// add appends a node; groupsBefore is the number of groups before its
// parameters were added.
func (b *builder[T]) add(kind, name string, o op[T], shape []int, groupsBefore int, in ...*node[T]) (*node[T], error) {
	size, err := volume(shape)
	if err != nil {
		return nil, err
	}
	y := &node[T]{op: o, kind: kind, name: name, in: in, shape: shape, size: size, group: -1, source: -1}
	for _, x := range in {
		y.needs = y.needs || x.needs
		y.source = max(y.source, x.source)
	}
	if len(b.groups) > groupsBefore {
		y.group = len(b.groups) - 1
		y.source = y.group
		y.needs = true
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
	if _, err := b.add("input", "input", nil, spec.Input, 0); err != nil {
		return nil, fmt.Errorf("input %w", err)
	}
	names := map[string]bool{"input": true}
	for i, layer := range spec.Layers {
		if layer.Name == "" {
			layer.Name = strconv.Itoa(i)
		}
		if names[layer.Name] {
			return nil, fmt.Errorf("layer %d: the name %q is taken", i, layer.Name)
		}
		names[layer.Name] = true
		if err := b.layer(layer); err != nil {
			return nil, fmt.Errorf("layer %q (%s): %w", layer.Name, layer.Type, err)
		}
	}
	if b.params == 0 {
		return nil, fmt.Errorf("the network has no parameters")
	}
	return b, nil
}

// layer adds the nodes of one layer.
func (b *builder[T]) layer(l LayerSpec) error {
	x := b.nodes[len(b.nodes)-1]
	if l.Type == "linear" {
		return b.linear(l, x)
	}
	act, err := activationByName(l.Type)
	if err != nil {
		return fmt.Errorf("unknown layer type: expected linear or an activation; %w", err)
	}
	if l.Out != 0 || l.NoBias {
		return fmt.Errorf("an activation takes neither out nor no_bias")
	}
	_, err = b.add(l.Type, l.Name, &activate[T]{act: act}, x.shape, len(b.groups), x)
	return err
}
