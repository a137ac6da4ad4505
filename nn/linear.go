package nn

import (
	"slices"

	"github.com/kelvin-ml/kelvin/nn/internal/kernel"
)

// linear is y = x·Wᵀ + b over the last axis of x: all axes before it, and the
// batch, are rows.
type linear[T Float] struct {
	in, out int
	w, b    span // b.size is 0 without bias
	scratch []T  // for gradient norms of examples with several rows
	biases  []T  // copies of the bias, one after the other
}

func (b *builder[T]) linear(l LayerSpec, x *node[T]) (*node[T], error) {
	return b.linearNamed(l, "weight", "bias", x)
}

// linearNamed is linear with other names for its two tensors.
func (b *builder[T]) linearNamed(l LayerSpec, weight, bias string, x *node[T]) (*node[T], error) {
	axis := len(x.shape) - 1
	o := &linear[T]{in: x.shape[axis], out: l.Out}
	var err error
	init := initializer{kind: weightTensor, fanIn: o.in, fanOut: o.out, rows: o.out, node: len(b.nodes)}
	if o.w, err = b.param(l.Name, weight, init, o.out, o.in); err != nil {
		return nil, err
	}
	if !l.NoBias {
		init.kind = biasTensor
		if o.b, err = b.param(l.Name, bias, init, o.out); err != nil {
			return nil, err
		}
	}
	return b.add(l, o, append(slices.Clone(x.shape[:axis]), l.Out), true, x)
}

func (o *linear[T]) rows(p *pass[T], y *node[T]) int { return p.n * (y.size / o.out) }

func (o *linear[T]) forward(p *pass[T], y *node[T]) {
	rows := o.rows(p, y)
	kernel.Gemm(false, true, rows, o.out, o.in, 1, y.in[0].a, o.in, of(o.w, p.params), o.in, 0, y.a, o.out)
	o.addBias(rows, of(o.b, p.params), y.a)
}

// addBias adds the bias to rows of y, as many at a time as make a loop worth
// starting.
func (o *linear[T]) addBias(rows int, bias, y []T) {
	if len(bias) == 0 {
		return
	}
	if many := min(rows, 1024/o.out); many > 1 {
		o.biases = fit(o.biases, many*o.out)
		for n := copy(o.biases, bias); n < len(o.biases); n *= 2 {
			copy(o.biases[n:], o.biases[:n])
		}
		bias = o.biases
	}
	for y = y[:rows*o.out]; len(y) > 0; y = y[min(len(bias), len(y)):] {
		kernel.Axpy(1, bias[:min(len(bias), len(y))], y)
	}
}

// sumRows sets the bias gradient g to the sum of the rows of d.
func (o *linear[T]) sumRows(rows int, d, g []T) {
	if len(g) == 0 {
		return
	}
	clear(g)
	if o.out < 4 || o.out >= 32 {
		for r := range rows {
			kernel.Axpy(1, d[r*o.out:(r+1)*o.out], g)
		}
		return
	}
	for j := 0; j < o.out; j += 4 { // rows too short for a loop of their own
		j := min(j, o.out-4)
		var a, b, c, e T
		for at := j; at+4 <= rows*o.out; at += o.out {
			v := (*[4]T)(d[at:])
			a += v[0]
			b += v[1]
			c += v[2]
			e += v[3]
		}
		g[j], g[j+1], g[j+2], g[j+3] = a, b, c, e
	}
}

func (o *linear[T]) backward(p *pass[T], y *node[T]) {
	rows, x := o.rows(p, y), y.in[0]
	if p.grad != nil {
		kernel.Gemm(true, false, o.out, o.in, rows, 1, y.d, o.out, x.a, o.in, 0, of(o.w, p.grad), o.in)
		o.sumRows(rows, y.d, of(o.b, p.grad))
	}
	if p.obs != nil {
		o.observe(p, y)
	}
	if x.needs {
		kernel.Gemm(false, false, rows, o.in, o.out, 1, y.d, o.out, of(o.w, p.params), o.in, x.claim(), x.d, o.in)
	}
}

