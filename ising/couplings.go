package ising

import (
	"context"
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/optimize"

	"github.com/kelvin-ml/kelvin/thermo"
)

// Couplings is an Ising model fitted to samples of binary variables: each is
// up with probability 1/(1 + e^{−2(h_i + Σ J_ij s_j)}) given the others. J and h
// are in units of the temperature: data fix J/T only.
type Couplings struct {
	J      [][]float64 // symmetric, zero diagonal
	H      []float64
	JError [][]float64 // standard errors of J, by the sandwich
	// Temperature is 1/√(mean over i of Σ_j J_ij²): the temperature in units
	// where the couplings that act on a variable have a total square of one, as
	// in the Sherrington-Kirkpatrick model, which freezes at 1. The squares of J
	// itself are too large, by many times when the samples are few: so it is that of
	// such models of the same size, sampled as often, whose fits come out as large.
	// Where samples are too few to tell, it is not valid and says so.
	Temperature thermo.Reading

	surprise float64 // mean negative log pseudo-likelihood, with the prior
}

// maxVariables bounds the memory of a fit.
const maxVariables = 256

// Signs turns numbers into spins: +1 where positive, else −1. Use it on the
// weights of a network, or on its activations less their medians.
func Signs(x []float64) []int8 {
	out := make([]int8, len(x))
	for i, v := range x {
		out[i] = -1
		if v > 0 {
			out[i] = 1
		}
	}
	return out
}

