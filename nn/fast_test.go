package nn

import (
	"math"
	"testing"
)

func TestFastFunctions(t *testing.T) {
	for x := float32(-100); x < 88.3; x += 0.0137 {
		want := math.Exp(float64(x))
		if got := float64(exp32(x)); math.Abs(got-want) > 2e-7*want+1e-37 {
			t.Errorf("exp32(%v) = %v, want %v", x, got, want)
		}
	}
	for _, x := range []float32{float32(math.Inf(1)), 1000, 88.4} {
		if !math.IsInf(float64(exp32(x)), 1) {
			t.Errorf("exp32(%v) = %v", x, exp32(x))
		}
	}
	nan := -float32(math.NaN())
	for _, kind := range []string{"relu", "leaky_relu(0.2)", "gelu", "silu", "sigmoid", "tanh", "elu", "elu(0.7)", "selu"} {
		act, err := activationByName(kind)
		if err != nil {
			t.Fatal(err)
		}
		a, slope := make([]float32, 1), make([]float32, 1)
		for z := float32(-120); z < 120; z += 0.0071 {
			activate32(&act, []float32{z}, a, slope)
			closeTo(t, kind, float64(a[0]), act.value(float64(z)), 3e-7)
			closeTo(t, kind+"'", float64(slope[0]), act.slope(float64(z)), 6e-7)
		}
		for _, z := range []float32{0, float32(math.Copysign(0, -1)), 1e-45, -1e-45, 1, -1} {
			activate32(&act, []float32{z}, a, slope)
			closeTo(t, kind, float64(a[0]), act.value(float64(z)), 1e-7)
			closeTo(t, kind+"'", float64(slope[0]), act.slope(float64(z)), 1e-7)
		}
		if activate32(&act, []float32{nan}, a, slope); a[0] == a[0] {
			t.Errorf("%s(NaN) = %v", kind, a[0])
		}
	}
}
