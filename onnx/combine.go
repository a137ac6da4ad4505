package onnx

import (
	"fmt"
	"math"
	"slices"

	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/theory"
)

// activationNames lists the activations of package nn.
func activationNames() []string {
	var names []string
	for _, a := range theory.Activations() {
		names = append(names, a.Name)
	}
	return append(names, "gelu_tanh")
}

// formulaOf returns the value's formula.
func (v *value) formulaOf() *formula {
	if v.formula == nil {
		return variable
	}
	return v.formula
}

// sameRows says that two values are formulas of the same elements.
func sameRows(a, b *value) bool {
	return a.layer == b.layer && slices.Equal(a.full, b.full) && slices.Equal(a.index, b.index)
}

// combine computes an elementwise node.
func (c *converter) combine(n *node, f scalar, in []*value) (*value, error) {
	in = slices.Clone(in)
	if n.op == "Clip" {
		var err error
		if f, in, err = clip(n, in); err != nil {
			return nil, err
		}
	} else if err := countInputs(n, len(in), in); err != nil {
		return nil, err
	}
	var signals, constants []*value
	for _, v := range in {
		if v.constant != nil {
			constants = append(constants, v)
		} else {
			signals = append(signals, v)
		}
	}
	x := signals[0]
	for _, v := range signals[1:] {
		if !sameRows(x, v) {
			return c.sum(n, signals, constants)
		}
	}
	if n.op == "Add" && len(constants) == 1 && len(signals) == 1 {
		if v, err := c.addConstant(n, x, constants[0].constant); v != nil || err != nil {
			return v, err
		}
	}
	args := make([]*formula, len(in))
	shapes := [][]int{}
	for i, v := range in {
		shapes = append(shapes, v.shape)
		if v.constant == nil {
			args[i] = v.formulaOf()
			continue
		}
		t := v.constant
		if size := t.size(); size != 1 && (size != x.full[len(x.full)-1] || t.shape[len(t.shape)-1] != size || c.rows(x) != nil) {
			return nil, fmt.Errorf("a constant of shape %v with a signal of shape %v is no layer kelvin has", t.shape, x.shape)
		}
		args[i] = &formula{value: t.data, from: t}
	}
	length := 1
	for _, a := range args {
		if length += a.length; length > maxFormula {
			return nil, fmt.Errorf("more than %d elementwise operations in a row", maxFormula)
		}
	}
	shape, err := broadcast(shapes...)
	if err != nil {
		return nil, err
	}
	reduced := append(slices.Clone(x.full[:len(x.full)-1]), 1)
	if !slices.Equal(shape, x.full) && !slices.Equal(shape, reduced) {
		return nil, fmt.Errorf("broadcasting a signal of shape %v to %v is not supported", x.full, shape)
	}
	y := *x
	y.shape, y.formula = shape, &formula{apply: f, args: args, node: n, length: length}
	return &y, nil
}

// clip returns the elementwise operator of Clip, and its one argument.
func clip(n *node, in []*value) (scalar, []*value, error) {
	low, high := n.number("min", math.Inf(-1)), n.number("max", math.Inf(1))
	for i, to := range []*float64{&low, &high} {
		if i+1 >= len(in) || in[i+1] == nil {
			continue
		}
		t := in[i+1].constant
		if t == nil || len(t.data) != 1 {
			return nil, nil, fmt.Errorf("expected limits that are constant numbers")
		}
		*to = t.data[0]
	}
	if in[0].constant != nil {
		return nil, nil, fmt.Errorf("expected limits that are constant numbers")
	}
	return monadic(func(x float64) float64 { return min(max(x, low), high) }), in[:1], nil
}

// rows returns an error unless the value's last axis is that of its layer, row
// by row.
func (c *converter) rows(v *value) error {
	if len(v.full) == 0 || v.full[len(v.full)-1] != v.layer.width() {
		return fmt.Errorf("rows of shape %v are not those of a layer of shape %v", v.full, v.layer.shape)
	}
	width := v.layer.width()
	for i, e := range v.index {
		if first := v.index[i-i%width]; e != first+float64(i%width) || int(first)%width != 0 {
			return fmt.Errorf("rows of shape %v are not those of a layer of shape %v", v.full, v.layer.shape)
		}
	}
	return nil
}

// sum adds signals from different layers.
func (c *converter) sum(n *node, signals, constants []*value) (*value, error) {
	if n.op != "Add" && n.op != "Sum" || len(constants) > 0 {
		return nil, fmt.Errorf("combining signals of different layers is supported in sums only")
	}
	y := &layer{spec: nn.LayerSpec{Type: "add"}}
	var first *value
	for _, v := range signals {
		v, err := c.close(v, n)
		if err != nil {
			return nil, err
		}
		if first == nil {
			first = v
		}
		if !slices.Equal(v.shape, first.shape) || !slices.Equal(v.index, first.index) || !slices.Equal(v.layer.shape, first.layer.shape) {
			return nil, fmt.Errorf("adding signals of different shapes or orders is not supported: %v and %v", first.shape, v.shape)
		}
		y.in = append(y.in, v.layer)
	}
	y.shape = first.layer.shape
	out := *first
	out.layer = c.add(n, y)
	return &out, nil
}

