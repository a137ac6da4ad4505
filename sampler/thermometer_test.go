package sampler

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/kelvin-ml/kelvin/thermo"
	"gonum.org/v1/gonum/stat/distuv"
)

// On a quadratic of curvature 1 SGLD with step ε holds T/(1 − ε/2), not T. The
// thermometers read that, and the finding says which step would do.
func TestSGLDTooHot(t *testing.T) {
	const T = 0.75
	step := 2 * (1 - 0.75/0.79)
	d := gaussian{lambda: []float64{1, 1, 1, 1, 1, 1, 1, 1}}
	r := run(t, d, SGLD{step}, Options{Warmup: 500, Draws: 40000, Thin: 4, Temperature: T, Seed: 1, Curvature: true})
	for _, reading := range r.Thermometers() {
		near(t, reading.Name, reading.Value, 0.79, reading.StdErr)
		if !reading.Valid() || reading.StdErr > 0.005 {
			t.Errorf("%s: %v", reading.Name, reading)
		}
	}
	findings := r.Findings()
	if len(findings) != 1 || findings[0].What != "reads 0.79, asked 0.75: step size 4x too large" {
		t.Errorf("findings: %+v", findings)
	}
	if z := r.ZerothLaw(); z.Verdict != thermo.NotEquilibrium {
		t.Errorf("the thermometers agree with each other, not with the bath: %+v", z)
	}
	// A quarter of the step passes.
	r = run(t, d, SGLD{step / 4.2}, Options{Warmup: 2000, Draws: 40000, Thin: 8, Temperature: T, Seed: 1, Curvature: true})
	if findings := r.Findings(); len(findings) != 0 {
		t.Errorf("findings: %+v", findings)
	}
}

// All thermometers of the exact kernels agree on T, whatever the curvatures.
func TestThermometersAgree(t *testing.T) {
	for _, k := range []Kernel{MALA{0.1}, HMC{StepSize: 0.1, Steps: 10}, NUTS{StepSize: 0.1}} {
		d := gaussian{lambda: []float64{0.01, 1, 100}}
		if _, mala := k.(MALA); mala { // has no metric
			d.lambda = []float64{0.5, 1, 2}
		}
		r := run(t, d, k, Options{Warmup: 1000, Draws: 5000, Temperature: 3, Seed: 2, Curvature: true})
		for _, reading := range r.Thermometers() {
			near(t, reading.Name, reading.Value, 3, reading.StdErr)
		}
		near(t, "energy", r.Energy().Value, 4.5, r.Energy().StdErr)
		near(t, "heat capacity", r.HeatCapacity().Value, 1.5, r.HeatCapacity().StdErr)
		if z := r.ZerothLaw(); z.Verdict != thermo.Equilibrium {
			t.Errorf("%T: %+v", k, z)
		}
		if len(r.Findings()) > 0 {
			t.Errorf("%T: %+v", k, r.Findings())
		}
	}
}

// The energies of a quadratic in three dimensions are T times half a χ² of as
// many degrees of freedom; of thinned chains the heat capacity stays that.
func TestEnergies(t *testing.T) {
	d := gaussian{lambda: []float64{1, 1, 1}}
	for _, thin := range []int{1, 5} {
		r := run(t, d, HMC{StepSize: 0.5, Steps: 4}, Options{Warmup: 500, Draws: 20000, Thin: thin, Temperature: 2, Seed: 5})
		near(t, "heat capacity", r.HeatCapacity().Value, 1.5, r.HeatCapacity().StdErr)
		if thin > 1 {
			continue
		}
		h := r.EnergyHistogram()
		total, chi2 := 0, distuv.ChiSquared{K: 3}
		edge := func(i int) float64 { return h.Low + (h.High-h.Low)*float64(i)/float64(len(h.Counts)) }
		for i, n := range h.Counts {
			total += n
			expected := 80000 * (chi2.CDF(edge(i+1)) - chi2.CDF(edge(i))) // E = χ²·T/2
			if expected > 100 {
				near(t, "draws in a bin", float64(n), expected, 2*math.Sqrt(expected)) // correlated draws
			}
		}
		if total != 80000 || len(h.Counts) < 20 {
			t.Errorf("%d draws in %d bins", total, len(h.Counts))
		}
	}
}

