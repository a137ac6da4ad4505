package onnx

import (
	"fmt"
	"slices"

	"github.com/kelvin-ml/kelvin/nn"
)

// layerOps are the operators that become layers of their own.
var layerOps map[string]func(c *converter, n *node, in []*value) (*value, error)

func init() {
	layerOps = map[string]func(c *converter, n *node, in []*value) (*value, error){
		"Gemm": gemm, "MatMul": matMul, "Conv": conv, "MaxPool": pool, "AveragePool": pool, "GlobalAveragePool": globalPool,
		"BatchNormalization": batchNorm, "LayerNormalization": layerNorm, "Pad": pad, "Softmax": softmaxOf, "LogSoftmax": softmaxOf,
		"Gather": lookup, "Attention": attentionOp,
	}
}

// constantInput returns input i, which must be a constant.
func constantInput(in []*value, i int, what string) (*tensor, error) {
	if i >= len(in) || in[i] == nil || in[i].constant == nil {
		return nil, fmt.Errorf("expected %s that is constant", what)
	}
	return in[i].constant, nil
}

func gemm(c *converter, n *node, in []*value) (*value, error) {
	w, err := constantInput(in, 1, "a weight")
	if err != nil {
		return nil, err
	}
	if n.number("alpha", 1) != 1 || n.number("beta", 1) != 1 || n.integer("transA", 0) != 0 || in[0].constant != nil {
		return nil, fmt.Errorf("expected x·W + b with alpha = beta = 1 and transA = 0")
	}
	y, err := c.linear(n, in[0], w, n.integer("transB", 0) != 0)
	if err != nil || len(in) < 3 || in[2] == nil {
		return y, err
	}
	b, err := constantInput(in, 2, "a bias")
	if err != nil {
		return nil, err
	}
	suffix := y.layer.biasless()
	if suffix == "" || b.size() != y.layer.width() || b.shape[len(b.shape)-1] != b.size() {
		return nil, fmt.Errorf("expected a bias of %d elements, got shape %v", y.layer.width(), b.shape)
	}
	y.layer.attach(suffix, b)
	return y, nil
}

func matMul(c *converter, n *node, in []*value) (*value, error) {
	if len(in) != 2 || in[1] == nil {
		return nil, fmt.Errorf("expected two inputs")
	}
	switch {
	case in[0].constant != nil:
		return nil, fmt.Errorf("a constant on the left is not supported")
	case in[1].constant != nil:
		return c.linear(n, in[0], in[1].constant, false)
	}
	return c.score(n, in[0], in[1])
}

// linear adds a linear layer over the last axis of a signal. The weight is
// [in, out], or [out, in] if transposed.
func (c *converter) linear(n *node, x *value, w *tensor, transposed bool) (*value, error) {
	for len(w.shape) > 2 && w.shape[0] == 1 {
		flat := *w
		flat.shape = w.shape[1:]
		w = &flat
	}
	if len(w.shape) != 2 || w.size() == 0 {
		return nil, fmt.Errorf("expected a matrix of weights, got shape %v", w.shape)
	}
	in, out := w.shape[0], w.shape[1]
	data := w.data
	if transposed {
		in, out = out, in
	} else {
		data = make([]float64, len(w.data))
		for i, v := range w.data {
			data[i%out*in+i/out] = v
		}
	}
	x, err := c.close(x, n)
	if err != nil {
		return nil, err
	}
	if len(x.layer.shape) > 1 && len(x.shape) == 2 && x.index == nil && x.shape[1] == elements(x.layer.shape) || x.layer == c.input && x.layer.width() != in {
		flat, err := c.plain(x, n)
		if err != nil {
			return nil, err
		}
		x = &value{shape: x.shape, full: x.shape, layer: flat}
	}
	if err := c.rows(x); err != nil {
		return nil, err
	}
	if x.layer.width() != in {
		return nil, fmt.Errorf("a weight of shape %v does not fit a signal of shape %v", w.shape, x.shape)
	}
	y := *x
	y.shape = append(slices.Clone(x.shape[:len(x.shape)-1]), out)
	y.full = y.shape
	if err := checkShape(y.shape); err != nil {
		return nil, err
	}
	if x.index != nil {
		if err := c.spend(elements(y.shape)); err != nil {
			return nil, err
		}
		y.index = make([]float64, elements(y.shape))
		for i := range y.index {
			y.index[i] = x.index[i/out*in]/float64(in)*float64(out) + float64(i%out)
		}
	}
	weight := parameter{suffix: "weight", from: w, data: data}
	if x.layer.core != nil {
		y.layer, err = c.attention(n, x.layer, out, weight)
		return &y, err
	}
	shape := append(slices.Clone(x.layer.shape[:len(x.layer.shape)-1]), out)
	y.layer = c.add(n, &layer{spec: nn.LayerSpec{Type: "linear", Out: out}, in: []*layer{x.layer}, shape: shape, params: []parameter{weight}})
	return &y, nil
}

