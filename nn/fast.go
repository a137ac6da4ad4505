package nn

import (
	"math"

	"github.com/kelvin-ml/kelvin/nn/internal/kernel"
)

// Elementary functions in float32, several times faster than through float64.
// Their errors are of the order of float32's rounding, 1e-7 relative to 1: see
// TestFastFunctions.

// exps writes e^x to y, which may be x. x is clamped to ±87: where it is used,
// that rounds to the right limit.
func exps(x, y []float32) {
	for i := expBlocks(x, y); i < len(x); i++ {
		y[i] = exp32(min(max(x[i], -87), 87))
	}
}

// exponentials replaces every element of x by e^x: in float32 as exps does.
func exponentials[T Float](x []T) {
	if single, ok := any(x).([]float32); ok {
		exps(single, single)
		return
	}
	for i, v := range x {
		x[i] = T(math.Exp(float64(v)))
	}
}

// exp32 is e^x for |x| ≤ 87: e^x = 2ⁿe^r with |r| ≤ ln(2)/2, and a polynomial in r
// of relative error 3e-9. exp_amd64.s does the same.
func exp32(x float32) float32 {
	n := x*1.44269504088896341 + shifter
	r := x - (n-shifter)*0.693359375 + (n-shifter)*2.12194440e-4
	return math.Float32frombits((math.Float32bits(n)+127)<<23) *
		(1 + r*(1+r*(0.49999993+r*(0.16666521+r*(0.04166839+r*(0.00836871+r*0.00138146))))))
}

// shifter rounds what it is added to to an integer, kept in the low bits.
const shifter = 3 << 22

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
	"relu": true, "leaky_relu": true, "gelu": true, "silu": true, "sigmoid": true, "tanh": true, "elu": true, "selu": true, "gelu_tanh": true,
}

// sign is the sign bit.
const sign = 1 << 31

// smaller returns all ones for |v| < limit and else zero.
func smaller(v, limit float32) uint32 {
	return uint32(int32(math.Float32bits(v)&^sign-math.Float32bits(limit)) >> 31)
}

// choose returns yes where the mask is ones and no where it is zero.
func choose(mask uint32, yes, no float32) float32 {
	return math.Float32frombits(math.Float32bits(yes)&mask | math.Float32bits(no)&^mask)
}

// activate32 writes φ(z) to a and φ'(z) to slope.
func activate32(act *activation, z, a, slope []float32) {
	a, slope = a[:len(z)], slope[:len(z)]
	silu := act.kind == "silu"
	switch act.kind {
	case "relu":
		kernel.ReLU(z, a, slope)
	case "leaky_relu":
		low := math.Float32bits(float32(act.param))
		for i, v := range z {
			keep := positive(v)
			slope[i] = math.Float32frombits(unity&keep | low&^keep)
			a[i] = slope[i] * v
		}
	case "gelu":
		for i, v := range z {
			slope[i] = -v * v / 2
		}
		exps(slope, slope)
		gelu32(z, a, slope)
	case "silu", "sigmoid":
		for i, v := range z {
			slope[i] = -v
		}
		exps(slope, slope)
		for i, v := range z {
			s := 1 / (1 + slope[i])
			if a[i], slope[i] = s, s*(1-s); silu {
				a[i], slope[i] = v*s, s+v*slope[i]
			}
		}
	case "gelu_tanh":
		for i, v := range z {
			slope[i] = -geluTanhScale * v * (1 + geluTanhCube*v*v)
		}
		exps(slope, slope)
		for i, v := range z {
			s := 1 / (1 + slope[i])
			rest := slope[i] * s // 1 − s, which the factor after it does not let round to 0
			a[i], slope[i] = v*s, s+v*s*rest*geluTanhScale*(1+3*geluTanhCube*v*v)
		}
	case "tanh":
		for i, v := range z {
			slope[i] = 2 * v
		}
		exps(slope, slope)
		tanh32(z, a, slope)
	case "elu", "selu":
		copy(slope, z)
		exps(slope, slope)
		if act.kind == "selu" {
			elu32(seluAlpha, seluScale, z, a, slope)
		} else {
			elu32(float32(act.param), 1, z, a, slope)
		}
	}
}

// gelu32 finds e^{−z²/2} in slope. The normal distribution's cumulative
// probability is Abramowitz & Stegun 26.2.17.
func gelu32(z, a, slope []float32) {
	for i, v := range z {
		density := 0.3989422804 * slope[i]
		t := 1 / (1 + 0.2316419*math.Float32frombits(math.Float32bits(v)&^sign))
		tail := density * t * (0.319381530 + t*(-0.356563782+t*(1.781477937+t*(-1.821255978+t*1.330274429))))
		cdf := choose(positive(v), 1-tail, tail)
		a[i], slope[i] = v*cdf, cdf+v*density
	}
}

// tanh32 finds e^{2z} in slope. Small z need a polynomial (tanhf of Cephes), or
// the relative error would grow.
func tanh32(z, a, slope []float32) {
	for i, v := range z {
		s := v * v
		small := v + v*s*(-3.33332819422e-1+s*(1.33314422036e-1+s*(-5.37397155531e-2+s*(2.06390887954e-2-s*5.70498872745e-3))))
		t := choose(smaller(v, 0.625), small, 1-2/(slope[i]+1))
		a[i], slope[i] = t, 1-t*t
	}
}

// elu32 finds e^z in slope. Small z need a polynomial as in tanh32.
func elu32(alpha, scale float32, z, a, slope []float32) {
	for i, v := range z {
		small := v * (1 + v*(1./2+v*(1./6+v*(1./24+v*(1./120+v*(1./720))))))
		up := positive(v)
		a[i] = scale * choose(up, v, alpha*choose(smaller(v, 0.25), small, slope[i]-1))
		slope[i] = scale * choose(up, 1, alpha*slope[i])
	}
}
