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
	"gonum.org/v1/gonum/optimize"
	"gonum.org/v1/gonum/stat"
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
	Value    thermo.Reading // λ̂ = β(⟨E⟩ − E(θ*)); not valid when the chains are not in equilibrium or θ* is not at a minimum
	Beta     float64
	Minimum  float64        // E(θ*)
	Lowest   float64        // to which E falls on a descent from θ*: E(θ*) if this is a minimum
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
// the bath's temperature or the chains disagree, or when θ* is not at a minimum: by
// how much β·E falls on a descent from it, λ̂ is too small, so this must be less than
// the standard error, to which it is added. Cancelling ctx during the draws
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
		if k, ok := kernel.(NUTS); ok {
			kernel = manyScales{k, 4}
		}
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
	l.Lowest = descend(first, theta, l.Beta)
	l.read()
	return l, err
}

// descend returns the lowest energy to which theta leads downhill, to a hundredth
// of 1/β or so: that at theta if this is a minimum.
func descend(d Density, theta []float64, beta float64) float64 {
	at, least := append([]float64(nil), theta...), beta*d.Energy(theta)
	value := func(x []float64) float64 {
		e := beta * d.Energy(x)
		if e < least {
			least = e
			copy(at, x)
		}
		return e
	}
	slope := func(gradient, x []float64) {
		d.Gradient(x, gradient)
		floats.Scale(beta, gradient)
	}
	// A search that ends early, at the precision of the energy, has still seen what
	// it has seen; one that goes on from there with a new metric sees a little more.
	for range 3 {
		before := least
		_, _ = optimize.Minimize(optimize.Problem{Func: value, Grad: slope}, append([]float64(nil), at...),
			&optimize.Settings{MajorIterations: 300, FuncEvaluations: 1000, GradientThreshold: 1e-4}, &optimize.LBFGS{})
		if before-least < 1e-3 {
			break
		}
	}
	return least / beta
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
	if l.Ladder != nil { // what replicas bring along the ladder the series of one chain may not show
		means := make([]float64, len(energies))
		for i, e := range energies {
			means[i] = l.Beta * stat.Mean(e, nil)
		}
		if m := float64(len(means)); m > 1 {
			l.Value.StdErr = max(l.Value.StdErr, stat.StdDev(means, nil)/math.Sqrt(m))
		}
	}
	l.Zeroth = l.Chains.ZerothLaw()
	l.Findings = l.Chains.Findings()
	l.judge(settled, RHat(energies))
}

// judge refuses the coefficient where it must not be trusted; every refusal has
// its finding.
func (l *LLC) judge(settled bool, rHat float64) {
	refuse := func(reason string, f thermo.Finding) {
		l.Value.Invalid = reason
		if f.Severity = thermo.Critical; !slices.ContainsFunc(l.Findings, func(g thermo.Finding) bool { return g.ID == f.ID }) {
			l.Findings = append(l.Findings, f)
		}
	}
	if !l.Value.Valid() {
		refuse(l.Value.Invalid, thermo.Finding{ID: "few-draws", What: "too few draws for a learning coefficient", Evidence: "energy: " + l.Value.Invalid, Change: "draw more"})
	}
	if !settled {
		refuse("not in equilibrium: the energy has not settled in the first half of the draws", thermo.Finding{ID: "not-settled",
			What: "the chains are still on their way to equilibrium", Evidence: fmt.Sprintf("without the first %d draws of each chain more are independent than with them", l.BurnIn),
			Change: "lengthen the warm-up"})
	}
	if rHat > 1.05 {
		refuse(fmt.Sprintf("the chains disagree about the energy (R-hat %.2f)", rHat), thermo.Finding{ID: "not-mixed",
			What: "the chains disagree: they have not met", Evidence: fmt.Sprintf("R-hat of the energy is %.2f (above 1.05)", rHat), Change: "draw more, or warm up longer"})
	}
	if l.Zeroth.Verdict == thermo.NotEquilibrium && l.Zeroth.PValue < 0.001 {
		refuse("not in equilibrium: "+l.Zeroth.Reason, thermo.Finding{ID: "not-in-equilibrium",
			What: "the thermometers differ from each other or from the temperature asked for", Evidence: l.Zeroth.Reason, Change: "lengthen the warm-up"})
	}
	short := l.Beta * (l.Minimum - l.Lowest)
	if short > l.Value.StdErr || l.Value.Value < -4*l.Value.StdErr {
		what, evidence := "the parameters are not at a minimum of the energy, and the coefficient is too small for it", fmt.Sprintf("downhill of them it falls from %.6g to %.6g, of which comes %.2g in the coefficient: %s were it counted from there",
			l.Minimum, l.Lowest, short, thermo.FormatError(l.Value.Value+short, l.Value.StdErr))
		if !(short > l.Value.StdErr) {
			what, evidence = "the chains found lower energies than that of the parameters", fmt.Sprintf("mean energy %v, at the parameters %.6g", l.Energy, l.Minimum)
		}
		refuse("the parameters are not a minimum of the energy", thermo.Finding{ID: "not-a-minimum", What: what, Evidence: evidence,
			Change: "train to the minimum first: longer, with all examples in a minibatch and a learning rate that falls"})
	} else {
		l.Value.StdErr = math.Hypot(l.Value.StdErr, short)
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
