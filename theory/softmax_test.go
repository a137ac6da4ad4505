package theory

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

func TestSoftmaxReference(t *testing.T) {
	var reference struct {
		Values []struct {
			K    int
			S    float64 `json:"s"`
			U    float64
			Heat float64 `json:"s_dU_ds"`
		} `json:"values"`
	}
	readReference(t, "testdata/rem.json", &reference)
	for _, r := range reference.Values {
		got, err := NewSoftmax(r.K, r.S)
		if err != nil {
			t.Fatal(err)
		}
		what := fmt.Sprintf("K = %d, s = %g: ", r.K, r.S)
		near(t, what+"U", got.Energy, r.U, 1e-4)
		near(t, what+"heat", got.Heat, r.Heat, 1e-3)
	}
}

// Two classes: logsumexp(a, b) = a + softplus(b − a), with b − a ~ N(0, 2s²).
func TestSoftmaxTwoClasses(t *testing.T) {
	for _, s := range []float64{1e-3, 0.1, 0.99, 1, 1.01, 3, 10, 50, 1e4} {
		got, err := NewSoftmax(2, s)
		if err != nil {
			t.Fatal(err)
		}
		near(t, fmt.Sprint("U at s = ", s), got.Energy, Expect(logOnePlusExp, 0, 2*s*s), 1e-11*(1+s))
		heat := 2 * s * s * Expect(func(z float64) float64 { return logistic(z) * logistic(-z) }, 0, 2*s*s)
		near(t, fmt.Sprint("heat at s = ", s), got.Heat, heat, 1e-11*(1+s))
	}
}

func TestSoftmaxLimits(t *testing.T) {
	for _, k := range []int{2, 10, 50257, 1_000_000, 1_000_000_000} {
		cold, err := NewSoftmax(k, 1e-3)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "cold energy", cold.Energy, cold.ColdEnergy, 1e-11)
		near(t, "cold heat", cold.Heat, (1-1/float64(k))*1e-6, 1e-11)
		// Frozen: U = heat = s⟨max g⟩ + O(1/s).
		frozen, err := NewSoftmax(k, 1e6)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "frozen heat/U", frozen.Heat/frozen.Energy, 1, 1e-10)
		near(t, "frozen U/s", frozen.Energy/1e6, meanMaximum(k), 1e-9)
		if cold.Frozen || !frozen.Frozen {
			t.Errorf("K = %d: frozen below the freezing spread or not above", k)
		}
	}
}

// meanMaximum is ⟨max of k standard normals⟩ = ∫ x d(Φ^k).
func meanMaximum(k int) float64 {
	sum := 0.0
	for a := -12.0; a < 12; a += 0.25 {
		sum += integratePanel(func(x float64) float64 {
			tail := math.Erfc(x/math.Sqrt2) / 2
			return x * float64(k) * normalDensity(x) * math.Exp(float64(k-1)*math.Log1p(-tail))
		}, a, a+0.25)
	}
	return sum
}

// Heat is s dU/ds; U is convex in s and above ln K (Jensen).
func TestSoftmaxProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		k := int(math.Exp(rapid.Float64Range(math.Log(2), math.Log(1e6)).Draw(rt, "ln K")))
		s := math.Exp(rapid.Float64Range(math.Log(1e-3), math.Log(50)).Draw(rt, "ln s"))
		h := 1e-4 * s
		u, heat := randomEnergy(float64(k), s)
		above, _ := randomEnergy(float64(k), s+h)
		below, _ := randomEnergy(float64(k), s-h)
		if numeric := s * (above - below) / (2 * h); math.Abs(numeric-heat) > 1e-6*(1+heat) {
			rt.Errorf("K = %d, s = %g: heat %g, difference quotient %g", k, s, heat, numeric)
		}
		if u < math.Log(float64(k))-1e-11*(1+s) || heat < 0 || above+below-2*u < -1e-10*(1+s) {
			rt.Errorf("K = %d, s = %g: U = %g, heat = %g, second difference %g", k, s, u, heat, above+below-2*u)
		}
	})
}

func TestSoftmaxMonteCarlo(t *testing.T) {
	const k, s, draws = 30, 2.5, 20_000
	rng := rand.New(rand.NewPCG(3, 1))
	var sum, sum2 float64
	for range draws {
		total, label := 0.0, 0.0
		for j := range k {
			z := s * rng.NormFloat64()
			if j == 0 {
				label = z
			}
			total += math.Exp(z)
		}
		e := math.Log(total) - label
		sum += e
		sum2 += e * e
	}
	mean := sum / draws
	stderr := math.Sqrt((sum2/draws - mean*mean) / draws)
	got, err := NewSoftmax(k, s)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "U", got.Energy, mean, 4*stderr)
}

func TestSoftmaxErrors(t *testing.T) {
	for _, c := range []struct {
		classes int
		spread  float64
	}{{1, 1}, {-3, 1}, {maxClasses + 1, 1}, {10, -1}, {10, math.NaN()}, {10, math.Inf(1)}} {
		if _, err := NewSoftmax(c.classes, c.spread); err == nil {
			t.Errorf("NewSoftmax(%d, %g) did not fail", c.classes, c.spread)
		}
	}
	if s, err := NewSoftmax(10, 0); err != nil || s.Energy != math.Log(10) || s.Heat != 0 {
		t.Errorf("zero spread: %+v, %v", s, err)
	}
}

func BenchmarkSoftmax(b *testing.B) {
	for b.Loop() {
		if _, err := NewSoftmax(50257, 6); err != nil {
			b.Fatal(err)
		}
	}
}
