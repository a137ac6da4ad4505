package sampler

import (
	"fmt"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/floats"
)

// SGLD is stochastic-gradient Langevin dynamics (Welling and Teh 2011):
//
//	θ' = θ − ε ∇E(θ) + √(2εT) N(0, 1)
//
// without an acceptance test, so a minibatch gradient will do. Its bias on a
// mode of curvature λ is known: the variance is T/(λ(1 − ελ/2)) instead of T/λ,
// and noise of variance c in the gradient adds εc/(2λ(1 − ελ/2)). Unstable from
// ελ = 2.
type SGLD struct {
	StepSize float64 // ε
}

// Init implements [Kernel].
func (k SGLD) Init(d Density, theta []float64, temperature float64, _ *rand.Rand) (*State, error) {
	if err := checkStep("SGLD", k.StepSize); err != nil {
		return nil, err
	}
	return begin(d, theta, temperature)
}

// Step implements [Kernel].
func (k SGLD) Step(d Density, s *State, rng *rand.Rand) (Info, error) {
	size := math.Sqrt(2 * k.StepSize * s.Temperature)
	floats.AddScaled(s.Theta, size, s.noise(rng))
	floats.AddScaled(s.Theta, -k.StepSize, s.Gradient)
	return s.arrive(d, k.StepSize)
}

// noise returns independent draws from N(0, 1), one a parameter, in a buffer that
// the next call overwrites.
func (s *State) noise(rng *rand.Rand) []float64 {
	w := s.workspace()
	x := w.get()
	normals(x, rng)
	w.put(x)
	return x
}

// arrive evaluates the gradient where an unadjusted kernel has moved to.
func (s *State) arrive(d Density, step float64) (Info, error) {
	s.Energy = d.Gradient(s.Theta, s.Gradient)
	s.Steps++
	info := Info{Acceptance: 1, Gradients: 1, Hamiltonian: math.NaN(), Kinetic: math.NaN()}
	if s.Momentum != nil {
		info.Kinetic = kineticTemperature(s.Momentum)
		info.Hamiltonian = s.Energy + info.Kinetic*float64(len(s.Momentum))/2
	}
	return info, lost(s, step)
}

// PSGLD is SGLD preconditioned as RMSprop is (Li et al. 2016): each parameter
// has the step ε/(Floor + √v), v the running mean square of its gradient with
// the given decay.
//
// v follows the gradient for the first Adapt steps and is then fixed: a
// preconditioner that depends on the present gradient changes what is sampled.
type PSGLD struct {
	StepSize float64 // ε
	Decay    float64 // of the mean square; 0.99 is usual
	Floor    float64 // 1e-5 is usual; bounds the step of parameters without a gradient
	Adapt    int     // steps
}

// Init implements [Kernel].
func (k PSGLD) Init(d Density, theta []float64, temperature float64, _ *rand.Rand) (*State, error) {
	if err := checkStep("PSGLD", k.StepSize); err != nil {
		return nil, err
	}
	if !(k.Decay > 0 && k.Decay < 1) || !(k.Floor > 0) {
		return nil, fmt.Errorf("PSGLD: expected a decay between 0 and 1 and a floor above 0, got %v and %v", k.Decay, k.Floor)
	}
	s, err := begin(d, theta, temperature)
	if err != nil {
		return nil, err
	}
	s.Scale = make([]float64, len(theta))
	for i, g := range s.Gradient {
		s.Scale[i] = g * g
	}
	return s, nil
}

// Step implements [Kernel].
func (k PSGLD) Step(d Density, s *State, rng *rand.Rand) (Info, error) {
	adapt := s.Steps < k.Adapt
	noise := s.noise(rng)
	for i, g := range s.Gradient {
		if adapt {
			s.Scale[i] = k.Decay*s.Scale[i] + (1-k.Decay)*g*g
		}
		step := k.StepSize / (k.Floor + math.Sqrt(s.Scale[i]))
		s.Theta[i] += math.Sqrt(2*step*s.Temperature)*noise[i] - step*g
	}
	return s.arrive(d, k.StepSize)
}

// MALA is the Metropolis-adjusted Langevin algorithm (Roberts and Tweedie
// 1996): a step of SGLD as the proposal, accepted or not so that there is no
// bias. It needs the exact energy and gradient.
type MALA struct {
	StepSize float64 // ε; the warm-up of Run tunes it to 57 % acceptance
}

// Init implements [Kernel].
func (k MALA) Init(d Density, theta []float64, temperature float64, _ *rand.Rand) (*State, error) {
	if err := checkStep("MALA", k.StepSize); err != nil {
		return nil, err
	}
	return begin(d, theta, temperature)
}

// Step implements [Kernel].
func (k MALA) Step(d Density, s *State, rng *rand.Rand) (Info, error) {
	w := s.workspace()
	theta, gradient := w.get(), w.get()
	defer func() { w.put(theta); w.put(gradient) }()
	noise := math.Sqrt(2 * k.StepSize * s.Temperature)
	var forward, backward float64 // squared residuals of the proposal and of its reverse
	for i, g := range s.Gradient {
		r := noise * rng.NormFloat64()
		forward += r * r
		theta[i] = s.Theta[i] - k.StepSize*g + r
	}
	energy := d.Gradient(theta, gradient)
	for i, g := range gradient {
		r := s.Theta[i] - theta[i] + k.StepSize*g
		backward += r * r
	}
	logAccept := (s.Energy-energy)/s.Temperature + (forward-backward)/(2*noise*noise)
	info := Info{Acceptance: acceptance(logAccept), Gradients: 1, Hamiltonian: math.NaN(), Kinetic: math.NaN()}
	if rng.Float64() < info.Acceptance {
		copy(s.Theta, theta)
		copy(s.Gradient, gradient)
		s.Energy = energy
	}
	s.Steps++
	return info, nil
}

// acceptance is min(1, eˣ), and 0 when x is not a number.
func acceptance(x float64) float64 {
	if math.IsNaN(x) {
		return 0
	}
	return math.Exp(min(x, 0))
}
