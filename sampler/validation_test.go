package sampler_test

import (
	"context"
	"encoding/json"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/kelvin-ml/kelvin/sampler"
	"github.com/kelvin-ml/kelvin/sampler/posterior"
	"github.com/kelvin-ml/kelvin/thermo"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

func parse(t *testing.T, spec string) posterior.Spec {
	t.Helper()
	s, err := posterior.ParseSpec([]byte(spec))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sample(t *testing.T, spec string, data posterior.Data, k sampler.Kernel, o sampler.Options) *sampler.Result {
	t.Helper()
	s := parse(t, spec)
	r, err := sampler.Run(context.Background(), func(int) (sampler.Density, error) { return posterior.New(s, data) }, k, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func load(t *testing.T, name string) posterior.Data {
	t.Helper()
	text, err := os.ReadFile("testdata/posteriordb/" + name)
	if err != nil {
		t.Fatal(err)
	}
	data, err := posterior.ParseData(text)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

var posteriordb = []struct {
	name, data, means, spec string
	dense                   bool
}{
	{"eight schools", "eight_schools.json", "eight_schools-eight_schools_noncentered.mean_value.json",
		`{"model": "hierarchical-normal", "response": "y", "scale": "sigma", "priors": {"mu": "normal(0, 5)", "tau": "half-cauchy(5)"}}`, false},
	{"kilpisjarvi", "kilpisjarvi_mod.json", "kilpisjarvi_mod-kilpisjarvi.mean_value.json",
		`{"model": "glm", "family": "normal", "response": "y", "predictors": ["x"], "intercept": true,
		  "priors": {"alpha": "normal(pmualpha, psalpha)", "beta": "normal(pmubeta, psbeta)", "sigma": "flat"}}`, true},
	{"sblrc-blr", "sblrc.json", "sblrc-blr.mean_value.json",
		`{"model": "glm", "family": "normal", "response": "y", "predictors": ["X"], "priors": {"beta": "normal(0, 10)", "sigma": "half-normal(10)"}}`, true},
}

// The reference means of posteriordb, to within four combined standard errors.
func TestPosteriorDB(t *testing.T) {
	for _, c := range posteriordb {
		text, err := os.ReadFile("testdata/posteriordb/" + c.means)
		if err != nil {
			t.Fatal(err)
		}
		var want struct {
			Names []string
			Mean  []float64 `json:"mean_value"`
			MCSE  []float64 `json:"mcse_mean"`
		}
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		r := sample(t, c.spec, load(t, c.data), sampler.NUTS{StepSize: 0.1}, sampler.Options{Warmup: 1000, Draws: 2500, Seed: 1, Dense: c.dense})
		got := r.Summaries()
		for i, name := range want.Names {
			s := got[i]
			if s.Name != name {
				t.Fatalf("%s: quantity %d is %q, want %q", c.name, i, s.Name, name)
			}
			if se := math.Hypot(s.MCSE, want.MCSE[i]); !(math.Abs(s.Mean-want.Mean[i]) < 4*se) || s.RHat > 1.01 || s.ESSBulk < 1000 {
				t.Errorf("%s: %s is %.6g ± %.2g (R̂ %.3f, ESS %.0f), posteriordb has %.6g ± %.2g",
					c.name, name, s.Mean, s.MCSE, s.RHat, s.ESSBulk, want.Mean[i], want.MCSE[i])
			}
		}
		for _, reading := range r.Thermometers() {
			if math.Abs(reading.Value-1) > 4*reading.StdErr {
				t.Errorf("%s: %v, asked 1", c.name, reading)
			}
		}
	}
}

// The centred parameterisation of the same model has a funnel, and says so.
func TestCentredEightSchoolsIsReported(t *testing.T) {
	spec := `{"model": "hierarchical-normal", "response": "y", "scale": "sigma", "centred": true, "priors": {"mu": "normal(0, 5)", "tau": "half-cauchy(5)"}}`
	r := sample(t, spec, load(t, "eight_schools.json"), sampler.NUTS{StepSize: 0.1}, sampler.Options{Warmup: 1000, Draws: 1000, Seed: 1})
	for _, f := range r.Findings() {
		if f.ID == "divergences" {
			return
		}
	}
	t.Errorf("no divergences among the findings %+v", r.Findings())
}

// Logistic regression in two dimensions against its posterior summed on a grid.
func TestLogisticRegressionAgainstGrid(t *testing.T) {
	if testing.Short() {
		t.Skip("statistics alone: ten times as slow under the race detector")
	}
	rng := rand.New(rand.NewPCG(9, 9))
	x, y := make([]float64, 40), make([]float64, 40)
	for i := range x {
		x[i] = rng.NormFloat64()
		if rng.Float64() < 1/(1+math.Exp(-0.5-1.5*x[i])) {
			y[i] = 1
		}
	}
	data := posterior.Data{"x": {Rows: 40, Values: x}, "y": {Rows: 40, Values: y}}
	spec := `{"model": "glm", "family": "bernoulli", "response": "y", "predictors": ["x"], "intercept": true, "priors": {"alpha": "normal(0, 2)", "beta": "student(3, 0, 2)"}}`
	s := parse(t, spec)
	m, err := posterior.New(s, data)
	if err != nil {
		t.Fatal(err)
	}
	for _, T := range []float64{1, 0.3} {
		var mass float64
		var mean [2]float64
		for a := -4.0; a < 6; a += 0.02 {
			for b := -3.0; b < 9; b += 0.02 {
				p := math.Exp(-m.Energy([]float64{a, b}) / T)
				mass += p
				mean[0] += p * a
				mean[1] += p * b
			}
		}
		r := sample(t, spec, data, sampler.NUTS{StepSize: 0.1}, sampler.Options{Warmup: 500, Draws: 4000, Temperature: T, Seed: 2})
		for i, q := range r.Summaries() {
			if want := mean[i] / mass; math.Abs(q.Mean-want) > 4*q.MCSE {
				t.Errorf("T = %v: %s is %.4f ± %.4f, the grid gives %.4f", T, q.Name, q.Mean, q.MCSE, want)
			}
		}
	}
}

// A posterior at T is p^{1/T} in the parameters, whatever the coordinates that are
// sampled: the scale of a regression, against a grid.
func TestTemperatureOfAScale(t *testing.T) {
	if testing.Short() {
		t.Skip("statistics alone: ten times as slow under the race detector")
	}
	y := []float64{1.2, -0.4, 0.7, 2.1}
	energies := map[float64]float64{}
	spec := `{"model": "glm", "family": "normal", "response": "y", "intercept": true, "priors": {"alpha": "normal(0, 10)", "sigma": "half-normal(2)"}}`
	for _, T := range []float64{0.3, 1, 2} {
		var mass, mean, energy float64
		for sigma := 0.005; sigma < 15; sigma += 0.01 {
			for alpha := -12.0; alpha < 14; alpha += 0.05 {
				e := alpha*alpha/200 + sigma*sigma/8
				for _, v := range y {
					e += (v-alpha)*(v-alpha)/(2*sigma*sigma) + math.Log(sigma)
				}
				p := math.Exp(-e / T)
				mass, mean, energy = mass+p, mean+p*sigma, energy+p*e
			}
		}
		energies[T] = energy / mass
		r := sample(t, spec, posterior.Data{"y": {Rows: 4, Values: y}}, sampler.NUTS{StepSize: 0.1},
			sampler.Options{Warmup: 500, Draws: 4000, Temperature: T, Seed: 1, Curvature: true})
		if s := r.Summaries()[1]; math.Abs(s.Mean-mean/mass) > 4*s.MCSE || s.MCSE > 0.03 {
			t.Errorf("T = %v: sigma is %.4f ± %.4f, the grid gives %.4f", T, s.Mean, s.MCSE, mean/mass)
		}
		if e := r.Energy(); math.Abs(e.Value-energy/mass) > 4*e.StdErr {
			t.Errorf("T = %v: energy %v, the grid gives %.4f", T, e, energy/mass)
		}
		for _, reading := range r.Thermometers() {
			if math.Abs(reading.Value-T) > 4*reading.StdErr {
				t.Errorf("T = %v: %v", T, reading)
			}
		}
	}
	s := parse(t, spec)
	density := func(int) (sampler.Density, error) { return posterior.New(s, posterior.Data{"y": {Rows: 4, Values: y}}) }
	curve, err := sampler.HeatCapacity(t.Context(), density, sampler.NUTS{StepSize: 0.1}, []float64{0.3, 1, 2}, sampler.Options{Warmup: 500, Draws: 2000, Seed: 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range curve.Points {
		if want := energies[p.Temperature]; math.Abs(p.Energy.Value-want) > 4*p.Energy.StdErr {
			t.Errorf("heat capacity at T = %v: energy %v, the grid gives %.4f", p.Temperature, p.Energy, want)
		}
	}
	// Cooled down, it ends at the largest density of alpha and sigma, not of log sigma.
	d, err := density(0)
	if err != nil {
		t.Fatal(err)
	}
	last, best, err := sampler.Anneal(t.Context(), d, sampler.HMC{StepSize: 0.003, Steps: 10}, []float64{0, 0}, sampler.Geometric(1, 1e-5), 4000, rand.New(rand.NewPCG(1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	lowest, at := math.Inf(1), 0.0
	for sigma := 0.5; sigma < 1.5; sigma += 0.001 {
		for alpha := 0.8; alpha < 1; alpha += 0.002 {
			if e := d.Energy([]float64{alpha, math.Log(sigma)}); e < lowest {
				lowest, at = e, sigma
			}
		}
	}
	for _, theta := range [][]float64{last.Theta, best} {
		if sigma := math.Exp(theta[1]); math.Abs(sigma-at) > 0.02 {
			t.Errorf("annealed to sigma = %.4f, the grid gives %.4f", sigma, at)
		}
	}
}

// Centred or not, alone or as a rung of parallel tempering, eight schools at T = 4
// are the same: tau, the energy and the heat capacity.
func TestTemperatureOfEightSchools(t *testing.T) {
	if testing.Short() {
		t.Skip("statistics alone: ten times as slow under the race detector")
	}
	spec := func(centred string) string {
		return `{"model": "hierarchical-normal", "response": "y", "scale": "sigma", "centred": ` + centred + `, "priors": {"mu": "normal(0, 5)", "tau": "half-normal(5)"}}`
	}
	data := load(t, "eight_schools.json")
	var all [][]thermo.Reading
	o := sampler.Options{Warmup: 1000, Draws: 8000, Seed: 1}
	for i, centred := range []string{"true", "false"} {
		o.Temperature = 4
		r := sample(t, spec(centred), data, sampler.NUTS{StepSize: 0.1}, o)
		tau := r.Summaries()[9]
		all = append(all, []thermo.Reading{{Name: "tau", Value: tau.Mean, StdErr: tau.MCSE}, r.Energy(), r.HeatCapacity()})
		if i == 1 {
			s := parse(t, spec(centred))
			for _, ends := range [][2]float64{{4, 12}, {1, 4}} {
				o.Temperature = ends[0]
				tempered, err := sampler.RunTempered(t.Context(), func(int) (sampler.Density, error) { return posterior.New(s, data) },
					sampler.NUTS{StepSize: 0.1}, sampler.Ladder{Hottest: ends[1], Rungs: 3}, o)
				if err != nil {
					t.Fatal(err)
				}
				if ends[0] == 4 {
					tau := tempered.Summaries()[9]
					all = append(all, []thermo.Reading{{Name: "tau", Value: tau.Mean, StdErr: tau.MCSE}, tempered.Energy(), tempered.HeatCapacity()})
				} else if want, got := all[0][1], tempered.Energies[2]; math.Abs(got.Value-want.Value) > 4*math.Hypot(want.StdErr, got.StdErr) || got.StdErr > 0.1 {
					t.Errorf("the hottest rung has the energy %v, alone it is %v", got, want)
				}
			}
		}
	}
	for _, other := range all[1:] {
		for i, a := range all[0] {
			if b := other[i]; math.Abs(a.Value-b.Value) > 4*math.Hypot(a.StdErr, b.StdErr) || b.StdErr > 0.05*b.Value {
				t.Errorf("%s is %v, and %v", a.Name, a, b)
			}
		}
	}
}

// A cold mixture against a random walk in the parameters themselves.
func TestTemperatureOfAMixture(t *testing.T) {
	if testing.Short() {
		t.Skip("statistics alone: ten times as slow under the race detector")
	}
	const T = 0.4
	y := []float64{-2.2, -1.9, -1.4, 0.8, 1.1, 1.9, -2.5}
	spec := `{"model": "mixture", "response": "y", "components": 2, "priors": {"mu": "normal(0, 3)", "sigma": "gamma(4, 4)", "weights": "dirichlet(1.5)"}}`
	data := posterior.Data{"y": {Rows: len(y), Values: y}}
	s := parse(t, spec)
	m, err := posterior.New(s, data)
	if err != nil {
		t.Fatal(err)
	}
	energy := func(x []float64) float64 { // of mu₁, mu₂, sigma₁, sigma₂, weight₁
		if !(x[0] < x[1] && x[2] > 0 && x[3] > 0 && x[4] > 0 && x[4] < 1) {
			return math.Inf(1)
		}
		return m.Energy([]float64{x[0], math.Log(x[1] - x[0]), math.Log(x[2]), math.Log(x[3]), math.Log(x[4] / (1 - x[4]))})
	}
	rng := rand.New(rand.NewPCG(4, 4))
	const chains, steps, burn = 4, 200000, 10000
	draws := make([][][]float64, 5) // quantity, chain
	for range chains {
		x, next := []float64{-2, 1, 0.5, 0.5, 0.5}, make([]float64, 5)
		e := energy(x)
		trace := make([][]float64, 5)
		for step := range steps {
			for i := range x {
				next[i] = x[i] + 0.15*rng.NormFloat64()
			}
			if f := energy(next); rng.Float64() < math.Exp((e-f)/T) {
				copy(x, next)
				e = f
			}
			if step >= burn && step%10 == 0 {
				for i, v := range x {
					trace[i] = append(trace[i], v)
				}
			}
		}
		for i := range draws {
			draws[i] = append(draws[i], trace[i])
		}
	}
	r := sample(t, spec, data, sampler.NUTS{StepSize: 0.1}, sampler.Options{Warmup: 1000, Draws: 5000, Temperature: T, Seed: 3})
	for i, q := range r.Summaries()[:5] {
		want, se := stat.Mean(slices.Concat(draws[i]...), nil), sampler.MCSE(draws[i])
		if math.Abs(q.Mean-want) > 4*math.Hypot(q.MCSE, se) || math.Hypot(q.MCSE, se) > 0.02 {
			t.Errorf("%s is %.4f ± %.4f, a random walk gives %.4f ± %.4f", q.Name, q.Mean, q.MCSE, want, se)
		}
	}
}

// A mixture finds the components that its data came from.
func TestMixture(t *testing.T) {
	if testing.Short() {
		t.Skip("statistics alone: ten times as slow under the race detector")
	}
	rng := rand.New(rand.NewPCG(10, 10))
	y := make([]float64, 400)
	for i := range y {
		if y[i] = -2 + 0.5*rng.NormFloat64(); rng.Float64() < 0.3 {
			y[i] = 1 + rng.NormFloat64()
		}
	}
	spec := `{"model": "mixture", "response": "y", "components": 2, "priors": {"mu": "normal(0, 5)", "sigma": "half-normal(2)", "weights": "dirichlet(2)"}}`
	r := sample(t, spec, posterior.Data{"y": {Rows: 400, Values: y}}, sampler.NUTS{StepSize: 0.1}, sampler.Options{Warmup: 500, Draws: 1000, Seed: 3})
	for i, want := range []float64{-2, 1, 0.5, 1, 0.7, 0.3} {
		if s := r.Summaries()[i]; math.Abs(s.Mean-want) > 4*s.SD {
			t.Errorf("%s is %.3f ± %.3f, made with %v", s.Name, s.Mean, s.SD, want)
		}
	}
	if f := r.Findings(); len(f) > 0 {
		t.Errorf("findings %+v", f)
	}
}

// Simulation-based calibration (Talts et al. 2018): parameters drawn from the
// prior, data from them, posterior draws from those: the rank of the parameter
// among the draws is uniform.
func TestSimulationBasedCalibration(t *testing.T) {
	if testing.Short() {
		t.Skip("statistics alone: ten times as slow under the race detector")
	}
	x := []float64{-1, -0.5, 0, 0.3, 1, 2}
	calibrate(t, `{"model": "glm", "family": "normal", "response": "y", "predictors": ["x"], "intercept": true,
		"priors": {"alpha": "normal(0, 1)", "beta": "normal(1, 2)", "sigma": "half-normal(1)"}}`, func(rng *rand.Rand) ([]float64, posterior.Data) {
		truth := []float64{rng.NormFloat64(), 1 + 2*rng.NormFloat64(), math.Abs(rng.NormFloat64())}
		y := make([]float64, len(x))
		for j := range y {
			y[j] = truth[0] + truth[1]*x[j] + truth[2]*rng.NormFloat64()
		}
		return truth, posterior.Data{"x": {Rows: len(x), Values: x}, "y": {Rows: len(x), Values: y}}
	})
}

// The same for a mixture of two normals, one weight uniform.
func TestCalibrationOfAMixture(t *testing.T) {
	if flag.Lookup("long").Value.String() != "true" {
		t.Skip("SKIP: takes ten seconds; run with -long")
	}
	calibrate(t, `{"model": "mixture", "response": "y", "components": 2,
		"priors": {"mu": "normal(0, 3)", "sigma": "lognormal(0, 0.3)", "weights": "dirichlet(1)"}}`, func(rng *rand.Rand) ([]float64, posterior.Data) {
		mu := []float64{3 * rng.NormFloat64(), 3 * rng.NormFloat64()}
		slices.Sort(mu)
		sigma := []float64{math.Exp(0.3 * rng.NormFloat64()), math.Exp(0.3 * rng.NormFloat64())}
		weight := rng.Float64()
		y := make([]float64, 12)
		for j := range y {
			k := 0
			if rng.Float64() > weight {
				k = 1
			}
			y[j] = mu[k] + sigma[k]*rng.NormFloat64()
		}
		return append(append(mu, sigma...), weight), posterior.Data{"y": {Rows: len(y), Values: y}}
	})
}

// calibrate compares the ranks of simulated truths, of which there may be fewer
// than quantities, with a uniform distribution.
func calibrate(t *testing.T, spec string, simulate func(*rand.Rand) ([]float64, posterior.Data)) {
	t.Helper()
	const replicates, draws, bins = 320, 63, 8
	var counts [][bins]int
	var names []string
	for i := range replicates {
		truth, data := simulate(rand.New(rand.NewPCG(11, uint64(i))))
		r := sample(t, spec, data, sampler.NUTS{StepSize: 0.1}, sampler.Options{Chains: 1, Warmup: 300, Draws: 5 * draws, Thin: 5, Seed: uint64(i)})
		if names = r.Names; counts == nil {
			counts = make([][bins]int, len(truth))
		}
		for q, want := range truth {
			rank := 0
			for _, v := range r.Chain(q)[0] {
				if v < want {
					rank++
				}
			}
			counts[q][rank*bins/(draws+1)]++
		}
	}
	for q, c := range counts {
		var chi2 float64
		for _, n := range c {
			expected := float64(replicates) / bins
			chi2 += (float64(n) - expected) * (float64(n) - expected) / expected
		}
		p := distuv.ChiSquared{K: bins - 1}.Survival(chi2)
		if t.Logf("%s: ranks %v, p = %.2g", names[q], c, p); p < 0.001 {
			t.Errorf("%s: ranks %v are not uniform (p = %.2g)", names[q], c, p)
		}
	}
}
