package onnx

import (
	"fmt"
	"math"
	"slices"
)

// fold computes a node whose inputs are all constants (nil where left out). It
// returns false if it does not know the operator.
func (c *converter) fold(n *node, in []*tensor) ([]*tensor, bool, error) {
	one := func(t *tensor, err error) ([]*tensor, bool, error) { return []*tensor{t}, true, err }
	if views[n.op] != nil {
		out, err := c.view(n, in)
		return out, true, err
	}
	if f := scalarOf(n, len(in) > 0 && in[0] != nil && in[0].integer()); f != nil {
		if err := countInputs(n, len(in), in); err != nil {
			return nil, true, err
		}
		return one(c.elementwise(n, f, in))
	}
	switch n.op {
	case "Constant":
		return one(c.constant(n))
	case "Cast", "CastLike":
		return one(c.cast(n, in))
	case "Shape":
		if len(in) != 1 || in[0] == nil {
			return nil, true, fmt.Errorf("expected one input")
		}
		return one(shapeOf(n, in[0].shape))
	case "Size":
		if len(in) != 1 || in[0] == nil {
			return nil, true, fmt.Errorf("expected one input")
		}
		return one(integers(in[0].size()), nil)
	case "ConstantOfShape":
		return one(c.constantOfShape(n, in))
	case "Range":
		return one(c.rangeOf(in))
	case "Trilu":
		return one(c.trilu(n, in))
	case "CumSum":
		return one(c.cumSum(n, in))
	case "GatherElements":
		return one(c.gatherElements(n, in))
	case "ReduceSum", "ReduceMean", "ReduceProd", "ReduceMax", "ReduceMin":
		return one(c.reduce(n, in))
	}
	return nil, false, nil
}

// countInputs fails unless an elementwise node has the inputs its operator takes.
func countInputs[T comparable](n *node, count int, in []T) error {
	var missing T
	want, ok := arguments[n.op]
	if !ok {
		want = 2
	}
	if variadic[n.op] && count > 0 {
		want = count
	}
	if count != want || slices.Contains(in, missing) {
		return fmt.Errorf("expected %d inputs, got %d", want, count)
	}
	return nil
}

// allocate returns a tensor of zeros, within what one import may compute.
func (c *converter) allocate(dtype int, shape []int) (*tensor, error) {
	if err := checkShape(shape); err != nil {
		return nil, err
	}
	size := elements(shape)
	if err := c.spend(size); err != nil {
		return nil, err
	}
	return &tensor{dtype: dtype, shape: slices.Clone(shape), data: make([]float64, size), loaded: true}, nil
}

// spend takes elements to be computed from the budget.
func (c *converter) spend(size int) error {
	if c.budget -= size; c.budget < 0 {
		return fmt.Errorf("working out the constants and orders of elements takes too much")
	}
	return nil
}

// integers returns a constant: a scalar of one number, else a vector.
func integers(values ...int) *tensor {
	t := &tensor{dtype: typeInt64, loaded: true}
	for _, v := range values {
		t.data = append(t.data, float64(v))
	}
	return t
}

// list returns the elements of an integer constant.
func (t *tensor) list() []int {
	list := make([]int, len(t.data))
	for i, v := range t.data {
		list[i] = clampInt(int64(max(min(v, 1<<40), -1<<40)))
	}
	return list
}

func (c *converter) constant(n *node) (*tensor, error) {
	for name, a := range n.attributes {
		switch name {
		case "value":
			if a.tensor != nil {
				return a.tensor, a.tensor.load(c.folder)
			}
		case "value_float":
			return &tensor{dtype: typeFloat, data: []float64{a.number}, loaded: true}, nil
		case "value_int":
			return integers(clampInt(a.integer)), nil
		case "value_floats":
			return &tensor{dtype: typeFloat, shape: []int{len(a.numbers)}, data: a.numbers, loaded: true}, nil
		case "value_ints":
			t := integers(n.integers(name)...)
			t.shape = []int{len(t.data)}
			return t, nil
		}
	}
	return nil, fmt.Errorf("expected a tensor or numbers")
}

