package curvature

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/kelvin-ml/kelvin/thermo"
	"gonum.org/v1/gonum/stat/distuv"
)

// QuadratureOptions are the parameters of NewQuadrature.
type QuadratureOptions struct {
	Probes   int // random vectors
	Steps    int // products of each at most
	Seed     uint64
	Progress func(done, total int) // products; may be nil
}

// A Quadrature estimates sums over all eigenvalues by stochastic Lanczos
// quadrature (G. Golub and G. Meurant; S. Ubaru and others, SIAM J. Matrix Anal.
// Appl. 38, 1075, 2017): for a random vector z of unit covariance E[z·f(H)z] =
// Σ f(λ), and Lanczos from z is a Gauss rule for z·f(H)z. Eigenvalues that a
// Krylov space has found are summed exactly and taken out of z.
type Quadrature struct {
	Dim      int
	Known    []Eigenvalue // eigenvalues found, increasing; Residual bounds their error
	leaks    []float64    // the squared sine of each one's angle to its true vector
	Probes   int
	Products int
	Rounding float64 // what the products have wrong, as their asymmetry shows it

	fine, coarse []rule // of every probe, with all steps and with three quarters
}

// A rule is a sum Σ weights·f(nodes).
type rule struct{ nodes, weights []float64 }

func (r rule) sum(f func(float64) float64) float64 {
	sum := 0.0
	for i, x := range r.nodes {
		sum += r.weights[i] * f(x)
	}
	return sum
}

// NewQuadrature runs the probes. It fails if a product does or if ctx ends
// before two probes are done; those that are done make a quadrature otherwise.
func NewQuadrature(ctx context.Context, operator Operator, krylov *Krylov, o QuadratureOptions) (*Quadrature, error) {
	n := operator.Dim()
	f, err := newForms(operator, []thermo.Group{{Size: n}}, false)
	if err != nil {
		return nil, err
	}
	if o.Probes < 2 || o.Steps < 4 {
		return nil, fmt.Errorf("quadrature: expected at least 2 probes of 4 steps, got %d of %d", o.Probes, o.Steps)
	}
	q := &Quadrature{Dim: n}
	vectors := q.know(krylov)
	if len(q.Known) == n {
		return q, nil
	}
	random := rand.New(rand.NewPCG(o.Seed, densityStream))
	for len(q.fine) < o.Probes && (ctx.Err() == nil || len(q.fine) < 2) {
		probe := make([]float64, n)
		signs(random, probe)
		project(vectors, probe)
		mass := dot(probe, probe)
		p := &process{forms: f, deflate: vectors, random: random, limit: min(o.Steps, n-len(vectors)), invariant: true}
		if err := p.run(probe, func(*process) bool {
			if o.Progress != nil {
				o.Progress(f.products, o.Probes*o.Steps)
			}
			return len(q.fine) < 2 && ctx.Err() != nil
		}); err != nil {
			return nil, err
		}
		if len(q.fine) < 2 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		q.Rounding = max(q.Rounding, p.asymmetry)
		m := len(p.diagonal)
		q.fine = append(q.fine, p.rule(m, mass))
		coarse := m
		if m == o.Steps {
			coarse = 3 * m / 4
		}
		q.coarse = append(q.coarse, p.rule(coarse, mass))
	}
	q.Probes, q.Products = len(q.fine), f.products
	return q, nil
}

// know takes over the eigenvalues of a Krylov space that are known to a
// thousandth, and returns their vectors; or all, if the space is everything.
func (q *Quadrature) know(k *Krylov) [][]float64 {
	var vectors [][]float64
	if k == nil {
		return nil
	}
	all := len(k.Vectors) == q.Dim
	q.Rounding = k.asymmetry
	for i, value := range k.values {
		if all || k.residual(i) <= 1e-2*math.Abs(value) && k.errorBound(i) <= 1e-3*math.Abs(value) {
			bound := k.errorBound(i)
			q.Known = append(q.Known, Eigenvalue{value, bound})
			q.leaks = append(q.leaks, bound*bound/(k.residual(i)*k.residual(i)+math.SmallestNonzeroFloat64))
			if !all {
				vectors = append(vectors, k.vector(i))
			}
		}
	}
	return vectors
}

