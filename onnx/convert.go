package onnx

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kelvin-ml/kelvin/nn"
)

// A value is what one name in the graph stands for: a constant; or elements of
// a layer's output, with a formula for what is done to each of them; or
// attention in the making.
type value struct {
	shape    []int // the examples are an axis
	constant *tensor

	layer *layer
	// index[i] is the element of the layer's output, of all examples, that
	// element i is made from; nil if it is i.
	index   []float64
	full    []int    // the shape before a mean over the last axis
	formula *formula // nil if elements are as they are

	scores   *scores
	sequence []*value // of values
	softmax  *value   // whose softmax, over the last axis, it is
	padding  []int    //  // zeros around the image that the next layer adds: height, width
}

type converter struct {
	graph     *graph
	folder    string
	budget    int // elements that may still be computed
	batch     int
	values    map[string]*value
	uses      map[string]int // how many nodes read a name
	input     *layer
	inputRead bool
	layers    []*layer
	realised  map[*formula]map[*layer]*layer
	notes     []string
}

func (c *converter) notef(format string, args ...any) {
	c.notes = append(c.notes, fmt.Sprintf(format, args...))
}

// convert makes the network of a graph for a given number of examples.
func (c *converter) convert(in valueInfo, batch int, loss string, example []int) (*Model, error) {
	shape := slices.Clone(in.dims[1:])
	for i, d := range shape {
		if d < 0 && len(example) == len(shape) {
			shape[i] = example[i]
		}
		if shape[i] < 1 {
			return nil, fmt.Errorf("input %q: axis %d is open, and data of shape %v do not say its length", in.name, i+1, example)
		}
	}
	c.batch = batch
	c.input = &layer{spec: nn.LayerSpec{Name: "input"}, shape: shape}
	whole := append([]int{batch}, shape...)
	if err := checkShape(whole); err != nil || elements(whole) == 0 {
		return nil, fmt.Errorf("input %q: shape %v is not supported", in.name, whole)
	}
	c.values = map[string]*value{in.name: {shape: whole, layer: c.input, full: whole}}
	for _, t := range c.graph.initializers {
		c.values[t.name] = &value{shape: t.shape, constant: t}
	}
	c.uses, c.realised = map[string]int{}, map[*formula]map[*layer]*layer{}
	nodes := c.needed()
	for _, n := range nodes {
		if err := c.node(n); err != nil {
			return nil, n.errorf("%w", err)
		}
	}
	return c.finish(loss)
}

// needed returns the nodes that the output depends on, and counts what they read.
func (c *converter) needed() []*node {
	output := c.graph.outputs[0].name
	wanted := map[string]bool{output: true}
	c.uses[output]++
	var nodes []*node
	for _, n := range slices.Backward(c.graph.nodes) {
		if !slices.ContainsFunc(n.outputs, func(name string) bool { return name != "" && wanted[name] }) {
			continue
		}
		nodes = append(nodes, n)
		for _, name := range n.inputs {
			wanted[name] = true
			c.uses[name]++
		}
	}
	slices.Reverse(nodes)
	return nodes
}

// finish makes the network that ends in the graph's output.
func (c *converter) finish(loss string) (*Model, error) {
	name := c.graph.outputs[0].name
	v := c.values[name]
	if v == nil || v.constant != nil {
		return nil, fmt.Errorf("output %q does not depend on the input", name)
	}
	if v.softmax != nil {
		if loss != "ce" {
			return nil, fmt.Errorf("output %q is a softmax: expected loss ce", name)
		}
		v = v.softmax
		c.notef("the softmax of the output is left to the loss")
	}
	out, err := c.plain(v, nil)
	if err != nil {
		return nil, fmt.Errorf("output %q: %w", name, err)
	}
	network, err := c.network(out, loss)
	if err != nil {
		return nil, err
	}
	return &Model{Network: network, Notes: c.notes}, nil
}

// operators lists, sorted, what may stand in a graph that depends on the input.
func operators() []string {
	all := slices.Concat(slices.Collect(maps.Keys(layerOps)), slices.Collect(maps.Keys(scalars)), slices.Collect(maps.Keys(views)),
		slices.Collect(maps.Keys(arguments)), []string{"Cast", "Dropout", "Shape", "Size", "ReduceMean", "SplitToSequence", "SequenceAt"})
	slices.Sort(all)
	return slices.Compact(all)
}