// image returns the layer of a signal [examples, channels, height, width].
func (c *converter) image(n *node, in []*value) (*layer, error) {
	if in[0].constant != nil || len(in[0].shape) != 4 {
		return nil, fmt.Errorf("expected a signal of shape [examples, channels, height, width], got %v", in[0].shape)
	}
	return c.plain(in[0], n)
}

// geometry reads kernel, stride and padding, and returns the height and width
// that come out.
func geometry(n *node, spec *nn.LayerSpec, in *value, kernel []int) (height, width int, err error) {
	strides, pads := n.integers("strides"), n.integers("pads")
	if len(kernel) != 2 || strides != nil && len(strides) != 2 || pads != nil && len(pads) != 4 {
		return 0, 0, fmt.Errorf("kernel %v, strides %v, pads %v: expected those of a two-dimensional window", kernel, strides, pads)
	}
	if strides == nil {
		strides = []int{1, 1}
	}
	if pads == nil {
		pads = make([]int, 4)
	}
	if auto := n.attributes["auto_pad"].text; auto != "" && auto != "NOTSET" && auto != "VALID" {
		return 0, 0, fmt.Errorf("auto_pad %s: expected explicit pads", auto)
	}
	if pads[0] != pads[2] || pads[1] != pads[3] {
		return 0, 0, fmt.Errorf("pads %v: expected the same on both sides", pads)
	}
	if n.integer("ceil_mode", 0) != 0 || slices.ContainsFunc(n.integers("dilations"), func(d int) bool { return d != 1 }) {
		return 0, 0, fmt.Errorf("ceil_mode and dilations are not supported")
	}
	padding := []int{pads[0], pads[1]}
	for i, p := range in.padding {
		padding[i] += p
	}
	spec.Kernel, spec.Stride = kernel, strides
	if padding[0] != 0 || padding[1] != 0 {
		spec.Padding = padding
	}
	size := [2]int{}
	for i := range size {
		room := in.shape[2+i] + 2*padding[i] - kernel[i]
		if kernel[i] < 1 || strides[i] < 1 || padding[i] < 0 || padding[i] >= kernel[i] || room < 0 {
			return 0, 0, fmt.Errorf("kernel %v, strides %v, padding %v on an image of shape %v", kernel, strides, padding, in.shape[2:])
		}
		size[i] = room/strides[i] + 1
	}
	return size[0], size[1], nil
}

// unpadded returns the signal before Pad.
func unpadded(x *value) *value {
	if x.padding == nil {
		return x
	}
	y := *x
	y.padding = nil
	return &y
}

