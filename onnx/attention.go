package onnx

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/kelvin-ml/kelvin/nn"
)

// heads says which features of a layer's output, [positions, features], are
// those of each head.
type heads struct {
	layer        *layer
	count, width int
	columns      []int // [head][feature of the head]
}

// scores are attention in the making: queries times keys, then their softmax.
type scores struct {
	queries, keys heads
	factor        float64
	causal        bool
	probabilities bool
}

// A core is what attention computes before its output projection.
type core struct {
	queries, keys, values heads
	causal                bool
}

// heads finds the heads in a signal of shape [examples·heads, positions,
// features] (or with more axes at the front); keys may be transposed.
func (c *converter) heads(v *value, transposed bool) (heads, error) {
	h := heads{layer: v.layer}
	rank := len(v.shape)
	if rank < 3 || len(v.layer.shape) != 2 {
		return h, fmt.Errorf("expected heads of shape [examples, heads, positions, features], got %v", v.shape)
	}
	length, out := v.layer.shape[0], v.layer.shape[1]
	rows, columns := v.shape[rank-2], v.shape[rank-1]
	rowStep, columnStep := columns, 1
	if transposed {
		rows, columns, rowStep, columnStep = columns, rows, 1, columns
	}
	groups := elements(v.shape[:rank-2])
	h.count, h.width = groups/c.batch, columns
	if rows != length || groups%c.batch != 0 || h.count*h.width > out {
		return h, fmt.Errorf("heads of shape %v do not fit a layer of shape %v", v.shape, v.layer.shape)
	}
	if err := c.spend(elements(v.shape)); err != nil {
		return h, err
	}
	index := v.elements()
	at := func(group, row, column int) int { return int(index[group*rows*columns+row*rowStep+column*columnStep]) }
	for head := range h.count {
		for column := range columns {
			h.columns = append(h.columns, at(head, 0, column))
		}
	}
	for group := range groups {
		for row := range rows {
			for column := range columns {
				feature := h.columns[group%h.count*columns+column]
				if feature >= out || at(group, row, column) != (group/h.count*length+row)*out+feature {
					return h, fmt.Errorf("signals of shape %v are no heads of attention", v.shape)
				}
			}
		}
	}
	return h, nil
}

// scaled returns the value without a factor that its formula is.
func (c *converter) scaled(v *value, n *node) (*value, float64, error) {
	if v.constant != nil || v.layer == nil {
		return nil, 0, fmt.Errorf("expected two signals")
	}
	if v.formula != nil {
		if factor, ok := v.formula.factor(); ok {
			bare := *v
			bare.formula = nil
			return &bare, factor, nil
		}
	}
	v, err := c.close(v, n)
	return v, 1, err
}

// score is the product of two signals: queries and keys.
func (c *converter) score(n *node, a, b *value) (*value, error) {
	a, factorA, err := c.scaled(a, n)
	if err != nil {
		return nil, err
	}
	b, factorB, err := c.scaled(b, n)
	if err != nil {
		return nil, err
	}
	s := &scores{factor: factorA * factorB}
	if s.queries, err = c.heads(a, false); err != nil {
		return nil, fmt.Errorf("as the queries of attention: %w", err)
	}
	if s.keys, err = c.heads(b, true); err != nil {
		return nil, fmt.Errorf("as the keys of attention: %w", err)
	}
	rank := len(a.shape)
	if s.queries.count != s.keys.count || s.queries.width != s.keys.width || s.queries.layer.shape[0] != s.keys.layer.shape[0] {
		return nil, fmt.Errorf("queries of shape %v and keys of shape %v do not fit", a.shape, b.shape)
	}
	shape := append(slices.Clone(a.shape[:rank-1]), b.shape[len(b.shape)-1])
	if err := checkShape(shape); err != nil {
		return nil, err
	}
	return &value{shape: shape, scores: s}, nil
}

