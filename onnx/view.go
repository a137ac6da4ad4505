package onnx

import (
	"fmt"
	"slices"
)

// A viewer says, for the shapes of a node's inputs and its constants, where the
// elements of each output come from: elements of the first input (of all
// inputs, one after the other, for Concat), in the order of the output.
type viewer func(c *converter, n *node, in []*tensor) ([]*tensor, error)

// views are the operators that move elements and compute nothing. The same code
// moves the elements of constants, and the indices by which a signal's elements
// are found in a layer's output.
var views map[string]viewer

func init() {
	views = map[string]viewer{
		"Reshape": reshape, "Flatten": reshape, "Squeeze": reshape, "Unsqueeze": reshape, "Transpose": transpose,
		"Slice": slice, "Gather": gather, "Split": split, "Concat": concat, "Expand": expand, "Tile": tile,
	}
}

// view checks that the inputs are there and views them.
func (c *converter) view(n *node, in []*tensor) ([]*tensor, error) {
	if len(in) == 0 || in[0] == nil {
		return nil, fmt.Errorf("expected an input")
	}
	out, err := views[n.op](c, n, in)
	if err != nil {
		return nil, err
	}
	for _, t := range out {
		t.dtype = in[0].dtype
		if n.op != "Concat" {
			t.name = in[0].name
		}
	}
	return out, nil
}

// operand returns a list given as an input, or in old operator sets as an
// attribute; nil if it is neither.
func operand(n *node, in []*tensor, i int, attribute string) []int {
	if i < len(in) && in[i] != nil {
		return in[i].list()
	}
	return n.integers(attribute)
}

// reshaped returns the shape that Reshape and its like give to a tensor.
func reshaped(n *node, shape []int, in []*tensor) ([]int, error) {
	size := elements(shape)
	switch n.op {
	case "Flatten":
		axis := n.integer("axis", 1)
		if axis < 0 {
			axis += len(shape)
		}
		if axis < 0 || axis > len(shape) {
			return nil, fmt.Errorf("axis %d of a tensor of shape %v", axis, shape)
		}
		return []int{elements(shape[:axis]), elements(shape[axis:])}, nil
	case "Squeeze", "Unsqueeze":
		return squeezed(n, shape, in)
	}
	out := slices.Clone(operand(n, in, 1, "shape"))
	free := -1
	for i, d := range out {
		switch {
		case d == 0 && n.integer("allowzero", 0) == 0 && i < len(shape):
			out[i] = shape[i]
		case d == -1 && free < 0:
			free, out[i] = i, 1
		}
	}
	if err := checkShape(out); err != nil {
		return nil, err
	}
	if rest := elements(out); free >= 0 && rest > 0 && size%rest == 0 {
		out[free] = size / rest
	}
	if elements(out) != size {
		return nil, fmt.Errorf("expected a shape of %d elements, as %v has, got %v", size, shape, out)
	}
	return out, nil
}

func squeezed(n *node, shape []int, in []*tensor) ([]int, error) {
	axes := operand(n, in, 1, "axes")
	rank := len(shape)
	if n.op == "Unsqueeze" {
		rank += len(axes)
	}
	if rank > 64 {
		return nil, fmt.Errorf("%d axes", rank)
	}
	normal, err := axesOf(&node{attributes: map[string]attribute{}}, []*tensor{nil, integers(axes...)}, rank)
	if err != nil {
		return nil, err
	}
	var out []int
	if n.op == "Squeeze" {
		for i, d := range shape {
			switch {
			case len(normal) > 0 && !slices.Contains(normal, i), len(normal) == 0 && d != 1:
				out = append(out, d)
			case d != 1:
				return nil, fmt.Errorf("axis %d of shape %v is not of length 1", i, shape)
			}
		}
		return out, nil
	}
	for i := range rank {
		if slices.Contains(normal, i) {
			out = append(out, 1)
		} else {
			out, shape = append(out, shape[0]), shape[1:]
		}
	}
	return out, nil
}

func reshape(_ *converter, n *node, in []*tensor) ([]*tensor, error) {
	shape, err := reshaped(n, in[0].shape, in)
	return []*tensor{{shape: shape, data: in[0].data, loaded: true}}, err
}

