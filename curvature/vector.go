package curvature

import (
	"runtime"

	"golang.org/x/sync/errgroup"
	"gonum.org/v1/gonum/blas/gonum"
)

// The vectors of a basis are worked on in stripes that stay in the cache, and in
// blocks that go to different cores. Sums are taken block by block in order, so
// that results do not depend on the number of cores.
const (
	stripe = 1 << 11
	block  = 1 << 15
)

var kernel gonum.Implementation

func dot(a, b []float64) float64 { return kernel.Ddot(len(a), a, 1, b, 1) }

func axpy(s float64, x, y []float64) { kernel.Daxpy(len(x), s, x, 1, y, 1) }

func scale(s float64, x []float64) { kernel.Dscal(len(x), s, x, 1) }

// overBlocks calls work for every block of n elements, on all cores.
func overBlocks(n int, work func(block, from, to int)) {
	if n <= block {
		work(0, 0, n)
		return
	}
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, from := 0, 0; from < n; i, from = i+1, from+block {
		group.Go(func() error {
			work(i, from, min(from+block, n))
			return nil
		})
	}
	_ = group.Wait() // no worker fails
}

// project takes the components along the orthonormal rows off w and returns
// them. If that leaves less than half of w it is done again, which makes w
// orthogonal to rounding (L. Giraud and others, Numer. Math. 101, 87, 2005).
func project(rows [][]float64, w []float64) []float64 {
	total := make([]float64, len(rows))
	if len(rows) == 0 {
		return total
	}
	for before := norm(w); ; {
		c := components(rows, w)
		overBlocks(len(w), func(_, from, to int) {
			for ; from < to; from += stripe {
				part := w[from:min(from+stripe, to)]
				for j, row := range rows {
					axpy(-c[j], row[from:from+len(part)], part)
				}
			}
		})
		for j := range c {
			total[j] += c[j]
		}
		after := norm(w)
		if after >= before/2 || after == 0 || after <= 1e-15*before {
			return total
		}
		before = after
	}
}

// components returns the products of w with every row.
func components(rows [][]float64, w []float64) []float64 {
	sums := make([][]float64, (len(w)+block-1)/block)
	overBlocks(len(w), func(b, from, to int) {
		sums[b] = make([]float64, len(rows))
		for ; from < to; from += stripe {
			part := w[from:min(from+stripe, to)]
			for j, row := range rows {
				sums[b][j] += dot(row[from:from+len(part)], part)
			}
		}
	})
	for _, s := range sums[1:] {
		for j := range s {
			sums[0][j] += s[j]
		}
	}
	return sums[0]
}
