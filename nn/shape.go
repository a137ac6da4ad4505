package nn

import "fmt"

// flatten only renames the axes. It copies, so that every node owns its buffers.
type flatten[T Float] struct{}

func (b *builder[T]) flatten(l LayerSpec, x *node[T]) (*node[T], error) {
	return b.add(l, flatten[T]{}, []int{x.size}, false, x)
}

func (flatten[T]) forward(_ *pass[T], y *node[T])  { copy(y.a, y.in[0].a) }
func (flatten[T]) tangent(_ *pass[T], y *node[T])  { copy(y.at, y.in[0].at) }
func (flatten[T]) backward(_ *pass[T], y *node[T]) { addAdjoint(y.in[0].claim(), y.in[0].d, y.d) }
func (flatten[T]) cotangent(_ *pass[T], y *node[T]) {
	addAdjoint(y.in[0].claimTangent(), y.in[0].dt, y.dt)
}

// axisMean averages over one axis of [outer, count, inner]: over the image of
// each channel (inner is 1), or over the positions of a sequence (outer is 1).
type axisMean[T Float] struct{ outer, count, inner int }

// globalPool averages each channel of [channels, height, width] over its image.
func (b *builder[T]) globalPool(l LayerSpec, x *node[T]) (*node[T], error) {
	if len(x.shape) != 3 {
		return nil, fmt.Errorf("expected an input of shape [channels, height, width], got %v", x.shape)
	}
	return b.add(l, axisMean[T]{x.shape[0], x.shape[1] * x.shape[2], 1}, x.shape[:1], false, x)
}

// sequenceMean averages [positions, features] over the positions.
func (b *builder[T]) sequenceMean(l LayerSpec, x *node[T]) (*node[T], error) {
	if len(x.shape) != 2 {
		return nil, fmt.Errorf("expected an input of shape [positions, features], got %v", x.shape)
	}
	return b.add(l, axisMean[T]{1, x.shape[0], x.shape[1]}, x.shape[1:], false, x)
}

func (o axisMean[T]) gather(x, y []T) {
	clear(y)
	for r := range len(x) / o.inner {
		row := x[r*o.inner : (r+1)*o.inner]
		out := y[r/o.count*o.inner:][:o.inner]
		for j, v := range row {
			out[j] += v / T(o.count)
		}
	}
}

func (o axisMean[T]) scatter(d, dx []T) {
	for r := range len(dx) / o.inner {
		row := dx[r*o.inner : (r+1)*o.inner]
		for j, v := range d[r/o.count*o.inner:][:o.inner] {
			row[j] += v / T(o.count)
		}
	}
}

func (o axisMean[T]) forward(_ *pass[T], y *node[T]) { o.gather(y.in[0].a, y.a) }
func (o axisMean[T]) tangent(_ *pass[T], y *node[T]) { o.gather(y.in[0].at, y.at) }

func (o axisMean[T]) backward(_ *pass[T], y *node[T]) {
	if y.in[0].claim() == 0 {
		clear(y.in[0].d)
	}
	o.scatter(y.d, y.in[0].d)
}

func (o axisMean[T]) cotangent(_ *pass[T], y *node[T]) {
	if y.in[0].claimTangent() == 0 {
		clear(y.in[0].dt)
	}
	o.scatter(y.dt, y.in[0].dt)
}

// dropout zeroes a fraction of the elements and scales the others up while
// training, and does nothing otherwise.
type dropout[T Float] struct {
	rate float64
	mask []T // 0 or 1/(1 − rate); empty when not training
}

func (b *builder[T]) dropout(l LayerSpec, x *node[T]) (*node[T], error) {
	return b.add(l, &dropout[T]{rate: l.Rate}, x.shape, false, x)
}

func (o *dropout[T]) apply(x, y []T) {
	if len(o.mask) == 0 {
		copy(y, x)
		return
	}
	for i, m := range o.mask {
		y[i] = m * x[i]
	}
}

func (o *dropout[T]) pull(keep T, d, dx []T) {
	if len(o.mask) == 0 {
		addAdjoint(keep, dx, d)
		return
	}
	if keep == 0 {
		clear(dx)
	}
	for i, m := range o.mask {
		dx[i] += m * d[i]
	}
}

func (o *dropout[T]) forward(p *pass[T], y *node[T]) {
	o.mask = o.mask[:0]
	if p.training {
		o.mask = fit(o.mask, len(y.a))
		for i := range o.mask {
			o.mask[i] = 0
			if p.rng.Float64() >= o.rate {
				o.mask[i] = T(1 / (1 - o.rate))
			}
		}
	}
	o.apply(y.in[0].a, y.a)
}

func (o *dropout[T]) tangent(_ *pass[T], y *node[T])  { o.apply(y.in[0].at, y.at) }
func (o *dropout[T]) backward(_ *pass[T], y *node[T]) { o.pull(y.in[0].claim(), y.d, y.in[0].d) }
func (o *dropout[T]) cotangent(_ *pass[T], y *node[T]) {
	o.pull(y.in[0].claimTangent(), y.dt, y.in[0].dt)
}
