package nn

import (
	"fmt"
	"math"

	"github.com/kelvin-ml/kelvin/nn/internal/kernel"
)

// attention turns queries, keys and values, [positions, 3·width] side by side,
// into softmax(QKᵀ/√d)·V for each head.
type attention[T Float] struct {
	length, width, heads int
	causal               bool
	probs, tprobs        []T // [example][head][query][key], and their tangent
	dprobs, tdprobs      []T // one head
	scores, tscores      []T
}

// attention adds self-attention as torch.nn.MultiheadAttention has it: a linear
// layer to queries, keys and values, the heads, and a linear layer out.
func (b *builder[T]) attention(l LayerSpec, x *node[T]) (*node[T], error) {
	if len(x.shape) != 2 {
		return nil, fmt.Errorf("expected an input of shape [positions, features], got %v", x.shape)
	}
	length, width := x.shape[0], x.shape[1]
	if width%l.Heads != 0 {
		return nil, fmt.Errorf("heads: %d does not divide %d features", l.Heads, width)
	}
	if _, err := volume([]int{l.Heads, length, length}); err != nil {
		return nil, fmt.Errorf("attention matrix: %w", err)
	}
	if width > maxDimension/3 {
		return nil, fmt.Errorf("%d features: expected at most %d", width, maxDimension/3)
	}
	in := l
	in.Out = 3 * width
	qkv, err := b.linearNamed(in, "in_proj_weight", "in_proj_bias", x)
	if err != nil {
		return nil, err
	}
	o := &attention[T]{length: length, width: width, heads: l.Heads, causal: l.Causal}
	heads, err := b.add(l, o, x.shape, false, qkv)
	if err != nil {
		return nil, err
	}
	l.Out = width
	return b.linearNamed(l, "out_proj.weight", "out_proj.bias", heads)
}

// A head is one head of one example: its queries, keys and values within the
// linear layer's output, all with a row stride of 3·width, and the place of its
// output, with a row stride of width, and of its probabilities.
func (o *attention[T]) head(r int) (q, k, v, out, probs int) {
	i, h := r/o.heads, r%o.heads
	q = i*o.length*3*o.width + h*o.size()
	return q, q + o.width, q + 2*o.width, i*o.length*o.width + h*o.size(), r * o.length * o.length
}

func (o *attention[T]) size() int   { return o.width / o.heads }
func (o *attention[T]) scale() T    { return T(1 / math.Sqrt(float64(o.size()))) }
func (o *attention[T]) matrix() int { return o.length * o.length }
func (o *attention[T]) stride() int { return 3 * o.width }

// across writes scores = keep·scores + alpha·A·Bᵀ of rows of one head.
func (o *attention[T]) across(alpha T, a []T, strideA int, b []T, strideB int, keep T, scores []T) {
	kernel.Gemm(false, true, o.length, o.length, o.size(), alpha, a, strideA, b, strideB, keep, scores, o.length)
}

// along writes rows = keep·rows + alpha·M·B, or Mᵀ·B if transposed.
func (o *attention[T]) along(transposed bool, alpha T, m, b []T, strideB int, keep T, rows []T, stride int) {
	kernel.Gemm(transposed, false, o.length, o.size(), o.length, alpha, m, o.length, b, strideB, keep, rows, stride)
}

func (o *attention[T]) forward(p *pass[T], y *node[T]) {
	x := y.in[0].a
	o.probs = fit(o.probs, p.n*o.heads*o.matrix())
	for r := range p.n * o.heads {
		q, k, v, out, at := o.head(r)
		probs := o.probs[at : at+o.matrix()]
		o.across(o.scale(), x[q:], o.stride(), x[k:], o.stride(), 0, probs)
		for i := range o.length {
			row := probs[i*o.length : (i+1)*o.length]
			if o.causal {
				clear(row[i+1:])
				row = row[:i+1]
			}
			softmax(row)
		}
		o.along(false, 1, probs, x[v:], o.stride(), 0, y.a[out:], o.width)
	}
}

// softmax replaces scores by probabilities.
func softmax[T Float](row []T) {
	top := row[0]
	for _, s := range row {
		top = max(top, s)
	}
	sum := 0.0
	if single, ok := any(row).([]float32); ok {
		for j := range single {
			single[j] -= float32(top)
		}
		exps(single, single)
		sum = total(single)
	} else {
		for j, s := range row {
			row[j] = T(math.Exp(float64(s - top)))
			sum += float64(row[j])
		}
	}
	for j := range row {
		row[j] *= T(1 / sum)
	}
}

