package posterior

import (
	"fmt"
	"math"
	"strings"
)

// A glm is a generalised linear model: η = α + X·β, response ~ family with mean
// link⁻¹(η). Coordinates: α if there is one, β, log σ if the family has a scale.
type glm struct {
	y, trials    []float64
	x            []float64 // observations × columns, row-major
	columns      int
	coefficients []parameter // α, then β
	scale        *parameter  // σ
	intercept    bool
	// loss returns −log likelihood of observation i at η and σ with its slopes.
	loss func(i int, eta, sigma float64) (e, slopeEta, slopeSigma float64)
}

func newGLM(s Spec, data Data) (Model, error) {
	y, err := data.vector("response", s.Response, 0)
	if err != nil {
		return nil, err
	}
	m := &glm{y: y, intercept: s.Intercept}
	if err := m.gather(s, data); err != nil {
		return nil, err
	}
	if err := m.setFamily(s, data); err != nil {
		return nil, err
	}
	return m, m.setPriors(s, data)
}

// gather joins the predictors to one matrix.
func (m *glm) gather(s Spec, data Data) error {
	n := len(m.y)
	for _, name := range s.Predictors {
		v, ok := data[name]
		if !ok || v.Rows != n {
			return fmt.Errorf("predictors: expected %q to be a vector or matrix with %d rows in the data (%s)", name, n, strings.Join(sortedKeys(data), ", "))
		}
		m.columns += max(v.Cols, 1)
	}
	if m.columns == 0 && !s.Intercept {
		return fmt.Errorf("predictors: expected at least one predictor or an intercept")
	}
	for i := range n {
		for _, name := range s.Predictors {
			v := data[name]
			c := max(v.Cols, 1)
			m.x = append(m.x, v.Values[i*c:(i+1)*c]...)
		}
	}
	return nil
}

func (m *glm) setPriors(s Spec, data Data) error {
	positive := map[string]bool{}
	if m.intercept {
		positive["alpha"] = false
	}
	if m.columns > 0 {
		positive["beta"] = false
	}
	if m.scale != nil {
		positive["sigma"] = true
	}
	parameters, err := s.parameters(data, positive)
	if err != nil {
		return err
	}
	if m.intercept {
		m.coefficients = append(m.coefficients, parameters["alpha"])
	}
	for i := range m.columns {
		p := parameters["beta"]
		if m.columns > 1 {
			p.name = indexed("beta", i)
		}
		m.coefficients = append(m.coefficients, p)
	}
	if m.scale != nil {
		*m.scale = parameters["sigma"]
	}
	return nil
}

// setFamily chooses the likelihood and checks the response against it.
func (m *glm) setFamily(s Spec, data Data) error {
	usual := map[string]string{"normal": "identity", "student": "identity", "bernoulli": "logit", "binomial": "logit", "poisson": "log"}
	link, known := usual[s.Family]
	if !known {
		return fmt.Errorf("family: expected one of %s, got %q", strings.Join(sortedKeys(usual), ", "), s.Family)
	}
	if s.Link != "" {
		link = s.Link
	}
	m.trials = make([]float64, len(m.y))
	for i := range m.trials {
		m.trials[i] = 1
	}
	switch s.Family + " " + link {
	case "normal identity", "normal log":
		m.scale = &parameter{}
		m.loss = m.residual(link, func(r, sigma float64) (float64, float64, float64) {
			z := r / sigma
			return z*z/2 + math.Log(sigma), z / sigma, (1 - z*z) / sigma
		})
		return nil
	case "student identity", "student log":
		if !(s.Nu > 0) {
			return fmt.Errorf("nu: expected degrees of freedom above 0, got %v", s.Nu)
		}
		m.scale = &parameter{}
		m.loss = m.residual(link, func(r, sigma float64) (float64, float64, float64) {
			e, slope := studentEnergy(s.Nu, r, sigma)
			return e + math.Log(sigma), slope, (1 - slope*r) / sigma
		})
		return nil
	case "poisson log":
		m.loss = func(i int, eta, _ float64) (float64, float64, float64) {
			mean := math.Exp(eta)
			return mean - m.y[i]*eta, mean - m.y[i], 0
		}
		return m.counts("a count", nil)
	case "bernoulli logit", "bernoulli probit":
		m.loss = m.binary(link)
		return m.counts("0 or 1", m.trials)
	case "binomial logit", "binomial probit":
		var err error
		if m.trials, err = data.vector("trials", s.Trials, len(m.y)); err != nil {
			return err
		}
		for i, n := range m.trials {
			if n < 0 || n != math.Trunc(n) {
				return fmt.Errorf("trials: expected a count, got %v at observation %d", n, i+1)
			}
		}
		m.loss = m.binary(link)
		return m.counts("a count of successes among the trials", m.trials)
	}
	return fmt.Errorf("link: the family %q has no link %q here", s.Family, link)
}

