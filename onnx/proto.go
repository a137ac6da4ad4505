package onnx

import (
	"fmt"
	"math"
)

// The messages of onnx.proto3, with the fields that an import needs.
type (
	model struct {
		producer string
		opset    int // of the default domain
		graph    *graph
	}
	graph struct {
		nodes           []*node
		initializers    []*tensor
		inputs, outputs []valueInfo
		sparse          bool
	}
	node struct {
		inputs, outputs  []string
		name, op, domain string
		attributes       map[string]attribute
		scope            string // the PyTorch module that it came from, "" if unknown
	}
	attribute struct {
		number  float64
		integer int64
		text    string
		tensor  *tensor
		numbers []float64
		ints    []int64
	}
	valueInfo struct {
		name  string
		dtype int
		dims  []int // −1 where symbolic
	}
)

func parseModel(data []byte) (*model, error) {
	m := &model{}
	err := eachField(data, func(f field) (err error) {
		switch f.id {
		case 2:
			m.producer = f.text()
		case 7:
			m.graph, err = parseGraph(f.bytes)
		case 8:
			return m.parseOpset(f.bytes)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if m.graph == nil {
		return nil, errTruncated
	}
	return m, nil
}

func (m *model) parseOpset(data []byte) error {
	domain, version := "", 0
	err := eachField(data, func(f field) error {
		switch f.id {
		case 1:
			domain = f.text()
		case 2:
			version = int(min(f.number, math.MaxInt32))
		}
		return nil
	})
	if domain == "" || domain == "ai.onnx" {
		m.opset = version
	}
	return err
}

func parseGraph(data []byte) (*graph, error) {
	g := &graph{}
	err := eachField(data, func(f field) error {
		switch f.id {
		case 1:
			n, err := parseNode(f.bytes)
			g.nodes = append(g.nodes, n)
			return err
		case 5:
			t, err := parseTensor(f.bytes)
			g.initializers = append(g.initializers, t)
			return err
		case 11, 12:
			v, err := parseValueInfo(f.bytes)
			if f.id == 11 {
				g.inputs = append(g.inputs, v)
			} else {
				g.outputs = append(g.outputs, v)
			}
			return err
		case 15:
			g.sparse = true
		}
		return nil
	})
	return g, err
}

func parseNode(data []byte) (*node, error) {
	n := &node{attributes: map[string]attribute{}}
	err := eachField(data, func(f field) error {
		switch f.id {
		case 1:
			n.inputs = append(n.inputs, f.text())
		case 2:
			n.outputs = append(n.outputs, f.text())
		case 3:
			n.name = f.text()
		case 4:
			n.op = f.text()
		case 5:
			return n.parseAttribute(f.bytes)
		case 7:
			n.domain = f.text()
		case 9:
			key, value, err := parseEntry(f.bytes)
			if key == "pkg.torch.onnx.name_scopes" {
				n.scope = scopeOfList(value)
			}
			return err
		}
		return nil
	})
	if n.name == "" && len(n.outputs) > 0 {
		n.name = n.outputs[0]
	}
	if n.scope == "" {
		n.scope = scopeOfPath(n.name)
	}
	return n, err
}

// parseEntry reads a pair of strings.
func parseEntry(data []byte) (key, value string, err error) {
	err = eachField(data, func(f field) error {
		switch f.id {
		case 1:
			key = f.text()
		case 2:
			value = f.text()
		}
		return nil
	})
	return key, value, err
}

func (n *node) parseAttribute(data []byte) error {
	var a attribute
	name := ""
	err := eachField(data, func(f field) (err error) {
		switch f.id {
		case 1:
			name = f.text()
		case 2:
			a.number = float64(math.Float32frombits(uint32(f.number)))
		case 3:
			a.integer = int64(f.number)
		case 4:
			a.text = f.text()
		case 5:
			a.tensor, err = parseTensor(f.bytes)
		case 7:
			raw, err := f.packed(nil, 4)
			for i := 0; i < len(raw); i += 4 {
				a.numbers = append(a.numbers, decodeFloat32(raw[i:]))
			}
			return err
		case 8:
			a.ints, err = f.integers(a.ints)
		}
		return err
	})
	n.attributes[name] = a
	return err
}

func parseValueInfo(data []byte) (v valueInfo, err error) {
	var kind, tensorType, shape []byte
	for _, level := range []struct {
		id   int
		from *[]byte
		to   *[]byte
	}{{2, &data, &kind}, {1, &kind, &tensorType}, {2, &tensorType, &shape}} {
		err = eachField(*level.from, func(f field) error {
			switch {
			case f.id == level.id && f.wire == wireBytes:
				*level.to = f.bytes
			case level.from == &data && f.id == 1:
				v.name = f.text()
			case level.from == &tensorType && f.id == 1:
				v.dtype = int(min(f.number, math.MaxInt32))
			}
			return nil
		})
		if err != nil {
			return v, err
		}
	}
	return v, eachField(shape, func(f field) error {
		dim := -1
		err := eachField(f.bytes, func(d field) error {
			if d.id == 1 && d.wire == wireVarint {
				if d.number > maxElements {
					return fmt.Errorf("input %q: dimension %d is too large", v.name, d.number)
				}
				dim = int(d.number)
			}
			return nil
		})
		v.dims = append(v.dims, dim)
		return err
	})
}

// integer returns an integer attribute, or the default.
func (n *node) integer(name string, otherwise int) int {
	if a, ok := n.attributes[name]; ok {
		return clampInt(a.integer)
	}
	return otherwise
}

func (n *node) number(name string, otherwise float64) float64 {
	if a, ok := n.attributes[name]; ok {
		return a.number
	}
	return otherwise
}

// integers returns a list attribute, nil if there is none.
func (n *node) integers(name string) []int {
	var list []int
	for _, v := range n.attributes[name].ints {
		list = append(list, clampInt(v))
	}
	return list
}

// clampInt keeps products and sums of a few indices from overflowing: sizes are
// at most maxElements, and ONNX writes "to the end" as the largest int64.
func clampInt(v int64) int { return int(max(min(v, 1<<40), -1<<40)) }

func (n *node) errorf(format string, args ...any) error {
	return fmt.Errorf("node %q (%s): %w", n.name, n.op, fmt.Errorf(format, args...))
}
