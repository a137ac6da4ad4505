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

// covered calls visit with every output position (of one plane) and the input
// rows and columns [top, bottom) × [left, right) under its window.
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
		for q := range o.positions() {
			best, at := T(math.Inf(-1)), -1
			top, bottom, left, right := o.covered(q)
			for i := top; i < bottom; i++ {
				for j := left; j < right; j++ {
					if v := plane[i*o.width+j]; at < 0 || v > best || v != v {
						best, at = v, i*o.width+j
					}
				}
			}
			y.a[r*o.positions()+q] = best
			o.from[r*o.positions()+q] = int32(r%o.channels*o.plane() + at)
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
