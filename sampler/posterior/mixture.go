package posterior

import (
	"fmt"
	"math"
	"strings"
)

// A mixture of K normals with means in increasing order, so that the components
// have names. Coordinates: μ₁, log(μ_k − μ_{k−1}); log σ_k; log(w_k/w_K) for
// k < K.
type mixture struct {
	y             []float64
	k             int
	mu, sigma     parameter
	concentration float64 // of the symmetric Dirichlet prior of the weights

	means, scales, logWeights, terms, slopeMean, slopeScale, slopeWeight []float64
}

func newMixture(s Spec, data Data) (Model, error) {
	y, err := data.vector("response", s.Response, 0)
	if err != nil {
		return nil, err
	}
	if s.Components < 2 || s.Components > 100 {
		return nil, fmt.Errorf("components: expected 2 to 100, got %d", s.Components)
	}
	m := &mixture{y: y, k: s.Components, concentration: 1}
	withoutWeights := s
	withoutWeights.Priors = map[string]string{}
	for name, text := range s.Priors {
		if name != "weights" {
			withoutWeights.Priors[name] = text
			continue
		}
		argument, isDirichlet := strings.CutPrefix(text, "dirichlet(")
		m.concentration, err = number(strings.TrimSuffix(argument, ")"), data)
		if !isDirichlet || err != nil || !(m.concentration > 0) {
			return nil, fmt.Errorf("priors: weights: expected dirichlet(concentration above 0), got %q", text)
		}
	}
	parameters, err := withoutWeights.parameters(data, map[string]bool{"mu": false, "sigma": true})
	if err != nil {
		return nil, err
	}
	m.mu, m.sigma = parameters["mu"], parameters["sigma"]
	for _, scratch := range []*[]float64{&m.means, &m.scales, &m.logWeights, &m.terms, &m.slopeMean, &m.slopeScale, &m.slopeWeight} {
		*scratch = make([]float64, m.k)
	}
	return m, nil
}

func (m *mixture) Dim() int { return 3*m.k - 1 }

func (m *mixture) Energy(theta []float64) float64 {
	return m.Gradient(theta, make([]float64, len(theta)))
}

// unpack stores the parameters at theta in the scratch memory.
func (m *mixture) unpack(theta []float64) {
	largest := 0.0
	for j := range m.k {
		m.means[j] = theta[j]
		if j > 0 {
			m.means[j] = m.means[j-1] + math.Exp(theta[j])
		}
		m.scales[j] = math.Exp(theta[m.k+j])
		m.logWeights[j] = 0
		if j < m.k-1 {
			m.logWeights[j] = theta[2*m.k+j]
		}
		largest = max(largest, m.logWeights[j])
	}
	var sum float64
	for _, w := range m.logWeights {
		sum += math.Exp(w - largest)
	}
	for j := range m.k {
		m.logWeights[j] -= largest + math.Log(sum)
	}
}

func (m *mixture) Gradient(theta, gradient []float64) float64 {
	m.unpack(theta)
	energy := m.likelihood()
	// The means: a prior each; those after the first move with the differences.
	tail := 0.0 // sum of the slopes in this mean and those after it
	for j := m.k - 1; j >= 0; j-- {
		e, s := m.mu.energy(m.means[j], m.slopeMean[j])
		energy += e
		tail += s
		gradient[j] = tail
		if j > 0 {
			gradient[j] = tail * math.Exp(theta[j])
		}
	}
	for j := range m.k {
		e, s := m.sigma.energy(theta[m.k+j], m.slopeScale[j])
		energy += e
		gradient[m.k+j] = s
	}
	var total float64
	for j, w := range m.logWeights { // the Dirichlet density Π w_j^(a−1)
		energy -= (m.concentration - 1) * w
		m.slopeWeight[j] -= m.concentration - 1
		total += m.slopeWeight[j]
	}
	for j := range m.k - 1 { // d log w_i/d u_j = δ_ij − w_j
		gradient[2*m.k+j] = m.slopeWeight[j] - total*math.Exp(m.logWeights[j])
	}
	return energy
}

// LogVolume implements sampler.Transformed: ∂x/∂u of the differences and the scales
// is what they are, that of the weights Π w_j.
func (m *mixture) LogVolume(theta, gradient []float64) float64 {
	m.unpack(theta)
	var volume float64
	for i := range 2 * m.k {
		gradient[i] = 0
		if i > 0 {
			gradient[i] = 1
			volume += theta[i]
		}
	}
	for j, w := range m.logWeights {
		volume += w
		if j < m.k-1 {
			gradient[2*m.k+j] = 1 - float64(m.k)*math.Exp(w)
		}
	}
	return volume
}

// proper implements Model. One component on one observation, its σ going to 0,
// has the density σ^{(power − 1)/T}, on means that are within σ.
func (m *mixture) proper(temperature float64) error {
	return vanishing("sigma", m.sigma.prior.power, 1, 1, temperature)
}

// likelihood returns −log likelihood and stores its slopes in the means, the
// scales and the log weights.
func (m *mixture) likelihood() float64 {
	clear(m.slopeMean)
	clear(m.slopeScale)
	clear(m.slopeWeight)
	var energy float64
	for _, y := range m.y {
		largest := math.Inf(-1)
		for j := range m.k {
			z := (y - m.means[j]) / m.scales[j]
			m.terms[j] = m.logWeights[j] - math.Log(m.scales[j]) - z*z/2
			largest = max(largest, m.terms[j])
		}
		var sum float64
		for _, t := range m.terms {
			sum += math.Exp(t - largest)
		}
		energy -= largest + math.Log(sum)
		for j := range m.k {
			share := math.Exp(m.terms[j]-largest) / sum
			z := (y - m.means[j]) / m.scales[j]
			m.slopeMean[j] -= share * z / m.scales[j]
			m.slopeScale[j] -= share * (z*z - 1) / m.scales[j]
			m.slopeWeight[j] -= share
		}
	}
	return energy
}

func (m *mixture) Names() []string {
	var names []string
	for _, name := range []string{"mu", "sigma", "weight"} {
		for j := range m.k {
			names = append(names, indexed(name, j))
		}
	}
	return names
}

func (m *mixture) Report(theta, out []float64) {
	m.unpack(theta)
	for j := range m.k {
		out[j], out[m.k+j], out[2*m.k+j] = m.means[j], m.scales[j], math.Exp(m.logWeights[j])
	}
}
