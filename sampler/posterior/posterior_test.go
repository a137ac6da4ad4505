package posterior

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"
)

var data = Data{
	"y":      {Rows: 4, Values: []float64{1.2, -0.3, 2.5, 0.1}},
	"counts": {Rows: 4, Values: []float64{1, 0, 3, 2}},
	"binary": {Rows: 4, Values: []float64{1, 0, 1, 0}},
	"n":      {Rows: 4, Values: []float64{5, 4, 3, 6}},
	"x":      {Rows: 4, Values: []float64{0.3, -1, 2, 0.5}},
	"X":      {Rows: 4, Cols: 2, Values: []float64{1, 2, -0.5, 0.1, 0.3, 0.7, -1, -1.2}},
	"s":      {Rows: 4, Values: []float64{1, 0.5, 2, 1.5}},
	"one":    {Rows: 4, Values: []float64{1, 1, 1, 1}},
	"width":  {Values: []float64{2.5}},
}

const regressionPriors = `"alpha": "student(3, 0, 2)", "beta": "normal(0, width)"`

var specs = map[string]string{
	"normal":      `{"model": "glm", "family": "normal", "response": "y", "predictors": ["x", "X"], "intercept": true, "priors": {` + regressionPriors + `, "sigma": "gamma(2, 1)"}}`,
	"log link":    `{"model": "glm", "family": "normal", "link": "log", "response": "y", "predictors": ["x"], "intercept": true, "priors": {` + regressionPriors + `, "sigma": "half-cauchy(1)"}}`,
	"student":     `{"model": "glm", "family": "student", "nu": 4, "response": "y", "predictors": ["x"], "priors": {"beta": "cauchy(0, 1)", "sigma": "lognormal(0, 1)"}}`,
	"bernoulli":   `{"model": "glm", "family": "bernoulli", "response": "binary", "predictors": ["X"], "intercept": true, "priors": {"alpha": "flat", "beta": "laplace(0.2, 1)"}}`,
	"probit":      `{"model": "glm", "family": "binomial", "link": "probit", "response": "counts", "trials": "n", "predictors": ["X"], "intercept": true, "priors": {` + regressionPriors + `}}`,
	"binomial":    `{"model": "glm", "family": "binomial", "response": "counts", "trials": "n", "predictors": ["x"], "priors": {"beta": "normal(0, 1)"}}`,
	"poisson":     `{"model": "glm", "family": "poisson", "response": "counts", "predictors": ["x"], "intercept": true, "priors": {` + regressionPriors + `}}`,
	"centred":     `{"model": "hierarchical-normal", "response": "y", "scale": "s", "centred": true, "priors": {"mu": "normal(0, 5)", "tau": "half-cauchy(5)"}}`,
	"non-centred": `{"model": "hierarchical-normal", "response": "y", "scale": "s", "priors": {"mu": "normal(0, 5)", "tau": "exponential(0.5)"}}`,
	"mixture":     `{"model": "mixture", "response": "y", "components": 3, "priors": {"mu": "normal(0, 5)", "sigma": "half-normal(2)", "weights": "dirichlet(2)"}}`,
}