func (c *converter) cast(n *node, in []*tensor) (*tensor, error) {
	if len(in) == 0 || in[0] == nil || (n.op == "CastLike" && (len(in) != 2 || in[1] == nil)) {
		return nil, fmt.Errorf("expected an input")
	}
	t := *in[0]
	t.dtype = n.integer("to", typeFloat)
	if n.op == "CastLike" {
		t.dtype = in[1].dtype
	}
	if !t.integer() {
		return &t, nil
	}
	t.data = slices.Clone(t.data)
	for i, v := range t.data {
		if t.data[i] = math.Trunc(v); t.dtype == typeBool && v != 0 {
			t.data[i] = 1
		}
	}
	return &t, nil
}

func shapeOf(n *node, shape []int) (*tensor, error) {
	from, to := n.integer("start", 0), n.integer("end", len(shape))
	for _, p := range []*int{&from, &to} {
		if *p < 0 {
			*p += len(shape)
		}
		*p = max(0, min(*p, len(shape)))
	}
	t := integers(shape[from:max(from, to)]...)
	t.shape = []int{len(t.data)}
	return t, nil
}

func (c *converter) constantOfShape(n *node, in []*tensor) (*tensor, error) {
	if len(in) != 1 || in[0] == nil {
		return nil, fmt.Errorf("expected one input")
	}
	t, err := c.allocate(typeFloat, in[0].list())
	if err != nil {
		return nil, err
	}
	if value := n.attributes["value"].tensor; value != nil {
		if err := value.load(c.folder); err != nil {
			return nil, err
		}
		if len(value.data) != 1 {
			return nil, fmt.Errorf("expected one value, got %d", len(value.data))
		}
		t.dtype = value.dtype
		for i := range t.data {
			t.data[i] = value.data[0]
		}
	}
	return t, nil
}

func (c *converter) rangeOf(in []*tensor) (*tensor, error) {
	if len(in) != 3 || slices.Contains(in, nil) || len(in[0].data) != 1 || len(in[1].data) != 1 || len(in[2].data) != 1 {
		return nil, fmt.Errorf("expected three numbers")
	}
	start, limit, delta := in[0].data[0], in[1].data[0], in[2].data[0]
	count := math.Ceil((limit - start) / delta)
	if delta == 0 || !(count <= maxElements) {
		return nil, fmt.Errorf("from %v to %v by %v: expected at most %d numbers", start, limit, delta, maxElements)
	}
	t, err := c.allocate(in[0].dtype, []int{int(max(count, 0))})
	if err != nil {
		return nil, err
	}
	for i := range t.data {
		t.data[i] = start + float64(i)*delta
	}
	return t, nil
}

func (c *converter) trilu(n *node, in []*tensor) (*tensor, error) {
	if len(in) == 0 || in[0] == nil || len(in[0].shape) < 2 {
		return nil, fmt.Errorf("expected a matrix")
	}
	k := 0
	if len(in) > 1 && in[1] != nil && len(in[1].data) == 1 {
		k = in[1].list()[0]
	}
	t, err := c.allocate(in[0].dtype, in[0].shape)
	if err != nil {
		return nil, err
	}
	rows, columns := t.shape[len(t.shape)-2], t.shape[len(t.shape)-1]
	upper := n.integer("upper", 1) != 0
	for i, v := range in[0].data {
		row, column := i/columns%rows, i%columns
		if upper && column >= row+k || !upper && column <= row+k {
			t.data[i] = v
		}
	}
	return t, nil
}

// axesOf returns the axes of a node, from its attribute or its second input.
// Without any it returns nil.
func axesOf(n *node, in []*tensor, rank int) ([]int, error) {
	axes := n.integers("axes")
	if len(in) > 1 && in[1] != nil {
		axes = in[1].list()
	}
	for i, a := range axes {
		if a < 0 {
			axes[i] += rank
		}
		if axes[i] < 0 || axes[i] >= rank || slices.Contains(axes[:i], axes[i]) {
			return nil, fmt.Errorf("axes %v: expected different ones of %d", axes, rank)
		}
	}
	slices.Sort(axes)
	return axes, nil
}

