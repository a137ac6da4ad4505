package sampler

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/kelvin-ml/kelvin/thermo"
	"gonum.org/v1/gonum/stat"
)

// maxBias is the relative error of temperature from which the discretisation of
// an unadjusted kernel is reported: ελ/2 = 1/80 for SGLD.
const maxBias = 1.0 / 80

// heldAtT is why the momenta of SGNHT are no thermometer.
const heldAtT = "held at T by the thermostat"

// Thermometers reads the temperature of the chains in each way that their
// traces allow (docs/theory.md, T6): virial, kinetic, configurational. All of
// them read r.Temperature when the chains are in equilibrium and the kernel has
// no bias. Errors allow for autocorrelation and for disagreement of the chains.
func (r *Result) Thermometers() []thermo.Reading {
	readings := []thermo.Reading{r.reading("virial", "energy/nat", func(c *Chain) []float64 { return c.Virial })}
	if r.Chains[0].Kinetic != nil {
		kinetic := r.reading("kinetic", "energy/nat", func(c *Chain) []float64 { return c.Kinetic })
		if _, ok := r.Chains[0].Kernel.Kernel.(SGNHT); ok {
			kinetic.Invalid = heldAtT
		}
		readings = append(readings, kinetic)
	}
	if r.Curvature {
		readings = append(readings, r.configurational())
	}
	return readings
}

// ZerothLaw compares the thermometers with each other and with the bath, whose
// temperature r.Temperature is exact: thermometers that agree at another
// temperature are not in equilibrium with it.
func (r *Result) ZerothLaw() thermo.Zeroth {
	bath := thermo.Reading{Name: "bath", Value: r.Temperature, Unit: "energy/nat"}
	return thermo.ZerothLawAnyDependence(append(r.Thermometers(), bath))
}

// Energy returns the mean of E.
func (r *Result) Energy() thermo.Reading {
	return r.reading("energy", "energy", func(c *Chain) []float64 { return c.Energy })
}

// HeatCapacity returns C = Var(E)/T² (docs/theory.md, T8), which in equilibrium
// equals dU/dT. Of a thinned result too all steps count.
func (r *Result) HeatCapacity() thermo.Reading {
	energies := r.series(func(c *Chain) []float64 { return c.Energy })
	mean := stat.Mean(slices.Concat(energies...), nil)
	t2 := r.Temperature * r.Temperature
	squares := transform(energies, func(e float64) float64 { return (e - mean) * (e - mean) / t2 })
	if r.Thin > 1 { // what the means of blocks leave out
		for i, block := range r.series(func(c *Chain) []float64 { return c.Energy2 }) {
			for j, e2 := range block {
				squares[i][j] += max(e2-energies[i][j]*energies[i][j], 0) / t2
			}
		}
	}
	return estimate("heat capacity", "nat", squares)
}

func (r *Result) reading(name, unit string, trace func(*Chain) []float64) thermo.Reading {
	return estimate(name, unit, r.series(trace))
}

// estimate is the mean over several chains with its standard error.
func estimate(name, unit string, chains [][]float64) thermo.Reading {
	all := slices.Concat(chains...)
	reading := thermo.Reading{Name: name, Unit: unit, Value: stat.Mean(all, nil), StdErr: MCSE(chains), ESS: ESS(chains)}
	reading.DoF = max(math.Floor(reading.ESS)-1, 1)
	switch {
	case math.IsNaN(reading.Value), math.IsNaN(reading.StdErr):
		reading.Invalid = "too few draws"
		reading.ESS, reading.DoF = 0, 0
	case reading.ESS < 10:
		reading.Invalid = fmt.Sprintf("only %.1f independent draws", reading.ESS)
	}
	return reading
}

// configurational is T = ⟨Σ wᵢ gᵢ²⟩/⟨Σ wᵢ Hᵢᵢ⟩, true for any fixed weights w of a
// Boltzmann state (integrate wᵢ ∂ᵢ(gᵢ e^{−E/T}) over space). The variances of the
// warm-up as weights make every parameter count alike. Its error is that of a
// ratio, to first order.
func (r *Result) configurational() thermo.Reading {
	numerators := r.series(func(c *Chain) []float64 { return c.Gradient2 })
	denominators := r.series(func(c *Chain) []float64 { return c.Curvature })
	numerator, denominator := stat.Mean(slices.Concat(numerators...), nil), stat.Mean(slices.Concat(denominators...), nil)
	t := numerator / denominator
	residuals := make([][]float64, len(numerators))
	for i, c := range numerators {
		residuals[i] = make([]float64, len(c))
		for j, x := range c {
			residuals[i][j] = t + (x-t*denominators[i][j])/denominator
		}
	}
	reading := estimate("configurational", "energy/nat", residuals)
	reading.Value = t
	if !(denominator > 0) {
		reading.Invalid = "the mean curvature is not positive"
	}
	return reading
}

