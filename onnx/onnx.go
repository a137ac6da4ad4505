// Package onnx imports neural networks from ONNX files as kelvin's own networks.
//
// A graph is not run as it stands. What depends on constants and shapes alone is
// computed; what only moves elements is followed as indices into a layer's
// output; what works elementwise, or on means over rows, is recognised by its
// values; and matrix products, convolutions, norms and attention become the
// layers of package nn. So the many ways in which exporters write one layer come
// to the same network, with exact gradients and Hessian-vector products.
//
// Files are treated as hostile: sizes are checked before they are believed, and
// external data are read only from the model's own folder.
package onnx

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kelvin-ml/kelvin/nn"
)

// A Model is a network read from an ONNX file.
type Model struct {
	Network *nn.Network[float32]
	// Notes says, in plain words, where the network is not the graph to the
	// letter: a softmax left to the loss, a parameter used twice.
	Notes []string
}

// Open reads the network of an ONNX file. The loss, which ONNX does not hold, is
// one of nn's: "ce", "mse" or "mae". Axes of the input that the file leaves open,
// besides that of the examples, have the lengths in example, the shape of one
// example of the data. It fails if the file is damaged, or if the network has
// parts that package nn does not, and then names the node.
func Open(path, loss string, example []int) (*Model, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the network: %w", err)
	}
	m, err := read(data, filepath.Dir(path), loss, example, 1<<29)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return m, nil
}

// read is Open for the bytes of a file. The budget bounds the elements of the
// constants and indices that are computed.
func read(data []byte, folder, loss string, example []int, budget int) (*Model, error) {
	m, err := parseModel(data)
	if err != nil {
		return nil, err
	}
	g := m.graph
	if m.opset != 0 && m.opset < 9 {
		return nil, fmt.Errorf("operator set %d: expected 9 or later", m.opset)
	}
	if g.sparse {
		return nil, fmt.Errorf("sparse initialisers are not supported")
	}
	held := map[string]bool{}
	for _, t := range g.initializers {
		if held[t.name] {
			return nil, fmt.Errorf("initialiser %q stands twice", t.name)
		}
		held[t.name] = true
	}
	inputs := slices.DeleteFunc(slices.Clone(g.inputs), func(v valueInfo) bool { return held[v.name] })
	if len(inputs) != 1 || len(g.outputs) != 1 {
		return nil, fmt.Errorf("expected one input and one output, got %s and %s", namesOf(inputs), namesOf(g.outputs))
	}
	in := inputs[0]
	if len(in.dims) < 2 {
		return nil, fmt.Errorf("input %q: expected the shape of a batch of examples, got %v", in.name, in.dims)
	}
	batches := []int{in.dims[0]}
	if in.dims[0] < 0 {
		// Two examples show what would mix them; a graph may have been traced with one.
		batches = []int{2, 1}
	}
	var first error
	for _, batch := range batches {
		c := &converter{graph: g, folder: folder, budget: budget}
		model, err := c.convert(in, batch, loss, example)
		if err == nil {
			return model, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

func namesOf(values []valueInfo) string {
	var names []string
	for _, v := range values {
		names = append(names, v.name)
	}
	return fmt.Sprintf("%d (%s)", len(names), strings.Join(names, ", "))
}
