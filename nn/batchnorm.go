package nn

import (
	"fmt"
	"math"
)

// batchNorm standardises each channel: while training by the batch's mean and
// variance, which it also averages into the running ones, otherwise by those.
type batchNorm[T Float] struct {
	channels, plane int
	epsilon         float64
	w, b            span
	state           span // running means, then running variances, in Network.State
	xhat            []T  // [channel][example][position], unlike the signals
	scale           []float64
	d, dt           []T // one channel, gathered from the examples
	xt, g, gt       []T
	out, xhatT      []T
}

const batchNormMomentum = 0.1 // PyTorch's default

func (b *builder[T]) batchNorm(l LayerSpec, x *node[T]) (*node[T], error) {
	if len(x.shape) != 1 && len(x.shape) != 3 {
		return nil, fmt.Errorf("expected an input of shape [features] or [channels, height, width], got %v", x.shape)
	}
	channels := x.shape[0]
	o := &batchNorm[T]{channels: channels, plane: x.size / channels, epsilon: l.Epsilon, scale: make([]float64, channels)}
	if o.epsilon == 0 {
		o.epsilon = 1e-5
	}
	init := initializer{kind: gainTensor, node: len(b.nodes)}
	var err error
	if o.w, err = b.param(l.Name, "weight", init, channels); err != nil {
		return nil, err
	}
	init.kind = shiftTensor
	if o.b, err = b.param(l.Name, "bias", init, channels); err != nil {
		return nil, err
	}
	o.state = span{b.stateSize, 2 * channels}
	b.state = append(b.state,
		Tensor{Name: l.Name + ".running_mean", Shape: []int{channels}, Offset: b.stateSize},
		Tensor{Name: l.Name + ".running_var", Shape: []int{channels}, Offset: b.stateSize + channels})
	b.stateSize += 2 * channels
	return b.add(l, o, x.shape, true, x)
}

// gather copies channel c of all examples side by side into out.
func (o *batchNorm[T]) gather(x []T, c int, out []T) []T {
	examples := len(x) / (o.channels * o.plane)
	out = fit(out, examples*o.plane)
	for i := range examples {
		copy(out[i*o.plane:(i+1)*o.plane], x[(i*o.channels+c)*o.plane:])
	}
	return out
}

// scatter adds what gather collected back to where it came from.
func (o *batchNorm[T]) scatter(in []T, c int, x []T) {
	for i := range len(in) / o.plane {
		addTo(x[(i*o.channels+c)*o.plane:][:o.plane], in[i*o.plane:(i+1)*o.plane])
	}
}

func (o *batchNorm[T]) channel(c int) []T {
	size := len(o.xhat) / o.channels
	return o.xhat[c*size : (c+1)*size]
}

func (o *batchNorm[T]) forward(p *pass[T], y *node[T]) {
	o.xhat = fit(o.xhat, len(y.a))
	w, b, state := of(o.w, p.params), of(o.b, p.params), of(o.state, p.state)
	means, variances := state[:o.channels], state[o.channels:]
	clear(y.a)
	for c := range o.channels {
		xhat := o.channel(c)
		o.out = o.gather(y.in[0].a, c, o.out)
		if p.training {
			var mean, variance float64
			mean, variance, o.scale[c] = standardize(o.out, xhat, o.epsilon, true)
			m := float64(len(xhat))
			unbiased := variance * m / max(m-1, 1)
			means[c] += T(batchNormMomentum * (mean - float64(means[c])))
			variances[c] += T(batchNormMomentum * (unbiased - float64(variances[c])))
		} else {
			o.scale[c] = 1 / math.Sqrt(float64(variances[c])+o.epsilon)
			for j, v := range o.out {
				xhat[j] = (v - means[c]) * T(o.scale[c])
			}
		}
		for j, v := range xhat {
			o.out[j] = w[c]*v + b[c]
		}
		o.scatter(o.out, c, y.a)
	}
}