// Findings says in plain language what is wrong with the chains, or could not be
// checked; empty means that every check passed.
func (r *Result) Findings() []thermo.Finding {
	findings := []thermo.Finding{}
	clearest := 0.0 // in standard errors; the thermometers see one and the same fault
	var refused []string
	for _, reading := range r.Thermometers() {
		if !reading.Valid() && reading.Invalid != heldAtT {
			refused = append(refused, reading.Name+": "+reading.Invalid)
		}
		f, wrong := r.wrongTemperature(reading)
		if z := math.Abs(reading.Value-r.Temperature) / reading.StdErr; wrong && z > clearest {
			clearest, findings = z, []thermo.Finding{f}
		}
	}
	findings = append(findings, r.unknownTemperature(refused, len(findings) > 0)...)
	return append(append(findings, r.notMixed()...), r.trajectories()...)
}

// unknownTemperature says what the thermometers leave open, given those that were
// refused and whether a wrong temperature was found.
func (r *Result) unknownTemperature(refused []string, wrong bool) []thermo.Finding {
	z := r.ZerothLaw()
	switch {
	case wrong:
		return nil
	case z.Verdict == thermo.NotEquilibrium:
		severity := thermo.Warning // one good run in twenty at most
		if z.PValue < 0.001 {
			severity = thermo.Critical
		}
		return []thermo.Finding{{ID: "not-in-equilibrium", Severity: severity, What: "the thermometers differ from each other or from the temperature asked for",
			Evidence: z.Reason, Change: "lengthen the warm-up, or take smaller steps"}}
	case len(refused) == 0 && z.Verdict != thermo.NotEnoughData:
		return nil
	}
	severity := thermo.Warning
	if len(refused) == 0 { // all read T, not very precisely
		severity, refused = thermo.Info, []string{"zeroth law: " + z.Reason}
	}
	return []thermo.Finding{{ID: "temperature-unknown", Severity: severity, What: "the temperature of the chains could not be checked well",
		Evidence: strings.Join(refused, "; "), Change: "draw more"}}
}

// wrongTemperature compares one thermometer with the temperature asked for, at
// four standard errors and at maxBias.
func (r *Result) wrongTemperature(t thermo.Reading) (thermo.Finding, bool) {
	excess := t.Value/r.Temperature - 1
	if !t.Valid() || math.Abs(t.Value-r.Temperature) <= 4*t.StdErr || math.Abs(excess) <= maxBias {
		return thermo.Finding{}, false
	}
	f := thermo.Finding{ID: "too-hot", Severity: thermo.Critical,
		Evidence: fmt.Sprintf("%s thermometer %s, %.0f standard errors from %.4g", t.Name, t, math.Abs(t.Value-r.Temperature)/t.StdErr, r.Temperature),
		What:     fmt.Sprintf("reads %.2g, asked %.2g", t.Value, r.Temperature),
		Change:   "the chains are not in equilibrium: lengthen the warm-up, or check the gradient against the energy",
	}
	if excess < 0 {
		f.ID = "too-cold"
	}
	if factor, ok := r.stepExcess(t, excess); ok {
		f.What += fmt.Sprintf(": step size %s too large", times(factor))
		f.Change = fmt.Sprintf("divide the step size by %.2g: the bias is then about %.3g %%", factor, 100*maxBias)
	}
	return f, true
}

// stepExcess says by what factor the step of an unadjusted kernel exceeds the
// one that would have a bias of maxBias.
func (r *Result) stepExcess(t thermo.Reading, excess float64) (float64, bool) {
	switch r.Chains[0].Kernel.Kernel.(type) {
	case SGLD, PSGLD:
		// T/(1 − ελ/2): the bias in 1/T is linear in ε, for noise in the gradient too.
		return (1 - r.Temperature/t.Value) / maxBias, excess > 0
	case SGHMC, SGNHT:
		if excess > 0 { // noise in the gradient: linear in the step
			return excess / maxBias, true
		}
		return math.Sqrt(-excess / maxBias), t.Name == "kinetic" // −h²λ/4
	}
	return 0, false
}

