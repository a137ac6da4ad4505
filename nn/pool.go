package nn

import (
	"fmt"
	"math"
)

// maxPool takes the largest value under each window; of equal ones the first,
// as PyTorch does.
type maxPool[T Float] struct {
	window
	from []int32 // for each output the position in its example that it came from
}

// meanPool averages over each window, padding zeros included as PyTorch does.
type meanPool[T Float] struct{ window }

func (b *builder[T]) pool(l LayerSpec, x *node[T]) (*node[T], error) {
	stride := l.Stride
	if len(stride) == 0 {
		stride = l.Kernel
	}
	g, err := newWindow(l, x.shape, stride)
	if err != nil {
		return nil, err
	}
	if 2*g.padH > g.kernelH || 2*g.padW > g.kernelW {
		return nil, fmt.Errorf("padding %v: expected at most half the kernel %v", l.Padding, l.Kernel)
	}
	var o op[T] = &meanPool[T]{window: g}
	if l.Type == "maxpool2d" {
		o = &maxPool[T]{window: g}
	}
	return b.add(l, o, []int{g.channels, g.outH, g.outW}, false, x)
}

// covered returns the input rows and columns [top, bottom) × [left, right) under
// the window of an output position of one plane.
func (g *window) covered(position int) (top, bottom, left, right int) {
	top = position/g.outW*g.strideH - g.padH
	left = position%g.outW*g.strideW - g.padW
	bottom, right = min(top+g.kernelH, g.height), min(left+g.kernelW, g.width)
	return max(top, 0), bottom, max(left, 0), right
}

func (o *maxPool[T]) forward(p *pass[T], y *node[T]) {
	o.from = fit(o.from, len(y.a))
	x := y.in[0]
	for r := range p.n * o.channels {
		plane := x.a[r*o.plane() : (r+1)*o.plane()]
		first := int32(r % o.channels * o.plane())
		for row := range o.outH {
			at := r*o.positions() + row*o.outW
			o.row(plane, row, first, y.a[at:at+o.outW], o.from[at:at+o.outW])
		}
	}
}

// row pools one row of outputs: one element of the kernel after the other, so
// that the loops over the outputs are free of branches. The plane begins at
// position first of its example.
func (o *maxPool[T]) row(plane []T, row int, first int32, out []T, from []int32) {
	top := row*o.strideH - o.padH
	for c := range out {
		out[c] = T(math.Inf(-1))
		from[c] = first + int32(max(top, 0)*o.width+max(c*o.strideW-o.padW, 0))
	}
	for i := max(top, 0); i < min(top+o.kernelH, o.height); i++ {
		for j := range o.kernelW {
			low, high := inside(j, o.padW, o.strideW, o.width, o.outW)
			if low == high {
				continue
			}
			at := i*o.width + low*o.strideW + j - o.padW
			in, position := plane[at:], first+int32(at)
			best, origin := out[low:high], from[low:high]
			for c := range best {
				v, was := in[c*o.strideW], origin[c]
				if v > best[c] {
					was = position + int32(c*o.strideW)
				}
				origin[c] = was
				best[c] = max(best[c], v)
			}
		}
	}
}

func (o *maxPool[T]) scatter(y *node[T], d, dx []T) {
	size := y.in[0].size
	for i := range len(d) / y.size {
		x := dx[i*size : (i+1)*size]
		from := o.from[i*y.size : (i+1)*y.size]
		for j, v := range d[i*y.size : (i+1)*y.size] {
			x[from[j]] += v
		}
	}
}

func (o *maxPool[T]) backward(_ *pass[T], y *node[T]) {
	if y.in[0].claim() == 0 {
		clear(y.in[0].d)
	}
	o.scatter(y, y.d, y.in[0].d)
}

func (o *maxPool[T]) tangent(p *pass[T], y *node[T]) {
	size := y.in[0].size
	for i := range p.n {
		x := y.in[0].at[i*size : (i+1)*size]
		for j, from := range o.from[i*y.size : (i+1)*y.size] {
			y.at[i*y.size+j] = x[from]
		}
	}
}

func (o *maxPool[T]) cotangent(_ *pass[T], y *node[T]) {
	if y.in[0].claimTangent() == 0 {
		clear(y.in[0].dt)
	}
	o.scatter(y, y.dt, y.in[0].dt)
}

func (o *meanPool[T]) gather(x, y []T) {
	for r := range len(x) / o.plane() {
		plane := x[r*o.plane() : (r+1)*o.plane()]
		for q := range o.positions() {
			sum := T(0)
			top, bottom, left, right := o.covered(q)
			for i := top; i < bottom; i++ {
				for _, v := range plane[i*o.width+left : i*o.width+right] {
					sum += v
				}
			}
			y[r*o.positions()+q] = sum / T(o.area())
		}
	}
}

func (o *meanPool[T]) scatter(d, dx []T) {
	for r := range len(dx) / o.plane() {
		plane := dx[r*o.plane() : (r+1)*o.plane()]
		for q := range o.positions() {
			v := d[r*o.positions()+q] / T(o.area())
			top, bottom, left, right := o.covered(q)
			for i := top; i < bottom; i++ {
				line := plane[i*o.width+left : i*o.width+right]
				for j := range line {
					line[j] += v
				}
			}
		}
	}
}

func (o *meanPool[T]) forward(_ *pass[T], y *node[T]) { o.gather(y.in[0].a, y.a) }
func (o *meanPool[T]) tangent(_ *pass[T], y *node[T]) { o.gather(y.in[0].at, y.at) }

func (o *meanPool[T]) backward(_ *pass[T], y *node[T]) {
	if y.in[0].claim() == 0 {
		clear(y.in[0].d)
	}
	o.scatter(y.d, y.in[0].d)
}

func (o *meanPool[T]) cotangent(_ *pass[T], y *node[T]) {
	if y.in[0].claimTangent() == 0 {
		clear(y.in[0].dt)
	}
	o.scatter(y.dt, y.in[0].dt)
}
