package curvature

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/kelvin-ml/kelvin/thermo"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/lapack"
	lapackgonum "gonum.org/v1/gonum/lapack/gonum"
)

// An Eigenvalue is an approximate eigenvalue with the norm ‖Hy − λy‖ of its unit
// vector y: an eigenvalue lies within Residual of Value.
type Eigenvalue struct {
	Value    float64 `json:"value"`
	Residual float64 `json:"residual"`
}

// LanczosOptions are the parameters of Lanczos.
type LanczosOptions struct {
	Top, Bottom int     // eigenvalues wanted at either end
	Tolerance   float64 // error at which they are done, relative to the largest modulus of all
	Steps       int     // products at most
	Seed        uint64
	Population  bool                  // keep the forms of the parts, as Trace needs them
	Progress    func(done, total int) // may be nil
}

// A Krylov space is what Lanczos leaves: an orthonormal basis V and the
// tridiagonal matrix T = VᵀHV.
type Krylov struct {
	Vectors   [][]float64
	Converged bool // whether all wanted eigenvalues reached the tolerance
	Products  int

	values     []float64   // of T, increasing
	vectors    []float64   // T's eigenvectors in columns, len(values)² row by row
	last       float64     // norm of what the basis leaves out of H·(its last vector)
	asymmetry  float64     // the largest part of a product that the recurrence has no place for
	sums       [][]float64 // [part][group] Σ v·Hv over the basis
	population bool
}

// Lanczos runs the Lanczos process from a random vector with full
// reorthogonalisation until the wanted eigenvalues are found, and so is exact
// where Steps reaches the dimension. It sees equal eigenvalues once. It fails if
// a product does, or if ctx ends before the first eigenvalues are to be had.
func Lanczos(ctx context.Context, operator Operator, groups []thermo.Group, o LanczosOptions) (*Krylov, error) {
	f, err := newForms(operator, groups, o.Population)
	if err != nil {
		return nil, err
	}
	if o.Steps < 1 || o.Top < 0 || o.Bottom < 0 || !(o.Tolerance >= 0) {
		return nil, fmt.Errorf("lanczos: expected at least one step, counts and a tolerance ≥ 0, got %+v", o)
	}
	random := rand.New(rand.NewPCG(o.Seed, lanczosStream))
	start := make([]float64, operator.Dim())
	for i := range start {
		start[i] = random.NormFloat64()
	}
	k := &Krylov{sums: f.table(), population: o.Population}
	done := func(p *process) bool {
		if o.Progress != nil {
			o.Progress(len(p.basis), o.Steps)
		}
		m := len(p.basis)
		if ctx.Err() != nil && m >= 2 {
			return true
		}
		if m < min(10+o.Top+o.Bottom, operator.Dim()) || m%4 != 0 && m < p.limit {
			return false
		}
		k.settle(p)
		k.Converged = k.converged(o)
		return k.Converged
	}
	p := &process{forms: f, sums: k.sums, random: random, limit: min(o.Steps, operator.Dim())}
	if err := p.run(start, done); err != nil {
		return nil, err
	}
	k.settle(p)
	k.Vectors, k.Products = p.basis, f.products
	k.Converged = k.converged(o)
	return k, ctx.Err()
}

// Streams of the seed.
const (
	lanczosStream = iota
	traceStream
	densityStream
)

// converged reports whether the wanted eigenvalues are known to the tolerance.
func (k *Krylov) converged(o LanczosOptions) bool {
	n := len(k.values)
	bound := o.Tolerance * k.scale()
	for i := range n {
		if (i < o.Bottom || i >= n-o.Top) && k.errorBound(i) > bound {
			return false
		}
	}
	return n >= min(o.Top+o.Bottom, n)
}

// scale is the largest modulus of an eigenvalue.
func (k *Krylov) scale() float64 {
	return max(math.Abs(k.values[0]), math.Abs(k.values[len(k.values)-1]))
}

// errorBound bounds the error of the i-th value: its residual, or that squared
// by the gap to its neighbours (Kato and Temple), which stand for the eigenvalues
// they approximate.
func (k *Krylov) errorBound(i int) float64 {
	r, gap := k.residual(i), math.Inf(1)
	for _, j := range []int{i - 1, i + 1} {
		if j >= 0 && j < len(k.values) {
			gap = min(gap, math.Abs(k.values[i]-k.values[j])-k.residual(j))
		}
	}
	if gap > r {
		return r * r / gap
	}
	return r
}

