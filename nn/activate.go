package nn

import "github.com/kelvin-ml/kelvin/nn/internal/kernel"

// activate applies an activation to every element.
type activate[T Float] struct {
	act   activation
	slope []T // φ'(z) where forward found it on the way: in float32
}

func (o *activate[T]) forward(_ *pass[T], y *node[T]) {
	z := y.in[0].a
	if single, ok := any(z).([]float32); ok && fast32[o.act.kind] {
		o.slope = fit(o.slope, len(z))
		activate32(&o.act, single, any(y.a).([]float32), any(o.slope).([]float32))
		return
	}
	for i, v := range z {
		y.a[i] = T(o.act.value(float64(v)))
	}
}

// backward adds φ'(z)·y.d to the input's adjoint.
func (o *activate[T]) backward(_ *pass[T], y *node[T]) {
	x := y.in[0]
	o.pull(x.claim(), x.a, y.d, x.d)
}

// tangent is φ'(z)·ż.
func (o *activate[T]) tangent(_ *pass[T], y *node[T]) {
	o.pull(0, y.in[0].a, y.in[0].at, y.at)
}

// cotangent adds φ'(z)·y.dt + φ”(z)·ż·y.d.
func (o *activate[T]) cotangent(_ *pass[T], y *node[T]) {
	x := y.in[0]
	o.pull(x.claimTangent(), x.a, y.dt, x.dt)
	switch o.act.kind {
	case "identity", "relu", "leaky_relu", "hardtanh", "relu6":
		return
	}
	for i, z := range x.a {
		x.dt[i] += T(o.act.bend(float64(z))) * x.at[i] * y.d[i]
	}
}

// pull adds φ'(z)·d to keep (0 or 1) times sum.
func (o *activate[T]) pull(keep T, z, d, sum []T) {
	d, sum = d[:len(z)], sum[:len(z)]
	if keep == 0 && o.slope != nil { // the usual case
		kernel.Multiply(o.slope[:len(z)], d, sum)
		return
	}
	if keep == 0 {
		clear(sum)
	}
	if o.slope != nil {
		for i, s := range o.slope[:len(z)] {
			sum[i] += s * d[i]
		}
		return
	}
	for i, v := range z {
		sum[i] += T(o.act.slope(float64(v))) * d[i]
	}
}
