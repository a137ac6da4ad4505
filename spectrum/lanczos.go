package spectrum

import (
	"cmp"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/lapack"
	"gonum.org/v1/gonum/lapack/gonum"

	"github.com/kelvin-ml/kelvin/checkpoint"
)

const (
	lanczosProbes = 8
	lanczosSteps  = 160
	// resolvedTo is the residual, relative to the eigenvalue, below which a
	// Ritz value counts as an eigenvalue. Its error is at most the residual,
	// and of the order of its square.
	resolvedTo = 1e-3
	// singleError bounds the relative rounding of products in float32.
	singleError = 1e-6
)

// lanczos estimates the spectrum by stochastic Lanczos quadrature (Ubaru, Chen
// and Saad, SIAM J. Matrix Anal. Appl. 38, 1075): from each of several random
// probes a Krylov space is built with full reorthogonalisation, for all probes
// in one pass over the weights. The largest eigenvalues come out resolved, the
// rest as a density, of which quantiles stand for eigenvalues. The replicates
// leave out one probe each.
func lanczos(ctx context.Context, t checkpoint.Tensor, rows, cols int, o Options) (solution, error) {
	weights := make([]float32, t.Len())
	if err := t.Float32(weights); err != nil {
		return solution{}, err
	}
	v := solution{}
	for _, x := range weights {
		v.frobenius2 += float64(x) * float64(x)
	}
	if math.IsNaN(v.frobenius2) || math.IsInf(v.frobenius2, 0) {
		return v, errors.New("some weights are NaN, infinite or too large to square")
	}
	if v.frobenius2 == 0 {
		v.eigenvalues = make([]float64, min(rows, cols))
		return v, nil
	}
	v.approximate = true
	rng := rand.New(rand.NewPCG(o.Seed, seedStream(t.Name, "lanczos")))
	probes, err := krylov(ctx, blas32.General{Rows: rows, Cols: cols, Stride: cols, Data: weights}, lanczosProbes, lanczosSteps, rng)
	if err != nil {
		return v, err
	}
	v.merge(probes, min(rows, cols))
	return v, nil
}

// merge joins the probes' quadratures into one spectrum of n eigenvalues.
func (v *solution) merge(probes [][]node, n int) {
	top := mostResolved(probes)
	v.eigenvalues = quantiles(probes, top, n)
	v.topError = max(top[0].residual, singleError*top[0].value)
	v.resolved = top[len(top)-1].value
	v.medianError = medianError(probes, v.eigenvalues)
	for i := range probes {
		rest := slices.Delete(slices.Clone(probes), i, i+1)
		v.replicates = append(v.replicates, quantiles(rest, top, n))
	}
}

// medianError is the relative standard error of the median: the scatter among
// probes of the weight below it, carried over to eigenvalues. (The jackknife
// fails for quantiles.)
func medianError(probes [][]node, eigenvalues []float64) float64 {
	middle := median(eigenvalues)
	if middle == 0 {
		return 0
	}
	below := make([]float64, len(probes))
	for i, nodes := range probes {
		for _, x := range nodes {
			if x.value < middle {
				below[i] += x.weight
			}
		}
	}
	n := float64(len(eigenvalues))
	shift := int(math.Ceil(deviation(below) / math.Sqrt(float64(len(probes))) * n))
	low, high := max(int(n)/2-shift, 0), min(int(n)/2+shift, int(n)-1)
	return max(eigenvalues[high]-middle, middle-eigenvalues[low]) / middle
}

// A node of a probe's quadrature: a Ritz value, its weight in the density and
// its residual norm.
type node struct{ value, weight, residual float64 }

// mostResolved returns the largest eigenvalues, descending, from the probe
// that resolved most of them; at least the first, however well it is resolved.
func mostResolved(probes [][]node) []node {
	var best []node
	for _, nodes := range probes {
		k := 0
		for k < len(nodes) && nodes[k].residual <= resolvedTo*nodes[k].value {
			k++
		}
		if k = max(k, 1); k > len(best) || k == len(best) && nodes[0].residual < best[0].residual {
			best = nodes[:k]
		}
	}
	return best
}

