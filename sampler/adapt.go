package sampler

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
)

// dualAveraging tunes a step size to a target acceptance (Hoffman and Gelman
// 2014, section 3.2, with their constants).
type dualAveraging struct {
	target            float64
	mu                float64 // log of the step that the iterates are drawn to
	count             float64
	sumError, average float64 // H̄, and log ε̄
}

func newDualAveraging(target, step float64) dualAveraging {
	return dualAveraging{target: target, mu: math.Log(10 * step)}
}

// update takes in one acceptance and returns the step to try next.
func (a *dualAveraging) update(acceptance float64) float64 {
	const gamma, t0, kappa = 0.05, 10, 0.75
	a.count++
	a.sumError += (a.target - acceptance - a.sumError) / (a.count + t0)
	logStep := a.mu - math.Sqrt(a.count)/gamma*a.sumError
	weight := math.Pow(a.count, -kappa)
	a.average += weight * (logStep - a.average)
	return math.Exp(logStep)
}

// final returns the averaged step, or the first one if nothing was averaged.
func (a *dualAveraging) final() float64 {
	if a.count == 0 {
		return math.Exp(a.mu) / 10
	}
	return math.Exp(a.average)
}

// A tunable kernel is tuned by the warm-up. Step sizes in these methods are
// those of the leapfrog step that the kernel makes.
type tunable interface {
	Kernel
	target() float64
	leapfrogStep() float64
	withLeapfrogStep(h float64) tunable
	metric() *Metric
	withMetric(m *Metric) tunable
}

func (k MALA) target() float64                    { return 0.574 }
func (k MALA) leapfrogStep() float64              { return math.Sqrt(2 * k.StepSize) }
func (k MALA) withLeapfrogStep(h float64) tunable { return MALA{StepSize: h * h / 2} }
func (k MALA) metric() *Metric                    { return nil }
func (k MALA) withMetric(*Metric) tunable         { return k }

func (k HMC) target() float64                    { return 0.8 }
func (k HMC) leapfrogStep() float64              { return k.StepSize }
func (k HMC) withLeapfrogStep(h float64) tunable { k.StepSize = h; return k }
func (k HMC) metric() *Metric                    { return k.Metric }
func (k HMC) withMetric(m *Metric) tunable       { k.Metric = m; return k }

func (k NUTS) target() float64                    { return 0.8 }
func (k NUTS) leapfrogStep() float64              { return k.StepSize }
func (k NUTS) withLeapfrogStep(h float64) tunable { k.StepSize = h; return k }
func (k NUTS) metric() *Metric                    { return k.Metric }
func (k NUTS) withMetric(m *Metric) tunable       { k.Metric = m; return k }

// reasonableStep doubles or halves h until the acceptance of one leapfrog step
// crosses 80 % (Hoffman and Gelman 2014, algorithm 4).
func reasonableStep(d Density, s *State, m *Metric, h float64, rng *rand.Rand) (float64, error) {
	w := s.workspace()
	if s.Momentum == nil {
		momentum := w.get()
		s.Momentum = momentum
		defer func() { s.Momentum = nil; w.put(momentum) }()
	}
	up := 0
	for range 200 {
		m.sample(s.Momentum, s.Temperature, rng)
		z := s.phase(m)
		start := z.hamiltonian()
		z.leapfrog(d, m, h)
		change := (start - z.hamiltonian()) / s.Temperature
		w.release(z)
		direction := -1
		if change > math.Log(0.8) {
			direction = 1
		}
		if up == 0 {
			up = direction
		}
		if direction != up {
			return h, nil
		}
		h *= math.Pow(2, float64(direction))
	}
	return 0, fmt.Errorf("warm-up: no step size keeps the energy (tried down or up to %g): the energy is flat or not continuous", h)
}

// windows are the lengths of Stan's warm-up: an initial fast phase, slow
// windows that double and estimate the metric, and a final fast phase.
func windows(steps int) (first int, slow []int) {
	first, last, base := 75, 50, 25
	if first+last+base > steps {
		first, last = steps*15/100, steps/10
		return first, []int{steps - first - last}
	}
	for left, size := steps-first-last, base; left > 0; size *= 2 {
		if left < 3*size { // the next, doubled, would not fit
			size = left
		}
		slow = append(slow, size)
		left -= size
	}
	return first, slow
}

// target is the acceptance that the warm-up tunes a kernel to.
func (o *Options) target(t tunable) float64 {
	if o.Acceptance > 0 {
		return o.Acceptance
	}
	return t.target()
}

// warm takes the steps of the warm-up, tuning step size and metric if the kernel
// can be tuned, and returns the tuned kernel. moments sees the positions of the
// second half. A dense metric is taken where there are draws enough for one.
func warm(ctx context.Context, d Density, s *State, kernel Kernel, o Options, moments *moments, rng *rand.Rand, tick func()) (Kernel, error) {
	steps := o.Warmup
	observe := func(i int) {
		if i >= steps/2 {
			moments.add(s.Theta)
		}
		tick()
	}
	t, ok := kernel.(tunable)
	if !ok || steps == 0 {
		for i := range steps {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if _, err := kernel.Step(d, s, rng); err != nil {
				return nil, err
			}
			observe(i)
		}
		return kernel, nil
	}
	return tune(ctx, d, s, t, o, rng, observe)
}