func (k *Krylov) residual(i int) float64 {
	n := len(k.values)
	return math.Hypot(k.last*k.vectors[(n-1)*n+i], k.asymmetry)
}

// Top returns the n largest eigenvalues, largest first, or as many as there are.
func (k *Krylov) Top(n int) []Eigenvalue {
	all := make([]Eigenvalue, 0, n)
	for i := len(k.values) - 1; i >= 0 && len(all) < n; i-- {
		all = append(all, Eigenvalue{k.values[i], k.residual(i)})
	}
	return all
}

// Bottom returns the n smallest eigenvalues, smallest first, or as many as there
// are.
func (k *Krylov) Bottom(n int) []Eigenvalue {
	all := make([]Eigenvalue, 0, n)
	for i := 0; i < len(k.values) && len(all) < n; i++ {
		all = append(all, Eigenvalue{k.values[i], k.residual(i)})
	}
	return all
}

// vector returns the unit vector of the i-th value.
func (k *Krylov) vector(i int) []float64 {
	y := make([]float64, len(k.Vectors[0]))
	n := len(k.values)
	for j, v := range k.Vectors {
		axpy(k.vectors[j*n+i], v, y)
	}
	return y
}

// settle diagonalises T.
func (k *Krylov) settle(p *process) {
	k.values, k.vectors = diagonalise(p.diagonal, p.offDiagonal)
	k.last, k.asymmetry = p.last, p.asymmetry
}

// diagonalise returns the eigenvalues, increasing, of a symmetric tridiagonal
// matrix, and its eigenvectors in the columns of a row-major square.
func diagonalise(diagonal, offDiagonal []float64) (values, vectors []float64) {
	n := len(diagonal)
	values = append([]float64(nil), diagonal...)
	off := append([]float64(nil), offDiagonal[:n-1]...)
	vectors = make([]float64, n*n)
	var l lapackgonum.Implementation
	l.Dlaset(blas.All, n, n, 0, 1, vectors, n)
	if !l.Dsteqr(lapack.EVTridiag, n, values, off, vectors, n, make([]float64, max(1, 2*n-2))) {
		panic("curvature: the eigenvalues of a tridiagonal matrix did not converge")
	}
	return values, vectors
}

// A process is the Lanczos recurrence.
type process struct {
	forms   *forms
	sums    [][]float64 // where the forms go; nil for nowhere
	deflate [][]float64 // orthonormal vectors that the basis is kept orthogonal to
	random  *rand.Rand
	limit   int // basis vectors at most
	// invariant ends the process where the space is invariant, where it would
	// otherwise go on in another one.
	invariant bool

	basis                 [][]float64
	diagonal, offDiagonal []float64
	last, asymmetry       float64
}

// run extends the basis from the given vector, which it overwrites, until done
// or the limit.
func (p *process) run(start []float64, done func(*process) bool) error {
	length := norm(start)
	project(p.deflate, start)
	if left := norm(start); !(left > 1e-8*length) {
		return nil // nothing is left to explore
	}
	scale(1/norm(start), start)
	largest := 0.0
	for v := start; ; {
		p.basis = append(p.basis, v)
		w := make([]float64, len(v))
		if err := p.forms.apply(v, w, p.sums); err != nil {
			return err
		}
		length := norm(w)
		largest = max(largest, length)
		// The recurrence first: what is left for the reorthogonalisation is
		// rounding, and one pass does.
		m := len(p.basis)
		alpha := dot(v, w)
		axpy(-alpha, v, w)
		if m > 1 {
			axpy(-p.offDiagonal[m-2], p.basis[m-2], w)
		}
		project(p.deflate, w)
		c := project(p.basis, w)
		p.diagonal = append(p.diagonal, alpha+c[m-1])
		p.last = norm(w)
		for j := range max(0, m-2) {
			p.asymmetry = max(p.asymmetry, math.Abs(c[j]))
		}
		if done(p) || m >= p.limit {
			return nil
		}
		if p.last <= 1e-12*largest {
			if p.invariant {
				return nil
			}
			p.last = 0
			for i := range w {
				w[i] = p.random.NormFloat64()
			}
			project(p.deflate, w)
			project(p.basis, w)
			if left := norm(w); left < 1e-6 {
				return nil
			}
		}
		p.offDiagonal = append(p.offDiagonal, p.last)
		scale(1/norm(w), w)
		v = w
	}
}