// attend computes a node that reads scores or their softmax.
func (c *converter) attend(n *node, in []*value) (*value, error) {
	var x *value
	var other *tensor
	place := 0
	for i, v := range in {
		switch {
		case v == nil:
		case v.scores != nil && x == nil:
			x, place = v, i
		case v.constant != nil && n.op != "Where":
			other = v.constant
		}
	}
	y := *x
	s := *x.scores
	y.scores = &s
	switch n.op {
	case "Identity", "Cast", "Dropout", "CastLike":
		if place > 0 { // a constant cast to the scores' type
			return in[0], nil
		}
		return x, nil
	case "Reshape", "Squeeze", "Unsqueeze", "Flatten":
		shape, err := reshaped(n, x.shape, []*tensor{nil, other})
		if err == nil && (len(shape) < 2 || !slices.Equal(shape[len(shape)-2:], x.shape[len(x.shape)-2:])) {
			err = fmt.Errorf("attention of shape %v as %v is not supported", x.shape, shape)
		}
		y.shape = shape
		return &y, err
	case "IsNaN": // newer exporters clear rows in which all is masked
		return &value{constant: &tensor{dtype: typeBool, data: []float64{0}, loaded: true}}, nil
	case "Where":
		return c.masked(in, place, &y)
	case "MatMul":
		if s.probabilities && place == 0 && in[1] != nil && in[1].scores == nil && in[1].layer != nil {
			return c.weighted(n, x, in[1])
		}
	case "Softmax":
		return &y, s.softmax(n, len(x.shape))
	case "Mul", "Div":
		if other != nil && other.size() == 1 && !s.probabilities && (n.op == "Mul" || place == 0) {
			if s.factor *= other.data[0]; n.op == "Div" {
				s.factor = x.scores.factor / other.data[0]
			}
			y.scores = &s
			return &y, nil
		}
	case "Add":
		if other != nil && !s.probabilities {
			return &y, y.mask(other, func(v float64) (hidden, known bool) { return v <= -1e4, v == 0 || v <= -1e4 })
		}
	}
	return nil, fmt.Errorf("is not supported within attention: expected a factor, a mask, a softmax, and the product with the values")
}

// softmax turns scores into probabilities.
func (s *scores) softmax(n *node, rank int) error {
	if axis := n.integer("axis", -1); axis != -1 && axis != rank-1 || s.probabilities {
		return fmt.Errorf("axis %d: expected a softmax over the last axis", axis)
	}
	want := 1 / math.Sqrt(float64(s.queries.width))
	if !(math.Abs(s.factor-want) <= 1e-5*want) {
		return fmt.Errorf("scores are scaled by %v: expected 1/√%d", s.factor, s.queries.width)
	}
	s.probabilities = true
	return nil
}

// masked is Where with scores as one of its branches.
func (c *converter) masked(in []*value, place int, y *value) (*value, error) {
	if place == 0 || len(in) != 3 || in[0] == nil || in[0].constant == nil || in[3-place] == nil || in[3-place].constant == nil {
		return nil, fmt.Errorf("expected a constant mask")
	}
	condition, instead := in[0].constant, in[3-place].constant
	hide := func(v float64) (hidden, known bool) { return (v != 0) == (place == 2), true }
	if y.scores.probabilities {
		if slices.ContainsFunc(condition.data, func(v float64) bool { hidden, _ := hide(v); return hidden }) {
			return nil, fmt.Errorf("a mask after the softmax is not supported")
		}
		return y, nil
	}
	for _, v := range instead.data {
		if !(v <= -1e4) {
			return nil, fmt.Errorf("masked scores are set to %v: expected -Inf", v)
		}
	}
	return y, y.mask(condition, hide)
}

// mask hides scores: none of them, or all that look ahead.
func (y *value) mask(t *tensor, hide func(v float64) (hidden, known bool)) error {
	shape, err := broadcast(t.shape, y.shape)
	if err != nil || !slices.Equal(shape, y.shape) {
		return fmt.Errorf("a mask of shape %v does not fit scores of shape %v", t.shape, y.shape)
	}
	shape = slices.Concat(t.shape[:max(0, len(t.shape)-2)], shape[len(shape)-2:]) // other axes repeat
	from, index := strides(t.shape, len(shape)), make([]int, len(shape))
	none, ahead := true, true
	for range elements(shape) {
		hidden, known := hide(t.data[dot(index, from)])
		if !known {
			return fmt.Errorf("scores are shifted by %v: expected 0 or a mask", t.data[dot(index, from)])
		}
		query, key := index[len(index)-2], index[len(index)-1]
		none, ahead = none && !hidden, ahead && hidden == (key > query)
		advance(index, shape)
	}
	switch {
	case none:
	case ahead:
		y.scores.causal = true
	default:
		return fmt.Errorf("expected a causal mask, or none")
	}
	return nil
}

