package theory

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func referenceLinear(t *testing.T) Linear {
	t.Helper()
	file, err := os.Open("testdata/linear.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	m, err := ReadLinear(file)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func stateOf(t *testing.T, m Linear, loss Loss, init Init) LinearState {
	t.Helper()
	s, err := m.State(loss, init)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLinearReference(t *testing.T) {
	var reference struct {
		Values []struct {
			Loss Loss
			Init Init
			U, T float64
		}
	}
	readReference(t, "testdata/linear.json", &reference)
	m := referenceLinear(t)
	if len(reference.Values) != len(Losses)*len(Inits) {
		t.Errorf("reference has %d values", len(reference.Values))
	}
	for _, r := range reference.Values {
		got := stateOf(t, m, r.Loss, r.Init)
		what := fmt.Sprintf("%s, %s: ", r.Loss, r.Init)
		near(t, what+"U", got.Energy, r.U, 2e-6)
		near(t, what+"T", got.Temperature, r.T, 2e-6)
		near(t, what+"mean of T_j", mean(got.PerParameter), got.Temperature, 1e-15)
		if got.Error > 1e-9 {
			t.Errorf("%s numerical error %g", what, got.Error)
		}
	}
}

// Energy and each T_j against draws of the parameters.
func TestLinearMonteCarlo(t *testing.T) {
	const draws = 200_000
	m := referenceLinear(t)
	for _, init := range Inits {
		rng := rand.New(rand.NewPCG(11, 7))
		energies := map[Loss]*estimate{}
		heats := map[Loss][]estimate{}
		for _, loss := range Losses {
			energies[loss], heats[loss] = &estimate{}, make([]estimate, len(m.Mean))
		}
		uniform, err := uniformCoordinates(init, len(m.Mean))
		if err != nil {
			t.Fatal(err)
		}
		w := make([]float64, len(m.Mean))
		for range draws {
			for j := range w {
				xi := rng.NormFloat64()
				if uniform[j] {
					xi = math.Sqrt(3) * (2*rng.Float64() - 1)
				}
				w[j] = m.Mean[j] + m.Sigma[j]*xi
			}
			for _, loss := range Losses {
				energy, gradient := lossAndGradient(m, loss, w)
				energies[loss].add(energy)
				for j := range w {
					heats[loss][j].add((w[j] - m.Mean[j]) * gradient[j])
				}
			}
		}
		for _, loss := range Losses {
			state := stateOf(t, m, loss, init)
			energies[loss].check(t, fmt.Sprintf("%s, %s: U", loss, init), state.Energy)
			for j := range w {
				heats[loss][j].check(t, fmt.Sprintf("%s, %s: T_%d", loss, init, j), state.PerParameter[j])
			}
		}
	}
}

func lossAndGradient(m Linear, loss Loss, w []float64) (energy float64, gradient []float64) {
	gradient = make([]float64, len(w))
	n := float64(len(m.X))
	for i, x := range m.X {
		z := 0.0
		for j := range w {
			z += x[j] * w[j]
		}
		var e, slope float64
		switch r := z - m.Y[i]; loss {
		case MSE:
			e, slope = r*r, 2*r
		case MAE:
			e, slope = math.Abs(r), math.Copysign(1, r)
		case CrossEntropy:
			label := math.Copysign(1, m.Y[i])
			e, slope = logOnePlusExp(-label*z), -label*logistic(-label*z)
		}
		energy += e / n
		for j := range w {
			gradient[j] += slope * x[j] / n
		}
	}
	return energy, gradient
}

// An estimate is the mean of independent draws.
type estimate struct{ n, sum, sum2 float64 }

func (e *estimate) add(x float64) { e.n++; e.sum += x; e.sum2 += x * x }

func (e *estimate) check(t *testing.T, what string, want float64) {
	t.Helper()
	m := e.sum / e.n
	stderr := math.Sqrt((e.sum2/e.n - m*m) / e.n)
	near(t, what+" (simulated)", m, want, 4*stderr+1e-12)
}

// randomLinear draws a small model with a wide range of scales, zeros included.
func randomLinear(rt *rapid.T, maxParameters int) Linear {
	k := rapid.IntRange(1, maxParameters).Draw(rt, "k")
	n := rapid.IntRange(1, 3).Draw(rt, "n")
	number := rapid.OneOf(rapid.Float64Range(-2, 2), rapid.SampledFrom([]float64{0, 1, -1, 1e-4, 30}))
	m := Linear{
		Y:     rapid.SliceOfN(rapid.Float64Range(-2, 2).Filter(func(y float64) bool { return y != 0 }), n, n).Draw(rt, "y"),
		Mean:  rapid.SliceOfN(number, k, k).Draw(rt, "mean"),
		Sigma: rapid.SliceOfN(rapid.OneOf(rapid.Float64Range(0, 2), rapid.SampledFrom([]float64{0, 1, 1e-3, 20})), k, k).Draw(rt, "sigma"),
	}
	for range n {
		m.X = append(m.X, rapid.SliceOfN(number, k, k).Draw(rt, "x"))
	}
	return m
}

// The Fourier integral of the cross entropy against quadrature in real space,
// from cold to hot.
func TestCrossEntropyMethodsAgree(t *testing.T) {
	ce, err := lossOf(CrossEntropy)
	if err != nil {
		t.Fatal(err)
	}
	for _, scale := range [][]float64{{1e-3, 1e-3}, {1, 1}, {0.01, 5}, {5, 0.01}, {5, 5}, {300, 20}, {1e4, 1e4}} {
		for _, mu := range []float64{0, -0.25, 3, 40} {
			e := example{mu: mu, scale: scale, uniform: []bool{false, true}, variance: scale[0]*scale[0] + scale[1]*scale[1]}
			got := ce.exact(e)
			half := math.Sqrt(3) * scale[1]
			want, wantHeat := 0.0, 0.0
			const panels = 20
			for i := range panels {
				from, to := half*(2*float64(i)/panels-1), half*(2*float64(i+1)/panels-1)
				want += integratePanel(func(a float64) float64 {
					return Expect(logOnePlusExp, mu+a, scale[0]*scale[0]) / (2 * half)
				}, from, to)
				wantHeat += integratePanel(func(a float64) float64 {
					return scale[0] * scale[0] * Expect(ce.curvature, mu+a, scale[0]*scale[0]) / (2 * half)
				}, from, to)
			}
			what := fmt.Sprintf("scales %v, mean %g: ", scale, mu)
			near(t, what+"U", got.energy, want, 1e-12*(1+scale[0]+scale[1])+got.err)
			near(t, what+"T_0", got.heats[0], wantHeat, 1e-12*(1+scale[0]+scale[1])+got.err)
		}
	}
}

// T_j is not negative for a convex loss, and kT is the response of U to a
// common scale of all spreads: dU/dS with dS = k d(ln s).
func TestLinearTemperatureIsResponse(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := randomLinear(rt, 6)
		loss, init := rapid.SampledFrom(Losses).Draw(rt, "loss"), rapid.SampledFrom(Inits).Draw(rt, "init")
		scaled := func(s float64) LinearState {
			c := m
			c.Sigma = nil
			for _, sigma := range m.Sigma {
				c.Sigma = append(c.Sigma, s*sigma)
			}
			state, err := c.State(loss, init)
			if err != nil {
				rt.Fatal(err)
			}
			return state
		}
		const h = 1e-3
		state, above, below := scaled(1), scaled(1+h), scaled(1-h)
		spread := math.Sqrt(mean(varianceOf(m)))
		for j, heat := range state.PerParameter {
			if heat < -state.Error {
				rt.Errorf("T_%d = %g", j, heat)
			}
		}
		heat := state.Temperature * float64(len(m.Mean))
		numeric := (above.Energy - below.Energy) / (2 * h)
		// The mean absolute error is only once differentiable in the spread
		// where a row's kink leaves the support, hence O(h) and not O(h²).
		tolerance := 20*h*spread + 4*(above.Error+below.Error)/h
		if loss != MAE {
			tolerance = 1e-4 * (1 + math.Abs(heat))
		}
		tolerance += 1e-14 * (1 + state.Energy) / h // rounding of the difference
		if math.Abs(numeric-heat) > tolerance {
			rt.Errorf("%s, %s: kT = %g, difference quotient %g (tolerance %g)", loss, init, heat, numeric, tolerance)
		}
		if state.Energy < -state.Error {
			rt.Errorf("%s, %s: U = %g is negative", loss, init, state.Energy)
		}
	})
}

