package sampler

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/kelvin-ml/kelvin/thermo"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
)

// A CapacityPoint is one temperature of a heat-capacity curve.
type CapacityPoint struct {
	Temperature float64
	Energy      thermo.Reading   // U = ⟨E⟩
	Capacity    thermo.Reading   // C = Var(E)/T²
	Slope       thermo.Reading   // dU/dT from the neighbouring temperatures
	Entropy     thermo.Reading   // S(T) − S of the coldest temperature, by thermodynamic integration
	Virial      thermo.Reading   // the temperature that the chains read
	Findings    []thermo.Finding // of the chains at this temperature

	covariance float64 // of the errors of Energy and Capacity
}

// A CapacityCurve is U(T), C(T) and S(T), coldest first.
type CapacityCurve struct {
	Points []CapacityPoint
	// PValue is the chance that C from the variance and dU/dT differ as much as
	// they do if the chains are in equilibrium, over all intervals between
	// temperatures; NaN for fewer than 3 temperatures, or where an energy is not valid.
	PValue float64
	Peaks  []Peak
}

// A Peak is a maximum of C(T) between the ends: a phase transition, or the
// thawing of some parameters.
type Peak struct {
	Temperature float64 // of the highest point
	StdErr      float64 // by Gaussian resampling of the curve
	Capacity    thermo.Reading
}

// HeatCapacity measures the energy at each of the temperatures, sorted, with
// chains that start at the hottest and cool: each begins where the last ended
// and warms up anew. o.Temperature is not used. Cancelling ctx returns the curve
// of the temperatures that are done, the hottest ones, together with the error
// of ctx: its entropy is that above the coldest of them.
func HeatCapacity(ctx context.Context, density func(chain int) (Density, error), kernel Kernel, temperatures []float64, o Options) (*CapacityCurve, error) {
	sorted := slices.Sorted(slices.Values(temperatures))
	if len(sorted) < 2 || !(sorted[0] > 0) || math.IsInf(sorted[len(sorted)-1], 0) || len(slices.Compact(slices.Clone(sorted))) != len(sorted) {
		return nil, fmt.Errorf("heat capacity: expected at least two different temperatures above 0, got %v", temperatures)
	}
	// The parameters of a network, every one at every draw, would fill the memory.
	radii := func(chain int) (Density, error) {
		d, err := density(chain)
		return radius{d}, err
	}
	curve := &CapacityCurve{}
	var cancelled error
	for i := len(sorted) - 1; i >= 0; i-- {
		o.Temperature = sorted[i]
		r, err := Run(ctx, radii, kernel, o)
		if err != nil {
			err = fmt.Errorf("heat capacity at T = %g: %w", sorted[i], err)
			if len(curve.Points) == 0 || ctx.Err() == nil {
				return nil, err
			}
			cancelled = err
			break
		}
		curve.Points = append(curve.Points, CapacityPoint{Temperature: sorted[i], Energy: r.Energy(), Capacity: r.HeatCapacity(),
			Virial: r.Thermometers()[0], Findings: r.Findings(), covariance: r.energyCovariance()})
		o.Start = func(chain int, _ *rand.Rand) []float64 { return r.Chains[chain].State.Theta }
		o.Seed++ // other noise at every temperature
	}
	slices.Reverse(curve.Points)
	curve.integrate()
	curve.compare()
	curve.findPeaks(rand.New(rand.NewPCG(o.Seed, math.MaxUint64)))
	return curve, cancelled
}

// energyCovariance returns the covariance of the errors of U and C, from those of
// their sum and difference, each in units of its own.
func (r *Result) energyCovariance() float64 {
	energies := r.series(func(c *Chain) []float64 { return c.Energy })
	all := slices.Concat(energies...)
	mean, sd := stat.MeanStdDev(all, nil)
	combined := func(sign float64) float64 { // of x² ± x, x = (E − U)/sd
		return square(MCSE(transform(energies, func(e float64) float64 { x := (e - mean) / sd; return x*x + sign*x })))
	}
	return sd * sd * sd / square(r.Temperature) * (combined(1) - combined(-1)) / 4
}

// A radius is a density that reports the length of its parameters, squared.
type radius struct{ Density }

func (radius) Names() []string             { return []string{"squared length"} }
func (radius) Report(theta, out []float64) { out[0] = sumSquares(theta) }

// integrate fills in the entropies: S₂ − S₁ = ∫ dU/T, with U linear between two
// temperatures, as that of a quadratic is. This is linear in the energies, so
// their errors carry over exactly.
func (c *CapacityCurve) integrate() {
	n := len(c.Points)
	weights := make([]float64, n) // of the energies in the entropy so far
	for i := range c.Points {
		p := &c.Points[i]
		if i > 0 {
			before := c.Points[i-1]
			w := math.Log(p.Temperature/before.Temperature) / (p.Temperature - before.Temperature)
			weights[i] += w
			weights[i-1] -= w
		}
		p.Entropy = thermo.Reading{Name: "entropy", Unit: "nat"}
		var variance float64
		for j, w := range weights[:i+1] {
			p.Entropy.Value += w * c.Points[j].Energy.Value
			variance += w * w * c.Points[j].Energy.StdErr * c.Points[j].Energy.StdErr
		}
		p.Entropy.StdErr = math.Sqrt(variance)
		if i > 0 {
			p.Entropy.Invalid = c.invalid(0, i)
		}
	}
}