// times prints a factor as "4x" or, below 2, "1.3x".
func times(factor float64) string {
	if factor < 2 {
		return fmt.Sprintf("%.1fx", factor)
	}
	return fmt.Sprintf("%.0fx", factor)
}

func (r *Result) notMixed() []thermo.Finding {
	var findings []thermo.Finding
	if kept := len(r.Chain(0)[0]); kept < 4 {
		return []thermo.Finding{{ID: "few-draws", Severity: thermo.Critical, What: "too few draws for R-hat and effective sample sizes: whether the chains agree is not known",
			Evidence: fmt.Sprintf("kept draws of each chain: %d (at least 4 are needed)", kept), Change: "draw more"}}
	}
	worst, fewest := Summary{RHat: 1}, Summary{ESSBulk: math.Inf(1)}
	for _, s := range r.Summaries() {
		if (math.IsNaN(s.RHat) || math.IsNaN(s.ESSBulk) || math.IsNaN(s.ESSTail)) && len(findings) == 0 {
			findings = append(findings, thermo.Finding{ID: "not-mixed", Severity: thermo.Critical, What: "a quantity does not move, so R-hat and effective sample sizes are not defined",
				Evidence: fmt.Sprintf("R-hat of %s is %v, its effective sample size %v (bulk) and %v (tail)", s.Name, s.RHat, s.ESSBulk, s.ESSTail), Change: "take smaller steps, or draw more"})
		}
		if s.RHat > worst.RHat {
			worst = s
		}
		if e := min(s.ESSBulk, s.ESSTail); e < fewest.ESSBulk {
			fewest = Summary{Name: s.Name, ESSBulk: e}
		}
	}
	if worst.RHat > 1.01 {
		what := "the chains disagree: they have not met"
		if len(r.Chains) == 1 {
			what = "the halves of the chain disagree: it has not come to rest"
		}
		findings = append(findings, thermo.Finding{ID: "not-mixed", Severity: thermo.Critical,
			What: what, Evidence: fmt.Sprintf("R-hat of %s is %.4f (above 1.01)", worst.Name, worst.RHat),
			Change: "draw more, warm up longer, or use parallel tempering if there are several modes"})
	}
	if enough := 100 * float64(len(r.Chains)); fewest.ESSBulk < enough {
		findings = append(findings, thermo.Finding{ID: "few-draws", Severity: thermo.Warning,
			What: "too few independent draws for the error bars to be trusted", Evidence: fmt.Sprintf("%s has an effective sample size of %.0f (below %.0f)", fewest.Name, fewest.ESSBulk, enough),
			Change: fmt.Sprintf("draw %.0f times as many", math.Ceil(enough/fewest.ESSBulk))})
	}
	return findings
}

func (r *Result) trajectories() []thermo.Finding {
	var findings []thermo.Finding
	divergences, steps, deepest := 0, 0, 0
	bfmi := math.Inf(1)
	for _, c := range r.Chains {
		divergences += c.Divergences
		steps += c.Moments.N
		bfmi = min(bfmi, c.BFMI()) // NaN stays, and is not below the threshold
		if k, ok := c.Kernel.Kernel.(NUTS); ok && len(c.Depths) > k.maxDepth() {
			deepest += c.Depths[k.maxDepth()]
		}
	}
	if divergences > 0 {
		severity := thermo.Warning
		if divergences*1000 > steps {
			severity = thermo.Critical
		}
		findings = append(findings, thermo.Finding{ID: "divergences", Severity: severity,
			What: "trajectories diverged: a region of high curvature is not explored", Evidence: fmt.Sprintf("%d of %d steps", divergences, steps),
			Change: "ask for a higher acceptance (0.95: smaller steps), or use parameters in which the curvature varies less (non-centred)"})
	}
	if _, ok := r.Chains[0].Kernel.Kernel.(NUTS); ok && bfmi < 0.3 {
		findings = append(findings, thermo.Finding{ID: "low-bfmi", Severity: thermo.Warning,
			What: "the momenta do not carry the chain through all energies: heavy tails", Evidence: fmt.Sprintf("energy fraction of missing information %.2f (below 0.3)", bfmi),
			Change: "use parameters with lighter tails"})
	}
	if float64(deepest) > 0.01*float64(steps) {
		findings = append(findings, thermo.Finding{ID: "shallow-trees", Severity: thermo.Warning,
			What: "trajectories end before they turn", Evidence: fmt.Sprintf("%d of %d steps reached the maximal depth", deepest, steps),
			Change: "use a dense metric, or allow more depth"})
	}
	return findings
}