// moved returns a tensor of the given shape whose element at an index is the
// one of t at offset + index·steps.
func (c *converter) moved(t *tensor, shape []int, offset int, steps []int) (*tensor, error) {
	out, err := c.allocate(t.dtype, shape)
	if err != nil {
		return nil, err
	}
	index := make([]int, len(shape))
	for i := range out.data {
		out.data[i] = t.data[offset+dot(index, steps)]
		advance(index, shape)
	}
	return out, nil
}

// steps returns the distance between neighbours along each axis.
func steps(shape []int) []int {
	out, step := make([]int, len(shape)), 1
	for i := len(shape) - 1; i >= 0; i-- {
		out[i] = step
		step *= shape[i]
	}
	return out
}

func transpose(c *converter, n *node, in []*tensor) ([]*tensor, error) {
	rank := len(in[0].shape)
	perm := n.integers("perm")
	if perm == nil {
		for i := range rank {
			perm = append(perm, rank-1-i)
		}
	}
	sorted := slices.Sorted(slices.Values(perm))
	for i := range max(rank, len(perm)) {
		if len(perm) != rank || sorted[i] != i {
			return nil, fmt.Errorf("perm %v: expected the %d axes in another order", perm, rank)
		}
	}
	from := steps(in[0].shape)
	shape, to := make([]int, rank), make([]int, rank)
	for i, p := range perm {
		shape[i], to[i] = in[0].shape[p], from[p]
	}
	t, err := c.moved(in[0], shape, 0, to)
	return []*tensor{t}, err
}

func slice(c *converter, n *node, in []*tensor) ([]*tensor, error) {
	starts, ends := operand(n, in, 1, "starts"), operand(n, in, 2, "ends")
	axes, by := operand(n, in, 3, "axes"), operand(n, in, 4, "steps")
	shape, to, offset := slices.Clone(in[0].shape), steps(in[0].shape), 0
	rank := len(shape)
	if len(starts) != len(ends) || len(axes) > 0 && len(axes) != len(starts) || len(by) > 0 && len(by) != len(starts) || len(starts) > rank {
		return nil, fmt.Errorf("starts %v, ends %v, axes %v, steps %v: expected one of each for every axis", starts, ends, axes, by)
	}
	for i := range starts {
		axis, step := i, 1
		if len(axes) > 0 {
			axis = axes[i]
		}
		if len(by) > 0 {
			step = by[i]
		}
		if axis < 0 {
			axis += rank
		}
		if axis < 0 || axis >= rank || step == 0 || shape[axis] != in[0].shape[axis] {
			return nil, fmt.Errorf("axis %d with step %d of shape %v", axis, step, in[0].shape)
		}
		length := in[0].shape[axis]
		from, until := starts[i], ends[i]
		if from < 0 {
			from += length
		}
		if until < 0 {
			until += length
		}
		if step > 0 {
			from, until = max(0, min(from, length)), max(0, min(until, length))
			shape[axis] = max(0, (until-from+step-1)/step)
		} else {
			from, until = max(0, min(from, length-1)), max(-1, min(until, length-1))
			shape[axis] = max(0, (from-until-step-1)/-step)
		}
		if shape[axis] > 0 {
			offset += from * to[axis]
		}
		to[axis] *= step
	}
	t, err := c.moved(in[0], shape, offset, to)
	return []*tensor{t}, err
}

func gather(c *converter, n *node, in []*tensor) ([]*tensor, error) {
	axis := n.integer("axis", 0)
	if axis < 0 {
		axis += len(in[0].shape)
	}
	if len(in) != 2 || in[1] == nil || axis < 0 || axis >= len(in[0].shape) {
		return nil, fmt.Errorf("expected indices and an axis of shape %v, got axis %d", in[0].shape, axis)
	}
	length := in[0].shape[axis]
	inner := elements(in[0].shape[axis+1:])
	t, err := c.allocate(in[0].dtype, slices.Concat(in[0].shape[:axis], in[1].shape, in[0].shape[axis+1:]))
	if err != nil {
		return nil, err
	}
	indices := in[1].list()
	for i := range indices {
		if indices[i] < 0 {
			indices[i] += length
		}
		if indices[i] < 0 || indices[i] >= length {
			return nil, fmt.Errorf("index %d is out of range: the axis has %d", indices[i], length)
		}
	}
	at := t.data
	for outer := range elements(in[0].shape[:axis]) {
		for _, i := range indices {
			at = at[copy(at, in[0].data[(outer*length+i)*inner:][:inner]):]
		}
	}
	return []*tensor{t}, nil
}