func conv(c *converter, n *node, in []*value) (*value, error) {
	w, err := constantInput(in, 1, "a weight")
	if err != nil {
		return nil, err
	}
	x := in[0]
	l, err := c.image(n, []*value{unpadded(x)})
	if err != nil {
		return nil, err
	}
	if len(w.shape) != 4 || w.size() == 0 {
		return nil, fmt.Errorf("expected a weight of shape [out, in, height, width], got %v", w.shape)
	}
	if k := n.integers("kernel_shape"); k != nil && !slices.Equal(k, w.shape[2:]) {
		return nil, fmt.Errorf("kernel_shape %v, but a weight of shape %v", k, w.shape)
	}
	groups := n.integer("group", 1)
	if groups < 1 || w.shape[1] != l.shape[0]/groups || l.shape[0]%groups != 0 {
		return nil, fmt.Errorf("a weight of shape %v in %d groups does not fit %d channels", w.shape, groups, l.shape[0])
	}
	y := &layer{spec: nn.LayerSpec{Type: "conv2d", Out: w.shape[0]}, in: []*layer{l}}
	if groups > 1 {
		y.spec.Groups = groups
	}
	height, width, err := geometry(n, &y.spec, x, w.shape[2:])
	if err != nil {
		return nil, err
	}
	y.shape = []int{w.shape[0], height, width}
	y.attach("weight", w)
	if len(in) > 2 && in[2] != nil {
		b, err := constantInput(in, 2, "a bias")
		if err != nil {
			return nil, err
		}
		if b.size() != w.shape[0] {
			return nil, fmt.Errorf("expected a bias of %d elements, got shape %v", w.shape[0], b.shape)
		}
		y.attach("bias", b)
	}
	return c.whole(n, y), nil
}

// whole adds a layer and returns its output as it is.
func (c *converter) whole(n *node, l *layer) *value {
	shape := append([]int{c.batch}, l.shape...)
	return &value{shape: shape, full: shape, layer: c.add(n, l)}
}

func pool(c *converter, n *node, in []*value) (*value, error) {
	x := in[0]
	l, err := c.image(n, []*value{unpadded(x)})
	if err != nil {
		return nil, err
	}
	y := &layer{spec: nn.LayerSpec{Type: "maxpool2d"}, in: []*layer{l}}
	height, width, err := geometry(n, &y.spec, x, n.integers("kernel_shape"))
	if err != nil {
		return nil, err
	}
	if n.op == "AveragePool" {
		y.spec.Type = "avgpool2d"
		if n.integer("count_include_pad", 0) == 0 && slices.ContainsFunc(n.integers("pads"), func(p int) bool { return p != 0 }) {
			return nil, fmt.Errorf("count_include_pad = 0 with padding is not supported")
		}
	}
	y.shape = []int{l.shape[0], height, width}
	return c.whole(n, y), nil
}

func globalPool(c *converter, n *node, in []*value) (*value, error) {
	l, err := c.image(n, in)
	if err != nil {
		return nil, err
	}
	y := c.whole(n, &layer{spec: nn.LayerSpec{Type: "global_avgpool"}, in: []*layer{l}, shape: l.shape[:1]})
	y.shape = append(y.shape, 1, 1)
	y.full = y.shape
	return y, nil
}

func pad(c *converter, n *node, in []*value) (*value, error) {
	var constants []*tensor
	for _, v := range in {
		if constants = append(constants, nil); v != nil {
			constants[len(constants)-1] = v.constant
		}
	}
	x, err := c.close(in[0], n)
	if err != nil {
		return nil, err
	}
	pads := operand(n, constants, 1, "pads")
	value := n.number("value", 0)
	if len(constants) > 2 && constants[2] != nil && len(constants[2].data) == 1 {
		value = constants[2].data[0]
	}
	if mode := n.attributes["mode"].text; mode != "" && mode != "constant" || value != 0 || len(in) > 3 || len(pads) != 2*len(x.shape) {
		return nil, fmt.Errorf("expected constant zeros around every axis, got mode %q, value %v, pads %v", mode, value, pads)
	}
	if slices.Max(pads) == 0 && slices.Min(pads) == 0 {
		return x, nil
	}
	if len(pads) != 8 || !slices.Equal(pads[:4], pads[4:]) || pads[0] != 0 || pads[1] != 0 {
		return nil, fmt.Errorf("pads %v: expected the same on both sides of an image", pads)
	}
	y := *x
	y.padding = pads[2:4]
	return &y, nil
}