func build(t *testing.T, text string) Model {
	t.Helper()
	s, err := ParseSpec([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(s, data)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return m
}

func TestGradients(t *testing.T) {
	for name, text := range specs {
		m := build(t, text)
		rng := rand.New(rand.NewPCG(1, 1))
		theta, gradient := make([]float64, m.Dim()), make([]float64, m.Dim())
		for range 5 {
			for i := range theta {
				theta[i] = rng.NormFloat64()
			}
			if e := m.Gradient(theta, gradient); e != m.Energy(theta) {
				t.Errorf("%s: Gradient returns the energy %v, Energy %v", name, e, m.Energy(theta))
			}
			differences(t, name+": energy", theta, gradient, m.Energy)
			m.LogVolume(theta, gradient)
			differences(t, name+": volume", theta, gradient, func(theta []float64) float64 {
				return m.LogVolume(theta, make([]float64, len(theta)))
			})
		}
		if len(m.Names()) == 0 || m.Dim() == 0 {
			t.Errorf("%s: %d names", name, len(m.Names()))
		}
	}
}

// differences compares a gradient with central differences of f.
func differences(t *testing.T, name string, theta, gradient []float64, f func([]float64) float64) {
	t.Helper()
	for i, at := range theta {
		const h = 1e-5
		theta[i] = at + h
		up := f(theta)
		theta[i] = at - h
		down := f(theta)
		theta[i] = at
		want := (up - down) / (2 * h)
		if math.Abs(gradient[i]-want) > 1e-6*(1+math.Abs(want)) {
			t.Errorf("%s: slope %d is %v, differences give %v", name, i, gradient[i], want)
		}
	}
}

// LogVolume is the logarithm of the determinant of ∂x/∂θ, x what is reported
// (less the last weight, which the others give).
func TestVolumes(t *testing.T) {
	for name, text := range specs {
		m := build(t, text)
		rng := rand.New(rand.NewPCG(2, 1))
		k := m.Dim()
		theta := make([]float64, k)
		for i := range theta {
			theta[i] = rng.NormFloat64()
		}
		jacobian := mat.NewDense(k, k, nil)
		up, down := make([]float64, len(m.Names())), make([]float64, len(m.Names()))
		for j, at := range theta {
			const h = 1e-5
			theta[j] = at + h
			m.Report(theta, up)
			theta[j] = at - h
			m.Report(theta, down)
			theta[j] = at
			for i := range k {
				jacobian.Set(i, j, (up[i]-down[i])/(2*h))
			}
		}
		want, _ := mat.LogDet(jacobian)
		if got := m.LogVolume(theta, make([]float64, k)); math.Abs(got-want) > 1e-6 {
			t.Errorf("%s: log volume %v, the determinant gives %v", name, got, want)
		}
	}
}

// E is −log of the density of the parameters, however they are sampled.
func TestEnergyIsThatOfTheParameters(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	spec := `{"model": "hierarchical-normal", "response": "y", "scale": "s", "centred": true, "priors": {"mu": "normal(0, 5)", "tau": "exponential(0.5)"}}`
	centred, not := build(t, spec), build(t, specs["non-centred"])
	theta, x := make([]float64, 6), make([]float64, 6)
	for i := range theta {
		theta[i] = rng.NormFloat64()
	}
	not.Report(theta, x)
	x[5] = theta[5] // log tau
	if a, b := centred.Energy(x), not.Energy(theta); math.Abs(a-b) > 1e-9 {
		t.Errorf("energy %v centred, %v not centred", a, b)
	}
	m := build(t, specs["mixture"])
	theta, x = make([]float64, 8), make([]float64, 9)
	for i := range theta {
		theta[i] = rng.NormFloat64()
	}
	m.Report(theta, x)
	var want float64
	for j := range 3 {
		want += x[j]*x[j]/50 + x[3+j]*x[3+j]/8 - math.Log(x[6+j]) // dirichlet(2)
	}
	for _, y := range data["y"].Values {
		var p float64
		for j := range 3 {
			z := (y - x[j]) / x[3+j]
			p += x[6+j] * math.Exp(-z*z/2) / x[3+j]
		}
		want -= math.Log(p)
	}
	if got := m.Energy(theta); math.Abs(got-want) > 1e-9 {
		t.Errorf("mixture: energy %v, want %v", got, want)
	}
}

// Cold, the density of a standard deviation near 0 takes over.
func TestProper(t *testing.T) {
	hierarchical := `{"model": "hierarchical-normal", "response": "y", "scale": "s", "priors": {"mu": "normal(0, 5)", "tau": "PRIOR"}}`
	mixture := `{"model": "mixture", "response": "y", "components": 2, "priors": {"mu": "normal(0, 5)", "sigma": "PRIOR"}}`
	for _, c := range []struct {
		spec, prior string
		temperature float64
		want        string
	}{
		{hierarchical, "half-normal(1)", 1, ""}, {hierarchical, "half-normal(1)", 0.81, ""},
		{hierarchical, "half-normal(1)", 0.79, "expected a temperature above 0.8, or a prior of tau that vanishes faster there than tau^0.05, as gamma(2, rate) would"},
		{hierarchical, "gamma(2, 1)", 0.79, ""}, {hierarchical, "lognormal(0, 1)", 0.01, ""},
		{mixture, "half-normal(1)", 0.6, ""}, {mixture, "half-normal(1)", 0.4, "sigma goes to 0"}, {mixture, "gamma(2, 1)", 0.4, ""},
		{specs["normal"], "", 0.01, ""},
	} {
		err := Proper(build(t, strings.ReplaceAll(c.spec, "PRIOR", c.prior)), c.temperature)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s at %g: got %v, want %q", c.prior, c.temperature, err, c.want)
		}
	}
}

// On one observation that says nothing the density of a transformed parameter
// must be its prior, here checked as ∫ e^{−E} x dx/du du = its mean.
func TestPriorsSurviveTheTransformation(t *testing.T) {
	for text, mean := range map[string]float64{
		"exponential(0.5)": 2, "gamma(3, 2)": 1.5, "lognormal(0.2, 0.5)": math.Exp(0.2 + 0.125), "half-normal(2)": 2 * math.Sqrt(2/math.Pi),
	} {
		p, err := parsePrior(text, nil)
		if err != nil {
			t.Fatal(err)
		}
		q := parameter{"x", p, true}
		var mass, first float64
		for u := -20.0; u < 8; u += 0.001 {
			e, _ := q.energy(u, 0)
			mass += math.Exp(u - e)
			first += math.Exp(u-e) * q.value(u)
		}
		if got := first / mass; math.Abs(got-mean) > 1e-6*mean {
			t.Errorf("%s: mean %v, want %v", text, got, mean)
		}
	}
}

// Φ and its slope where a direct evaluation would be 0/0, and across the seam.
func TestLogPhi(t *testing.T) {
	for _, c := range []struct{ x, value float64 }{{0, -math.Ln2}, {-10, -53.23128515051247}, {-40, -804.6084420137538}, {5, -2.8665161287e-7}} {
		if got, _ := logPhi(c.x); math.Abs(got-c.value) > 1e-6*math.Abs(c.value) {
			t.Errorf("log Φ(%v) = %v, want %v", c.x, got, c.value)
		}
	}
	a, sa := logPhi(-30 + 1e-9)
	b, sb := logPhi(-30 - 1e-9)
	if math.Abs(a-b) > 1e-6 || math.Abs(sa-sb) > 1e-4 {
		t.Errorf("a jump at −30: %v, %v; slopes %v, %v", a, b, sa, sb)
	}
}

func TestBadSpecs(t *testing.T) {
	for text, want := range map[string]string{
		``:                                      "expected the JSON of a model",
		`{"modle": "glm"}`:                      `unknown field "modle"`,
		`{"model": "glm"} {}`:                   "expected one JSON document",
		`{"model": "x"}`:                        `model: expected one of glm, hierarchical-normal, mixture, got "x"`,
		`{"model": "glm", "response": "q"}`:     "response: expected the name of a vector in the data (X, binary, counts, n, one, s, width, x, y), got \"q\"",
		`{"model": "glm", "response": "X"}`:     `expected "X" to be a vector`,
		`{"model": "glm", "response": "width"}`: `expected "width" to be a vector`,
		`{"model": "glm", "response": "y"}`:     "at least one predictor",
		`{"model": "glm", "response": "y", "predictors": ["z"]}`:                                                                          `predictors: expected "z"`,
		`{"model": "glm", "response": "y", "predictors": ["x"], "family": "gumbel"}`:                                                      "family: expected one of bernoulli",
		`{"model": "glm", "response": "y", "predictors": ["x"], "family": "poisson"}`:                                                     "response: expected a count, got 1.2 at observation 1",
		`{"model": "glm", "response": "counts", "predictors": ["x"], "family": "bernoulli"}`:                                              "response: expected 0 or 1, got 3 at observation 3",
		`{"model": "glm", "response": "y", "predictors": ["x"], "family": "normal", "link": "logit"}`:                                     `has no link "logit"`,
		`{"model": "glm", "response": "y", "predictors": ["x"], "family": "normal", "priors": {"beta": "flat"}}`:                          `expected a prior for "sigma"`,
		`{"model": "glm", "response": "y", "predictors": ["x"], "family": "normal", "priors": {"beta": "flat", "sgma": "flat"}}`:          `got one for "sgma"`,
		`{"model": "glm", "response": "y", "predictors": ["x"], "family": "normal", "priors": {"beta": "gamma(1, 1)", "sigma": "flat"}}`:  "for positive parameters only",
		`{"model": "glm", "response": "y", "predictors": ["x"], "family": "normal", "priors": {"beta": "normal(1)", "sigma": "flat"}}`:    "expected normal(mean, sd)",
		`{"model": "glm", "response": "y", "predictors": ["x"], "family": "normal", "priors": {"beta": "normal(0, 0)", "sigma": "flat"}}`: "expected sd above 0, got 0",
		`{"model": "glm", "response": "y", "predictors": ["x"], "family": "normal", "priors": {"beta": "normal(0, q)", "sigma": "flat"}}`: "expected a number or the name of one",
		`{"model": "glm", "response": "counts", "trials": "one", "predictors": ["x"], "family": "binomial", "priors": {"beta": "flat"}}`:  "response: expected a count of successes among the trials, got 3 at observation 3",
		`{"model": "glm", "response": "counts", "trials": "s", "predictors": ["x"], "family": "binomial", "priors": {"beta": "flat"}}`:    "trials: expected a count, got 0.5 at observation 2",
		`{"model": "hierarchical-normal", "response": "y", "scale": "y"}`:                                                                 "standard deviations above 0, got -0.3 at group 2",
		`{"model": "mixture", "response": "y", "components": 1}`:                                                                          "components: expected 2 to 100",
		`{"model": "mixture", "response": "y", "components": 2, "priors": {"weights": "dirichlet(0)"}}`:                                   "dirichlet",
	} {
		s, err := ParseSpec([]byte(text))
		if err == nil {
			_, err = New(s, data)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	for text, want := range map[string]string{
		`[1]`: "expected a JSON object", `{"a": []}`: "at least one number", `{"a": [1, null]}`: "null", `{"a": [[1, 2], [3]]}`: `"a": expected rows of 2 numbers, got 1 in row 2`,
		`{"a": [1, 0, "1"]}`: `"a": expected a number that float64 can hold, or an array or rows of them: json: cannot unmarshal string`,
		`{"a": [1e400]}`:     `number 1e400`, `{"a": -1e400}`: `"a": expected a number that float64 can hold`, `{"a": [1, [2]]}`: `"a": expected a number`,
		`{"a": [[], []]}`: "rows", `{"a": [[1, null]]}`: "null",
	} {
		if _, err := ParseData([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func FuzzModel(f *testing.F) {
	for _, text := range specs {
		f.Add([]byte(text), []byte(`{"y": [1, 2], "x": [3, 4], "X": [[1, 2], [3, 4]], "s": [1, 1], "width": 2, "note": "text"}`))
	}
	f.Fuzz(func(t *testing.T, spec, text []byte) {
		s, err := ParseSpec(spec)
		if err != nil {
			return
		}
		d, err := ParseData(text)
		if err != nil {
			return
		}
		m, err := New(s, d)
		if err != nil {
			return
		}
		theta := make([]float64, m.Dim())
		m.Gradient(theta, make([]float64, m.Dim()))
		m.Report(theta, make([]float64, len(m.Names())))
	})
}
