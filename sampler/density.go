// Package sampler draws from p(θ) ∝ exp(−E(θ)/T), a Boltzmann distribution of
// any temperature (docs/theory.md, T8), and says whether the draws can be
// believed.
//
// A [Density] is an energy and its gradient. A [Kernel] makes one Markov
// transition: it holds nothing but its settings, the [State] of a chain and the
// [Info] about a step are apart from it, so chains can be stored, resumed and
// run side by side. [Run] warms up and runs several chains; [Result] carries
// thinned draws, streaming moments and the thermometer traces; its diagnostics
// are those of Vehtari et al. (2021) and the thermometers of package thermo,
// which catch what the former cannot see: a sampler that mixes well at the
// wrong temperature.
//
// The momenta of all kernels that have them are physical: at temperature T they
// are distributed as N(0, T·mass), so that kinetic energy is a thermometer too.
package sampler

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/floats"
)

// A Density is a distribution p(θ) ∝ exp(−E(θ)) on the whole of ℝᵏ, given by
// its energy. Sampling at temperature T uses exp(−E/T).
type Density interface {
	// Dim returns k, the number of parameters.
	Dim() int
	// Energy returns E(θ); +Inf where the density is zero.
	Energy(theta []float64) float64
	// Gradient stores ∇E(θ), or an unbiased estimate of it from a minibatch, in
	// gradient and returns E(θ) or its estimate. It does not change theta.
	Gradient(theta, gradient []float64) float64
}

// A Transformed density is given in coordinates θ other than the parameters x
// that its distribution is one of: E is −log of the density of x. exp(−E/T) is
// then p(x)^{1/T} in whatever coordinates, for the volume |∂x/∂θ| is not raised
// to any power. [Run], [RunTempered] and [Anneal] see to that; a Kernel by itself
// knows the coordinates alone.
type Transformed interface {
	Density
	// LogVolume stores the gradient of log|∂x/∂θ| in gradient and returns log|∂x/∂θ|.
	LogVolume(theta, gradient []float64) float64
}

// An Estimator is a Density whose Gradient sees part of the data only. Energies
// and forces that are estimates have noise which the errors of a correlated series
// do not count rightly: where every epoch sees all data once, it cancels over an
// epoch and hides what is slow. [Run] takes the energy and the forces of the
// thermometers from Exact, at kept draws.
type Estimator interface {
	Density
	// Epoch returns how many gradients see all the data; 1: each does.
	Epoch() int
	// Exact is Gradient from all the data.
	Exact(theta, gradient []float64) float64
}

// epoch returns how many gradients of d see all the data.
func epoch(d Density) int {
	if e, ok := d.(Estimator); ok {
		return e.Epoch()
	}
	return 1
}

// transformed returns d, or what it rests on, if it is in other coordinates, else
// nil.
func transformed(d Density) Transformed {
	switch v := d.(type) {
	case *potential:
		return v.Transformed
	case radius:
		return transformed(v.Density)
	case Transformed:
		return v
	}
	return nil
}

// A potential is what kernels sample of a Transformed density: with E − T·log|∂x/∂θ|
// as its energy, exp(−energy/T) is the density of θ at T.
type potential struct {
	Transformed
	temperature float64
	slope       []float64
}

// at returns what kernels at this temperature sample of d: d itself, unless it is
// Transformed. A potential is changed and returned.
func at(d Density, temperature float64) Density {
	if p, ok := d.(*potential); ok {
		p.temperature = temperature
		return p
	}
	if t := transformed(d); t != nil {
		return &potential{t, temperature, make([]float64, d.Dim())}
	}
	return d
}

func (p *potential) Energy(theta []float64) float64 {
	return p.Transformed.Energy(theta) - p.temperature*p.LogVolume(theta, p.slope)
}

func (p *potential) Gradient(theta, gradient []float64) float64 {
	e := p.Transformed.Gradient(theta, gradient)
	volume := p.LogVolume(theta, p.slope)
	floats.AddScaled(gradient, -p.temperature, p.slope)
	return e - p.temperature*volume
}

// A Reporter is a Density with quantities of interest other than θ itself:
// parameters in their natural units, say. [Run] records these instead.
type Reporter interface {
	// Names returns one name per quantity.
	Names() []string
	// Report stores the quantities at θ in out.
	Report(theta, out []float64)
}