func varianceOf(m Linear) []float64 {
	examples, err := m.examples(MAE, make([]bool, len(m.Mean)))
	if err != nil {
		panic(err)
	}
	var out []float64
	for _, e := range examples {
		out = append(out, e.variance)
	}
	return out
}

// The three ways to integrate the mean absolute error agree where they meet.
func TestAbsoluteMethodsAgree(t *testing.T) {
	mae, err := lossOf(MAE)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 2))
	build := func(k int) (example, []int) {
		e := example{mu: rng.NormFloat64(), scale: make([]float64, k), uniform: make([]bool, k)}
		active := make([]int, k)
		for j := range k {
			e.scale[j], e.uniform[j], active[j] = (0.2+rng.Float64())/math.Sqrt(float64(k)), true, j
			e.variance += e.scale[j] * e.scale[j]
		}
		return e, active
	}
	compare := func(what string, a, b moments, tolerance float64) {
		near(t, what+": U", a.energy, b.energy, tolerance)
		for j := range a.heats {
			near(t, what+": T_j", a.heats[j], b.heats[j], tolerance)
		}
	}
	for _, k := range []int{2, 3, 4} {
		e, active := build(k)
		if k == 2 {
			e.mu = 0 // away from the resonances at which the bound is met
		}
		fourier := mae.fourier(e, active, 0)
		compare(fmt.Sprint("nested and Fourier, k = ", k), nestedAbsolute(e, active), fourier, 2*fourier.err)
	}
	for _, k := range []int{12_000} {
		e, active := build(k)
		compare(fmt.Sprint("Edgeworth and Fourier, k = ", k), mae.edgeworth(e), mae.fourier(e, active, 0), manyError*math.Sqrt(e.variance))
		ce, err := lossOf(CrossEntropy)
		if err != nil {
			t.Fatal(err)
		}
		compare(fmt.Sprint("Edgeworth and Fourier, ce, k = ", k), ce.edgeworth(e), ce.fourier(e, active, 0), manyError)
	}
}