// observe adds the virial θ·∇loss = Σ y·δ and the squared gradient norm of each
// example. With one row an example the norm is (|x|² + 1)|δ|². With several it
// is |Σ_r δ_r x_rᵀ|², of which the cheaper form is taken: the Gram matrices
// Σ_rs (δ_r·δ_s)(x_r·x_s + 1), or the example's gradient itself.
func (o *linear[T]) observe(p *pass[T], y *node[T]) {
	perExample := y.size / o.out
	x := y.in[0].a
	n := float64(p.n) // the adjoints are of the mean over the batch
	virial, norm := p.obs.Virial[y.group], p.obs.GradNorm2[y.group]
	one := 0.0
	if o.b.size > 0 {
		one = 1
	}
	for i := range p.n {
		d := y.d[i*y.size : (i+1)*y.size]
		virial[i] += n * kernel.Dot(y.a[i*y.size:(i+1)*y.size], d)
		xi := x[i*perExample*o.in : (i+1)*perExample*o.in]
		if perExample == 1 {
			norm[i] += n * n * (kernel.SumSquares(xi) + one) * kernel.SumSquares(d)
		} else {
			norm[i] += n * n * o.sequenceNorm(perExample, xi, d, one)
		}
	}
}

func (o *linear[T]) sequenceNorm(rows int, x, d []T, one float64) float64 {
	if rows*(o.in+o.out) < o.in*o.out {
		o.scratch = fit(o.scratch, 2*rows*rows)
		xx, dd := o.scratch[:rows*rows], o.scratch[rows*rows:2*rows*rows]
		kernel.Gemm(false, true, rows, rows, o.in, 1, x, o.in, x, o.in, 0, xx, rows)
		kernel.Gemm(false, true, rows, rows, o.out, 1, d, o.out, d, o.out, 0, dd, rows)
		sum := kernel.Dot(xx, dd)
		if one > 0 {
			for _, g := range dd {
				sum += float64(g)
			}
		}
		return sum
	}
	o.scratch = fit(o.scratch, o.in*o.out+o.out)
	w, b := o.scratch[:o.in*o.out], o.scratch[o.in*o.out:o.in*o.out+o.out]
	kernel.Gemm(true, false, o.out, o.in, rows, 1, d, o.out, x, o.in, 0, w, o.in)
	if one == 0 {
		return kernel.SumSquares(w)
	}
	o.sumRows(rows, d, b)
	return kernel.SumSquares(w) + kernel.SumSquares(b)
}

func (o *linear[T]) tangent(p *pass[T], y *node[T]) {
	rows, x := o.rows(p, y), y.in[0]
	kernel.Gemm(false, true, rows, o.out, o.in, 1, x.a, o.in, of(o.w, p.v), o.in, 0, y.at, o.out)
	if x.needs {
		kernel.Gemm(false, true, rows, o.out, o.in, 1, x.at, o.in, of(o.w, p.params), o.in, 1, y.at, o.out)
	}
	o.addBias(rows, of(o.b, p.v), y.at)
}

func (o *linear[T]) cotangent(p *pass[T], y *node[T]) {
	rows, x := o.rows(p, y), y.in[0]
	hw := of(o.w, p.hv)
	kernel.Gemm(true, false, o.out, o.in, rows, 1, y.dt, o.out, x.a, o.in, 0, hw, o.in)
	o.sumRows(rows, y.dt, of(o.b, p.hv))
	if !x.needs {
		return
	}
	kernel.Gemm(true, false, o.out, o.in, rows, 1, y.d, o.out, x.at, o.in, 1, hw, o.in)
	kernel.Gemm(false, false, rows, o.in, o.out, 1, y.dt, o.out, of(o.w, p.params), o.in, x.claimTangent(), x.dt, o.in)
	kernel.Gemm(false, false, rows, o.in, o.out, 1, y.d, o.out, of(o.w, p.v), o.in, 1, x.dt, o.in)
}
