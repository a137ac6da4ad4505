package nn

// activate applies an activation to every element.
type activate[T Float] struct{ act activation }

func (o *activate[T]) forward(_ *pass[T], y *node[T]) {
	z := y.in[0].a[:len(y.a)]
	switch o.act.kind {
	case "relu":
		for i, v := range z {
			y.a[i] = max(v, 0)
		}
	case "leaky_relu":
		slope := T(o.act.param)
		for i, v := range z {
			if v <= 0 {
				v *= slope
			}
			y.a[i] = v
		}
	default:
		for i, v := range z {
			y.a[i] = T(o.act.value(float64(v)))
		}
	}
}

// backward adds y.d·φ'(z) to the input's adjoint.
func (o *activate[T]) backward(_ *pass[T], y *node[T]) {
	x := y.in[0]
	keep := x.claim()
	if keep == 0 {
		clear(x.d)
	}
	o.pull(x.a, y.d, x.d)
}

// tangent is φ'(z)·ż.
func (o *activate[T]) tangent(_ *pass[T], y *node[T]) {
	clear(y.at)
	o.pull(y.in[0].a, y.in[0].at, y.at)
}

// cotangent adds φ'(z)·ẏ.d + φ”(z)·ż·y.d.
func (o *activate[T]) cotangent(_ *pass[T], y *node[T]) {
	x := y.in[0]
	if x.claimTangent() == 0 {
		clear(x.dt)
	}
	o.pull(x.a, y.dt, x.dt)
	switch o.act.kind {
	case "identity", "relu", "leaky_relu", "hardtanh", "relu6":
		return
	}
	for i, z := range x.a {
		x.dt[i] += T(o.act.bend(float64(z))) * x.at[i] * y.d[i]
	}
}

// pull adds φ'(z)·d to sum.
func (o *activate[T]) pull(z, d, sum []T) {
	d, sum = d[:len(z)], sum[:len(z)]
	switch o.act.kind {
	case "relu", "leaky_relu":
		slope := T(o.act.param)
		for i, v := range z {
			if v > 0 {
				sum[i] += d[i]
			} else {
				sum[i] += slope * d[i]
			}
		}
	default:
		for i, v := range z {
			sum[i] += T(o.act.slope(float64(v))) * d[i]
		}
	}
}