// node gives the outputs of a node their values.
func (c *converter) node(n *node) error {
	in := make([]*value, len(n.inputs))
	for i, name := range n.inputs {
		if name == "" {
			continue // left out
		}
		if in[i] = c.values[name]; in[i] == nil {
			return fmt.Errorf("it reads %q, which is no initialiser and no output of a node before it", name)
		}
		if t := in[i].constant; t != nil {
			if err := t.load(c.folder); err != nil {
				return err
			}
		}
	}
	for _, name := range n.outputs {
		if c.values[name] != nil && name != "" {
			return fmt.Errorf("its output %q is already there", name)
		}
	}
	if len(n.outputs) == 0 {
		return fmt.Errorf("it has no output")
	}
	out, err := c.outputs(n, in)
	if err != nil {
		return err
	}
	for i, v := range out {
		if i < len(n.outputs) {
			c.values[n.outputs[i]] = v
		}
	}
	return nil
}

func (c *converter) outputs(n *node, in []*value) ([]*value, error) {
	if n.domain != "" && n.domain != "ai.onnx" {
		return nil, fmt.Errorf("operators of %q are not supported: expected %s", n.domain, strings.Join(operators(), ", "))
	}
	if !slices.ContainsFunc(in, func(v *value) bool { return v != nil && v.constant == nil }) {
		constants := make([]*tensor, len(in))
		for i, v := range in {
			if v != nil {
				constants[i] = v.constant
			}
		}
		folded, known, err := c.fold(n, constants)
		if !known {
			return nil, unsupported()
		}
		var out []*value
		if err == nil {
			for _, t := range folded {
				out = append(out, &value{shape: t.shape, constant: t})
			}
		}
		return out, err
	}
	v, err := c.signal(n, in)
	return v, err
}

func unsupported() error {
	return fmt.Errorf("operator not supported: expected %s", strings.Join(operators(), ", "))
}

// signal computes a node that depends on the input.
func (c *converter) signal(n *node, in []*value) ([]*value, error) {
	one := func(v *value, err error) ([]*value, error) { return []*value{v}, err }
	x := in[0]
	for _, v := range in {
		if v != nil && v.softmax != nil && n.op != "Identity" {
			return nil, fmt.Errorf("a softmax that is neither attention nor the output is not supported")
		}
		if v != nil && v.scores != nil {
			return one(c.attend(n, in))
		}
		if v != nil && v.sequence != nil && n.op != "SequenceAt" {
			return nil, fmt.Errorf("a sequence is supported before SequenceAt only")
		}
		if v != nil && v.padding != nil && n.op != "AveragePool" && n.op != "Conv" && n.op != "Identity" {
			return nil, fmt.Errorf("padding is supported before Conv and AveragePool only")
		}
	}
	if x == nil {
		return nil, fmt.Errorf("its first input is missing")
	}
	if f := layerOps[n.op]; f != nil {
		return one(f(c, n, in))
	}
	switch n.op {
	case "Shape":
		t, err := shapeOf(n, x.shape)
		return one(&value{shape: t.shape, constant: t}, err)
	case "Size":
		return one(&value{constant: integers(elements(x.shape))}, nil)
	case "Identity", "Cast", "Dropout", "CastLike":
		if n.op == "CastLike" && x.constant != nil {
			return one(x, nil)
		}
		integer := n.op == "Cast" && (&tensor{dtype: n.integer("to", typeFloat)}).integer()
		if x.constant != nil || integer && (x.layer != c.input || x.formula != nil) {
			return nil, fmt.Errorf("expected a cast to floating point")
		}
		return one(x, nil)
	case "SplitToSequence":
		parts, err := c.parts(n, in)
		return one(&value{sequence: parts}, err)
	case "SequenceAt":
		return one(at(in))
	case "ReduceMean":
		return one(c.mean(n, in))
	}
	if views[n.op] != nil {
		return c.move(n, in)
	}
	if f := scalarOf(n, false); f != nil || n.op == "Clip" {
		return one(c.combine(n, f, in))
	}
	return nil, unsupported()
}