// addConstant adds a bias to the layer before it, or a learned position. It
// returns nil if the constant is neither.
func (c *converter) addConstant(n *node, x *value, t *tensor) (*value, error) {
	size, last := t.size(), x.shape[len(x.shape)-1]
	row := size == last && len(t.shape) > 0 && t.shape[len(t.shape)-1] == size
	if suffix := x.layer.biasless(); row && suffix != "" && x.formula == nil && c.rows(x) == nil && c.readOnce(n, x) {
		x.layer.attach(suffix, t)
		return x, nil
	}
	if row && (len(x.layer.shape) > 1 || x.formula != nil) || size == 1 {
		return nil, nil
	}
	x, err := c.close(x, n)
	if err != nil {
		return nil, err
	}
	if shape, err := broadcast(t.shape, x.shape); err != nil || !slices.Equal(shape, x.shape) {
		return nil, fmt.Errorf("adding a constant of shape %v to a signal of shape %v is not supported", t.shape, x.shape)
	}
	if err := c.spend(elements(x.shape)); err != nil {
		return nil, err
	}
	example := elements(x.layer.shape)
	data, seen := make([]float64, example), make([]bool, example)
	from, index := strides(t.shape, len(x.shape)), make([]int, len(x.shape))
	for i := range elements(x.shape) {
		to := i
		if x.index != nil {
			to = int(x.index[i])
		}
		v := t.data[dot(index, from)]
		if to %= example; seen[to] && data[to] != v {
			return nil, fmt.Errorf("a constant of shape %v that differs between examples is not supported", t.shape)
		}
		data[to], seen[to] = v, true
		advance(index, x.shape)
	}
	if slices.Contains(seen, false) {
		return nil, nil
	}
	l := &layer{spec: nn.LayerSpec{Type: "position"}, in: []*layer{x.layer}, shape: x.layer.shape}
	l.params = []parameter{{suffix: "weight", from: t, data: data}}
	y := *x
	y.layer = c.add(n, l)
	return &y, nil
}

// biasless returns the name of the bias that the layer may still get.
func (l *layer) biasless() string {
	suffix := map[string]string{"linear": "bias", "attention": "out_proj.bias"}[l.spec.Type]
	if suffix == "" || l.core != nil || l.has(suffix) {
		return ""
	}
	return suffix
}

// readOnce says that the node alone reads the value, and it is the layer's whole
// output.
func (c *converter) readOnce(n *node, x *value) bool {
	for _, name := range n.inputs {
		if c.values[name] == x {
			return c.uses[name] == 1 && !x.layer.read(c.layers)
		}
	}
	return false
}

// read says that one of the layers reads l.
func (l *layer) read(layers []*layer) bool {
	for _, other := range slices.Backward(layers) {
		if other == l {
			return false
		}
		if slices.Contains(other.in, l) {
			return true
		}
	}
	return false
}

// mean averages over the last axis, the image, or the positions.
func (c *converter) mean(n *node, in []*value) (*value, error) {
	x := in[0]
	if x.constant != nil {
		return nil, fmt.Errorf("expected constant axes")
	}
	var axesFrom []*tensor
	for _, v := range in {
		if axesFrom = append(axesFrom, nil); v != nil {
			axesFrom[len(axesFrom)-1] = v.constant
		}
	}
	axes, err := axesOf(n, axesFrom, len(x.shape))
	if err != nil {
		return nil, err
	}
	_, out := reduced(n, x.shape, axes)
	rank := len(x.shape)
	overLast := len(axes) == 1 && axes[0] == rank-1
	if overLast && slices.Equal(x.shape, x.full) && n.integer("keepdims", 1) != 0 && c.rows(x) == nil && len(x.layer.shape) < 3 {
		y := *x
		y.shape, y.formula = out, &formula{mean: true, args: []*formula{x.formulaOf()}, node: n, length: x.formulaOf().length + 1}
		return &y, nil
	}
	if x, err = c.close(x, n); err != nil {
		return nil, err
	}
	l := &layer{in: []*layer{x.layer}}
	rest := x.shape[:min(2, rank)]
	switch shape := x.layer.shape; {
	case x.index != nil:
	case len(shape) == 3 && slices.Equal(rest, []int{c.batch, shape[0]}) && len(axes) > 0 && axes[0] == 2 && len(axes) == rank-2:
		l.spec.Type, l.shape = "global_avgpool", shape[:1]
	case len(shape) == 2 && rank == 3 && slices.Equal(axes, []int{1}) && slices.Equal(x.shape[1:], shape):
		l.spec.Type, l.shape = "mean", shape[1:]
	}
	if l.spec.Type == "" {
		return nil, fmt.Errorf("a mean over axes %v of shape %v is not supported", axes, x.shape)
	}
	return &value{shape: out, full: out, layer: c.add(n, l)}, nil
}