// invalid says which of the energies from … to must not be trusted, if any.
func (c *CapacityCurve) invalid(from, to int) string {
	for _, p := range c.Points[from : to+1] {
		if !p.Energy.Valid() {
			return fmt.Sprintf("the energy at T = %.4g is not: %s", p.Temperature, p.Energy.Invalid)
		}
	}
	return ""
}

// compare fills in dU/dT and tests it against C. Between neighbours ∫ C dT must
// be U₂ − U₁; the integral is taken by the trapezoidal rule. Neighbouring
// intervals share a temperature, whose errors they have in common.
func (c *CapacityCurve) compare() {
	c.PValue = math.NaN()
	n := len(c.Points)
	if n == 1 {
		c.Points[0].Slope = thermo.Reading{Name: "dU/dT", Unit: "nat", Value: math.NaN(), StdErr: math.NaN(), Invalid: "one temperature has no slope"}
		return
	}
	for i := range c.Points {
		low, high := max(i-1, 0), min(i+1, n-1)
		a, b := c.Points[low], c.Points[high]
		width := b.Temperature - a.Temperature
		slope := (b.Energy.Value - a.Energy.Value) / width
		stderr := math.Hypot(a.Energy.StdErr, b.Energy.StdErr) / width
		c.Points[i].Slope = thermo.Reading{Name: "dU/dT", Unit: "nat", Value: slope, StdErr: stderr, Invalid: c.invalid(low, high)}
	}
	if n < 3 || c.invalid(0, n-1) != "" {
		return
	}
	excess := mat.NewVecDense(n-1, nil) // of U₂ − U₁ over the integral
	errors := mat.NewSymBandDense(n-1, 1, nil)
	half := func(i int) float64 { return (c.Points[i+1].Temperature - c.Points[i].Temperature) / 2 }
	for i := range n - 1 {
		a, b, h := c.Points[i], c.Points[i+1], half(i)
		excess.SetVec(i, b.Energy.Value-a.Energy.Value-h*(a.Capacity.Value+b.Capacity.Value))
		// The interval has −U₁ − hC₁ and U₂ − hC₂.
		errors.SetSymBand(i, i, square(a.Energy.StdErr)+square(h*a.Capacity.StdErr)+2*h*a.covariance+
			square(b.Energy.StdErr)+square(h*b.Capacity.StdErr)-2*h*b.covariance)
		if i+1 < n-1 {
			g := half(i + 1)
			errors.SetSymBand(i, i+1, -square(b.Energy.StdErr)+h*g*square(b.Capacity.StdErr)+(h-g)*b.covariance)
		}
	}
	var cholesky mat.BandCholesky
	var solved mat.VecDense
	if !cholesky.Factorize(errors) || cholesky.SolveVecTo(&solved, excess) != nil {
		return
	}
	c.PValue = chiSquaredTail(float64(n-1), mat.Dot(excess, &solved))
}

func square(x float64) float64 { return x * x }

// findPeaks looks for inner maxima of C that stand out from the lowest points
// on both sides by three standard errors, and resamples the curve within its
// errors for that of the place.
func (c *CapacityCurve) findPeaks(rng *rand.Rand) {
	values := make([]float64, len(c.Points))
	for i, p := range c.Points {
		values[i] = p.Capacity.Value
	}
	c.Peaks = []Peak{}
	for i := 1; i < len(values)-1; i++ {
		if !(values[i] > values[i-1] && values[i] > values[i+1]) {
			continue
		}
		low, high := c.basin(values, i, -1), c.basin(values, i, 1)
		if !c.above(i, low) || !c.above(i, high) {
			continue
		}
		var places []float64
		for range 200 {
			best, at := math.Inf(-1), i
			for j := low; j <= high; j++ {
				if v := values[j] + c.Points[j].Capacity.StdErr*rng.NormFloat64(); v > best {
					best, at = v, j
				}
			}
			places = append(places, math.Log(c.Points[at].Temperature))
		}
		// The grid itself leaves half a spacing open, uniform on both sides.
		grid := math.Log(c.Points[i+1].Temperature/c.Points[i-1].Temperature) / 2 / math.Sqrt(12)
		spread := math.Hypot(stat.StdDev(places, nil), grid)
		c.Peaks = append(c.Peaks, Peak{c.Points[i].Temperature, c.Points[i].Temperature * spread, c.Points[i].Capacity})
	}
}

// basin returns the lowest point from i in the given direction before the curve
// rises above its value at i.
func (c *CapacityCurve) basin(values []float64, i, direction int) int {
	lowest := i
	for j := i + direction; j >= 0 && j < len(values) && values[j] <= values[i]; j += direction {
		if values[j] < values[lowest] {
			lowest = j
		}
	}
	return lowest
}

func (c *CapacityCurve) above(i, j int) bool {
	a, b := c.Points[i].Capacity, c.Points[j].Capacity
	return a.Value-b.Value > 3*math.Hypot(a.StdErr, b.StdErr)
}
