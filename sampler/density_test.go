package sampler

import (
	"math"
	"math/rand/v2"
)

// gaussian is E = Σ λᵢ θᵢ²/2.
type gaussian struct {
	lambda []float64
	noise  float64 // standard deviation of the gradient's noise
	rng    *rand.Rand
}

func (g gaussian) Dim() int { return len(g.lambda) }

func (g gaussian) Energy(theta []float64) float64 {
	var e float64
	for i, l := range g.lambda {
		e += l * theta[i] * theta[i] / 2
	}
	return e
}

func (g gaussian) Gradient(theta, gradient []float64) float64 {
	for i, l := range g.lambda {
		gradient[i] = l * theta[i]
		if g.noise > 0 {
			gradient[i] += g.noise * g.rng.NormFloat64()
		}
	}
	return g.Energy(theta)
}

// correlated is a Gaussian with mean mu and the covariance σᵢσⱼρ^|i−j| (an
// AR(1) process), whose precision is tridiagonal.
type correlated struct {
	mu, sigma []float64
	rho       float64
}

func (c correlated) Dim() int { return len(c.mu) }
func (c correlated) Energy(theta []float64) float64 {
	return c.Gradient(theta, make([]float64, len(theta)))
}

func (c correlated) Gradient(theta, gradient []float64) float64 {
	// z_0 ~ N(0, 1), z_i = ρ z_{i−1} + √(1−ρ²) N(0, 1)
	clear(gradient)
	v := 1 - c.rho*c.rho
	z := func(i int) float64 { return (theta[i] - c.mu[i]) / c.sigma[i] }
	e := z(0) * z(0) / 2
	gradient[0] = z(0) / c.sigma[0]
	for i := 1; i < len(theta); i++ {
		r := z(i) - c.rho*z(i-1)
		e += r * r / (2 * v)
		gradient[i] += r / v / c.sigma[i]
		gradient[i-1] -= c.rho * r / v / c.sigma[i-1]
	}
	return e
}

// funnel is Neal's: v ~ N(0, 3²), x_i ~ N(0, e^v), nine of them.
type funnel struct{}

func (funnel) Dim() int                       { return 10 }
func (funnel) Energy(theta []float64) float64 { return funnel{}.Gradient(theta, make([]float64, 10)) }

func (funnel) Gradient(theta, gradient []float64) float64 {
	v, x := theta[0], theta[1:]
	s := sumSquares(x) * math.Exp(-v)
	gradient[0] = v/9 + 4.5 - s/2
	for i, xi := range x {
		gradient[1+i] = xi * math.Exp(-v)
	}
	return v*v/18 + 4.5*v + s/2
}

// rosenbrock is x ~ N(1, 1/2), y ~ N(x², 1/20) (Pagani et al. 2022): mean of y
// is 1.5.
type rosenbrock struct{}

func (rosenbrock) Dim() int { return 2 }
func (rosenbrock) Energy(theta []float64) float64 {
	return rosenbrock{}.Gradient(theta, make([]float64, 2))
}

func (rosenbrock) Gradient(theta, gradient []float64) float64 {
	x, y := theta[0], theta[1]
	r := y - x*x
	gradient[0] = 2*(x-1) - 40*x*r
	gradient[1] = 20 * r
	return (x-1)*(x-1) + 10*r*r
}

// doubleWell is E = 8(x² − 1)² + x: two modes, the left one deeper.
type doubleWell struct{ barrier float64 }

func (doubleWell) Dim() int { return 1 }
func (d doubleWell) Energy(theta []float64) float64 {
	u := theta[0]*theta[0] - 1
	return d.barrier*u*u + theta[0]
}

func (d doubleWell) Gradient(theta, gradient []float64) float64 {
	gradient[0] = 4*d.barrier*theta[0]*(theta[0]*theta[0]-1) + 1
	return d.Energy(theta)
}

func shared(d Density) func(int) (Density, error) {
	return func(int) (Density, error) { return d, nil }
}

func atZero(int, *rand.Rand) []float64 { return []float64{0, 0} }
