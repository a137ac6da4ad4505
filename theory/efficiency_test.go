package theory

import (
	"encoding/json"
	"math"
	"os"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// readReference decodes a file of reference values.
func readReference(t *testing.T, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// near fails unless |got − want| ≤ tolerance.
func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s = %.15g, want %.15g ± %.2g", what, got, want, tolerance)
	}
}

func TestEfficiencyReference(t *testing.T) {
	var reference struct {
		Values map[string]map[string]float64 `json:"values"`
	}
	readReference(t, "testdata/efficiency.json", &reference)
	if len(reference.Values) != len(Activations()) {
		t.Errorf("reference has %d activations, the table %d", len(reference.Values), len(Activations()))
	}
	for name, values := range reference.Values {
		a, err := ActivationByName(name)
		if err != nil {
			t.Fatal(err)
		}
		for qText, want := range values {
			q, err := strconv.ParseFloat(qText, 64)
			if err != nil {
				t.Fatal(err)
			}
			got, err := a.Efficiency(q)
			if err != nil {
				t.Fatal(err)
			}
			// The reference has twelve digits.
			near(t, name+" at q = "+qText, got.Efficiency, want, 1e-12*math.Max(1, 10*math.Abs(want)))
		}
	}
}

// Quadrature agrees with the closed forms it is not used for, from tiny to
// enormous q.
func TestQuadratureAgainstClosedForms(t *testing.T) {
	for _, a := range Activations() {
		if a.second == nil {
			continue
		}
		for _, q := range []float64{1e-300, 1e-12, 0.01, 1, 7, 100, 1e12, 1e300} {
			if a.Name == "sin" && q > 7 {
				continue // the closed form is there because quadrature cannot
			}
			ratio, slope := a.secondMoment(q)
			numeric := a
			numeric.second = nil
			r, s := numeric.secondMoment(q)
			near(t, a.Name+" ratio", r, ratio, 2e-14)
			near(t, a.Name+" slope", s, slope, 2e-14)
		}
	}
}

func TestEfficiencyExtremes(t *testing.T) {
	limits := []struct {
		name      string
		q         float64
		ratio     float64 // leading order of 1 − η
		tolerance float64
	}{
		{"tanh", 1e-9, 1 - 2e-9, 1e-15},
		{"silu", 1e-12, 0.25, 1e-12},
		{"softplus", 1e12, 0.5, 1e-11},
		{"gelu", 1e20, 0.5, 1e-12},
		{"sigmoid", 1e20, 0.5e-20, 1e-29},
		{"tanh", 1e16, 1e-16, 2e-24},
		{"relu6", 1e16, 18e-16, 1e-22},
		{"hardtanh", 1e-4, 1, 1e-15},
	}
	for _, l := range limits {
		a, err := ActivationByName(l.name)
		if err != nil {
			t.Fatal(err)
		}
		ratio, _ := a.secondMoment(l.q)
		near(t, l.name, ratio, l.ratio, l.tolerance)
	}
}

// The slope is the derivative of the second moment it is said to be.
func TestSecondMomentSlope(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a := rapid.SampledFrom(Activations()).Draw(rt, "activation")
		q := math.Exp(rapid.Float64Range(-6, 5).Draw(rt, "ln q"))
		step := 1e-4 * q
		above, _ := a.secondMoment(q + step)
		below, _ := a.secondMoment(q - step)
		numeric := ((q+step)*above - (q-step)*below) / (2 * step)
		_, slope := a.secondMoment(q)
		if math.Abs(numeric-slope) > 1e-6*math.Max(1, math.Abs(slope)) {
			rt.Errorf("%s at q = %g: slope %g, difference quotient %g", a.Name, q, slope, numeric)
		}
	})
}

func TestActivationDerivatives(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a := rapid.SampledFrom(Activations()).Draw(rt, "activation")
		z := rapid.Float64Range(-20, 20).Draw(rt, "z")
		for _, kink := range append([]float64{0}, a.Kinks...) {
			if math.Abs(z-kink) < 1e-3 {
				return
			}
		}
		const step = 1e-5
		numeric := (a.Value(z+step) - a.Value(z-step)) / (2 * step)
		if got := a.Derivative(z); math.Abs(numeric-got) > 1e-8 {
			rt.Errorf("%s'(%g) = %g, difference quotient %g", a.Name, z, got, numeric)
		}
	})
}

func TestActivationsStayFinite(t *testing.T) {
	for _, a := range Activations() {
		for _, z := range []float64{-1e300, -800, -40, 0, 40, 800, 1e300} {
			if v, d := a.Value(z), a.Derivative(z); math.IsNaN(v) || math.IsInf(v, 0) || math.IsNaN(d) || math.IsInf(d, 0) {
				t.Errorf("%s at %g: value %g, derivative %g", a.Name, z, v, d)
			}
		}
	}
}

func TestGainAndRegimes(t *testing.T) {
	for _, c := range []struct {
		name   string
		q      float64
		gain   float64
		engine EngineType
		regime Regime
	}{
		{"relu", 3, math.Sqrt2, TypeI, Engine},
		{"identity", 3, 1, TypeI, Reversible},
		{"selu", 1, 1, TypeII, Reversible},
		{"selu", 0.1, 1 / math.Sqrt(1.526160935143), TypeII, HeatPump},
		{"leaky_relu(0.2)", 3, math.Sqrt(2 / 1.04), TypeI, Engine},
		{"leaky_relu(-1)", 3, 1, TypeI, Reversible},
	} {
		a, err := ActivationByName(c.name)
		if err != nil {
			t.Fatal(err)
		}
		e, err := a.Efficiency(c.q)
		if err != nil {
			t.Fatal(err)
		}
		near(t, c.name+" gain", e.Gain, c.gain, 1e-12)
		if e.Type != c.engine || e.Regime != c.regime {
			t.Errorf("%s at q = %g: type %s %s, want type %s %s", c.name, c.q, e.Type, e.Regime, c.engine, c.regime)
		}
	}
}

func TestEfficiencyErrors(t *testing.T) {
	for _, name := range []string{"", "ReLU", "relu(1)", "leaky_relu(", "leaky_relu(NaN)", "leaky_relu(1", "elu(1e999)"} {
		if _, err := ActivationByName(name); err == nil {
			t.Errorf("ActivationByName(%q) did not fail", name)
		}
	}
	for _, q := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if _, err := relu().Efficiency(q); err == nil {
			t.Errorf("relu at q = %g did not fail", q)
		}
	}
	if _, err := sigmoid().Efficiency(5e-324); err == nil {
		t.Error("sigmoid at the smallest q did not fail, although η is beyond float64")
	}
	if _, err := elu(0).Efficiency(1); err != nil {
		t.Errorf("elu(0) is a relu: %v", err)
	}
}
