package collapse

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
)

// Vendi returns the Vendi score of n examples with similarities K (n × n, with ones
// on the diagonal): exp of the entropy of the eigenvalues of K/n, the effective
// number of different examples (Friedman and Dieng, arXiv 2210.02410).
func Vendi(similarity mat.Symmetric) (float64, error) {
	n := similarity.SymmetricDim()
	var eigen mat.EigenSym
	if n == 0 || !eigen.Factorize(similarity, false) {
		return 0, fmt.Errorf("vendi score: %d similarities have no eigenvalues", n)
	}
	return math.Exp(spectralEntropy(eigen.Values(nil), float64(n))), nil
}

// spectralEntropy is that of eigenvalues over a total.
func spectralEntropy(values []float64, total float64) float64 {
	s := 0.0
	for _, v := range values {
		if p := v / total; p > 0 {
			s -= p * math.Log(p)
		}
	}
	return s
}

// vendiOf is the Vendi score of vectors of length one under the cosine similarity.
// K = XXᵀ has the eigenvalues of XᵀX, whose size is that of a vector.
func vendiOf(vectors [][]float64) float64 {
	if len(vectors) == 0 {
		return math.NaN()
	}
	d := len(vectors[0])
	gram := mat.NewSymDense(d, nil)
	for _, x := range vectors {
		gram.SymRankOne(gram, 1, mat.NewVecDense(d, x))
	}
	var eigen mat.EigenSym
	if !eigen.Factorize(gram, false) {
		return math.NaN()
	}
	return math.Exp(spectralEntropy(eigen.Values(nil), float64(len(vectors))))
}

// normalise makes a vector of length one; a zero vector stays.
func normalise(x []float64) {
	sum := 0.0
	for _, v := range x {
		sum += v * v
	}
	if sum > 0 {
		for i := range x {
			x[i] /= math.Sqrt(sum)
		}
	}
}