// Half-widths that differ by twelve orders of magnitude, where the closed form
// by truncated powers has no digit left.
func TestNestedIsStable(t *testing.T) {
	want := absoluteUniform(0.3, []float64{1, 0.5})
	got := absoluteUniform(0.3, []float64{1, 0.5, 1e-12, 1e-12})
	near(t, "⟨|x + …|⟩", got, want, 1e-15)
	near(t, "one uniform", absoluteUniform(0.5, []float64{2}), (0.25/2+2)/2, 1e-16)
}

func TestLinearAsymptotes(t *testing.T) {
	m := referenceLinear(t)
	scaled := func(s float64) Linear {
		c := m
		c.Sigma = nil
		for _, sigma := range m.Sigma {
			c.Sigma = append(c.Sigma, s*sigma)
		}
		return c
	}
	for _, loss := range Losses {
		for _, init := range Inits {
			if cold := stateOf(t, scaled(1e-3), loss, init).Asymptotes[0]; cold.Regime != Cold || cold.RelativeError > 1e-5 {
				t.Errorf("%s, %s at small spread: %+v", loss, init, cold)
			}
			for _, a := range stateOf(t, scaled(1e4), loss, init).Asymptotes {
				if a.Regime == Hot && a.RelativeError > 2e-3 {
					t.Errorf("%s, %s at large spread: %+v", loss, init, a)
				}
			}
		}
	}
}

// The mean absolute error is homogeneous in its units, down to where variances
// underflow.
func TestAbsoluteUnits(t *testing.T) {
	build := func(unit float64) Linear {
		return Linear{X: [][]float64{{1, 2, 3, 4, 5, 6}}, Y: []float64{3 * unit}, Mean: make([]float64, 6),
			Sigma: []float64{unit, 2 * unit, unit, unit, 3 * unit, unit}}
	}
	for _, init := range Inits {
		want := stateOf(t, build(1), MAE, init)
		for _, unit := range []float64{1e-150, 1e-9, 1e9, 1e150} {
			got := stateOf(t, build(unit), MAE, init)
			near(t, fmt.Sprint(init, " U in units of ", unit), got.Energy/unit, want.Energy, 1e-12)
			near(t, fmt.Sprint(init, " T in units of ", unit), got.Temperature/unit, want.Temperature, 1e-12)
		}
	}
	for _, sigma := range []float64{5e-324, 1e-200, 1e-161, 1e-150} {
		m := build(0)
		for j := range m.Sigma {
			m.Sigma[j] = sigma
		}
		for _, loss := range []Loss{MSE, MAE} {
			for _, init := range Inits {
				stateOf(t, m, loss, init)
			}
		}
	}
}

// The normal limit has an error of O(1/k).
func TestManyParametersConverges(t *testing.T) {
	errorAt := func(loss Loss, k int) float64 {
		m := Linear{X: [][]float64{make([]float64, k)}, Y: []float64{0.8}, Mean: make([]float64, k), Sigma: make([]float64, k)}
		for j := range k {
			m.X[0][j], m.Sigma[j] = 1, 1/math.Sqrt(float64(k))
		}
		for _, a := range stateOf(t, m, loss, InitUniform).Asymptotes {
			if a.Regime == ManyParameters {
				return a.RelativeError
			}
		}
		t.Fatal("no asymptote for many parameters")
		return 0
	}
	for _, loss := range []Loss{MAE, CrossEntropy} {
		ratio := errorAt(loss, 64) / errorAt(loss, 256)
		near(t, string(loss)+": error at k = 64 over 256", ratio, 4, 0.2)
	}
}

