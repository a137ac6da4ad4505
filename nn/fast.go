package nn

import "math"

// Elementary functions in float32, several times faster than through float64.
// Their errors are of the order of float32's rounding, 1e-7 relative to 1: see
// TestFastFunctions.

// exp32 follows expf of Cephes (Moshier, netlib.org/cephes); below −87.3 it is 0,
// above 88.3 infinite.
func exp32(x float32) float32 {
	if x < -87.3 {
		return 0
	}
	if x > 88.3 {
		return float32(math.Inf(1))
	}
	const shifter = 3 << 22 // adding it rounds to an integer, kept in the low bits
	n := x*1.44269504088896341 + shifter
	scale := math.Float32frombits((math.Float32bits(n) + 127) << 23)
	n -= shifter
	x -= n * 0.693359375
	x -= n * -2.12194440e-4
	p := 1.9875691500e-4*x + 1.3981999507e-3
	p = p*x + 8.3334519073e-3
	p = p*x + 4.1665795894e-2
	p = p*x + 1.6666665459e-1
	p = p*x + 5.0000001201e-1
	return (p*x*x + x + 1) * scale
}

// normal32 returns the normal distribution's cumulative probability and density:
// Abramowitz & Stegun 26.2.17, which needs one exponential for both.
func normal32(z float32) (cdf, density float32) {
	density = 0.3989422804 * exp32(-z*z/2)
	x := z
	if x < 0 {
		x = -x
	}
	t := 1 / (1 + 0.2316419*x)
	tail := density * t * (0.319381530 + t*(-0.356563782+t*(1.781477937+t*(-1.821255978+t*1.330274429))))
	if z > 0 {
		return 1 - tail, density
	}
	return tail, density
}

// tanh32 follows tanhf of Cephes.
func tanh32(x float32) float32 {
	a := x
	if a < 0 {
		a = -a
	}
	if a < 0.625 {
		s := x * x
		p := -5.70498872745e-3*s + 2.06390887954e-2
		p = p*s - 5.37397155531e-2
		p = p*s + 1.33314422036e-1
		p = p*s - 3.33332819422e-1
		return p*s*x + x
	}
	y := 1 - 2/(exp32(2*a)+1)
	if x < 0 {
		return -y
	}
	return y
}

func logistic32(z float32) float32 { return 1 / (1 + exp32(-z)) }

// unity is the representation of 1.
const unity = 0x3f800000

// positive returns all ones for v > 0 and else zero, without the branch that a
// processor cannot predict.
func positive(v float32) uint32 {
	b := math.Float32bits(v)
	return ^uint32(int32(b|(b-1)) >> 31)
}

// fast32 are the activations that activate32 knows.
var fast32 = map[string]bool{
	"relu": true, "leaky_relu": true, "gelu": true, "silu": true, "sigmoid": true, "tanh": true, "elu": true, "selu": true,
}

// activate32 writes φ(z) to a and φ'(z) to slope.
func activate32(act *activation, z, a, slope []float32) {
	a, slope = a[:len(z)], slope[:len(z)]
	switch act.kind {
	case "relu":
		for i, v := range z {
			a[i], slope[i] = max(v, 0), math.Float32frombits(unity&positive(v))
		}
	case "leaky_relu":
		low := math.Float32bits(float32(act.param))
		for i, v := range z {
			keep := positive(v)
			slope[i] = math.Float32frombits(unity&keep | low&^keep)
			a[i] = slope[i] * v
		}
	case "gelu":
		for i, v := range z {
			cdf, density := normal32(v)
			a[i], slope[i] = v*cdf, cdf+v*density
		}
	case "silu":
		for i, v := range z {
			s := logistic32(v)
			a[i], slope[i] = v*s, s+v*s*(1-s)
		}
	case "sigmoid":
		for i, v := range z {
			s := logistic32(v)
			a[i], slope[i] = s, s*(1-s)
		}
	case "tanh":
		for i, v := range z {
			t := tanh32(v)
			a[i], slope[i] = t, 1-t*t
		}
	case "elu", "selu":
		alpha, scale := float32(act.param), float32(1)
		if act.kind == "selu" {
			alpha, scale = seluAlpha, seluScale
		}
		for i, v := range z {
			a[i], slope[i] = scale*v, scale
			if !(v > 0) {
				e := scale * alpha * exp32(v)
				a[i], slope[i] = e-scale*alpha, e
			}
		}
	}
}