// counts checks that the response counts, up to the limits if there are any.
func (m *glm) counts(what string, limits []float64) error {
	for i, y := range m.y {
		if y < 0 || y != math.Trunc(y) || limits != nil && y > limits[i] {
			return fmt.Errorf("response: expected %s, got %v at observation %d", what, y, i+1)
		}
	}
	return nil
}

// residual makes the loss of a family of residuals r = μ − y.
func (m *glm) residual(link string, energy func(r, sigma float64) (e, slopeR, slopeSigma float64)) func(int, float64, float64) (float64, float64, float64) {
	return func(i int, eta, sigma float64) (float64, float64, float64) {
		mean, slope := eta, 1.0
		if link == "log" {
			mean = math.Exp(eta)
			slope = mean
		}
		e, slopeR, slopeSigma := energy(mean-m.y[i], sigma)
		return e, slopeR * slope, slopeSigma
	}
}

// binary makes the loss of y successes among the trials, each of probability
// logit⁻¹(η) or Φ(η).
func (m *glm) binary(link string) func(int, float64, float64) (float64, float64, float64) {
	if link == "logit" {
		return func(i int, eta, _ float64) (float64, float64, float64) {
			return m.trials[i]*softplus(eta) - m.y[i]*eta, m.trials[i]*sigmoid(eta) - m.y[i], 0
		}
	}
	return func(i int, eta, _ float64) (float64, float64, float64) {
		yes, slopeYes := logPhi(eta)
		no, slopeNo := logPhi(-eta)
		failures := m.trials[i] - m.y[i]
		return -m.y[i]*yes - failures*no, failures*slopeNo - m.y[i]*slopeYes, 0
	}
}

// logPhi is log Φ(x) and its slope φ(x)/Φ(x). In the far tail, where Φ
// underflows, it takes the asymptotic series of the Mills ratio.
func logPhi(x float64) (value, slope float64) {
	if x > -30 {
		phi := math.Erfc(-x/math.Sqrt2) / 2
		return math.Log(phi), math.Exp(-x*x/2) / (math.Sqrt(2*math.Pi) * phi)
	}
	// Φ(x) = φ(x)/|x| (1 − 1/x² + 3/x⁴ − …)
	series := 1 - 1/(x*x) + 3/(x*x*x*x)
	return -x*x/2 - math.Log(-x*math.Sqrt(2*math.Pi)) + math.Log(series), -x / series
}

func (m *glm) Dim() int {
	if m.scale != nil {
		return len(m.coefficients) + 1
	}
	return len(m.coefficients)
}

func (m *glm) Energy(theta []float64) float64 { return m.Gradient(theta, make([]float64, len(theta))) }

func (m *glm) Gradient(theta, gradient []float64) float64 {
	k := len(m.coefficients)
	sigma := 1.0
	if m.scale != nil {
		sigma = math.Exp(theta[k])
	}
	alpha, beta, slopes := 0.0, theta[:k], gradient[:k]
	if m.intercept {
		alpha, beta, slopes = theta[0], beta[1:], slopes[1:]
	}
	clear(gradient)
	var energy, slopeAlpha, slopeScale float64
	for i := range m.y {
		row := m.x[i*m.columns : (i+1)*m.columns]
		eta := alpha
		for j, x := range row {
			eta += x * beta[j]
		}
		e, s, sc := m.loss(i, eta, sigma)
		energy += e
		slopeAlpha += s
		slopeScale += sc
		for j, x := range row {
			slopes[j] += s * x
		}
	}
	if m.intercept {
		gradient[0] = slopeAlpha
	}
	for j, p := range m.coefficients {
		e, s := p.energy(theta[j], gradient[j])
		energy += e
		gradient[j] = s
	}
	if m.scale != nil {
		e, s := m.scale.energy(theta[k], slopeScale)
		energy += e
		gradient[k] = s
	}
	return energy
}

// LogVolume implements sampler.Transformed: dσ/du = σ.
func (m *glm) LogVolume(theta, gradient []float64) float64 {
	clear(gradient)
	if m.scale == nil {
		return 0
	}
	k := len(m.coefficients)
	gradient[k] = 1
	return theta[k]
}

func (m *glm) proper(float64) error { return nil }

func (m *glm) Names() []string {
	var names []string
	for _, p := range m.coefficients {
		names = append(names, p.name)
	}
	if m.scale != nil {
		names = append(names, m.scale.name)
	}
	return names
}

func (m *glm) Report(theta, out []float64) {
	copy(out, theta)
	if m.scale != nil {
		out[len(out)-1] = math.Exp(theta[len(theta)-1])
	}
}
