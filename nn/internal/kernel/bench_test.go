package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
)

// BenchmarkGemm runs the products that bench/gemm.py runs with OpenBLAS: square
// ones, and those of the 784-512 layer of a perceptron, forward and for its
// gradient, with batches of 64 and 256.
func BenchmarkGemm(b *testing.B) {
	for _, c := range []struct {
		name           string
		transA, transB bool
		m, n, k        int
	}{
		{"square64", false, false, 64, 64, 64},
		{"square256", false, false, 256, 256, 256},
		{"square1024", false, false, 1024, 1024, 1024},
		{"forward64", false, true, 64, 512, 784},
		{"gradient64", true, false, 512, 784, 64},
		{"adjoint64", false, false, 64, 784, 512},
		{"forward256", false, true, 256, 512, 784},
		{"gradient256", true, false, 512, 784, 256},
		{"tiny", false, true, 8, 8, 8},
	} {
		rng := rand.New(rand.NewPCG(1, 0))
		x, y, z := make([]float32, c.m*c.k), make([]float32, c.k*c.n), make([]float32, c.m*c.n)
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		for i := range y {
			y[i] = float32(rng.NormFloat64())
		}
		lda, ldb := c.k, c.n
		if c.transA {
			lda = c.m
		}
		if c.transB {
			ldb = c.k
		}
		measure := func(name string, f func()) {
			b.Run(fmt.Sprintf("%s/%s", c.name, name), func(b *testing.B) {
				for b.Loop() {
					f()
				}
				b.ReportMetric(2*float64(c.m)*float64(c.n)*float64(c.k)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
			})
		}
		for _, s := range sets {
			use(b, s)
			measure(s.name, func() { Gemm(c.transA, c.transB, c.m, c.n, c.k, 1, x, lda, y, ldb, 0, z, c.n) })
		}
		measure("gonum", func() {
			tr := map[bool]blas.Transpose{false: blas.NoTrans, true: blas.Trans}
			gonum.Implementation{}.Sgemm(tr[c.transA], tr[c.transB], c.m, c.n, c.k, 1, x, lda, y, ldb, 0, z, c.n)
		})
	}
}
