package nn

import (
	"math"

	"github.com/kelvin-ml/kelvin/nn/internal/kernel"
)

// standardize writes x̂ = (x − mean)·r with r = 1/√(variance + ε); without
// center the mean is taken as zero. It returns the mean, the variance and r.
func standardize[T Float](x, xhat []T, epsilon float64, center bool) (mean, variance, r float64) {
	m := float64(len(x))
	if center {
		mean = total(x) / m
	}
	shift := T(mean)
	for i, v := range x {
		xhat[i] = v - shift
	}
	variance = kernel.SumSquares(xhat) / m
	r = 1 / math.Sqrt(variance+epsilon)
	factor := T(r)
	for i := range xhat {
		xhat[i] *= factor
	}
	return mean, variance, r
}

// project writes r·(g − ⟨g⟩ − x̂⟨x̂g⟩), without center r·(g − x̂⟨x̂g⟩). It is
// the Jacobian of standardize, which is symmetric: it maps tangents of x to those
// of x̂ and adjoints of x̂ to those of x. It returns ⟨x̂g⟩.
func project[T Float](xhat, g, out []T, r float64, center bool) float64 {
	m := float64(len(g))
	mean, overlap := 0.0, kernel.Dot(xhat, g)/m
	if center {
		mean = total(g) / m
	}
	factor, shift, slope := T(r), T(mean), T(overlap)
	for i, v := range g {
		out[i] = factor * (v - shift - xhat[i]*slope)
	}
	return overlap
}

// projectTangent writes the tangent of project(x̂, g) when x moves along xt: gt
// is the tangent of g. xhatT receives the tangent of x̂.
func projectTangent[T Float](xhat, xhatT, xt, g, gt, out []T, r float64, center bool) {
	// ṙ = −r·r⟨x̂ẋ⟩.
	slowing := T(r * project(xhat, xt, xhatT, r, center))
	slope := T(project(xhat, g, out, r, center))
	m := float64(len(g))
	mean, overlap := 0.0, (kernel.Dot(xhatT, g)+kernel.Dot(xhat, gt))/m
	if center {
		mean = total(gt) / m
	}
	factor, shift, slopeT := T(r), T(mean), T(overlap)
	for i, v := range gt {
		out[i] = factor*(v-shift-xhatT[i]*slope-xhat[i]*slopeT) - slowing*out[i]
	}
}

// norm is LayerNorm (centered, with a bias) or RMSNorm (neither) over the last
// axis.
type norm[T Float] struct {
	width      int
	epsilon    float64
	center     bool
	w, b       span // b.size is 0 for RMSNorm
	xhat       []T
	scale      []float64 // r of every row
	g, gt, out []T       // one row
	xhatT      []T
	perExample []T // parameter gradients of one example
}

func (b *builder[T]) norm(l LayerSpec, x *node[T]) (*node[T], error) {
	width := x.shape[len(x.shape)-1]
	o := &norm[T]{width: width, epsilon: l.Epsilon, center: l.Type == "layernorm"}
	if o.epsilon == 0 {
		o.epsilon = 1e-5
	}
	init := initializer{kind: gainTensor, node: len(b.nodes)}
	var err error
	if o.w, err = b.param(l.Name, "weight", init, width); err != nil {
		return nil, err
	}
	if o.center {
		init.kind = shiftTensor
		if o.b, err = b.param(l.Name, "bias", init, width); err != nil {
			return nil, err
		}
	}
	for _, buffer := range []*[]T{&o.g, &o.gt, &o.out, &o.xhatT} {
		*buffer = make([]T, width)
	}
	o.perExample = make([]T, 2*width)
	return b.add(l, o, x.shape, true, x)
}