// quantiles returns n values, ascending: the resolved ones, and below them
// the quantiles of the probes' density.
func quantiles(probes [][]node, top []node, n int) []float64 {
	edge := top[len(top)-1]
	var nodes []node
	var total float64
	for _, p := range probes {
		for _, x := range p {
			// A Ritz value within the error of the last resolved one is that one.
			if x.value < edge.value-max(edge.residual, x.residual) {
				nodes = append(nodes, x)
				total += x.weight
			}
		}
	}
	slices.SortFunc(nodes, func(a, b node) int { return cmp.Compare(a.value, b.value) })
	out := make([]float64, 0, n)
	rest := n - len(top)
	if len(nodes) == 0 { // the rank is that of the resolved part
		out = append(out, make([]float64, max(rest, 0))...)
	} else {
		at, below, last := 0, 0.0, node{}
		middle := nodes[0].weight / 2 // of the weight up to nodes[at]
		for i := range rest {
			want := (float64(i) + 0.5) / float64(rest) * total
			for at < len(nodes)-1 && middle < want {
				below, last = middle, nodes[at]
				middle += (nodes[at].weight + nodes[at+1].weight) / 2
				at++
			}
			share := 1.0
			if middle > want {
				share = (want - below) / (middle - below)
			}
			out = append(out, last.value+share*(nodes[at].value-last.value))
		}
	}
	for i := len(top) - 1; i >= 0; i-- {
		out = append(out, top[i].value)
	}
	slices.Sort(out)
	return out[len(out)-n:]
}

// krylov runs the Lanczos iteration for WᵀW, or WWᵀ if that is smaller, from
// several Gaussian probes at once, and returns their quadratures, largest Ritz
// value first. Products are taken in float32, everything else in float64.
func krylov(ctx context.Context, w blas32.General, probes, steps int, rng *rand.Rand) ([][]node, error) {
	n, long := min(w.Rows, w.Cols), max(w.Rows, w.Cols)
	steps = min(steps, n)
	runs := make([]*iteration, probes)
	for p := range runs {
		runs[p] = newIteration(n, rng)
	}
	x := blas32.General{Rows: probes, Cols: n, Stride: n, Data: make([]float32, probes*n)}
	y := blas32.General{Rows: probes, Cols: long, Stride: long, Data: make([]float32, probes*long)}
	z := blas32.General{Rows: probes, Cols: n, Stride: n, Data: make([]float32, probes*n)}
	first, second := blas.Trans, blas.NoTrans
	if w.Rows < w.Cols {
		first, second = second, first
	}
	for range steps {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		for p, r := range runs {
			for i, q := range r.basis[len(r.basis)-1] {
				x.Data[p*n+i] = float32(q)
			}
		}
		blas32.Gemm(blas.NoTrans, first, 1, x, w, 0, y)
		blas32.Gemm(blas.NoTrans, second, 1, y, w, 0, z)
		for p, r := range runs {
			r.step(z.Data[p*n : (p+1)*n])
		}
	}
	out := make([][]node, probes)
	for p, r := range runs {
		var err error
		if out[p], err = r.nodes(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// An iteration is the Lanczos process of one probe.
type iteration struct {
	basis       [][]float64 // orthonormal; the last one is to be multiplied next
	alpha, beta []float64   // diagonal, and norms of the remainders
	done        bool        // the Krylov space is invariant
}

func newIteration(n int, rng *rand.Rand) *iteration {
	q := make([]float64, n)
	for i := range q {
		q[i] = rng.NormFloat64()
	}
	floats.Scale(1/floats.Norm(q, 2), q)
	return &iteration{basis: [][]float64{q}}
}

// step takes the product of the matrix with the last basis vector.
func (r *iteration) step(product []float32) {
	if r.done {
		return
	}
	k := len(r.basis) - 1
	next := make([]float64, len(product))
	for i, x := range product {
		next[i] = float64(x)
	}
	r.alpha = append(r.alpha, floats.Dot(next, r.basis[k]))
	for range 2 { // twice is enough (Parlett)
		for _, q := range r.basis {
			floats.AddScaled(next, -floats.Dot(next, q), q)
		}
	}
	norm := floats.Norm(next, 2)
	r.beta = append(r.beta, norm)
	// What is left of a float32 product in an invariant space is rounding.
	if norm <= singleError*floats.Max(r.alpha) || len(r.basis) == len(next) {
		r.done = true
		return
	}
	floats.Scale(1/norm, next)
	r.basis = append(r.basis, next)
}

// nodes diagonalises the tridiagonal matrix.
func (r *iteration) nodes() ([]node, error) {
	m := len(r.alpha)
	d, e := slices.Clone(r.alpha), slices.Clone(r.beta[:m-1])
	z := make([]float64, m*m)
	if !(gonum.Implementation{}).Dsteqr(lapack.EVTridiag, m, d, e, z, m, make([]float64, max(1, 2*m-2))) {
		return nil, errors.New("the Lanczos eigenvalue problem did not converge")
	}
	out := make([]node, m)
	for j := range out {
		weight := z[j] * z[j]
		out[m-1-j] = node{max(d[j], 0), weight, r.beta[m-1] * math.Abs(z[(m-1)*m+j])}
	}
	return out, nil
}
