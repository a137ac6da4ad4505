package nn

import "github.com/kelvin-ml/kelvin/nn/internal/kernel"

// addTo adds x to sum.
func addTo[T Float](sum, x []T) { kernel.Axpy(1, x, sum) }

// addAdjoint adds d to an adjoint that counts keep (0 or 1) times; see claim.
func addAdjoint[T Float](keep T, sum, d []T) {
	if keep == 0 {
		copy(sum, d)
	} else {
		addTo(sum, d)
	}
}

// total returns the sum of x in float64.
func total[T Float](x []T) float64 {
	s := 0.0
	for _, v := range x {
		s += float64(v)
	}
	return s
}
