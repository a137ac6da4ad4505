package thermo

import (
	"fmt"
	"math"
)

// scaled returns the reading times a constant.
func (r Reading) scaled(by float64) Reading {
	r.Value *= by
	r.StdErr *= math.Abs(by)
	return r
}

// difference returns a − b of independent readings, with the degrees of freedom
// of Welch and Satterthwaite.
func difference(a, b Reading) Reading {
	return combine(a.Value-b.Value, a, 1, b, -1)
}

// quotient returns a/b of independent readings by the delta method. It is not
// valid when b is not significantly different from zero.
func quotient(a, b Reading) Reading {
	value := a.Value / b.Value
	r := combine(value, a, 1/b.Value, b, -value/b.Value)
	if low, high := b.Interval(0.95); r.Invalid == "" && !(low > 0 || high < 0) {
		r.Invalid = fmt.Sprintf("it divides by %v, which is not significantly different from zero", b)
	}
	return r
}

// combine returns a reading of the given value whose slopes with respect to the
// independent readings a and b are given.
func combine(value float64, a Reading, slopeA float64, b Reading, slopeB float64) Reading {
	va, vb := sq(slopeA*a.StdErr), sq(slopeB*b.StdErr)
	r := Reading{Value: value, StdErr: math.Sqrt(va + vb), Unit: a.Unit}
	var inverse float64
	if a.DoF > 0 {
		inverse += va * va / a.DoF
	}
	if b.DoF > 0 {
		inverse += vb * vb / b.DoF
	}
	if inverse > 0 {
		r.DoF = sq(va+vb) / inverse
	}
	r.ESS = min(a.ESS, b.ESS)
	for _, part := range []Reading{a, b} {
		if !part.Valid() && r.Invalid == "" {
			r.Invalid = part.Name + ": " + part.Invalid
		}
	}
	if r.Invalid == "" && (math.IsNaN(r.StdErr) || math.IsInf(value, 0) || math.IsNaN(value)) {
		r.Invalid = fmt.Sprintf("made of %s %v and %s %v, it has no finite value and error", a.Name, a, b.Name, b)
	}
	return r
}

func sq(x float64) float64 { return x * x }