// What could not be checked is a finding.
func TestFindingsOfFewDraws(t *testing.T) {
	d := gaussian{lambda: []float64{1, 1}}
	ids := func(r *Result) string {
		var ids []string
		for _, f := range r.Findings() {
			ids = append(ids, f.ID)
		}
		return fmt.Sprint(ids)
	}
	if got := ids(run(t, d, NUTS{StepSize: 1}, Options{Warmup: 100, Draws: 3, Seed: 1})); got != "[temperature-unknown few-draws]" {
		t.Errorf("3 draws: %s", got)
	}
	// No step is accepted: the chains stay where they began.
	if got := ids(run(t, d, HMC{StepSize: 1e6, Steps: 1}, Options{Draws: 100, Seed: 1, Start: func(chain int, _ *rand.Rand) []float64 { return []float64{1, 2} }})); !strings.Contains(got, "temperature-unknown not-mixed") {
		t.Errorf("chains that stay: %s", got)
	}
	// Colder than asked by less than the thermometers show one by one, but all do.
	r := run(t, d, NUTS{StepSize: 1}, Options{Warmup: 500, Draws: 4000, Seed: 1, Curvature: true})
	r.Temperature = 1.045
	if got := ids(r); got != "[not-in-equilibrium]" && got != "[too-cold]" {
		t.Errorf("another bath: %s, %+v", got, r.ZerothLaw())
	}
	one := run(t, doubleWell{8}, NUTS{StepSize: 0.1}, Options{Chains: 1, Draws: 8, Seed: 1})
	for _, f := range one.Findings() {
		if f.ID == "not-mixed" && strings.Contains(f.What, "the chains") {
			t.Errorf("one chain: %s", f.What)
		}
	}
}

