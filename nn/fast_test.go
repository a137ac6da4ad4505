package nn

import (
	"math"
	"testing"
)

func TestFastFunctions(t *testing.T) {
	x, y := make([]float32, 13), make([]float32, 13) // one block and a tail
	for v := float32(-87); v <= 87; v += 0.0137 {
		for i := range x {
			x[i] = v
		}
		exps(x, y)
		want := math.Exp(float64(v))
		for _, got := range []float32{y[0], y[12], exp32(v)} {
			if math.Abs(float64(got)-want) > 2e-7*want {
				t.Errorf("exp(%v) = %v, want %v", v, got, want)
			}
		}
	}
	nan := -float32(math.NaN())
	for _, kind := range []string{"relu", "leaky_relu(0.2)", "gelu", "gelu_tanh", "silu", "sigmoid", "tanh", "elu", "elu(0.7)", "selu"} {
		act, err := activationByName(kind)
		if err != nil {
			t.Fatal(err)
		}
		z, a, slope := make([]float32, 13), make([]float32, 13), make([]float32, 13)
		check := func(v float32) {
			for i := range z {
				z[i] = v
			}
			activate32(&act, z, a, slope)
			for _, i := range []int{0, 12} {
				want, tolerance := act.value(float64(v)), 3e-7
				if kind == "silu" || kind == "gelu" || kind == "gelu_tanh" || kind == "sigmoid" { // absolute only
					tolerance = 4e-7 * (1 + 1/math.Abs(want))
				}
				if math.Abs(float64(a[i])-want) > tolerance*math.Abs(want)+1e-37 {
					t.Errorf("%s(%v)[%d] = %v, want %v", kind, v, i, a[i], want)
				}
				closeTo(t, kind+"'", float64(slope[i]), act.slope(float64(v)), 6e-7)
			}
		}
		for v := float32(-120); v < 120; v += 0.0071 {
			check(v)
		}
		for _, v := range []float32{0, 1e-45, 1e-20, 1e-4, 0.249999, 0.25, 0.624999, 0.625, 1e10} {
			check(v)
			check(-v)
		}
		check(float32(math.Copysign(0, -1)))
		for i := range z {
			z[i] = nan
		}
		activate32(&act, z, a, slope)
		if a[0] == a[0] || a[12] == a[12] {
			t.Errorf("%s(NaN) = %v, %v", kind, a[0], a[12])
		}
	}
}