// FitCouplings fits an Ising model to samples of spins ±1, independent of each
// other, by maximum pseudo-likelihood (Besag 1975) with a normal prior of unit
// spread on every coupling: the rows of a layer's binary weights, say, or the
// signs of its activations on one example each.
func FitCouplings(ctx context.Context, samples [][]int8) (*Couplings, error) {
	x, err := spinMatrix(samples)
	if err != nil {
		return nil, err
	}
	c, err := fitCouplings(ctx, x, 1e-6)
	if err != nil {
		return nil, err
	}
	if err := c.sandwich(x); err != nil {
		return nil, fmt.Errorf("fitting couplings: %w", err)
	}
	c.Temperature, err = glassTemperature(ctx, x)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func jackknifeError(values []float64) float64 {
	n := float64(len(values))
	if n < 2 {
		return math.NaN()
	}
	var mean, sum float64
	for _, v := range values {
		mean += v / n
	}
	for _, v := range values {
		sum += (v - mean) * (v - mean)
	}
	return math.Sqrt(sum * (n - 1) / n)
}

func spinMatrix(samples [][]int8) (*mat.Dense, error) {
	if len(samples) < 2 || len(samples[0]) < 2 || len(samples[0]) > maxVariables {
		return nil, fmt.Errorf("%d samples: expected at least 2, of 2 to %d spins each", len(samples), maxVariables)
	}
	n := len(samples[0])
	x := mat.NewDense(len(samples), n, nil)
	for k, s := range samples {
		if len(s) != n {
			return nil, fmt.Errorf("sample %d: expected %d spins, got %d", k, n, len(s))
		}
		for i, v := range s {
			if v != 1 && v != -1 {
				return nil, fmt.Errorf("sample %d: spin %d is %d, expected 1 or -1", k, i, v)
			}
			x.Set(k, i, float64(v))
		}
	}
	return x, nil
}

// pseudo is the pseudo-likelihood of a matrix of samples. Parameters are J row
// by row, n×n, of which the symmetric part counts, then h.
type pseudo struct {
	x, f, residual, gradient *mat.Dense
}

// evaluate returns the mean negative log pseudo-likelihood and its gradient.
func (p *pseudo) evaluate(theta, grad []float64) float64 {
	m, n := p.x.Dims()
	j := mat.NewDense(n, n, theta[:n*n])
	p.f.Mul(p.x, j)
	energy := 0.0
	gradH := grad[n*n:]
	clear(gradH)
	for k := range m {
		xs, fs, rs := p.x.RawRowView(k), p.f.RawRowView(k), p.residual.RawRowView(k)
		for i := range n {
			a := 2 * xs[i] * (fs[i] + theta[n*n+i])
			energy += (math.Max(-a, 0) + math.Log1p(math.Exp(-math.Abs(a)))) / float64(m)
			rs[i] = -2 * xs[i] / (1 + math.Exp(a)) / float64(m)
			gradH[i] += rs[i]
		}
	}
	p.gradient.Mul(p.x.T(), p.residual)
	prior := 1 / float64(m)
	for i := range n {
		for k := range n {
			at := i*n + k
			if i == k {
				grad[at] = 0
				continue
			}
			// Theta stays symmetric, so each pair is counted twice by halves.
			grad[at] = p.gradient.At(i, k) + p.gradient.At(k, i) + prior*theta[at]
			energy += prior / 4 * theta[at] * theta[at]
		}
	}
	for i := range gradH {
		energy += prior / 2 * theta[n*n+i] * theta[n*n+i]
		gradH[i] += prior * theta[n*n+i]
	}
	return energy
}

func fitCouplings(ctx context.Context, x *mat.Dense, threshold float64) (*Couplings, error) {
	m, n := x.Dims()
	p := pseudo{x: x, f: mat.NewDense(m, n, nil), residual: mat.NewDense(m, n, nil), gradient: mat.NewDense(n, n, nil)}
	full, grad := make([]float64, n*n+n), make([]float64, n*n+n)
	pairs := n * (n - 1) / 2
	// The minimiser sees each pair once.
	spread := func(v []float64) {
		at := 0
		for i := range n {
			for k := i + 1; k < n; k++ {
				full[i*n+k], full[k*n+i] = v[at], v[at]
				at++
			}
		}
		copy(full[n*n:], v[pairs:])
	}
	problem := optimize.Problem{
		Func: func(v []float64) float64 { spread(v); return p.evaluate(full, grad) },
		Grad: func(g, v []float64) {
			spread(v)
			p.evaluate(full, grad)
			at := 0
			for i := range n {
				for k := i + 1; k < n; k++ {
					g[at] = grad[i*n+k]
					at++
				}
			}
			copy(g[pairs:], grad[n*n:])
		},
		Status: func() (optimize.Status, error) { return optimize.NotTerminated, ctx.Err() },
	}
	result, err := optimize.Minimize(problem, make([]float64, pairs+n), &optimize.Settings{MajorIterations: 200, GradientThreshold: threshold}, &optimize.LBFGS{})
	if ctx.Err() != nil || result == nil {
		return nil, fmt.Errorf("fitting couplings: %w", errors.Join(ctx.Err(), err))
	}
	spread(result.X)
	c := &Couplings{H: append([]float64(nil), full[n*n:]...), surprise: result.F}
	for i := range n {
		c.J = append(c.J, append([]float64(nil), full[i*n:(i+1)*n]...))
	}
	return c, nil
}

// sandwich fills JError by influence: what each sample adds to each coupling is
// its score times the inverse information of the variable's own regression,
// the mean of the two that share the coupling.
func (c *Couplings) sandwich(x *mat.Dense) error {
	m, n := x.Dims()
	j, f := mat.NewDense(n, n, nil), mat.NewDense(m, n, nil)
	for i, row := range c.J {
		j.SetRow(i, row)
	}
	f.Mul(x, j)
	inverses := make([]mat.SymDense, n)
	design := mat.NewDense(m, n, nil)
	for i := range n {
		information := mat.NewSymDense(n, nil)
		for k := range m {
			t := math.Tanh(f.At(k, i) + c.H[i])
			row := design.RawRowView(k)
			copy(row, x.RawRowView(k))
			row[i] = 1 // the field
			for l := range row {
				row[l] *= math.Sqrt(1 - t*t)
			}
		}
		information.SymOuterK(1, design.T())
		for l := range n {
			information.SetSym(l, l, information.At(l, l)+1)
		}
		var factor mat.Cholesky
		if !factor.Factorize(information) {
			return fmt.Errorf("the information of variable %d is not positive", i)
		}
		if err := factor.InverseTo(&inverses[i]); err != nil {
			return fmt.Errorf("inverting the information of variable %d: %w", i, err)
		}
	}
	influence, squares := mat.NewDense(n, n, nil), mat.NewDense(n, n, nil)
	z, out := mat.NewVecDense(n, nil), mat.NewVecDense(n, nil)
	for k := range m {
		xs, fs := x.RawRowView(k), f.RawRowView(k)
		for i := range n {
			copy(z.RawVector().Data, xs)
			z.SetVec(i, 1)
			out.MulVec(&inverses[i], z)
			score := xs[i] - math.Tanh(fs[i]+c.H[i])
			for l := range n {
				influence.Set(i, l, score*out.AtVec(l))
			}
		}
		for i := range n {
			for l := range n {
				both := (influence.At(i, l) + influence.At(l, i)) / 2
				squares.Set(i, l, squares.At(i, l)+both*both)
			}
		}
	}
	for i := range n {
		row := make([]float64, n)
		for l := range row {
			if l != i {
				row[l] = math.Sqrt(squares.At(i, l))
			}
		}
		c.JError = append(c.JError, row)
	}
	return nil
}

// meanSquare returns the mean over rows of the sum of squares.
func meanSquare(rows [][]float64) float64 {
	sum := 0.0
	for _, row := range rows {
		for _, j := range row {
			sum += j * j
		}
	}
	return sum / float64(len(rows))
}