func (o *norm[T]) forward(p *pass[T], y *node[T]) {
	rows := len(y.a) / o.width
	o.xhat, o.scale = fit(o.xhat, len(y.a)), fit(o.scale, rows)
	w, b := of(o.w, p.params), of(o.b, p.params)
	for r := range rows {
		x, xhat, out := o.row(y.in[0].a, r), o.row(o.xhat, r), o.row(y.a, r)
		_, _, o.scale[r] = standardize(x, xhat, o.epsilon, o.center)
		for j, v := range xhat {
			out[j] = w[j] * v
		}
		if o.center {
			addTo(out, b)
		}
	}
}

func (o *norm[T]) row(x []T, r int) []T { return x[r*o.width : (r+1)*o.width] }

func (o *norm[T]) backward(p *pass[T], y *node[T]) {
	if p.grad != nil {
		gw, gb := of(o.w, p.grad), of(o.b, p.grad)
		clear(gw)
		clear(gb)
		for i := range p.n {
			o.exampleGrad(p, y, i, gw, gb)
		}
	}
	x, w := y.in[0], of(o.w, p.params)
	if !x.needs {
		return
	}
	keep := x.claim()
	for r := range o.scale {
		for j, d := range o.row(y.d, r) {
			o.g[j] = w[j] * d
		}
		project(o.row(o.xhat, r), o.g, o.out, o.scale[r], o.center)
		addAdjoint(keep, o.row(x.d, r), o.out)
	}
}

// exampleGrad adds the gradients Σ x̂·δ and Σ δ of example i, and observes them.
func (o *norm[T]) exampleGrad(p *pass[T], y *node[T], i int, gw, gb []T) {
	w, b := gw, gb
	if p.obs != nil {
		w, b = o.perExample[:o.width], o.perExample[o.width:][:len(gb)]
		clear(o.perExample)
	}
	perExample := y.size / o.width
	for r := i * perExample; r < (i+1)*perExample; r++ {
		xhat := o.row(o.xhat, r)
		for j, d := range o.row(y.d, r) {
			w[j] += xhat[j] * d
		}
		if o.center {
			addTo(b, o.row(y.d, r))
		}
	}
	if p.obs != nil {
		addTo(gw, w)
		addTo(gb, b)
		p.observe(y.group, i, y.a[i*y.size:(i+1)*y.size], y.d[i*y.size:(i+1)*y.size], o.perExample)
	}
}

func (o *norm[T]) tangent(p *pass[T], y *node[T]) {
	x, w, v := y.in[0], of(o.w, p.params), of(o.w, p.v)
	for r := range o.scale {
		xhat, out := o.row(o.xhat, r), o.row(y.at, r)
		for j, h := range xhat {
			out[j] = v[j] * h
		}
		if o.center {
			addTo(out, of(o.b, p.v))
		}
		if x.needs {
			project(xhat, o.row(x.at, r), o.out, o.scale[r], o.center)
			for j, t := range o.out {
				out[j] += w[j] * t
			}
		}
	}
}

func (o *norm[T]) cotangent(p *pass[T], y *node[T]) {
	x, w, v := y.in[0], of(o.w, p.params), of(o.w, p.v)
	hw, hb := of(o.w, p.hv), of(o.b, p.hv)
	clear(hw)
	clear(hb)
	if x.needs && x.claimTangent() == 0 {
		clear(x.dt)
	}
	for r := range o.scale {
		xhat, d, dt := o.row(o.xhat, r), o.row(y.d, r), o.row(y.dt, r)
		for j := range d {
			o.g[j] = w[j] * d[j]
			o.gt[j] = w[j]*dt[j] + v[j]*d[j]
			hw[j] += xhat[j] * dt[j]
		}
		if o.center {
			addTo(hb, dt)
		}
		if !x.needs {
			continue
		}
		projectTangent(xhat, o.xhatT, o.row(x.at, r), o.g, o.gt, o.out, o.scale[r], o.center)
		addTo(o.row(x.dt, r), o.out)
		for j, h := range o.xhatT {
			hw[j] += h * d[j]
		}
	}
}
