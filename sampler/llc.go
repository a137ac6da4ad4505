package sampler

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/kelvin-ml/kelvin/thermo"
	"gonum.org/v1/gonum/floats"
)

// LLCOptions say how a local learning coefficient is read. Temperature is 1/β:
// for an energy that is the sum of n losses, ln n.
type LLCOptions struct {
	Options
	Localisation float64 // γ > 0 of the prior exp(−γ|θ − θ*|²/2), which keeps the chains about θ*
	Hottest      float64 // parallel tempering up to this temperature, with Rungs; 0: none
	Rungs        int
}

// An LLC is a local learning coefficient with what it rests on.
type LLC struct {
	Value    thermo.Reading // λ̂ = β(⟨E⟩ − E(θ*)); not valid when the chains are not in equilibrium
	Beta     float64
	Minimum  float64        // E(θ*)
	Energy   thermo.Reading // ⟨E⟩, without the localising prior
	BurnIn   int            // first draws of every chain, after the warm-up, that are left out: as many as leave most that are independent
	Zeroth   thermo.Zeroth
	Findings []thermo.Finding
	Chains   *Result   // without the burn-in; the quantity drawn is |θ − θ*|²
	Ladder   *Tempered // what parallel tempering adds, or nil
}

// LearningCoefficient reads the local learning coefficient of the energy at
// theta by the estimator λ̂ = β(⟨E⟩_β − E(θ*)) (docs/theory.md, T8; Lau et al.
// 2023), E a total energy: the sum of n losses at β = 1/ln n. At a finite β it
// differs from the real log canonical threshold λ by about (m − 1)/ln β, m its
// multiplicity.
//
// The kernel must be exact (NUTS, HMC, MALA): a biased one adds its own heat to
// λ̂. The reading is refused, with the reason, when the thermometers do not read
// the bath's temperature or the chains disagree. Cancelling ctx during the draws
// returns a reading of those that there are, together with the error of ctx.
func LearningCoefficient(ctx context.Context, density func(chain int) (Density, error), kernel Kernel, theta []float64, o LLCOptions) (*LLC, error) {
	if _, exact := kernel.(tunable); !exact {
		return nil, fmt.Errorf("learning coefficient: expected an exact kernel (NUTS, HMC, MALA), got %T", kernel)
	}
	if !(o.Localisation > 0) || math.IsInf(o.Localisation, 0) {
		return nil, fmt.Errorf("learning coefficient: expected a localisation above 0, got %v", o.Localisation)
	}
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("learning coefficient: %w", err)
	}
	o.Thin = 1
	o.Curvature = false // singular minima curve on scales far below those of their valleys
	o.Start = func(int, *rand.Rand) []float64 { return theta }
	o.centre = theta // E is nearly homogeneous about a minimum; elsewhere steep walls add their noise to the virial
	first, err := density(0)
	if err != nil {
		return nil, fmt.Errorf("learning coefficient: %w", err)
	}
	if first.Dim() != len(theta) {
		return nil, fmt.Errorf("learning coefficient: expected %d parameters, got %d", first.Dim(), len(theta))
	}
	l := &LLC{Beta: 1 / o.Temperature, Minimum: first.Energy(theta)}
	if !finite(l.Minimum) {
		return nil, fmt.Errorf("learning coefficient: the energy at the parameters is %v", l.Minimum)
	}
	local := func(chain int) (Density, error) {
		d, err := density(chain)
		return localised{d, theta, o.Localisation}, err
	}
	if o.Hottest > 0 {
		l.Ladder, err = RunTempered(ctx, local, kernel, Ladder{o.Hottest, o.Rungs}, o.Options)
		if l.Ladder != nil {
			l.Chains = l.Ladder.Result
		}
	} else {
		l.Chains, err = Run(ctx, local, kernel, o.Options)
	}
	if l.Chains != nil && err != nil {
		l.Chains = l.Chains.Trimmed()
	}
	if l.Chains == nil {
		return nil, fmt.Errorf("learning coefficient: %w", err)
	}
	l.read()
	return l, err
}

// A localised density has the volume exp(−γ|θ − centre|²/2): the localising prior,
// which then is the same at every temperature. Tempering goes up to it, where the
// replicas forget where they were.
type localised struct {
	Density
	centre   []float64
	strength float64 // γ
}

func (l localised) LogVolume(theta, gradient []float64) float64 {
	for i, c := range l.centre {
		gradient[i] = -l.strength * (theta[i] - c)
	}
	d := floats.Distance(theta, l.centre, 2)
	return -l.strength * d * d / 2
}

func (localised) Names() []string { return []string{"distance, squared"} }

func (l localised) Report(theta, out []float64) {
	d := floats.Distance(theta, l.centre, 2)
	out[0] = d * d
}

