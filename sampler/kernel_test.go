package sampler

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"
)

func run(t *testing.T, d Density, k Kernel, o Options) *Result {
	t.Helper()
	r, err := Run(context.Background(), shared(d), k, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// near fails unless got is within four standard errors of want.
func near(t *testing.T, what string, got, want, stderr float64) {
	t.Helper()
	if !(math.Abs(got-want) <= 4*stderr) {
		t.Errorf("%s: got %.5g ± %.2g, want %.5g", what, got, stderr, want)
	}
}

// meanSquare checks ⟨θᵢ²⟩ of kept draws, with its own Monte-Carlo error.
func meanSquare(t *testing.T, what string, r *Result, i int, want float64) {
	t.Helper()
	squares := transform(r.Chain(i), func(x float64) float64 { return x * x })
	var sum, n float64
	for _, c := range squares {
		for _, x := range c {
			sum += x
			n++
		}
	}
	se := MCSE(squares)
	near(t, what, sum/n, want, se)
	if !(se < 0.1*want) {
		t.Errorf("%s: the standard error %.2g of %.3g says little", what, se, want)
	}
}

// Every kernel draws from the temperature it is asked for, up to the bias that
// its documentation states.
func TestKernelsOnAQuadratic(t *testing.T) {
	const T = 0.75
	lambda := []float64{0.5, 1, 4}
	d := gaussian{lambda: lambda}
	exact := func(l float64) float64 { return T / l }
	for _, c := range []struct {
		name     string
		kernel   Kernel
		variance func(lambda float64) float64
		warmup   int
	}{
		{"SGLD", SGLD{0.1}, func(l float64) float64 { return T / (l * (1 - 0.1*l/2)) }, 500},
		{"MALA", MALA{0.1}, exact, 500},
		{"SGHMC", SGHMC{0.4, 1}, exact, 500},
		{"SGNHT", SGNHT{0.15, 1}, exact, 500},
		{"HMC", HMC{StepSize: 0.1, Steps: 5}, exact, 500},
		{"HMC untuned", HMC{StepSize: 0.4, Steps: 5}, exact, 0},
		{"NUTS", NUTS{StepSize: 0.1}, exact, 500},
		{"NUTS untuned", NUTS{StepSize: 0.5}, exact, 0},
		{"NUTS coarse", NUTS{StepSize: 0.9}, exact, 0},
	} {
		r := run(t, d, c.kernel, Options{Warmup: c.warmup, Draws: 20000, Thin: 1, Temperature: T, Seed: 1})
		for i, l := range lambda {
			meanSquare(t, c.name, r, i, c.variance(l))
		}
		if k := r.Chains[0].Kinetic; k != nil {
			kinetic := r.series(func(c *Chain) []float64 { return c.Kinetic })
			want := T
			if c.name == "SGHMC" {
				want = T * (1 - 0.16*(lambda[0]+lambda[1]+lambda[2])/12)
			}
			var mean float64
			for _, chain := range kinetic {
				for _, x := range chain {
					mean += x / float64(len(kinetic)*len(chain))
				}
			}
			if c.name != "SGNHT" { // its kinetic energy is controlled, with an O(h²) bias
				near(t, c.name+" kinetic", mean, want, MCSE(kinetic))
			}
		}
	}
}

// Noise in the gradient heats SGLD as predicted; the thermostat absorbs it.
func TestGradientNoise(t *testing.T) {
	lambda := []float64{1, 1, 1, 1}
	noisy := func(chain int) (Density, error) {
		return gaussian{lambda, 2, rand.New(rand.NewPCG(7, uint64(chain)))}, nil
	}
	o := Options{Warmup: 2000, Draws: 40000, Thin: 2, Seed: 2}
	for _, c := range []struct {
		name   string
		kernel Kernel
		want   float64
	}{
		{"SGLD", SGLD{0.1}, (1 + 0.1*4/2) / 0.95},
		{"SGNHT", SGNHT{0.05, 1}, 1},
	} {
		r, err := Run(context.Background(), noisy, c.kernel, o)
		if err != nil {
			t.Fatal(err)
		}
		meanSquare(t, c.name, r, 0, c.want)
	}
}

// A preconditioner that is fixed after its adaptation samples the right target,
// with the bias of SGLD at the step of each parameter.
func TestPreconditionedSGLD(t *testing.T) {
	d := gaussian{lambda: []float64{0.01, 100}}
	r := run(t, d, PSGLD{StepSize: 0.02, Decay: 0.99, Floor: 1e-5, Adapt: 2000}, Options{Warmup: 2000, Draws: 100000, Thin: 4, Seed: 3})
	for i, l := range d.lambda {
		var want float64
		for _, c := range r.Chains {
			step := 0.02 / (1e-5 + math.Sqrt(c.State.Scale[i]))
			want += 1 / (l * (1 - step*l/2)) / float64(len(r.Chains))
		}
		meanSquare(t, "PSGLD", r, i, want)
	}
}

// A dense and a diagonal metric in 100 correlated dimensions of unequal scale.
func TestCorrelatedGaussian(t *testing.T) {
	if testing.Short() {
		t.Skip("statistics alone: ten times as slow under the race detector")
	}
	d := correlated{mu: make([]float64, 100), sigma: make([]float64, 100), rho: 0.8}
	for i := range d.mu {
		d.mu[i] = float64(i % 7)
		d.sigma[i] = math.Pow(10, float64(i%5)-2)
	}
	for _, dense := range []bool{false, true} {
		r := run(t, d, NUTS{StepSize: 1}, Options{Warmup: 1000, Draws: 1000, Seed: 4, Dense: dense})
		for i, s := range r.Summaries() {
			near(t, s.Name, s.Mean, d.mu[i], s.MCSE)
			if s.RHat > 1.01 || s.ESSBulk < 1000 {
				t.Errorf("%s: R̂ %.3f, ESS %.0f", s.Name, s.RHat, s.ESSBulk)
			}
			if ratio := s.SD / d.sigma[i]; math.Abs(ratio-1) > 0.12 {
				t.Errorf("%s: standard deviation %.3f of the true one", s.Name, ratio)
			}
		}
	}
}

func TestRosenbrock(t *testing.T) {
	r := run(t, rosenbrock{}, NUTS{StepSize: 1}, Options{Warmup: 1000, Draws: 8000, Seed: 5})
	s := r.Summaries()
	near(t, "x", s[0].Mean, 1, s[0].MCSE)
	near(t, "y", s[1].Mean, 1.5, s[1].MCSE)
}

// unfolded is the funnel in parameters in which it is a normal distribution, v/3
// and x·e^{−v/2}; it reports v and ln x² of the first x.
type unfolded struct{ gaussian }

func (unfolded) Names() []string { return []string{"v", "ln x²"} }

func (unfolded) Report(theta, out []float64) {
	out[0] = 3 * theta[0]
	out[1] = out[0] + 2*math.Log(math.Abs(theta[1]))
}

func TestUnfoldedFunnel(t *testing.T) {
	lambda := []float64{1, 1, 1, 1, 1, 1, 1, 1, 1, 1}
	r := run(t, unfolded{gaussian{lambda: lambda}}, NUTS{StepSize: 1}, Options{Warmup: 500, Draws: 4000, Seed: 6})
	s := r.Summaries()
	near(t, "v", s[0].Mean, 0, s[0].MCSE)
	near(t, "ln x²", s[1].Mean, -math.Ln2-0.5772156649, s[1].MCSE) // ⟨v⟩ + ⟨ln χ²₁⟩
	if math.Abs(s[0].SD-3) > 0.1 {
		t.Errorf("standard deviation of v %.3f, want 3", s[0].SD)
	}
}

// As it is, the funnel's neck defeats a step of the usual acceptance, and the
// divergences say so (TestFindingsOfTheFunnel); steps small enough reach it.
func TestFunnel(t *testing.T) {
	if !*long {
		t.Skip("SKIP: takes ten seconds; run with -long")
	}
	r := run(t, funnel{}, NUTS{StepSize: 1}, Options{Warmup: 1000, Draws: 4000, Seed: 6, Acceptance: 0.99})
	v := r.Summaries()[0]
	near(t, "v", v.Mean, 0, v.MCSE)
	if v.MCSE > 0.4 || math.Abs(v.SD-3) > 0.4 {
		t.Errorf("v: %+v", v)
	}
}