func split(c *converter, n *node, in []*tensor) ([]*tensor, error) {
	axis := n.integer("axis", 0)
	if axis < 0 {
		axis += len(in[0].shape)
	}
	if axis < 0 || axis >= len(in[0].shape) || len(n.outputs) == 0 {
		return nil, fmt.Errorf("axis %d of shape %v", axis, in[0].shape)
	}
	length := in[0].shape[axis]
	parts := operand(n, in, 1, "split")
	if parts == nil {
		each := (length + len(n.outputs) - 1) / len(n.outputs)
		for left := length; len(parts) < len(n.outputs); left -= each {
			parts = append(parts, max(0, min(each, left)))
		}
	}
	if len(parts) != len(n.outputs) {
		return nil, fmt.Errorf("expected %d parts, got %v", len(n.outputs), parts)
	}
	var out []*tensor
	offset, to := 0, steps(in[0].shape)
	for _, p := range parts {
		if p < 0 || p > length-offset {
			return nil, fmt.Errorf("parts %v of an axis of %d", parts, length)
		}
		shape := slices.Clone(in[0].shape)
		shape[axis] = p
		t, err := c.moved(in[0], shape, offset*to[axis], to)
		if err != nil {
			return nil, err
		}
		out, offset = append(out, t), offset+p
	}
	if offset != length {
		return nil, fmt.Errorf("parts %v of an axis of %d", parts, length)
	}
	return out, nil
}

func concat(c *converter, n *node, in []*tensor) ([]*tensor, error) {
	shape := slices.Clone(in[0].shape)
	axis := n.integer("axis", 0)
	if axis < 0 {
		axis += len(shape)
	}
	if axis < 0 || axis >= len(shape) {
		return nil, fmt.Errorf("axis %d of shape %v", axis, shape)
	}
	shape[axis] = 0
	for _, t := range in {
		if t == nil || len(t.shape) != len(shape) {
			return nil, fmt.Errorf("expected tensors of %d axes", len(shape))
		}
		for i, d := range t.shape {
			if i != axis && d != shape[i] {
				return nil, fmt.Errorf("shapes %v and %v differ in axis %d", shape, t.shape, i)
			}
		}
		shape[axis] += t.shape[axis]
	}
	out, err := c.allocate(in[0].dtype, shape)
	if err != nil {
		return nil, err
	}
	at := out.data
	for outer := range elements(shape[:axis]) {
		for _, t := range in {
			size := elements(t.shape[axis:])
			at = at[copy(at, t.data[outer*size:][:size]):]
		}
	}
	return []*tensor{out}, nil
}

func expand(c *converter, n *node, in []*tensor) ([]*tensor, error) {
	shape, err := broadcast(in[0].shape, operand(n, in, 1, "shape"))
	if err != nil {
		return nil, err
	}
	t, err := c.moved(in[0], shape, 0, strides(in[0].shape, len(shape)))
	return []*tensor{t}, err
}

func tile(c *converter, n *node, in []*tensor) ([]*tensor, error) {
	repeats := operand(n, in, 1, "repeats")
	if len(repeats) != len(in[0].shape) {
		return nil, fmt.Errorf("repeats %v of shape %v", repeats, in[0].shape)
	}
	parts := []*tensor{in[0]}
	for axis, r := range repeats {
		if r < 0 || r > maxElements {
			return nil, fmt.Errorf("repeats %v", repeats)
		}
		var err error
		many := slices.Repeat(parts, min(r, 1<<16))
		if len(many) == 0 || r != len(many) {
			return nil, fmt.Errorf("repeats %v: expected 1 to %d", repeats, 1<<16)
		}
		if parts, err = concat(c, &node{attributes: map[string]attribute{"axis": {integer: int64(axis)}}}, many); err != nil {
			return nil, err
		}
	}
	return parts, nil
}
