// Package kernel has the loops in which networks spend their time: products of
// matrices in the way of BLIS (Van Zee and van de Geijn, ACM TOMS 41, 14, 2015),
// and loops over vectors. On amd64 they are assembly for AVX-512 or AVX2, chosen
// by the processor at hand; elsewhere they are Go.
//
// Results do not depend on the number of threads, and a concurrent caller needs
// no lock. They do depend, within rounding, on the instruction set.
package kernel

//go:generate go run -C asm . -out ../kernel_amd64.s -stubs ../kernel_amd64.go -pkg kernel

import (
	"fmt"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
)

// Float is a scalar that the kernels know.
type Float interface{ float32 | float64 }

// Gemm sets C = α·op(A)·op(B) + β·C, all row-major: op(A) is m×k, and A is stored
// as k×m where transA is set; op(B) is k×n, and B is stored as n×k where transB
// is set; lda, ldb and ldc are the distances of rows. With β = 0, C is not read.
// C must not overlap A or B. It panics if a slice is too short for its matrix.
func Gemm[T Float](transA, transB bool, m, n, k int, alpha T, a []T, lda int, b []T, ldb int, beta T, c []T, ldc int) {
	checkMatrix("A", transA, m, k, len(a), lda)
	checkMatrix("B", transB, k, n, len(b), ldb)
	checkMatrix("C", false, m, n, len(c), ldc)
	if m == 0 || n == 0 {
		return
	}
	if k == 0 || alpha == 0 {
		scaleMatrix(m, n, beta, c, ldc)
		return
	}
	switch a := any(a).(type) {
	case []float32:
		g := product{
			set: best, m: m, n: n, k: k, alpha: float32(alpha), beta: float32(beta),
			a: view{a, lda, 1}, b: view{any(b).([]float32), ldb, 1}, c: any(c).([]float32), ldc: ldc,
		}
		if transA {
			g.a.row, g.a.column = 1, lda
		}
		if transB {
			g.b.row, g.b.column = 1, ldb
		}
		g.compute()
	case []float64:
		gonum.Implementation{}.Dgemm(transpose(transA), transpose(transB), m, n, k, float64(alpha), a, lda, any(b).([]float64), ldb, float64(beta), any(c).([]float64), ldc)
	}
}

func transpose(t bool) blas.Transpose {
	if t {
		return blas.Trans
	}
	return blas.NoTrans
}

// checkMatrix panics if a rows×columns matrix, or its transpose, does not fit in
// length elements.
func checkMatrix(name string, trans bool, rows, columns, length, stride int) {
	if trans {
		rows, columns = columns, rows
	}
	if rows < 0 || columns < 0 || stride < max(1, columns) || (rows > 0 && columns > 0 && length < (rows-1)*stride+columns) {
		panic(fmt.Sprintf("kernel: matrix %s of %d×%d, rows %d apart, in %d elements", name, rows, columns, stride, length))
	}
}

// scaleMatrix sets C = β·C, and to 0 without reading it for β = 0.
func scaleMatrix[T Float](m, n int, beta T, c []T, ldc int) {
	for i := range m {
		row := c[i*ldc : i*ldc+n]
		if beta == 0 {
			clear(row)
			continue
		}
		if beta == 1 {
			return
		}
		for j := range row {
			row[j] *= beta
		}
	}
}
