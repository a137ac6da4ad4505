package onnx

import (
	"fmt"
	"slices"

	"github.com/kelvin-ml/kelvin/nn"
)

// move views a signal's elements in another order or shape.
func (c *converter) move(n *node, in []*value) ([]*value, error) {
	x := in[0]
	constants := make([]*tensor, len(in))
	for i, v := range in[1:] {
		if v == nil {
			continue
		}
		if constants[i+1] = v.constant; v.constant == nil {
			return nil, fmt.Errorf("expected one input that depends on the network's, got several")
		}
	}
	if x.constant != nil {
		return nil, fmt.Errorf("a table looked up with what is not the network's input is not supported")
	}
	if x.formula != nil && x.formula.rowwise() {
		var err error
		if x, err = c.close(x, n); err != nil {
			return nil, err
		}
	}
	switch n.op {
	case "Reshape", "Flatten", "Squeeze", "Unsqueeze":
		shape, err := reshaped(n, x.shape, constants)
		if err != nil {
			return nil, err
		}
		if len(shape) == 0 || !slices.Equal(x.shape, x.full) {
			return nil, fmt.Errorf("a signal of shape %v as one of shape %v is not supported", x.shape, shape)
		}
		moved := *x
		moved.shape, moved.full = shape, shape
		return []*value{&moved}, nil
	}
	if !slices.Equal(x.shape, x.full) {
		return nil, fmt.Errorf("a mean over features that no normalisation uses is not supported")
	}
	if err := c.spend(elements(x.shape)); err != nil {
		return nil, err
	}
	constants[0] = &tensor{shape: x.shape, data: x.elements(), loaded: true}
	out, err := c.view(n, constants)
	if err != nil {
		return nil, err
	}
	var moved []*value
	for _, t := range out {
		if elements(t.shape) == 0 || len(t.shape) == 0 {
			return nil, fmt.Errorf("nothing is left of shape %v", x.shape)
		}
		v := &value{shape: t.shape, full: t.shape, layer: x.layer, index: t.data, formula: x.formula}
		if v.inOrder(c.batch) {
			v.index = nil
		}
		moved = append(moved, v)
	}
	return moved, nil
}

// parts splits a signal as Split does, into as many parts as there are.
func (c *converter) parts(n *node, in []*value) ([]*value, error) {
	axis := n.integer("axis", 0)
	if axis < 0 {
		axis += len(in[0].shape)
	}
	if len(in) != 2 || in[1] == nil || in[1].constant == nil || axis < 0 || axis >= len(in[0].shape) || n.integer("keepdims", 1) == 0 {
		return nil, fmt.Errorf("expected the constant lengths of parts along an axis that is kept")
	}
	lengths := in[1].constant
	if each := lengths.list(); len(lengths.shape) == 0 && each[0] > 0 { // equal parts, the last one perhaps shorter
		var all []int
		for left := in[0].shape[axis]; left > 0; left -= each[0] {
			all = append(all, min(each[0], left))
		}
		lengths = integers(all...)
	}
	s := &node{name: n.name, op: "Split", attributes: n.attributes, outputs: make([]string, len(lengths.data)), scope: n.scope}
	return c.move(s, []*value{in[0], {constant: lengths}})
}

// at returns one value of a sequence.
func at(in []*value) (*value, error) {
	if len(in) == 2 && in[0] != nil && in[1] != nil && in[1].constant != nil && len(in[1].constant.data) == 1 {
		i := in[1].constant.list()[0]
		if i < 0 {
			i += len(in[0].sequence)
		}
		if i >= 0 && i < len(in[0].sequence) {
			return in[0].sequence[i], nil
		}
	}
	return nil, fmt.Errorf("expected a sequence and the place of one of its values")
}

// elements returns the value's index, written out.
func (v *value) elements() []float64 {
	if v.index != nil {
		return v.index
	}
	index := make([]float64, elements(v.shape))
	for i := range index {
		index[i] = float64(i)
	}
	return index
}

// inOrder says that the index lists all the layer's elements in order.
func (v *value) inOrder(batch int) bool {
	for i, e := range v.index {
		if e != float64(i) {
			return false
		}
	}
	return len(v.index) == batch*elements(v.layer.shape)
}

// plain returns the layer whose output the value is, in order: the reader's
// only view is the layer's own shape, or one flat axis, for which it adds a
// layer. Without a node, the shape does not matter.
func (c *converter) plain(v *value, n *node) (*layer, error) {
	v, err := c.close(v, n)
	if err != nil {
		return nil, err
	}
	if v.index != nil {
		return nil, fmt.Errorf("its elements are rearranged in a way that no layer of kelvin's does")
	}
	want := v.shape
	if len(want) > 0 {
		want = want[1:]
	}
	switch {
	case slices.Equal(want, v.layer.shape), n == nil && len(v.layer.shape) == 1 && v.shape[0] == c.batch:
		return v.layer, nil
	case v.layer == c.input && !c.inputRead && len(want) > 0 && v.shape[0] == c.batch:
		c.input.shape = want
		return c.input, nil
	case len(want) == 1 && want[0] == elements(v.layer.shape):
		where := n
		if n == nil {
			where = &node{}
		}
		return c.add(where, &layer{spec: nn.LayerSpec{Type: "flatten"}, in: []*layer{v.layer}, shape: want}), nil
	}
	return nil, fmt.Errorf("reshaping one example from %v to %v is not supported", v.layer.shape, want)
}