// A State is where one chain stands: all that its future depends on besides
// the kernel and the random generator.
type State struct {
	Theta       []float64 // position
	Gradient    []float64 // ∇E(Theta), as last evaluated; of a Transformed density that of E − T·log|∂x/∂θ|
	Energy      float64   // E(Theta), or E − T·log|∂x/∂θ|, as last evaluated
	Temperature float64   // T of the target exp(−E/T); may be changed between steps, unless the density is Transformed
	Momentum    []float64 // of kernels that have one, else nil
	Scale       []float64 // running mean square of the gradient (PSGLD), else nil
	Thermostat  float64   // friction variable of SGNHT
	Steps       int       // taken so far

	work *workspace
}

// An Info says what one step did.
type Info struct {
	Acceptance  float64 // probability of acceptance, averaged over the trajectory; 1 for kernels without a test
	Divergent   bool    // the integrator lost the energy: the step is too large for the curvature here
	Gradients   int     // gradient evaluations
	Depth       int     // doublings of NUTS
	Hamiltonian float64 // total energy after the step; NaN for kernels without momenta
	Kinetic     float64 // |p|²/(mass·k), a temperature; NaN for kernels without momenta
}

// A Kernel is one Markov transition that leaves exp(−E/T) invariant, up to the
// discretisation bias that it documents. A Kernel is its settings alone: the
// same value may serve many chains at once.
type Kernel interface {
	// Init begins a chain at theta, which is copied.
	Init(d Density, theta []float64, temperature float64, rng *rand.Rand) (*State, error)
	// Step advances the chain in place. An error means that it cannot go on.
	Step(d Density, s *State, rng *rand.Rand) (Info, error)
}

// errBadStart is wrapped by the error of a position that no chain can begin at.
var errBadStart = errors.New("starting a chain: expected a finite energy and gradient")

// begin makes the state common to all kernels.
func begin(d Density, theta []float64, temperature float64) (*State, error) {
	k := d.Dim()
	if len(theta) != k || k == 0 {
		return nil, fmt.Errorf("starting a chain: expected %d parameters (at least 1), got %d", k, len(theta))
	}
	if !(temperature > 0) || math.IsInf(temperature, 0) {
		return nil, fmt.Errorf("starting a chain: expected a temperature above 0, got %v", temperature)
	}
	s := &State{Theta: append([]float64(nil), theta...), Gradient: make([]float64, k), Temperature: temperature}
	s.Energy = d.Gradient(s.Theta, s.Gradient)
	if !finite(s.Energy) || !finite(sumSquares(s.Gradient)) {
		return nil, fmt.Errorf("%w: energy %v, |gradient|² %v", errBadStart, s.Energy, sumSquares(s.Gradient))
	}
	return s, nil
}

// trueEnergy returns E at s, without what a potential has added.
func (s *State) trueEnergy(d Density) float64 {
	p, ok := d.(*potential)
	if !ok {
		return s.Energy
	}
	return s.Energy + s.Temperature*p.LogVolume(s.Theta, p.slope)
}

// move makes the energy and gradient of s, as they are at the temperature from,
// those at its own.
func (s *State) move(d Density, from float64) {
	p, ok := d.(*potential)
	if !ok || from == s.Temperature {
		return
	}
	s.Energy += (from - s.Temperature) * p.LogVolume(s.Theta, p.slope)
	floats.AddScaled(s.Gradient, from-s.Temperature, p.slope)
}

func addMomentum(s *State, rng *rand.Rand) {
	s.Momentum = make([]float64, len(s.Theta))
	sd := math.Sqrt(s.Temperature)
	for i := range s.Momentum {
		s.Momentum[i] = sd * rng.NormFloat64()
	}
}

// lost is the error of an unadjusted kernel whose energy is no longer finite.
func lost(s *State, step float64) error {
	if finite(s.Energy) && allFinite(s.Gradient) {
		return nil
	}
	return fmt.Errorf("step %d: the energy became %v: the step size %g is too large, or the energy is not defined here", s.Steps, s.Energy, step)
}

func checkStep(kernel string, step float64) error {
	if !(step > 0) || math.IsInf(step, 0) {
		return fmt.Errorf("%s: expected a step size above 0, got %v", kernel, step)
	}
	return nil
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// allFinite looks at the sum, which an Inf or NaN does not leave finite, and
// element by element only if that overflowed.
func allFinite(x []float64) bool {
	return finite(floats.Sum(x)) || !slices.ContainsFunc(x, func(v float64) bool { return !finite(v) })
}

func sumSquares(x []float64) float64 { return floats.Dot(x, x) }

func dot(a, b []float64) float64 {
	var sum float64
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

// kineticTemperature is |p|²/k of unit masses.
func kineticTemperature(p []float64) float64 { return sumSquares(p) / float64(len(p)) }