// tune is warm for a tunable kernel: at the end of each slow window it takes the
// window's covariance as the metric and begins a new search for the step.
func tune(ctx context.Context, d Density, s *State, t tunable, o Options, rng *rand.Rand, observe func(int)) (Kernel, error) {
	var average dualAveraging
	restart := func() error {
		h, err := reasonableStep(d, s, t.metric(), t.leapfrogStep(), rng)
		average = newDualAveraging(o.target(t), h)
		t = t.withLeapfrogStep(h)
		return err
	}
	if err := restart(); err != nil {
		return nil, err
	}
	first, slow := windows(o.Warmup)
	end := first + slow[0]
	estimate := newCovariance(len(s.Theta), o.Dense)
	for i := range o.Warmup {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		info, err := t.Step(d, s, rng)
		if err != nil {
			return nil, err
		}
		observe(i)
		t = t.withLeapfrogStep(average.update(info.Acceptance))
		if i < first || len(slow) == 0 {
			continue
		}
		estimate.add(s.Theta)
		if i+1 < end {
			continue
		}
		m := estimate.metric(s.Temperature)
		if err := m.prepare(len(s.Theta)); err != nil {
			return nil, fmt.Errorf("warm-up: %w", err)
		}
		t = t.withMetric(m)
		estimate = newCovariance(len(s.Theta), o.Dense)
		if err := restart(); err != nil {
			return nil, err
		}
		if slow = slow[1:]; len(slow) > 0 {
			end += slow[0]
		}
	}
	return t.withLeapfrogStep(average.final()), nil
}

// A covariance accumulates a covariance matrix, or its diagonal.
type covariance struct {
	moments
	product []float64 // sum of outer products of deviations, row-major; nil: diagonal only
	before  []float64
}

func newCovariance(k int, dense bool) *covariance {
	c := &covariance{moments: newMoments(k)}
	if dense {
		c.product, c.before = make([]float64, k*k), make([]float64, k)
	}
	return c
}

func (c *covariance) add(x []float64) {
	if c.product == nil {
		c.moments.add(x)
		return
	}
	for i, v := range x {
		c.before[i] = v - c.Mean[i]
	}
	c.moments.add(x)
	k := len(x)
	for i, v := range x {
		after := v - c.Mean[i]
		row := c.product[i*k : (i+1)*k]
		for j, b := range c.before[:i+1] {
			row[j] += after * b
		}
	}
}

// metric returns the estimate at T = 1, with the off-diagonal elements shrunk a
// little towards zero. The shrinkage is relative to the diagonal, unlike Stan's,
// so it does not depend on the parameters' units. A dense estimate needs at
// least two draws a parameter, else its diagonal is taken.
func (c *covariance) metric(temperature float64) *Metric {
	k := len(c.Mean)
	m := &Metric{Diagonal: make([]float64, k)}
	n := float64(c.N)
	for i, v := range c.M2 {
		m.Diagonal[i] = v / (max(n-1, 1) * temperature)
		if !(m.Diagonal[i] > 1e-300) || math.IsInf(m.Diagonal[i], 0) {
			m.Diagonal[i] = 1 // the coordinate has not moved
		}
	}
	if c.product == nil || c.N < 2*k {
		return m
	}
	shrink := 1 - 1e-3*5/(n+5)
	m.Dense = make([]float64, k*k)
	for i := range k {
		m.Dense[i*k+i] = m.Diagonal[i]
		for j := range i {
			v := shrink * c.product[i*k+j] / ((n - 1) * temperature)
			m.Dense[i*k+j], m.Dense[j*k+i] = v, v
		}
	}
	m.Diagonal = nil
	return m
}

// moments are streaming means and variances by Welford's algorithm.
type moments struct {
	N    int       `json:"n"`
	Mean []float64 `json:"mean"`
	M2   []float64 `json:"m2"` // sums of squared deviations
}

func newMoments(k int) moments { return moments{Mean: make([]float64, k), M2: make([]float64, k)} }

func (m *moments) add(x []float64) {
	m.N++
	for i, v := range x {
		delta := v - m.Mean[i]
		m.Mean[i] += delta / float64(m.N)
		m.M2[i] += delta * (v - m.Mean[i])
	}
}

// join adds the draws of other.
func (m *moments) join(other moments) {
	n, size := float64(m.N), float64(other.N)
	if size == 0 {
		return
	}
	m.N += other.N
	for i, v := range other.Mean {
		delta := v - m.Mean[i]
		m.Mean[i] += delta * size / (n + size)
		m.M2[i] += other.M2[i] + delta*delta*n*size/(n+size)
	}
}
