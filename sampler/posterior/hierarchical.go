package posterior

import (
	"fmt"
	"math"
)

// A hierarchical model: y_j ~ N(θ_j, s_j) with known s_j, θ_j ~ N(μ, τ).
// Coordinates: J of θ_j (centred) or t_j = (θ_j − μ)/τ, then μ, log τ.
type hierarchical struct {
	y, scale []float64
	mu, tau  parameter
	centred  bool
}

func newHierarchical(s Spec, data Data) (Model, error) {
	y, err := data.vector("response", s.Response, 0)
	if err != nil {
		return nil, err
	}
	scale, err := data.vector("scale", s.Scale, len(y))
	if err != nil {
		return nil, err
	}
	for i, v := range scale {
		if !(v > 0) {
			return nil, fmt.Errorf("scale: expected standard deviations above 0, got %v at group %d", v, i+1)
		}
	}
	parameters, err := s.parameters(data, map[string]bool{"mu": false, "tau": true})
	if err != nil {
		return nil, err
	}
	return &hierarchical{y, scale, parameters["mu"], parameters["tau"], s.Centred}, nil
}

func (m *hierarchical) Dim() int { return len(m.y) + 2 }

func (m *hierarchical) Energy(theta []float64) float64 {
	return m.Gradient(theta, make([]float64, len(theta)))
}

func (m *hierarchical) Gradient(theta, gradient []float64) float64 {
	n := len(m.y)
	mu, tau := theta[n], math.Exp(theta[n+1])
	var energy, slopeMu, slopeTau float64
	for j, y := range m.y {
		z := theta[j] // standard normal
		mean := mu + tau*z
		if m.centred {
			mean = theta[j]
			z = (mean - mu) / tau
		}
		r := (mean - y) / m.scale[j]
		slope := r / m.scale[j]                 // of the likelihood in the mean
		energy += r*r/2 + z*z/2 + math.Log(tau) // of θ_j, whatever the coordinates
		slopeTau += 1 / tau
		if m.centred {
			gradient[j] = slope + z/tau
			slopeMu -= z / tau
			slopeTau -= z * z / tau
			continue
		}
		gradient[j] = slope*tau + z
		slopeMu += slope
		slopeTau += slope * z
	}
	e, s := m.mu.energy(theta[n], slopeMu)
	gradient[n] = s
	f, s := m.tau.energy(theta[n+1], slopeTau)
	gradient[n+1] = s
	return energy + e + f
}

// LogVolume implements sampler.Transformed: dτ/du = τ, and so is dθ_j/dt_j.
func (m *hierarchical) LogVolume(theta, gradient []float64) float64 {
	n := len(m.y)
	clear(gradient)
	gradient[n+1] = 1
	if !m.centred {
		gradient[n+1] += float64(n)
	}
	return gradient[n+1] * theta[n+1]
}

// proper implements Model. As τ goes to 0, the density of J means within τ of mu
// goes as τ^{(power − J)/T}.
func (m *hierarchical) proper(temperature float64) error {
	n := float64(len(m.y))
	return vanishing("tau", m.tau.prior.power, n, n, temperature)
}

func (m *hierarchical) Names() []string {
	var names []string
	for j := range m.y {
		names = append(names, indexed("theta", j))
	}
	return append(names, "mu", "tau")
}

func (m *hierarchical) Report(theta, out []float64) {
	n := len(m.y)
	mu, tau := theta[n], math.Exp(theta[n+1])
	for j := range m.y {
		out[j] = theta[j]
		if !m.centred {
			out[j] = mu + tau*theta[j]
		}
	}
	out[n], out[n+1] = mu, tau
}