// reduced returns the shape after reducing axes (all if there are none), kept
// with length 1, and as the node has it.
func reduced(n *node, shape, axes []int) (kept, out []int) {
	for i, d := range shape {
		switch {
		case len(axes) > 0 && !slices.Contains(axes, i):
			kept, out = append(kept, d), append(out, d)
		default:
			kept = append(kept, 1)
			if n.integer("keepdims", 1) != 0 {
				out = append(out, 1)
			}
		}
	}
	return kept, out
}

func (c *converter) reduce(n *node, in []*tensor) (*tensor, error) {
	if len(in) == 0 || in[0] == nil {
		return nil, fmt.Errorf("expected an input")
	}
	axes, err := axesOf(n, in, len(in[0].shape))
	if err != nil {
		return nil, err
	}
	if len(axes) == 0 && n.integer("noop_with_empty_axes", 0) != 0 {
		return in[0], nil
	}
	kept, out := reduced(n, in[0].shape, axes)
	t, err := c.allocate(in[0].dtype, kept)
	if err != nil || len(t.data) == 0 || len(in[0].data) == 0 {
		return t, err
	}
	f := map[string]func(a, b float64) float64{"ReduceProd": func(a, b float64) float64 { return a * b },
		"ReduceMax": math.Max, "ReduceMin": math.Min}[n.op]
	if f == nil {
		f = func(a, b float64) float64 { return a + b }
	}
	at := strides(kept, len(in[0].shape))
	seen := make([]bool, len(t.data))
	index := make([]int, len(in[0].shape))
	for _, v := range in[0].data {
		to := dot(index, at)
		if seen[to] {
			v = f(t.data[to], v)
		}
		t.data[to], seen[to] = v, true
		advance(index, in[0].shape)
	}
	if n.op == "ReduceMean" {
		for i := range t.data {
			t.data[i] *= float64(len(t.data)) / float64(len(in[0].data))
		}
	}
	t.shape = out
	return t, nil
}

// along returns the length of an axis of a shape, and the distance between
// neighbours along it.
func along(shape []int, axis int) (length, step int, err error) {
	if axis < 0 {
		axis += len(shape)
	}
	if axis < 0 || axis >= len(shape) {
		return 0, 0, fmt.Errorf("axis %d of shape %v", axis, shape)
	}
	return shape[axis], elements(shape[axis+1:]), nil
}

func (c *converter) cumSum(n *node, in []*tensor) (*tensor, error) {
	if len(in) != 2 || slices.Contains(in, nil) || len(in[1].data) != 1 || n.integer("exclusive", 0) != 0 || n.integer("reverse", 0) != 0 {
		return nil, fmt.Errorf("expected an axis, and sums that are neither exclusive nor reversed")
	}
	length, step, err := along(in[0].shape, in[1].list()[0])
	if err != nil {
		return nil, err
	}
	t, err := c.allocate(in[0].dtype, in[0].shape)
	if err != nil {
		return nil, err
	}
	for i, v := range in[0].data {
		if t.data[i] = v; i/step%length > 0 {
			t.data[i] += t.data[i-step]
		}
	}
	return t, nil
}

func (c *converter) gatherElements(n *node, in []*tensor) (*tensor, error) {
	if len(in) != 2 || slices.Contains(in, nil) || len(in[0].shape) != len(in[1].shape) {
		return nil, fmt.Errorf("expected indices of as many axes as the table")
	}
	axis := n.integer("axis", 0)
	length, step, err := along(in[0].shape, axis)
	if err != nil {
		return nil, err
	}
	if axis < 0 {
		axis += len(in[0].shape)
	}
	for i, d := range in[1].shape {
		if i != axis && d > in[0].shape[i] {
			return nil, fmt.Errorf("indices of shape %v in a table of shape %v", in[1].shape, in[0].shape)
		}
	}
	t, err := c.allocate(in[0].dtype, in[1].shape)
	if err != nil {
		return nil, err
	}
	from, index := steps(in[0].shape), make([]int, len(in[1].shape))
	for i, at := range in[1].list() {
		if at < 0 {
			at += length
		}
		if at < 0 || at >= length {
			return nil, fmt.Errorf("index %d is out of range: the axis has %d", at, length)
		}
		t.data[i] = in[0].data[dot(index, from)+(at-index[axis])*step]
		advance(index, in[1].shape)
	}
	return t, nil
}
