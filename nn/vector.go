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
	var a, b, c, d float64 // four sums, that do not wait for each other
	for len(x) >= 4 {
		a += float64(x[0])
		b += float64(x[1])
		c += float64(x[2])
		d += float64(x[3])
		x = x[4:]
	}
	for _, v := range x {
		a += float64(v)
	}
	return a + b + c + d
}
