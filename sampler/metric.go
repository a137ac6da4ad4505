package sampler

import (
	"fmt"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/mat"
)

// A Metric is the inverse mass matrix of HMC and NUTS: the best one is the
// covariance of the target at T = 1. The zero Metric means unit masses.
type Metric struct {
	Diagonal []float64 `json:"diagonal,omitempty"` // of the inverse mass matrix
	Dense    []float64 `json:"dense,omitempty"`    // the whole of it, row-major; instead of Diagonal

	lower []float64 // Cholesky factor L of Dense = L·Lᵀ, row-major
}

// prepare factors a dense metric.
func (m *Metric) prepare(k int) error {
	switch {
	case m == nil || m.Diagonal == nil && m.Dense == nil:
		return nil
	case m.Dense == nil:
		if len(m.Diagonal) != k {
			return fmt.Errorf("metric: expected %d elements, got %d", k, len(m.Diagonal))
		}
		for i, v := range m.Diagonal {
			if !(v > 0) || math.IsInf(v, 0) {
				return fmt.Errorf("metric: expected elements above 0, got %v at %d", v, i)
			}
		}
		return nil
	case m.lower != nil:
		return nil
	case len(m.Dense) != k*k:
		return fmt.Errorf("metric: expected %d elements, got %d", k*k, len(m.Dense))
	}
	var factor mat.Cholesky
	if !factor.Factorize(mat.NewSymDense(k, m.Dense)) {
		return fmt.Errorf("metric: expected a positive definite matrix")
	}
	var lower mat.TriDense
	factor.LTo(&lower)
	m.lower = make([]float64, k*k)
	for i := range k {
		for j := range i + 1 {
			m.lower[i*k+j] = lower.At(i, j)
		}
	}
	return nil
}

// velocity stores M⁻¹p in v.
func (m *Metric) velocity(p, v []float64) {
	switch {
	case m == nil || m.Diagonal == nil && m.Dense == nil:
		copy(v, p)
	case m.Dense == nil:
		for i, x := range p {
			v[i] = m.Diagonal[i] * x
		}
	default:
		k := len(p)
		for i := range v {
			v[i] = dot(m.Dense[i*k:(i+1)*k], p)
		}
	}
}

// sample draws momenta p ~ N(0, T·M): with M⁻¹ = L·Lᵀ, p = L⁻ᵀz.
func (m *Metric) sample(p []float64, temperature float64, rng *rand.Rand) {
	sd := math.Sqrt(temperature)
	for i := range p {
		p[i] = sd * rng.NormFloat64()
	}
	switch {
	case m == nil || m.Diagonal == nil && m.Dense == nil:
	case m.Dense == nil:
		for i := range p {
			p[i] /= math.Sqrt(m.Diagonal[i])
		}
	default:
		k := len(p)
		for i := k - 1; i >= 0; i-- {
			p[i] /= m.lower[i*k+i]
			for j := range i {
				p[j] -= m.lower[i*k+j] * p[i]
			}
		}
	}
}

// A workspace lends vectors of one length, so that steps do not allocate.
type workspace struct {
	k    int
	free [][]float64
}

func (s *State) workspace() *workspace {
	if s.work == nil {
		s.work = &workspace{k: len(s.Theta)}
	}
	return s.work
}

func (w *workspace) get() []float64 {
	if n := len(w.free); n > 0 {
		v := w.free[n-1]
		w.free = w.free[:n-1]
		return v
	}
	return make([]float64, w.k)
}

func (w *workspace) put(v []float64) { w.free = append(w.free, v) }

func (w *workspace) copyOf(v []float64) []float64 {
	c := w.get()
	copy(c, v)
	return c
}
