package nn

import "fmt"

// A window is the geometry of a kernel sliding over the last two axes of a
// signal [channels, height, width].
type window struct {
	channels, height, width int
	kernelH, kernelW        int
	strideH, strideW        int
	padH, padW              int
	outH, outW              int
}

func newWindow(l LayerSpec, shape []int, stride []int) (window, error) {
	if len(shape) != 3 {
		return window{}, fmt.Errorf("expected an input of shape [channels, height, width], got %v", shape)
	}
	g := window{channels: shape[0], height: shape[1], width: shape[2]}
	for _, field := range []struct {
		name   string
		values []int
		low    int
		a, b   *int
		unset  int
	}{
		{"kernel", l.Kernel, 1, &g.kernelH, &g.kernelW, 1},
		{"stride", stride, 1, &g.strideH, &g.strideW, 1},
		{"padding", l.Padding, 0, &g.padH, &g.padW, 0},
	} {
		*field.a, *field.b = field.unset, field.unset
		if len(field.values) > 2 {
			return window{}, fmt.Errorf("%s: expected one or two numbers, got %v", field.name, field.values)
		}
		for _, v := range field.values {
			if v < field.low || v > maxDimension {
				return window{}, fmt.Errorf("%s: expected numbers from %d to %d, got %v", field.name, field.low, maxDimension, field.values)
			}
		}
		if n := len(field.values); n > 0 {
			*field.a, *field.b = field.values[0], field.values[n-1]
		}
	}
	if g.padH >= g.kernelH || g.padW >= g.kernelW {
		return window{}, fmt.Errorf("padding %v: expected less than the kernel %v", l.Padding, l.Kernel)
	}
	if g.kernelH > g.height+2*g.padH || g.kernelW > g.width+2*g.padW {
		return window{}, fmt.Errorf("kernel %v is larger than the input %v with its padding", l.Kernel, shape)
	}
	g.outH = (g.height+2*g.padH-g.kernelH)/g.strideH + 1
	g.outW = (g.width+2*g.padW-g.kernelW)/g.strideW + 1
	return g, nil
}

// The unfolded input of one channel has area × positions elements.
func (g *window) area() int      { return g.kernelH * g.kernelW }
func (g *window) positions() int { return g.outH * g.outW }
func (g *window) plane() int     { return g.height * g.width }

// trivial says that the unfolded input is the input.
func (g *window) trivial() bool {
	return g.area() == 1 && g.strideH == 1 && g.strideW == 1 // padding is less than the kernel
}

// inside returns the outputs [from, to) along one axis for which the kernel
// element k lies inside the input.
func inside(k, pad, stride, size, out int) (from, to int) {
	from = max(0, (pad-k+stride-1)/stride)
	to = min(out, (size-1+pad-k)/stride+1)
	if size-1+pad-k < 0 {
		to = 0
	}
	return min(from, to), to
}

// unfold writes one channel to columns: row (i, j) of the kernel elements holds
// the input under that element at every output position, zero in the padding.
func unfold[T Float](g *window, x, columns []T) {
	for i := range g.kernelH {
		rowFrom, rowTo := inside(i, g.padH, g.strideH, g.height, g.outH)
		for j := range g.kernelW {
			from, to := inside(j, g.padW, g.strideW, g.width, g.outW)
			out := columns[(i*g.kernelW+j)*g.positions():][:g.positions()]
			clear(out[:rowFrom*g.outW])
			clear(out[rowTo*g.outW:])
			for r := rowFrom; r < rowTo; r++ {
				line := out[r*g.outW : (r+1)*g.outW]
				clear(line[:from])
				clear(line[to:])
				if from == to {
					continue
				}
				in := x[(r*g.strideH+i-g.padH)*g.width+from*g.strideW+j-g.padW:]
				line = line[from:to]
				if g.strideW == 1 {
					copy(line, in)
					continue
				}
				for c := range line {
					line[c] = in[c*g.strideW]
				}
			}
		}
	}
}

// fold adds columns to the input positions that unfold took them from.
func fold[T Float](g *window, columns, x []T) {
	for i := range g.kernelH {
		rowFrom, rowTo := inside(i, g.padH, g.strideH, g.height, g.outH)
		for j := range g.kernelW {
			from, to := inside(j, g.padW, g.strideW, g.width, g.outW)
			if from == to {
				continue
			}
			out := columns[(i*g.kernelW+j)*g.positions():]
			for r := rowFrom; r < rowTo; r++ {
				line := out[r*g.outW+from : r*g.outW+to]
				in := x[(r*g.strideH+i-g.padH)*g.width+from*g.strideW+j-g.padW:]
				if g.strideW == 1 {
					in = in[:len(line)]
					for c, v := range line {
						in[c] += v
					}
					continue
				}
				for c, v := range line {
					in[c*g.strideW] += v
				}
			}
		}
	}
}