// Thinned afterwards, a result is that of a run with twice the steps a draw, but
// for the random numbers of the curvature; what follows too.
func TestHalve(t *testing.T) {
	d := rosenbrock{}
	for _, draws := range []int{60, 57} {
		o := Options{Chains: 2, Warmup: 50, Draws: draws, Thin: 3, Seed: 3}
		halved := run(t, d, HMC{StepSize: 0.1, Steps: 4}, o)
		o.Thin = 6
		want := run(t, d, HMC{StepSize: 0.1, Steps: 4}, o)
		halved.Halve()
		for _, total := range []int{draws, 100} {
			for _, r := range []*Result{halved, want} {
				if err := Extend(t.Context(), r, shared(d), total, nil); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(want, halved, cmpopts.IgnoreUnexported(State{}, Metric{}), cmpopts.EquateApprox(1e-12, 1e-12), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%d of %d: %s", draws, total, diff)
			}
		}
	}
}

func TestFindingsOfTheFunnel(t *testing.T) {
	r := run(t, funnel{}, NUTS{StepSize: 1}, Options{Warmup: 1000, Draws: 2000, Seed: 6})
	var ids []string
	for _, f := range r.Findings() {
		ids = append(ids, f.ID)
	}
	if !strings.Contains(fmt.Sprint(ids), "divergences") {
		t.Errorf("findings %v, want divergences among them", ids)
	}
}

// Stored in the middle and continued, the chains are those of one run; those of
// parallel tempering too.
func TestExtendContinuesExactly(t *testing.T) {
	d := rosenbrock{}
	tempered := func(o Options) *Result {
		r, err := RunTempered(t.Context(), shared(d), HMC{StepSize: 0.1, Steps: 4}, Ladder{Hottest: 8, Rungs: 4}, o)
		if err != nil {
			t.Fatal(err)
		}
		return r.Result
	}
	runs := []func(Options) *Result{tempered}
	for _, k := range []Kernel{SGLD{0.001}, PSGLD{0.001, 0.99, 1e-5, 10}, MALA{0.01}, SGHMC{0.05, 1}, SGNHT{0.05, 1},
		HMC{StepSize: 0.1, Steps: 4}, NUTS{StepSize: 0.1}} {
		runs = append(runs, func(o Options) *Result { return run(t, d, k, o) })
	}
	for _, draw := range runs {
		o := Options{Chains: 2, Warmup: 100, Draws: 60, Seed: 3, Dense: true, Curvature: true}
		whole := draw(o)
		o.Draws = 25
		data, err := json.Marshal(draw(o))
		if err != nil {
			t.Fatal(err)
		}
		var stored Result
		if err := json.Unmarshal(data, &stored); err != nil {
			t.Fatal(err)
		}
		if err := Extend(context.Background(), &stored, shared(d), 60, nil); err != nil {
			t.Fatal(err)
		}
		ignored := cmpopts.IgnoreUnexported(State{}, Metric{})
		if diff := cmp.Diff(whole, &stored, ignored); diff != "" {
			t.Errorf("%T: %s", whole.Chains[0].Kernel.Kernel, diff)
		}
		if diff := cmp.Diff(whole.Tempered(), stored.Tempered(), ignored); diff != "" {
			t.Errorf("tempering: %s", diff)
		}
		if e := stored.Chains[0].Ensemble; e != nil {
			for _, spoil := range []func(){func() { e.Replica[1] = 4 }, func() { e.States[2].Gradient = nil }, func() { e.Tried = nil }, func() { e.Blocks = nil }} {
				spoil()
				if data, err = json.Marshal(stored); err != nil {
					t.Fatal(err)
				}
				var broken Result
				if err := json.Unmarshal(data, &broken); err == nil || !strings.Contains(err.Error(), "ensemble: ") {
					t.Errorf("a spoilt ensemble was read: error %v", err)
				}
			}
		}
	}
}

// A cancelled run gives what it has, in whole thinned blocks.
func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	taken := 0
	o := Options{Chains: 1, Draws: 1 << 30, Thin: 4, Progress: func(steps int) {
		if taken += steps; taken > 1000 {
			cancel()
		}
	}}
	r, err := Run(ctx, shared(rosenbrock{}), HMC{StepSize: 0.1, Steps: 4}, o)
	if err != context.Canceled || r == nil {
		t.Fatalf("result %v, error %v", r != nil, err)
	}
	if c := r.Chains[0]; c.Moments.N%r.Thin != 0 || c.Kept() != c.Moments.N/r.Thin || c.Kept() < 100 {
		t.Errorf("%d steps, %d kept, thinned by %d", c.Moments.N, c.Kept(), r.Thin)
	}
}

type broken struct{ gaussian }

func (broken) Gradient(theta, gradient []float64) float64 {
	clear(gradient)
	if math.Abs(theta[0]) > 1 {
		return math.NaN()
	}
	return 0
}

func TestErrorsNameTheCause(t *testing.T) {
	d := gaussian{lambda: []float64{1, 1}}
	for want, run := range map[string]func() error{
		"chain 1: SGLD: expected a step size above 0, got -1": func() error {
			return second(Run(context.Background(), shared(d), SGLD{-1}, Options{Chains: 1, Draws: 1}))
		},
		"step size 30 is too large": func() error {
			return second(Run(context.Background(), shared(d), SGLD{30}, Options{Chains: 1, Draws: 1000}))
		},
		"the energy became NaN": func() error {
			return second(Run(context.Background(), shared(broken{d}), SGLD{0.1}, Options{Chains: 1, Draws: 1000, Start: atZero}))
		},
		"at most as many steps per kept draw as there are steps, 10, got 11": func() error {
			return second(Run(context.Background(), shared(d), SGLD{1}, Options{Draws: 10, Thin: 11}))
		},
		"expected at least 1 chain": func() error { return second(Run(context.Background(), shared(d), SGLD{1}, Options{})) },
		"positive definite": func() error {
			return second(Run(context.Background(), shared(d), NUTS{StepSize: 1, Metric: &Metric{Dense: []float64{1, 2, 2, 1}}}, Options{Draws: 1}))
		},
	} {
		if err := run(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func second(_ *Result, err error) error { return err }
