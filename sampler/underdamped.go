package sampler

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// SGHMC is Langevin dynamics with momenta, the dynamics of stochastic-gradient
// Hamiltonian Monte Carlo (Chen et al. 2014), by the splitting BAOAB (Leimkuhler
// and Matthews 2013) at one gradient a step. On a quadratic with an exact
// gradient the positions have no bias at any stable step (h²λ < 4); the momenta
// read T(1 − h²λ/4).
type SGHMC struct {
	StepSize float64 // h, in units of time: √ of the ε of SGLD
	Friction float64 // γ; momenta decay as e^{−γh}
}

// Init implements [Kernel].
func (k SGHMC) Init(d Density, theta []float64, temperature float64, rng *rand.Rand) (*State, error) {
	if err := checkStep("SGHMC", k.StepSize); err != nil {
		return nil, err
	}
	if !(k.Friction > 0) || math.IsInf(k.Friction, 0) {
		return nil, fmt.Errorf("SGHMC: expected a friction above 0, got %v", k.Friction)
	}
	s, err := begin(d, theta, temperature)
	if err == nil {
		addMomentum(s, rng)
	}
	return s, err
}

// Step implements [Kernel].
func (k SGHMC) Step(d Density, s *State, rng *rand.Rand) (Info, error) {
	h := k.StepSize
	keep := math.Exp(-k.Friction * h)
	size := math.Sqrt(s.Temperature * (1 - keep*keep))
	noise := s.noise(rng)
	for i, p := range s.Momentum {
		p -= h / 2 * s.Gradient[i]
		s.Theta[i] += h / 2 * p
		p = keep*p + size*noise[i]
		s.Theta[i] += h / 2 * p
		s.Momentum[i] = p
	}
	return s.kickAndArrive(d, h)
}

// kickAndArrive evaluates the gradient at the new position and gives the
// momenta their second half kick from it.
func (s *State) kickAndArrive(d Density, h float64) (Info, error) {
	s.Energy = d.Gradient(s.Theta, s.Gradient)
	for i, g := range s.Gradient {
		s.Momentum[i] -= h / 2 * g
	}
	s.Steps++
	kinetic := kineticTemperature(s.Momentum)
	hamiltonian := s.Energy + kinetic*float64(len(s.Momentum))/2
	return Info{Acceptance: 1, Gradients: 1, Hamiltonian: hamiltonian, Kinetic: kinetic}, lost(s, h)
}

// SGNHT is the stochastic-gradient Nosé-Hoover thermostat (Ding et al. 2014) by
// the splitting BADODAB (Leimkuhler and Shang 2016). Its friction follows the
// kinetic temperature, so that white noise of unknown strength in the gradient
// is absorbed instead of heating the chain.
type SGNHT struct {
	StepSize  float64 // h, in units of time
	Diffusion float64 // A: noise added to the momenta, and the friction without gradient noise
}

// Init implements [Kernel].
func (k SGNHT) Init(d Density, theta []float64, temperature float64, rng *rand.Rand) (*State, error) {
	if err := checkStep("SGNHT", k.StepSize); err != nil {
		return nil, err
	}
	if !(k.Diffusion > 0) || math.IsInf(k.Diffusion, 0) {
		return nil, fmt.Errorf("SGNHT: expected a diffusion above 0, got %v", k.Diffusion)
	}
	s, err := begin(d, theta, temperature)
	if err == nil {
		addMomentum(s, rng)
		s.Thermostat = k.Diffusion
	}
	return s, err
}

// Step implements [Kernel].
func (k SGNHT) Step(d Density, s *State, rng *rand.Rand) (Info, error) {
	h := k.StepSize
	for i := range s.Momentum {
		s.Momentum[i] -= h / 2 * s.Gradient[i]
		s.Theta[i] += h / 2 * s.Momentum[i]
	}
	s.Thermostat += h / 2 * (kineticTemperature(s.Momentum) - s.Temperature)
	xi := s.Thermostat
	keep := math.Exp(-xi * h)
	variance := 2 * h // of dp = −ξ p dt + √(2AT) dW over h, in units of AT
	if math.Abs(xi*h) > 1e-8 {
		variance = -math.Expm1(-2*xi*h) / xi
	}
	size := math.Sqrt(k.Diffusion * s.Temperature * variance)
	noise := s.noise(rng)
	for i := range s.Momentum {
		s.Momentum[i] = keep*s.Momentum[i] + size*noise[i]
	}
	s.Thermostat += h / 2 * (kineticTemperature(s.Momentum) - s.Temperature)
	for i, p := range s.Momentum {
		s.Theta[i] += h / 2 * p
	}
	return s.kickAndArrive(d, h)
}