// weighted is the product of probabilities and values.
func (c *converter) weighted(n *node, x, v *value) (*value, error) {
	v, err := c.close(v, n)
	if err != nil {
		return nil, err
	}
	h, err := c.heads(v, false)
	if err != nil {
		return nil, fmt.Errorf("as the values of attention: %w", err)
	}
	s := x.scores
	if h.count != s.queries.count || h.width != s.queries.width || h.layer.shape[0] != s.queries.layer.shape[0] {
		return nil, fmt.Errorf("values of shape %v do not fit scores of shape %v", v.shape, x.shape)
	}
	length, width := h.layer.shape[0], h.count*h.width
	l := &layer{in: []*layer{s.queries.layer, s.keys.layer, h.layer}, shape: []int{length, width},
		core: &core{queries: s.queries, keys: s.keys, values: h, causal: s.causal}}
	shape := append(slices.Clone(x.shape[:len(x.shape)-1]), h.width)
	if err := c.spend(elements(shape)); err != nil {
		return nil, err
	}
	y := &value{shape: shape, full: shape, layer: c.add(n, l), index: make([]float64, elements(shape))}
	for i := range y.index {
		column, row, group := i%h.width, i/h.width%length, i/(h.width*length)
		y.index[i] = float64((group/h.count*length+row)*width + group%h.count*h.width + column)
	}
	if y.inOrder(c.batch) {
		y.index = nil
	}
	return y, nil
}

// attention makes one layer of the projections to queries, keys and values, the
// heads, and the output projection.
func (c *converter) attention(n *node, inner *layer, out int, weight parameter) (*layer, error) {
	k := inner.core
	width := inner.shape[1]
	x := k.queries.layer.in
	l := &layer{spec: nn.LayerSpec{Type: "attention", Heads: k.queries.count, Causal: k.causal}, in: x, shape: inner.shape}
	if out != width {
		return nil, fmt.Errorf("attention of %d features with %d out is not supported", width, out)
	}
	weights, biases := parameter{suffix: "in_proj_weight"}, parameter{suffix: "in_proj_bias"}
	biased := 0
	var modules []string
	for _, h := range []heads{k.queries, k.keys, k.values} {
		if h.layer.spec.Type != "linear" || !slices.Equal(h.layer.in, x) || x[0].width() != width {
			return nil, fmt.Errorf("attention whose queries, keys and values are not linear layers of one signal of %d features is not supported", width)
		}
		var w, b parameter
		for _, p := range h.layer.params {
			if p.suffix == "weight" {
				w = p
			} else {
				b, biased = p, biased+1
			}
		}
		for _, column := range h.columns {
			weights.data = append(weights.data, w.data[column*width:(column+1)*width]...)
			if b.data != nil {
				biases.data = append(biases.data, b.data[column])
			} else {
				biases.data = append(biases.data, 0)
			}
		}
		modules = append(modules, h.layer.names()[0])
	}
	l.params = append(l.params, weights)
	if biased > 0 {
		l.params = append(l.params, biases)
	}
	weight.suffix = "out_proj.weight"
	l.params = append(l.params, weight)
	projection := layer{params: l.params, scope: n.scope}
	l.module = common(append(modules, projection.names()[0])) // c_attn and c_proj; q_proj, k_proj, …
	return c.add(n, l), nil
}

// common returns the module that modules are all parts of, "" if it is the
// network.
func common(modules []string) string {
	prefix := modules[0]
	for _, m := range modules[1:] {
		for prefix != "" && m != prefix && !strings.HasPrefix(m, prefix+".") {
			prefix, _, _ = cutLast(prefix)
		}
	}
	return prefix
}

// attentionOp is the operator that has queries, keys and values as inputs, heads
// apart: [examples, heads, positions, features].
func attentionOp(c *converter, n *node, in []*value) (*value, error) {
	if len(in) < 3 || len(in) > 4 || slices.Contains(in[:3], nil) || len(in[0].shape) != 4 || len(n.outputs) != 1 || n.number("softcap", 0) != 0 {
		return nil, fmt.Errorf("expected queries, keys and values with their heads apart, and a mask at most")
	}
	keys, err := c.move(&node{op: "Transpose", attributes: map[string]attribute{"perm": {ints: []int64{0, 1, 3, 2}}}, scope: n.scope}, in[1:2])
	if err != nil {
		return nil, fmt.Errorf("as the keys of attention: %w", err)
	}
	x, err := c.score(n, in[0], keys[0])
	if err != nil {
		return nil, err
	}
	s := x.scores
	s.factor *= n.number("scale", 1/math.Sqrt(float64(s.queries.width)))
	s.causal = n.integer("is_causal", 0) != 0
	if len(in) == 4 && in[3] != nil {
		mask := in[3].constant
		if mask == nil {
			return nil, fmt.Errorf("expected a constant mask")
		}
		hide := func(v float64) (hidden, known bool) { return v <= -1e4, v == 0 || v <= -1e4 }
		if mask.dtype == typeBool {
			hide = func(v float64) (hidden, known bool) { return v == 0, true }
		}
		if err := x.mask(mask, hide); err != nil {
			return nil, err
		}
	}
	if err := s.softmax(&node{}, len(x.shape)); err != nil {
		return nil, err
	}
	return c.weighted(n, x, in[2])
}