// Cold limit of the cross entropy at mean 0: U = ln 2 + ⟨v⟩/8, kT = ⟨v⟩/4.
func TestCrossEntropyCold(t *testing.T) {
	m := Linear{X: [][]float64{{3, 4}}, Y: []float64{-1}, Mean: []float64{0, 0}, Sigma: []float64{1e-3, 1e-3}}
	s := stateOf(t, m, CrossEntropy, InitNormal)
	near(t, "U", s.Energy, math.Ln2+25e-6/8, 1e-11)
	near(t, "kT", 2*s.Temperature, 25e-6/4, 1e-9)
}

func TestLinearErrors(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty":        {"", "cut short or empty"},
		"torn":         {`{"X":[[1`, "cut short"},
		"array":        {`[1]`, "expected a JSON object"},
		"null":         {`{"X":[[null]],"y":[1],"mean":[0],"sigma":[1]}`, "null"},
		"overflow":     {`{"X":[[1e999]],"y":[1],"mean":[0],"sigma":[1]}`, "1e999"},
		"trailing":     {`{"X":[[1]],"y":[1],"mean":[0],"sigma":[1]} {}`, "found more"},
		"no rows":      {`{"X":[],"y":[],"mean":[0],"sigma":[1]}`, "X: expected at least one row"},
		"no mean":      {`{"X":[[1]],"y":[1]}`, "mean: expected"},
		"short y":      {`{"X":[[1],[2]],"y":[1],"mean":[0],"sigma":[1]}`, "y: expected 2 values"},
		"short sigma":  {`{"X":[[1,2]],"y":[1],"mean":[0,0],"sigma":[1]}`, "sigma: expected 2 values"},
		"ragged":       {`{"X":[[1,2],[1]],"y":[1,1],"mean":[0,0],"sigma":[1,1]}`, "X[1]: expected 2 values"},
		"negative":     {`{"X":[[1]],"y":[1],"mean":[0],"sigma":[-1]}`, "not negative"},
		"string entry": {`{"X":[["a"]],"y":[1],"mean":[0],"sigma":[1]}`, "string"},
	} {
		_, err := ReadLinear(strings.NewReader(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
	good := Linear{X: [][]float64{{1}}, Y: []float64{0}, Mean: []float64{0}, Sigma: []float64{1}}
	if _, err := good.State(CrossEntropy, InitNormal); err == nil {
		t.Error("cross entropy with label 0 did not fail")
	}
	if _, err := good.State("hinge", InitNormal); err == nil {
		t.Error("unknown loss did not fail")
	}
	if _, err := good.State(MSE, "cauchy"); err == nil {
		t.Error("unknown init did not fail")
	}
	good.Sigma[0] = 1e200
	for _, loss := range []Loss{MSE} {
		if s, err := good.State(loss, InitNormal); err == nil {
			t.Errorf("%s beyond float64 did not fail: %+v", loss, s)
		}
	}
	good.Sigma[0] = math.NaN()
	if _, err := good.State(MSE, InitNormal); err == nil {
		t.Error("NaN did not fail")
	}
}

func FuzzReadLinear(f *testing.F) {
	f.Add(`{"X":[[1,2]],"y":[1],"mean":[0,0],"sigma":[1,1]}`)
	f.Add(`{"X":[[1e300]],"y":[-1e300],"mean":[1e300],"sigma":[1e-300]}`)
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ReadLinear(strings.NewReader(text))
		if err != nil || len(m.X)*len(m.Mean) > 8 {
			return
		}
		for _, loss := range Losses {
			for _, init := range Inits {
				s, err := m.State(loss, init)
				if err == nil && (math.IsNaN(s.Energy) || math.IsNaN(s.Temperature)) {
					t.Errorf("%s, %s: %+v", loss, init, s)
				}
			}
		}
	})
}

func BenchmarkLinearMAEUniform(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	m := Linear{Y: []float64{0.3}, X: [][]float64{nil}}
	for range 64 {
		m.X[0] = append(m.X[0], rng.NormFloat64())
		m.Mean = append(m.Mean, 0)
		m.Sigma = append(m.Sigma, 0.125)
	}
	for b.Loop() {
		if _, err := m.State(MAE, InitUniform); err != nil {
			b.Fatal(err)
		}
	}
}
