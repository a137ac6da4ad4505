package nn

import (
	"fmt"

	"github.com/kelvin-ml/kelvin/nn/internal/kernel"
)

// conv is a two-dimensional convolution (cross-correlation, as in PyTorch) by
// unfolding each example and multiplying matrices.
type conv[T Float] struct {
	window
	out, groups       int
	w, b              span // b.size is 0 without bias
	columns, dcolumns []T  // one example and group
	tcolumns          []T  // of the tangent
	perExample        []T  // weight gradient of one example, for its norm
}

func (b *builder[T]) conv(l LayerSpec, x *node[T]) (*node[T], error) {
	g, err := newWindow(l, x.shape, l.Stride)
	if err != nil {
		return nil, err
	}
	o := &conv[T]{window: g, out: l.Out, groups: max(l.Groups, 1)}
	if o.channels%o.groups != 0 || o.out%o.groups != 0 {
		return nil, fmt.Errorf("groups: %d does not divide %d channels in and %d out", o.groups, o.channels, o.out)
	}
	if _, err := volume([]int{o.channels / o.groups, g.kernelH, g.kernelW, g.outH, g.outW}); err != nil {
		return nil, fmt.Errorf("unfolded input: %w", err)
	}
	fanIn := o.channels / o.groups * g.area()
	init := initializer{kind: weightTensor, fanIn: fanIn, fanOut: o.out * g.area(), rows: o.out, node: len(b.nodes)}
	if o.w, err = b.param(l.Name, "weight", init, o.out, o.channels/o.groups, g.kernelH, g.kernelW); err != nil {
		return nil, err
	}
	if !l.NoBias {
		init.kind = biasTensor
		if o.b, err = b.param(l.Name, "bias", init, o.out); err != nil {
			return nil, err
		}
	}
	return b.add(l, o, []int{o.out, g.outH, g.outW}, true, x)
}

// fan returns the rows of the unfolded input of one group.
func (o *conv[T]) fan() int { return o.channels / o.groups * o.area() }

// unfolded returns the unfolded input of example i and group g, using buffer if
// it must.
func (o *conv[T]) unfolded(x []T, i, g int, buffer *[]T) []T {
	perGroup := o.channels / o.groups
	first := (i*o.channels + g*perGroup) * o.plane()
	if o.trivial() {
		return x[first : first+perGroup*o.plane()]
	}
	size := o.area() * o.positions()
	*buffer = fit(*buffer, perGroup*size)
	for c := range perGroup {
		unfold(&o.window, x[first+c*o.plane():first+(c+1)*o.plane()], (*buffer)[c*size:(c+1)*size])
	}
	return *buffer
}

// refold adds the product Wᵀ·d, for the group's weights w, to the input adjoint
// of example i and group g.
func (o *conv[T]) refold(w, d, dx []T, i, g int) {
	perGroup, outs, fan := o.channels/o.groups, o.out/o.groups, o.fan()
	first := (i*o.channels + g*perGroup) * o.plane()
	if o.trivial() {
		kernel.Gemm(true, false, fan, o.positions(), outs, 1, w, fan, d, o.positions(), 1, dx[first:], o.positions())
		return
	}
	size := o.area() * o.positions()
	o.dcolumns = fit(o.dcolumns, perGroup*size)
	kernel.Gemm(true, false, fan, o.positions(), outs, 1, w, fan, d, o.positions(), 0, o.dcolumns, o.positions())
	for c := range perGroup {
		fold(&o.window, o.dcolumns[c*size:(c+1)*size], dx[first+c*o.plane():first+(c+1)*o.plane()])
	}
}

// outputs returns the part of an output-shaped vector of example i, group g.
func (o *conv[T]) outputs(y []T, i, g int) []T {
	size := o.out / o.groups * o.positions()
	first := i*o.out*o.positions() + g*size
	return y[first : first+size]
}

// weights returns the part of a weight-shaped vector of group g.
func (o *conv[T]) weights(w []T, g int) []T {
	size := o.w.size / o.groups
	return of(o.w, w)[g*size : (g+1)*size]
}

// apply computes y = keep·y + W·x for one group of one example.
func (o *conv[T]) apply(w, columns []T, keep T, y []T) {
	fan := o.fan()
	kernel.Gemm(false, false, o.out/o.groups, o.positions(), fan, 1, w, fan, columns, o.positions(), keep, y, o.positions())
}

