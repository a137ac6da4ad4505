package nn

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// layerFields are the fields each layer type takes, besides type, name and
// inputs; fields in the second list may be left out.
var layerFields = map[string][2][]string{
	"linear":         {{"out"}, {"no_bias"}},
	"conv2d":         {{"out", "kernel"}, {"stride", "padding", "groups", "no_bias"}},
	"maxpool2d":      {{"kernel"}, {"stride", "padding"}},
	"avgpool2d":      {{"kernel"}, {"stride", "padding"}},
	"global_avgpool": {},
	"flatten":        {},
	"batchnorm":      {{}, {"epsilon"}},
	"layernorm":      {{}, {"epsilon"}},
	"rmsnorm":        {{}, {"epsilon"}},
	"embedding":      {{"vocab", "out"}},
	"position":       {},
	"attention":      {{"heads"}, {"causal", "no_bias"}},
	"mean":           {},
	"dropout":        {{"rate"}},
	"add":            {},
}

// LayerTypes returns the types a LayerSpec may have, sorted, activations aside:
//
//	linear          out, no_bias                 y = x·Wᵀ + b over the last axis
//	conv2d          out, kernel, stride, padding, groups, no_bias
//	                                             as torch.nn.Conv2d, on [channels, height, width]
//	maxpool2d       kernel, stride, padding      stride is the kernel by default
//	avgpool2d       kernel, stride, padding      padding counts as zeros
//	global_avgpool                               [channels, height, width] to [channels]
//	flatten                                      to one axis
//	batchnorm       epsilon                      over examples (and the image), for each channel; momentum 0.1
//	layernorm       epsilon                      over the last axis, with gain and bias
//	rmsnorm         epsilon                      over the last axis, with a gain
//	embedding       vocab, out                   [positions] tokens to [positions, out]
//	position                                     adds a learned vector to each position
//	attention       heads, causal, no_bias       self-attention, as torch.nn.MultiheadAttention
//	mean                                         [positions, features] to [features]
//	dropout         rate                         while Network.Training only
//	add                                          the sum of its inputs: a residual connection
//
// Epsilon is 1e-5 by default.
func LayerTypes() []string { return slices.Sorted(maps.Keys(layerFields)) }

// layer adds the nodes of one layer and returns its output.
func (b *builder[T]) layer(l LayerSpec, outputs map[string]*node[T], used map[string]bool) (*node[T], error) {
	var in []*node[T]
	for _, name := range l.Inputs {
		if outputs[name] == nil {
			return nil, fmt.Errorf("no layer %q stands before it", name)
		}
		used[name] = true
		in = append(in, outputs[name])
	}
	var act activation
	if _, known := layerFields[l.Type]; !known {
		var err error
		if act, err = activationByName(l.Type); err != nil {
			return nil, fmt.Errorf("unknown layer type: expected %s or an activation; %w", strings.Join(LayerTypes(), ", "), err)
		}
	}
	if err := l.checkFields(); err != nil {
		return nil, err
	}
	if l.Type == "add" {
		return b.sum(l, in)
	}
	if len(in) != 1 {
		return nil, fmt.Errorf("expected one input, got %d", len(in))
	}
	switch l.Type {
	case "linear":
		return b.linear(l, in[0])
	case "conv2d":
		return b.conv(l, in[0])
	case "maxpool2d", "avgpool2d":
		return b.pool(l, in[0])
	case "global_avgpool":
		return b.globalPool(l, in[0])
	case "flatten":
		return b.flatten(l, in[0])
	case "batchnorm":
		return b.batchNorm(l, in[0])
	case "layernorm", "rmsnorm":
		return b.norm(l, in[0])
	case "embedding":
		return b.embedding(l, in[0])
	case "position":
		return b.position(l, in[0])
	case "attention":
		return b.attention(l, in[0])
	case "mean":
		return b.sequenceMean(l, in[0])
	case "dropout":
		return b.dropout(l, in[0])
	}
	return b.add(l, &activate[T]{act: act}, in[0].shape, false, in[0])
}

// checkFields fails if a field is set that the layer's type does not take, is
// missing, or is out of every range.
func (l LayerSpec) checkFields() error {
	fields := layerFields[l.Type] // none for activations
	v := reflect.ValueOf(l)
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if name == "type" || name == "name" || name == "inputs" {
			continue
		}
		needed := slices.Contains(fields[0], name)
		if v.Field(i).IsZero() {
			if needed {
				return fmt.Errorf("%s is missing", name)
			}
			continue
		}
		if !needed && !slices.Contains(fields[1], name) {
			return fmt.Errorf("it takes no %s", name)
		}
		switch x := v.Field(i).Interface().(type) {
		case int:
			if x < 1 || x > maxDimension {
				return fmt.Errorf("%s: expected 1 to %d, got %d", name, maxDimension, x)
			}
		case float64:
			if !(x > 0 && x < 1) {
				return fmt.Errorf("%s: expected a number between 0 and 1, got %v", name, x)
			}
		}
	}
	return nil
}

// sum adds its inputs, which must have one shape.
type sum[T Float] struct{}

func (b *builder[T]) sum(l LayerSpec, in []*node[T]) (*node[T], error) {
	if len(in) < 2 {
		return nil, fmt.Errorf("expected at least two inputs, got %d", len(in))
	}
	for _, x := range in[1:] {
		if !slices.Equal(x.shape, in[0].shape) {
			return nil, fmt.Errorf("expected inputs of one shape, got %v and %v", in[0].shape, x.shape)
		}
	}
	return b.add(l, sum[T]{}, in[0].shape, false, in...)
}

func (sum[T]) forward(_ *pass[T], y *node[T]) {
	copy(y.a, y.in[0].a)
	for _, x := range y.in[1:] {
		addTo(y.a, x.a)
	}
}

func (sum[T]) backward(_ *pass[T], y *node[T]) {
	for _, x := range y.in {
		if x.needs {
			addAdjoint(x.claim(), x.d, y.d)
		}
	}
}

func (sum[T]) tangent(_ *pass[T], y *node[T]) {
	clear(y.at)
	for _, x := range y.in {
		if x.needs {
			addTo(y.at, x.at)
		}
	}
}

func (sum[T]) cotangent(_ *pass[T], y *node[T]) {
	for _, x := range y.in {
		if x.needs {
			addAdjoint(x.claimTangent(), x.dt, y.dt)
		}
	}
}