// rule returns the Gauss rule of the first m steps, for a vector of the given
// squared norm.
func (p *process) rule(m int, mass float64) rule {
	if m == 0 {
		return rule{}
	}
	values, vectors := diagonalise(p.diagonal[:m], p.offDiagonal[:m-1])
	weights := make([]float64, m)
	for i := range weights {
		weights[i] = mass * vectors[i] * vectors[i]
	}
	return rule{values, weights}
}

// Sum estimates Σ f(λ) over all eigenvalues. Its standard error is that of the
// probes and, beside it, that of the known eigenvalues and the change that the
// last quarter of the steps made.
func (q *Quadrature) Sum(name, unit string, f func(lambda float64) float64) thermo.Reading {
	values, bias := q.sums(f)
	r := thermo.Reading{Name: name, Unit: unit, Value: mean(values)}
	if len(q.fine) > 0 {
		r.ESS = float64(len(values))
		r.DoF = r.ESS - 1
		r.StdErr = math.Hypot(math.Sqrt(variance(values)/r.ESS), bias)
	}
	return r
}

// sums returns the estimate of each probe, and a bound of what they have wrong in
// common: the change of their mean by the last quarter of the steps, and what the
// known eigenvalues may be off.
func (q *Quadrature) sums(f func(float64) float64) (values []float64, bias float64) {
	known := 0.0
	for i, x := range q.Known {
		y := f(x.Value)
		known += y
		bias += math.Abs(f(x.Value+x.Residual)-f(x.Value-x.Residual))/2 + q.leaks[i]*math.Abs(y)
	}
	if len(q.fine) == 0 {
		return []float64{known}, 0
	}
	step := 0.0
	for i := range q.fine {
		x := q.fine[i].sum(f)
		values = append(values, known+x)
		step += (x - q.coarse[i].sum(f)) / float64(len(q.fine))
	}
	return values, bias + math.Abs(step)
}

// A Point is the spectral density at X with its pointwise confidence interval of
// 95 %.
type Point struct {
	X    float64 `json:"x"`
	Y    float64 `json:"y"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Density returns the density of eigenvalues, smoothed by a normal distribution
// whose standard deviation, width, is a hundredth of the spectrum, at points
// from end to end. Its integral is 1.
func (q *Quadrature) Density(points int) (density []Point, width float64) {
	low, high := math.Inf(1), math.Inf(-1)
	for _, x := range q.Known {
		low, high = min(low, x.Value), max(high, x.Value)
	}
	for _, r := range q.fine {
		for _, x := range r.nodes {
			low, high = min(low, x), max(high, x)
		}
	}
	width = (high - low) / 100
	if width == 0 {
		width = max(math.Abs(high), 1) / 100
	}
	low, high = low-4*width, high+4*width
	z := 0.0
	if n := len(q.fine); n > 1 {
		z = distuv.StudentsT{Sigma: 1, Nu: float64(n - 1)}.Quantile(0.975)
	}
	for i := range points {
		x := low + (high-low)*float64(i)/float64(points-1)
		values, bias := q.sums(func(lambda float64) float64 {
			d := (lambda - x) / width
			return math.Exp(-d*d/2) / (width * math.Sqrt(2*math.Pi) * float64(q.Dim))
		})
		p := Point{X: x, Y: max(0, mean(values))}
		half := bias
		if n := float64(len(values)); n > 1 {
			half += z * math.Sqrt(variance(values)/n)
		}
		p.Low, p.High = max(0, p.Y-half), p.Y+half
		density = append(density, p)
	}
	return density, width
}
