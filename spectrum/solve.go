package spectrum

import (
	"context"
	"errors"
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/mat"

	"github.com/kelvin-ml/kelvin/checkpoint"
)

// fullLimit is the shorter side up to which all singular values are computed,
// unless Options.Exact asks for them anyway: a few seconds at 2,048.
const fullLimit = 2048

// gramAspect is the ratio of the sides from which the small Gram matrix is
// decomposed instead of the matrix. Its eigenvalues are exact to 1e-15 of the
// largest, so the smallest singular values are lost below 3e-8 of it.
const gramAspect = 4

// solve finds the eigenvalues of WᵀW.
func (s Spectrum) solve(ctx context.Context, t checkpoint.Tensor, o Options) (solution, error) {
	short := min(s.Rows, s.Cols)
	if s.View != Slices && short > fullLimit && !o.Exact {
		return lanczos(ctx, t, s.Rows, s.Cols, o)
	}
	if s.View != Slices && s.Rows >= gramAspect*s.Cols {
		return tallGram(ctx, t, s.Cols)
	}
	weights := make([]float64, t.Len())
	if err := t.Float64(weights); err != nil {
		return solution{}, err
	}
	if s.View != Slices {
		values, err := singularValues(s.Rows, s.Cols, weights)
		return solution{eigenvalues: values}, err
	}
	var v solution
	slice := make([]float64, s.Rows*s.Cols)
	for k := range s.Count {
		if err := ctx.Err(); err != nil {
			return solution{}, context.Cause(ctx)
		}
		for i := range slice {
			slice[i] = weights[i*s.Count+k]
		}
		values, err := singularValues(s.Rows, s.Cols, slice)
		if err != nil {
			return solution{}, err
		}
		v.eigenvalues = append(v.eigenvalues, values...)
		v.slices = append(v.slices, values)
	}
	return v, nil
}

// singularValues returns the squared singular values of a row-major matrix.
func singularValues(rows, cols int, weights []float64) ([]float64, error) {
	for _, x := range weights {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil, errors.New("some weights are NaN or infinite")
		}
	}
	if max(rows, cols) >= gramAspect*min(rows, cols) {
		return gramValues(gram(rows, cols, weights), min(rows, cols))
	}
	var svd mat.SVD
	if !svd.Factorize(mat.NewDense(rows, cols, weights), mat.SVDNone) {
		return nil, errors.New("the singular value decomposition did not converge")
	}
	values := svd.Values(nil)
	for i, x := range values {
		values[i] = x * x
	}
	return values, nil
}

// gram returns WᵀW or WWᵀ, whichever is smaller.
func gram(rows, cols int, weights []float64) []float64 {
	w := blas64.General{Rows: rows, Cols: cols, Stride: cols, Data: weights}
	short := min(rows, cols)
	g := make([]float64, short*short)
	out := blas64.General{Rows: short, Cols: short, Stride: short, Data: g}
	if cols == short {
		blas64.Gemm(blas.Trans, blas.NoTrans, 1, w, w, 0, out)
	} else {
		blas64.Gemm(blas.NoTrans, blas.Trans, 1, w, w, 0, out)
	}
	return g
}

// tallGram adds up WᵀW over blocks of rows, so that an embedding of any number
// of rows takes the memory of its Gram matrix.
func tallGram(ctx context.Context, t checkpoint.Tensor, cols int) (solution, error) {
	g := make([]float64, cols*cols)
	out := blas64.General{Rows: cols, Cols: cols, Stride: cols, Data: g}
	buf := make([]float64, 0, 512*cols)
	add := func() {
		w := blas64.General{Rows: len(buf) / cols, Cols: cols, Stride: cols, Data: buf}
		blas64.Gemm(blas.Trans, blas.NoTrans, 1, w, w, 1, out)
		buf = buf[:0]
	}
	for block, err := range t.Blocks() {
		if err != nil {
			return solution{}, err
		}
		for len(block) > 0 {
			n := min(len(block), cap(buf)-len(buf))
			buf = append(buf, block[:n]...)
			block = block[n:]
			if len(buf) == cap(buf) {
				if ctx.Err() != nil {
					return solution{}, context.Cause(ctx)
				}
				add()
			}
		}
	}
	if len(buf) > 0 {
		add()
	}
	values, err := gramValues(g, cols)
	return solution{eigenvalues: values}, err
}

// gramValues returns the eigenvalues of a positive semidefinite matrix, which
// are its singular values.
func gramValues(g []float64, n int) ([]float64, error) {
	for i := range n {
		if x := g[i*n+i]; math.IsNaN(x) || math.IsInf(x, 0) {
			return nil, errors.New("some weights are NaN, infinite or too large to square")
		}
	}
	var svd mat.SVD
	if !svd.Factorize(mat.NewDense(n, n, g), mat.SVDNone) {
		return nil, errors.New("the eigenvalue decomposition did not converge")
	}
	return svd.Values(nil), nil
}