// jacobian writes the product of dx̂/dx, which is symmetric, with g.
func (o *batchNorm[T]) jacobian(p *pass[T], c int, g, out []T) {
	if p.training {
		project(o.channel(c), g, out, o.scale[c], true)
		return
	}
	for j, v := range g {
		out[j] = T(o.scale[c]) * v
	}
}

func (o *batchNorm[T]) backward(p *pass[T], y *node[T]) {
	x := y.in[0]
	if x.needs && x.claim() == 0 {
		clear(x.d)
	}
	for c := range o.channels {
		o.d = o.gather(y.d, c, o.d)
		if p.grad != nil {
			o.channelGrad(p, y, c)
		}
		if !x.needs {
			continue
		}
		o.g, o.out = fit(o.g, len(o.d)), fit(o.out, len(o.d))
		for j, d := range o.d {
			o.g[j] = of(o.w, p.params)[c] * d
		}
		o.jacobian(p, c, o.g, o.out)
		o.scatter(o.out, c, x.d)
	}
}

// channelGrad writes the gradients of channel c and observes each example's part.
func (o *batchNorm[T]) channelGrad(p *pass[T], y *node[T], c int) {
	w, b := float64(of(o.w, p.params)[c]), float64(of(o.b, p.params)[c])
	xhat, gw, gb, n := o.channel(c), 0.0, 0.0, float64(p.n)
	for i := range p.n {
		ew, eb := 0.0, 0.0
		for j := i * o.plane; j < (i+1)*o.plane; j++ {
			ew += float64(xhat[j]) * float64(o.d[j])
			eb += float64(o.d[j])
		}
		gw += ew
		gb += eb
		if p.obs != nil {
			p.obs.Virial[y.group][i] += n * (w*ew + b*eb)
			p.obs.GradNorm2[y.group][i] += n * n * (ew*ew + eb*eb)
		}
	}
	of(o.w, p.grad)[c], of(o.b, p.grad)[c] = T(gw), T(gb)
}

func (o *batchNorm[T]) tangent(p *pass[T], y *node[T]) {
	x := y.in[0]
	clear(y.at)
	for c := range o.channels {
		xhat := o.channel(c)
		o.out = fit(o.out, len(xhat))
		clear(o.out)
		if x.needs {
			o.xt = o.gather(x.at, c, o.xt)
			o.jacobian(p, c, o.xt, o.out)
		}
		w, vw, vb := of(o.w, p.params)[c], of(o.w, p.v)[c], of(o.b, p.v)[c]
		for j, h := range xhat {
			o.out[j] = w*o.out[j] + vw*h + vb
		}
		o.scatter(o.out, c, y.at)
	}
}

func (o *batchNorm[T]) cotangent(p *pass[T], y *node[T]) {
	x := y.in[0]
	if x.needs && x.claimTangent() == 0 {
		clear(x.dt)
	}
	for c := range o.channels {
		xhat := o.channel(c)
		o.d, o.dt = o.gather(y.d, c, o.d), o.gather(y.dt, c, o.dt)
		o.g, o.gt = fit(o.g, len(o.d)), fit(o.gt, len(o.d))
		o.out, o.xhatT = fit(o.out, len(o.d)), fit(o.xhatT, len(o.d))
		w, v := of(o.w, p.params)[c], of(o.w, p.v)[c]
		for j, d := range o.d {
			o.g[j], o.gt[j] = w*d, w*o.dt[j]+v*d
		}
		clear(o.xhatT)
		if x.needs {
			o.xt = o.gather(x.at, c, o.xt)
			if p.training {
				projectTangent(xhat, o.xhatT, o.xt, o.g, o.gt, o.out, o.scale[c], true)
			} else {
				o.jacobian(p, c, o.xt, o.xhatT)
				o.jacobian(p, c, o.gt, o.out)
			}
			o.scatter(o.out, c, x.dt)
		}
		hw, hb := 0.0, 0.0
		for j, d := range o.d {
			hw += float64(o.xhatT[j])*float64(d) + float64(xhat[j])*float64(o.dt[j])
			hb += float64(o.dt[j])
		}
		of(o.w, p.hv)[c], of(o.b, p.hv)[c] = T(hw), T(hb)
	}
}
