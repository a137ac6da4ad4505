package sampler

import (
	"fmt"
	"math/rand/v2"
)

// maxEnergyError is the loss of total energy, in units of T, from which a
// trajectory counts as divergent (Stan's threshold).
const maxEnergyError = 1000

// HMC is Hamiltonian Monte Carlo (Duane et al. 1987; Neal 2011) with leapfrog
// trajectories whose number of steps is uniform in 1 … 2·Steps−1, so that no
// mode is in resonance with them.
type HMC struct {
	StepSize float64 // tuned to 80 % acceptance by the warm-up of Run
	Steps    int     // mean number of leapfrog steps
	Metric   *Metric // nil: unit masses; tuned by the warm-up of Run
}

// Init implements [Kernel].
func (k HMC) Init(d Density, theta []float64, temperature float64, rng *rand.Rand) (*State, error) {
	if k.Steps < 1 {
		return nil, fmt.Errorf("HMC: expected at least one leapfrog step, got %d", k.Steps)
	}
	return beginHamiltonian("HMC", k.StepSize, k.Metric, d, theta, temperature)
}

func beginHamiltonian(name string, step float64, m *Metric, d Density, theta []float64, temperature float64) (*State, error) {
	if err := checkStep(name, step); err != nil {
		return nil, err
	}
	if err := m.prepare(d.Dim()); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s, err := begin(d, theta, temperature)
	if err == nil {
		s.Momentum = make([]float64, len(theta))
	}
	return s, err
}

// A phase is a point of phase space.
type phase struct {
	theta, p, gradient, velocity []float64
	energy                       float64
}

func (s *State) phase(m *Metric) phase {
	w := s.workspace()
	z := phase{w.copyOf(s.Theta), w.copyOf(s.Momentum), w.copyOf(s.Gradient), w.get(), s.Energy}
	m.velocity(z.p, z.velocity)
	return z
}

func (w *workspace) release(z phase) {
	w.put(z.theta)
	w.put(z.p)
	w.put(z.gradient)
	w.put(z.velocity)
}

func (z *phase) hamiltonian() float64 { return z.energy + dot(z.p, z.velocity)/2 }

// leapfrog advances z by one step of signed length h.
func (z *phase) leapfrog(d Density, m *Metric, h float64) {
	for i, g := range z.gradient {
		z.p[i] -= h / 2 * g
	}
	m.velocity(z.p, z.velocity)
	for i, v := range z.velocity {
		z.theta[i] += h * v
	}
	z.energy = d.Gradient(z.theta, z.gradient)
	for i, g := range z.gradient {
		z.p[i] -= h / 2 * g
	}
	m.velocity(z.p, z.velocity)
}

// Step implements [Kernel].
func (k HMC) Step(d Density, s *State, rng *rand.Rand) (Info, error) {
	k.Metric.sample(s.Momentum, s.Temperature, rng)
	w := s.workspace()
	z := s.phase(k.Metric)
	defer w.release(z)
	start := z.hamiltonian()
	startKinetic := start - s.Energy
	steps := 1
	if k.Steps > 1 {
		steps = 1 + rng.IntN(2*k.Steps-1)
	}
	info := Info{}
	for range steps {
		z.leapfrog(d, k.Metric, k.StepSize)
		info.Gradients++
		if !((z.hamiltonian()-start)/s.Temperature < maxEnergyError) {
			info.Divergent = true
			break
		}
	}
	if !info.Divergent {
		info.Acceptance = acceptance((start - z.hamiltonian()) / s.Temperature)
	}
	kinetic := startKinetic
	if rng.Float64() < info.Acceptance {
		copy(s.Theta, z.theta)
		copy(s.Momentum, z.p)
		copy(s.Gradient, z.gradient)
		kinetic, s.Energy = z.hamiltonian()-z.energy, z.energy
	}
	s.Steps++
	info.Hamiltonian = s.Energy + kinetic
	info.Kinetic = 2 * kinetic / float64(len(s.Theta))
	return info, nil
}