// accumulate computes gw = keep·gw + d·xᵀ for one group of one example.
func (o *conv[T]) accumulate(d, columns []T, keep T, gw []T) {
	fan := o.fan()
	kernel.Gemm(false, true, o.out/o.groups, fan, o.positions(), 1, d, o.positions(), columns, o.positions(), keep, gw, fan)
}

func (o *conv[T]) addBias(examples int, bias, y []T) {
	for r := range examples * len(bias) {
		v := bias[r%len(bias)]
		plane := y[r*o.positions() : (r+1)*o.positions()]
		for i := range plane {
			plane[i] += v
		}
	}
}

func (o *conv[T]) sumPlanes(examples int, d, g []T) {
	clear(g)
	for r := range examples * len(g) {
		g[r%len(g)] += T(total(d[r*o.positions() : (r+1)*o.positions()]))
	}
}

func (o *conv[T]) forward(p *pass[T], y *node[T]) {
	for i := range p.n {
		for g := range o.groups {
			o.apply(o.weights(p.params, g), o.unfolded(y.in[0].a, i, g, &o.columns), 0, o.outputs(y.a, i, g))
		}
	}
	o.addBias(p.n, of(o.b, p.params), y.a)
}

func (o *conv[T]) backward(p *pass[T], y *node[T]) {
	x := y.in[0]
	if p.grad != nil {
		clear(of(o.w, p.grad))
		o.sumPlanes(p.n, y.d, of(o.b, p.grad))
	}
	if x.needs && x.claim() == 0 {
		clear(x.d)
	}
	for i := range p.n {
		for g := range o.groups {
			d := o.outputs(y.d, i, g)
			if p.grad != nil {
				columns := o.unfolded(x.a, i, g, &o.columns)
				if p.obs == nil {
					o.accumulate(d, columns, 1, o.weights(p.grad, g))
				} else {
					o.observeWeights(p, y, i, d, columns, o.weights(p.grad, g))
				}
			}
			if x.needs {
				o.refold(o.weights(p.params, g), d, x.d, i, g)
			}
		}
	}
	if p.obs != nil {
		o.observe(p, y)
	}
}

// observeWeights adds one example's weight gradient to the batch's, and its
// squared norm to the observation: convolutions have no cheaper closed form.
func (o *conv[T]) observeWeights(p *pass[T], y *node[T], i int, d, columns, gw []T) {
	o.perExample = fit(o.perExample, len(gw))
	o.accumulate(d, columns, 0, o.perExample)
	addTo(gw, o.perExample)
	n := float64(p.n)
	p.obs.GradNorm2[y.group][i] += n * n * kernel.SumSquares(o.perExample)
}

// observe adds the virial Σ y·δ and the bias's part of the gradient norm.
func (o *conv[T]) observe(p *pass[T], y *node[T]) {
	n := float64(p.n)
	for i := range p.n {
		d := y.d[i*y.size : (i+1)*y.size]
		p.obs.Virial[y.group][i] += n * kernel.Dot(y.a[i*y.size:(i+1)*y.size], d)
		for c := range o.b.size {
			g := n * total(d[c*o.positions():(c+1)*o.positions()])
			p.obs.GradNorm2[y.group][i] += g * g
		}
	}
}

func (o *conv[T]) tangent(p *pass[T], y *node[T]) {
	x := y.in[0]
	for i := range p.n {
		for g := range o.groups {
			o.apply(o.weights(p.v, g), o.unfolded(x.a, i, g, &o.columns), 0, o.outputs(y.at, i, g))
			if x.needs {
				o.apply(o.weights(p.params, g), o.unfolded(x.at, i, g, &o.columns), 1, o.outputs(y.at, i, g))
			}
		}
	}
	o.addBias(p.n, of(o.b, p.v), y.at)
}

func (o *conv[T]) cotangent(p *pass[T], y *node[T]) {
	x := y.in[0]
	clear(of(o.w, p.hv))
	o.sumPlanes(p.n, y.dt, of(o.b, p.hv))
	if x.needs && x.claimTangent() == 0 {
		clear(x.dt)
	}
	for i := range p.n {
		for g := range o.groups {
			d, dt := o.outputs(y.d, i, g), o.outputs(y.dt, i, g)
			o.accumulate(dt, o.unfolded(x.a, i, g, &o.columns), 1, o.weights(p.hv, g))
			if x.needs {
				o.accumulate(d, o.unfolded(x.at, i, g, &o.tcolumns), 1, o.weights(p.hv, g))
				o.refold(o.weights(p.params, g), dt, x.dt, i, g)
				o.refold(o.weights(p.v, g), d, x.dt, i, g)
			}
		}
	}
}
