package onnx

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kelvin-ml/kelvin/nn"
)

// close makes a layer of the value's formula.
func (c *converter) close(v *value, n *node) (*value, error) {
	if v.constant != nil || v.layer == nil {
		return nil, fmt.Errorf("expected what depends on the network's input alone")
	}
	if v.padding != nil {
		return nil, fmt.Errorf("padding is supported before Conv and AveragePool only")
	}
	if v.formula == nil {
		return v, nil
	}
	if !slices.Equal(v.shape, v.full) {
		return nil, fmt.Errorf("a mean over features that no normalisation uses is not supported")
	}
	l, err := c.realise(v.formula, v.layer)
	if err != nil {
		return nil, err
	}
	closed := *v
	closed.layer, closed.formula = l, nil
	return &closed, nil
}

// realise returns the layer that computes the formula of a layer's output.
func (c *converter) realise(f *formula, base *layer) (*layer, error) {
	if f == variable {
		return base, nil
	}
	if l := c.realised[f][base]; l != nil {
		return l, nil
	}
	if err := c.spend(elements(base.shape)); err != nil {
		return nil, err
	}
	l := c.recognise(f, f.node, base)
	var parts []*formula
	f.walk(func(g *formula) {
		if g != f && g != variable && g.value == nil {
			parts = append(parts, g)
		}
	})
	if err := c.spend(64 * len(parts) * len(parts)); l == nil && err != nil {
		return nil, err
	}
	for _, g := range parts { // the innermost first: the last layer does as much as one can
		if l != nil {
			break
		}
		if h := f.outside(g); h != nil && c.recognise(h, nil, base) != nil {
			if inner, err := c.realise(g, base); err == nil {
				l = c.recognise(h, f.node, inner)
			}
		}
	}
	if l == nil && f.node.op == "Add" && len(f.args) == 2 {
		a, errA := c.realise(f.args[0], base)
		b, errB := c.realise(f.args[1], base)
		if errA == nil && errB == nil && a != b && f.args[0].value == nil && f.args[1].value == nil {
			l = c.add(f.node, &layer{spec: nn.LayerSpec{Type: "add"}, in: []*layer{a, b}, shape: a.shape})
		}
	}
	if l == nil {
		return nil, fmt.Errorf("node %q (%s) ends a computation that is no layer kelvin has: expected an activation (%s), layernorm or rmsnorm",
			f.node.name, f.node.op, strings.Join(activationNames(), ", "))
	}
	if c.realised[f] == nil {
		c.realised[f] = map[*layer]*layer{}
	}
	c.realised[f][base] = l
	return l, nil
}

// recognise returns the layer that the formula is. It adds it if a node is given.
func (c *converter) recognise(f *formula, n *node, base *layer) *layer {
	l := &layer{in: []*layer{base}, shape: base.shape}
	if !f.rowwise() {
		if l.spec.Type = f.activation(); l.spec.Type == "" {
			return nil
		}
		if l.spec.Type == "identity" {
			return base
		}
	} else {
		spec, gain, bias, ok := f.norm(base.width())
		if !ok {
			return nil
		}
		l.spec = spec
		l.attach("weight", gain)
		l.attach("bias", bias)
	}
	if n != nil {
		c.add(n, l)
	}
	return l
}

// attach gives the layer a parameter, if there is one.
func (l *layer) attach(suffix string, t *tensor) {
	if t != nil {
		l.params = append(l.params, parameter{suffix: suffix, from: t, data: t.data})
	}
}
