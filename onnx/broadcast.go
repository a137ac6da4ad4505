package onnx

import "fmt"

// broadcast returns the shape that operands of these shapes broadcast to.
func broadcast(shapes ...[]int) ([]int, error) {
	rank := 0
	for _, s := range shapes {
		rank = max(rank, len(s))
	}
	out := make([]int, rank)
	for i := range out {
		out[i] = 1
		for _, s := range shapes {
			if j := i - rank + len(s); j >= 0 && s[j] != 1 {
				if out[i] != 1 && out[i] != s[j] {
					return nil, fmt.Errorf("shapes %v do not broadcast", shapes)
				}
				out[i] = s[j]
			}
		}
	}
	return out, checkShape(out)
}

// strides returns what an index into a broadcast shape of the given rank is
// multiplied with to find the element of a tensor of this shape.
func strides(shape []int, rank int) []int {
	out := make([]int, rank)
	step := 1
	for i := len(shape) - 1; i >= 0; i-- {
		if shape[i] != 1 {
			out[rank-len(shape)+i] = step
		}
		step *= shape[i]
	}
	return out
}

func dot(index, stride []int) int {
	sum := 0
	for i, v := range index {
		sum += v * stride[i]
	}
	return sum
}

// advance moves an index to the next element in row-major order.
func advance(index, shape []int) {
	for i := len(index) - 1; i >= 0; i-- {
		if index[i]++; index[i] < shape[i] {
			return
		}
		index[i] = 0
	}
}

func (c *converter) elementwise(n *node, f scalar, in []*tensor) (*tensor, error) {
	shapes := make([][]int, len(in))
	for i, t := range in {
		shapes[i] = t.shape
	}
	shape, err := broadcast(shapes...)
	if err != nil {
		return nil, err
	}
	t, err := c.allocate(in[len(in)-1].dtype, shape)
	if err != nil {
		return nil, err
	}
	switch n.op {
	case "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Xor", "Not", "IsNaN":
		t.dtype = typeBool
	case "Identity":
		t.name = in[0].name
		if clean(n.outputs[0]) { // a parameter equal to another, which the file holds once
			t.name = n.outputs[0]
		}
	}
	steps := make([][]int, len(in))
	for i, s := range shapes {
		steps[i] = strides(s, len(shape))
	}
	index, args := make([]int, len(shape)), make([]float64, max(len(in), 2))
	for at := range t.data {
		for i := range in {
			args[i] = in[i].data[dot(index, steps[i])]
		}
		t.data[at] = f(args[:max(len(in), 1)])
		advance(index, shape)
	}
	return t, nil
}