// softmaxPull writes P ⊙ (D − rows' sums of P ⊙ D): the softmax's Jacobian, which
// is symmetric, times D.
func (o *attention[T]) softmaxPull(probs, d, out []T) {
	for i := 0; i < o.matrix(); i += o.length {
		mean := T(kernel.Dot(probs[i:i+o.length], d[i:i+o.length]))
		for j := i; j < i+o.length; j++ {
			out[j] = probs[j] * (d[j] - mean)
		}
	}
}

func (o *attention[T]) backward(_ *pass[T], y *node[T]) {
	x := y.in[0]
	keep := x.claim()
	o.dprobs, o.scores = fit(o.dprobs, o.matrix()), fit(o.scores, o.matrix())
	for r := range len(o.probs) / o.matrix() {
		q, k, v, out, at := o.head(r)
		probs, d := o.probs[at:at+o.matrix()], y.d[out:]
		o.across(1, d, o.width, x.a[v:], o.stride(), 0, o.dprobs)
		o.softmaxPull(probs, o.dprobs, o.scores)
		o.along(true, 1, probs, d, o.width, keep, x.d[v:], o.stride())
		o.along(false, o.scale(), o.scores, x.a[k:], o.stride(), keep, x.d[q:], o.stride())
		o.along(true, o.scale(), o.scores, x.a[q:], o.stride(), keep, x.d[k:], o.stride())
	}
}

func (o *attention[T]) tangent(_ *pass[T], y *node[T]) {
	x := y.in[0]
	o.tprobs, o.scores = fit(o.tprobs, len(o.probs)), fit(o.scores, o.matrix())
	for r := range len(o.probs) / o.matrix() {
		q, k, v, out, at := o.head(r)
		probs, tprobs := o.probs[at:at+o.matrix()], o.tprobs[at:at+o.matrix()]
		o.across(o.scale(), x.at[q:], o.stride(), x.a[k:], o.stride(), 0, o.scores)
		o.across(o.scale(), x.a[q:], o.stride(), x.at[k:], o.stride(), 1, o.scores)
		o.softmaxPull(probs, o.scores, tprobs)
		o.along(false, 1, tprobs, x.a[v:], o.stride(), 0, y.at[out:], o.width)
		o.along(false, 1, probs, x.at[v:], o.stride(), 1, y.at[out:], o.width)
	}
}

func (o *attention[T]) cotangent(_ *pass[T], y *node[T]) {
	x := y.in[0]
	keep := x.claimTangent()
	o.tdprobs, o.tscores = fit(o.tdprobs, o.matrix()), fit(o.tscores, o.matrix())
	o.dprobs, o.scores = fit(o.dprobs, o.matrix()), fit(o.scores, o.matrix())
	stride, scale := o.stride(), o.scale()
	for r := range len(o.probs) / o.matrix() {
		q, k, v, out, at := o.head(r)
		probs, tprobs := o.probs[at:at+o.matrix()], o.tprobs[at:at+o.matrix()]
		d, dt := y.d[out:], y.dt[out:]
		o.across(1, d, o.width, x.a[v:], stride, 0, o.dprobs)
		o.softmaxPull(probs, o.dprobs, o.scores)
		o.across(1, dt, o.width, x.a[v:], stride, 0, o.tdprobs)
		o.across(1, d, o.width, x.at[v:], stride, 1, o.tdprobs)
		o.softmaxPullTangent(probs, tprobs)
		o.along(true, 1, tprobs, d, o.width, keep, x.dt[v:], stride)
		o.along(true, 1, probs, dt, o.width, 1, x.dt[v:], stride)
		o.along(false, scale, o.tscores, x.a[k:], stride, keep, x.dt[q:], stride)
		o.along(false, scale, o.scores, x.at[k:], stride, 1, x.dt[q:], stride)
		o.along(true, scale, o.tscores, x.a[q:], stride, keep, x.dt[k:], stride)
		o.along(true, scale, o.scores, x.at[q:], stride, 1, x.dt[k:], stride)
	}
}

// softmaxPullTangent writes the tangent of softmaxPull(probs, dprobs) to tscores.
func (o *attention[T]) softmaxPullTangent(probs, tprobs []T) {
	for i := 0; i < o.matrix(); i += o.length {
		row := func(m []T) []T { return m[i : i+o.length] }
		mean := T(kernel.Dot(row(probs), row(o.dprobs)))
		tmean := T(kernel.Dot(row(tprobs), row(o.dprobs)) + kernel.Dot(row(probs), row(o.tdprobs)))
		for j := i; j < i+o.length; j++ {
			o.tscores[j] = tprobs[j]*(o.dprobs[j]-mean) + probs[j]*(o.tdprobs[j]-tmean)
		}
	}
}