// read computes the coefficient from the chains and says whether to trust it.
func (l *LLC) read() {
	energies := l.Chains.series(func(c *Chain) []float64 { return c.Energy })
	var settled bool
	l.BurnIn, settled = burnIn(energies)
	for i := range energies {
		energies[i] = energies[i][l.BurnIn:]
	}
	l.Chains = l.Chains.without(l.BurnIn)
	l.Energy = estimate("energy", "energy", energies)
	l.Value = l.Energy
	l.Value.Name, l.Value.Unit = "learning coefficient", "1"
	l.Value.Value = l.Beta * (l.Energy.Value - l.Minimum)
	l.Value.StdErr *= l.Beta
	l.Zeroth = l.Chains.ZerothLaw()
	l.Findings = l.Chains.Findings()
	if !settled {
		l.Value.Invalid = "not in equilibrium: the energy has not settled in the first half of the draws"
		l.Findings = append(l.Findings, thermo.Finding{ID: "not-settled", Severity: thermo.Critical,
			What: "the chains are still on their way to equilibrium", Evidence: fmt.Sprintf("without the first %d draws of each chain more are independent than with them", l.BurnIn),
			Change: "lengthen the warm-up"})
	}
	if rHat := RHat(energies); rHat > 1.05 {
		l.Value.Invalid = fmt.Sprintf("the chains disagree about the energy (R-hat %.2f)", rHat)
	}
	if l.Zeroth.Verdict == thermo.NotEquilibrium && l.Zeroth.PValue < 0.001 {
		l.Value.Invalid = "not in equilibrium: " + l.Zeroth.Reason
	}
	if l.Value.Valid() && l.Value.Value < -4*l.Value.StdErr {
		l.Value.Invalid = "negative: the parameters are not a minimum of the energy"
		l.Findings = append(l.Findings, thermo.Finding{ID: "not-a-minimum", Severity: thermo.Critical,
			What: "the chains found lower energies than that of the parameters", Evidence: fmt.Sprintf("mean energy %v, at the parameters %.6g", l.Energy, l.Minimum),
			Change: "train to a minimum first, or localise more strongly"})
	}
}

// burnIn chooses how many of the first draws to leave out: that share, in steps
// of a twentieth up to a half, which leaves the largest effective sample size
// (Chodera, J. Chem. Theory Comput. 12, 1799, 2016). It reports false if that is
// the half: then no part of the chains has been seen to stay where it is.
func burnIn(chains [][]float64) (int, bool) {
	const steps = 10
	n := len(chains[0])
	best, most := 0, 0.0
	for i := range steps + 1 {
		rest := make([][]float64, len(chains))
		for j, c := range chains {
			rest[j] = c[i*n/(2*steps):]
		}
		if size := ESS(rest); size > most {
			best, most = i, size
		}
	}
	return best * n / (2 * steps), best < steps
}

// without returns r, whose chains keep every step, without the first of their
// traces and draws. What they have counted stays.
func (r *Result) without(first int) *Result {
	if first == 0 {
		return r
	}
	rest := *r
	rest.Chains = slices.Clone(r.Chains)
	from := func(trace []float64) []float64 { return trace[min(first, len(trace)):] }
	for i, c := range r.Chains {
		c := *c
		c.Draws = c.Draws[first*len(r.Names):]
		c.Energy, c.Virial, c.Gradient2, c.Kinetic, c.Curvature = from(c.Energy), from(c.Virial), from(c.Gradient2), from(c.Kinetic), from(c.Curvature)
		rest.Chains[i] = &c
	}
	return &rest
}

// A Window is a density in a range of another's parameters, the others fixed:
// that of one layer, say.
type Window struct {
	Whole  Density
	Theta  []float64 // all parameters; those in the range are overwritten
	Offset int
	Size   int

	gradient []float64
}

// NewWindow returns the window of parameters offset … offset+size−1 about
// theta, which is copied.
func NewWindow(d Density, theta []float64, offset, size int) (*Window, error) {
	if len(theta) != d.Dim() || offset < 0 || size < 1 || offset > len(theta)-size {
		return nil, errors.New("window: expected a range within the parameters")
	}
	return &Window{d, append([]float64(nil), theta...), offset, size, make([]float64, len(theta))}, nil
}

// Dim implements [Density].
func (w *Window) Dim() int { return w.Size }

// Energy implements [Density].
func (w *Window) Energy(theta []float64) float64 {
	copy(w.Theta[w.Offset:], theta)
	return w.Whole.Energy(w.Theta)
}

// Gradient implements [Density].
func (w *Window) Gradient(theta, gradient []float64) float64 {
	copy(w.Theta[w.Offset:], theta)
	e := w.Whole.Gradient(w.Theta, w.gradient)
	copy(gradient, w.gradient[w.Offset:w.Offset+w.Size])
	return e
}

// A manyScales kernel is NUTS whose step is drawn anew for every trajectory, from
// its StepSize down by up to as many decades, evenly in the logarithm. The valleys
// of a singular minimum narrow from its corner outwards, and of a step that is
// right at one place there a replica elsewhere does not move.
type manyScales struct {
	NUTS
	decades float64
}

func (k manyScales) Step(d Density, s *State, rng *rand.Rand) (Info, error) {
	n := k.NUTS
	n.StepSize *= math.Pow(10, -k.decades*rng.Float64())
	return n.Step(d, s, rng)
}

func (k manyScales) withLeapfrogStep(h float64) tunable { k.StepSize = h; return k }
func (k manyScales) withMetric(m *Metric) tunable       { k.Metric = m; return k }
