package onnx

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/kelvin-ml/kelvin/nn"
)

// A layer is one of the network being made.
type layer struct {
	spec   nn.LayerSpec
	in     []*layer
	shape  []int // of one example's output
	params []parameter
	scope  string // the PyTorch module that it came from
	module string // what an attention's projections are parts of
	core   *core  // of an attention whose output projection is still to come
}

// A parameter is one tensor of a layer, under the name that nn gives it.
type parameter struct {
	suffix string // "weight"
	from   *tensor
	data   []float64
}

func (l *layer) has(suffix string) bool {
	return slices.ContainsFunc(l.params, func(p parameter) bool { return p.suffix == suffix })
}

// add appends a layer to the network.
func (c *converter) add(n *node, l *layer) *layer {
	l.scope = n.scope
	c.layers = append(c.layers, l)
	if slices.Contains(l.in, c.input) {
		c.inputRead = true
	}
	return l
}

// width returns the length of the last axis.
func (l *layer) width() int { return l.shape[len(l.shape)-1] }

// exported matches names that exporters make up.
var exported = regexp.MustCompile(`[:/ ]|^[a-z_]*[0-9]*$`)

// clean says that a tensor's name was given by a person, not by an exporter.
func clean(name string) bool {
	return !exported.MatchString(name) || name == strings.Trim(name, "0123456789") && name != ""
}

// names returns what the layer might be called, best first: as PyTorch's
// state_dict has its parameters, as its module, as its type.
func (l *layer) names() []string {
	names := []string{l.module}
	for _, p := range l.params {
		if l.module != "" || p.from == nil || !clean(p.from.name) {
			continue
		}
		module, last, dotted := cutLast(p.from.name)
		if !dotted {
			module = last
		}
		names = append(names, module)
	}
	kind, _, _ := strings.Cut(l.spec.Type, "(")
	switch {
	case l.scope != "" && len(l.params) > 0:
		names = append(names, l.scope)
	case l.scope != "":
		names = append(names, l.scope+"."+kind)
	}
	return append(slices.DeleteFunc(names, func(s string) bool { return s == "" }), kind)
}

// cutLast cuts a dotted name before its last part.
func cutLast(name string) (before, last string, dotted bool) {
	i := strings.LastIndex(name, ".")
	return name[:max(i, 0)], name[i+1:], i >= 0
}

// scopeOfPath returns the module that a node of the TorchScript exporter belongs
// to: "/h.1/mlp/mlp.2/MatMul" to h.1.mlp.2.
func scopeOfPath(name string) string {
	if !strings.HasPrefix(name, "/") {
		return ""
	}
	parts := strings.Split(name[1:], "/")
	var scope []string
	for _, p := range parts[:len(parts)-1] {
		if i := len(scope) - 1; i >= 0 && strings.HasPrefix(p, scope[i]+".") {
			scope[i] = p
		} else {
			scope = append(scope, p)
		}
	}
	return strings.Join(scope, ".")
}

// scopeOfList returns the module from what the newer exporter notes with each
// node: "[”, 'h.0', 'h.0.ln_1', 'layer_norm']" is h.0.ln_1.
func scopeOfList(list string) string {
	parts := strings.Split(strings.Trim(list, "[]"), ", ")
	if len(parts) < 2 {
		return ""
	}
	return strings.Trim(parts[len(parts)-2], "'\"")
}

// network builds the network whose last layer is out.
func (c *converter) network(out *layer, loss string) (*nn.Network[float32], error) {
	needed := map[*layer]bool{out: true}
	for i := len(c.layers) - 1; i >= 0; i-- {
		if l := c.layers[i]; needed[l] {
			for _, x := range l.in {
				needed[x] = true
			}
		}
	}
	spec := nn.Spec{Input: c.input.shape, Loss: loss}
	taken := map[string]bool{"input": true}
	values := map[string]parameter{}
	users := map[string]string{}
	last := c.input
	for _, l := range c.layers {
		if !needed[l] {
			continue
		}
		if l.core != nil {
			return nil, fmt.Errorf("attention without a linear layer after it is not supported")
		}
		l.spec.Name = free(l.names(), taken)
		c.complete(l)
		if len(l.in) != 1 || l.in[0] != last {
			for _, x := range l.in {
				l.spec.Inputs = append(l.spec.Inputs, x.spec.Name)
			}
		}
		for _, p := range l.params {
			values[l.spec.Name+"."+p.suffix] = p
			if p.from != nil && clean(p.from.name) && len(p.from.shape) > 1 {
				if other := users[p.from.name]; other != "" {
					c.notef("%s is used by %s and %s: they are taken as two parameters that begin equal", p.from.name, other, l.spec.Name)
				}
				users[p.from.name] = l.spec.Name
			}
		}
		spec.Layers, last = append(spec.Layers, l.spec), l
	}
	network, err := nn.New[float32](spec)
	if err != nil {
		return nil, err
	}
	return network, fill(network, values)
}

// free returns the first name that is not taken, numbered if all are.
func free(names []string, taken map[string]bool) string {
	for i := 1; ; i++ {
		for _, name := range names {
			if i > 1 {
				name = fmt.Sprintf("%s_%d", names[len(names)-1], i)
			}
			if !taken[name] {
				taken[name] = true
				return name
			}
		}
	}
}

// complete adds what nn's layer has and the graph leaves out.
func (c *converter) complete(l *layer) {
	missing := func(suffix string, size int, value float64) {
		if l.has(suffix) {
			return
		}
		l.params = append(l.params, parameter{suffix: suffix, data: slices.Repeat([]float64{value}, size)})
		c.notef("layer %q (%s) has no %s: it is given one of %gs", l.spec.Name, l.spec.Type, suffix, value)
	}
	switch l.spec.Type {
	case "linear", "conv2d":
		l.spec.NoBias = !l.has("bias")
	case "layernorm":
		missing("weight", l.width(), 1)
		missing("bias", l.width(), 0)
	case "rmsnorm":
		missing("weight", l.width(), 1)
	case "attention":
		if l.spec.NoBias = !l.has("in_proj_bias") && !l.has("out_proj.bias"); !l.spec.NoBias {
			missing("in_proj_bias", 3*l.width(), 0)
			missing("out_proj.bias", l.width(), 0)
		}
	}
}

// fill copies the parameters into the network.
func fill(network *nn.Network[float32], values map[string]parameter) error {
	place := func(t nn.Tensor, to []float32) error {
		p := values[t.Name]
		if len(p.data) != t.Size() {
			return fmt.Errorf("parameter %q: expected %d elements for shape %v, got %d", t.Name, t.Size(), t.Shape, len(p.data))
		}
		for i, v := range p.data {
			to[t.Offset+i] = float32(v)
			if math.IsNaN(v) || math.Abs(v) > math.MaxFloat32 {
				return fmt.Errorf("parameter %q: element %d is %v, not a finite float32", t.Name, i, v)
			}
		}
		return nil
	}
	for _, g := range network.Groups {
		for _, t := range g.Tensors {
			if err := place(t, network.Params); err != nil {
				return err
			}
		}
	}
	for _, t := range network.StateTensors {
		if err := place(t, network.State); err != nil {
			return err
		}
	}
	return nil
}