func batchNorm(c *converter, n *node, in []*value) (*value, error) {
	l, err := c.plain(in[0], n)
	if err != nil {
		return nil, err
	}
	y := &layer{spec: nn.LayerSpec{Type: "batchnorm", Epsilon: shortest(n.number("epsilon", 1e-5))}, in: []*layer{l}, shape: l.shape}
	for i, suffix := range []string{"weight", "bias", "running_mean", "running_var"} {
		t, err := constantInput(in, i+1, suffix)
		if err != nil {
			return nil, err
		}
		if t.size() != l.shape[0] {
			return nil, fmt.Errorf("expected a %s of %d elements, got shape %v", suffix, l.shape[0], t.shape)
		}
		y.attach(suffix, t)
	}
	return c.whole(n, y), nil
}

func layerNorm(c *converter, n *node, in []*value) (*value, error) {
	x, err := c.close(in[0], n)
	if err != nil {
		return nil, err
	}
	if axis := n.integer("axis", -1); axis != -1 && axis != len(x.shape)-1 {
		return nil, fmt.Errorf("axis %d of shape %v: expected the last", axis, x.shape)
	}
	if err := c.rows(x); err != nil {
		return nil, err
	}
	y := &layer{spec: nn.LayerSpec{Type: "layernorm", Epsilon: shortest(n.number("epsilon", 1e-5))}, in: []*layer{x.layer}, shape: x.layer.shape}
	for i, suffix := range []string{"weight", "bias"} {
		if i+1 >= len(in) || in[i+1] == nil {
			continue
		}
		t, err := constantInput(in, i+1, suffix)
		if err != nil {
			return nil, err
		}
		if t.size() != y.width() {
			return nil, fmt.Errorf("expected a %s of %d elements, got shape %v", suffix, y.width(), t.shape)
		}
		y.attach(suffix, t)
	}
	if err := c.spend(y.width()); err != nil {
		return nil, err
	}
	out := *x
	out.layer = c.add(n, y)
	return &out, nil
}

// softmaxOf remembers that the value is one: the output's is left to the loss.
func softmaxOf(_ *converter, n *node, in []*value) (*value, error) {
	x := in[0]
	if axis := n.integer("axis", -1); axis != -1 && axis != len(x.shape)-1 {
		return nil, fmt.Errorf("axis %d of shape %v: expected the last", axis, x.shape)
	}
	return &value{shape: x.shape, softmax: x}, nil
}

// lookup is Gather: an embedding of the network's input, or a view.
func lookup(c *converter, n *node, in []*value) (*value, error) {
	if len(in) != 2 || in[1] == nil {
		return nil, fmt.Errorf("expected two inputs")
	}
	table, tokens := in[0].constant, in[1]
	if table == nil {
		out, err := c.move(n, in)
		if err != nil {
			return nil, err
		}
		return out[0], nil
	}
	if tokens.layer != c.input || tokens.index != nil || tokens.formula != nil || !slices.Equal(tokens.shape[1:], c.input.shape) {
		return nil, fmt.Errorf("expected to look up the network's input, as tokens")
	}
	if len(table.shape) != 2 || n.integer("axis", 0) != 0 || table.size() == 0 {
		return nil, fmt.Errorf("expected a table of shape [tokens, features], got %v", table.shape)
	}
	y := &layer{spec: nn.LayerSpec{Type: "embedding", Vocab: table.shape[0], Out: table.shape[1]}, in: []*layer{c.input}}
	y.shape = append(slices.Clone(c.input.shape), table.shape[1])
	y.attach("weight", table)
	return c.whole(n, y), nil
}
