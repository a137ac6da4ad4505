package thermo

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/mathext"
)

// A Shape is a distribution of one parameter up to its location and scale: the
// number is its entropy in nats at a standard deviation of 1. The entropy of the
// scale family it spans (T2 in docs/theory.md) grows by ln s a parameter.
type Shape float64

// The shapes of the usual initialisations.
const (
	Normal  Shape = 1.41893853320467274178 // ½ ln 2πe
	Uniform Shape = 1.24245332489400023127 // ½ ln 12
)

// Entropy returns the entropy, in nats, of independent parameters of this shape
// with the given standard deviation. It is an error when the deviation is not
// positive, for then the entropy is −∞, or when there are no parameters.
func (s Shape) Entropy(parameters int, deviation float64) (float64, error) {
	if parameters < 1 || !(deviation > 0) || math.IsInf(deviation, 0) {
		return math.NaN(), fmt.Errorf("entropy of %d parameters of standard deviation %g: expected both positive", parameters, deviation)
	}
	return float64(parameters) * (float64(s) + math.Log(deviation)), nil
}

// GaussianEntropy returns the entropy ½ ln det(2πe C) of a normal distribution of
// known covariance, in nats. It is an error when C is not positive definite.
func GaussianEntropy(covariance mat.Symmetric) (float64, error) {
	k := covariance.SymmetricDim()
	logDet, err := logDeterminant(covariance)
	if err != nil {
		return math.NaN(), fmt.Errorf("gaussian entropy: %w", err)
	}
	return float64(k)*float64(Normal) + logDet/2, nil
}

// logDeterminant factorises the correlation matrix, so that scales which differ
// by many orders of magnitude lose no digits.
func logDeterminant(covariance mat.Symmetric) (float64, error) {
	k := covariance.SymmetricDim()
	if k == 0 {
		return 0, fmt.Errorf("the covariance is empty")
	}
	deviation := make([]float64, k)
	var logDet float64
	for i := range k {
		v := covariance.At(i, i)
		if !(v > 0) || math.IsInf(v, 0) {
			return 0, fmt.Errorf("variance %d is %g, expected a positive number", i, v)
		}
		deviation[i] = math.Sqrt(v)
		logDet += math.Log(v)
	}
	correlation := mat.NewSymDense(k, nil)
	for i := range k {
		for j := range i + 1 {
			correlation.SetSym(i, j, covariance.At(i, j)/deviation[i]/deviation[j])
		}
	}
	var chol mat.Cholesky
	if !chol.Factorize(correlation) || chol.Cond() > 1e14 {
		return 0, fmt.Errorf("the covariance of %d coordinates is not positive definite: some are linear combinations of others", k)
	}
	return logDet + chol.LogDet(), nil
}

// EstimateGaussianEntropy returns the entropy, in nats, of a normal distribution
// whose sample covariance (divisor n−1) was estimated from n effectively
// independent draws. ln det of a sample covariance is low on average, by Wishart's
// distribution; that is corrected exactly, and its spread is the standard error.
// It is not valid when n does not exceed the dimension.
func EstimateGaussianEntropy(covariance mat.Symmetric, n float64) Reading {
	k := covariance.SymmetricDim()
	r := Reading{Name: "entropy", Unit: "nat", Value: math.NaN(), StdErr: math.NaN(), ESS: n}
	if !(n > float64(k)) || math.IsInf(n, 0) {
		r.Invalid = fmt.Sprintf("a covariance of %d coordinates from %.4g draws is singular: more draws than coordinates are needed", k, n)
		return r
	}
	logDet, err := logDeterminant(covariance)
	if err != nil {
		r.Invalid = err.Error()
		return r
	}
	var bias, variance float64
	for j := range k {
		half := (n - 1 - float64(j)) / 2
		bias += mathext.Digamma(half) - math.Log((n-1)/2)
		variance += trigamma(half)
	}
	r.Value = float64(k)*float64(Normal) + (logDet-bias)/2
	r.StdErr = math.Sqrt(variance) / 2
	return r
}

// EstimateDiagonalEntropy is [EstimateGaussianEntropy] for coordinates taken to
// be independent, of the given sample variances. If they are correlated the
// entropy is an upper bound, and its error, which takes the variances to err
// independently, may be too small by up to the square root of their number.
func EstimateDiagonalEntropy(variances []float64, n float64) Reading {
	k := float64(len(variances))
	r := Reading{Name: "entropy", Unit: "nat", Value: math.NaN(), StdErr: math.NaN(), ESS: n}
	if !(n > 1) || math.IsInf(n, 0) || k == 0 {
		r.Invalid = fmt.Sprintf("%.4g draws of %.0f coordinates, at least two of one are needed", n, k)
		return r
	}
	var logDet float64
	for i, v := range variances {
		if !(v > 0) || math.IsInf(v, 0) {
			r.Invalid = fmt.Sprintf("variance %d is %g: the entropy is not finite", i, v)
			return r
		}
		logDet += math.Log(v)
	}
	half := (n - 1) / 2
	r.Value = k*float64(Normal) + (logDet-k*(mathext.Digamma(half)-math.Log(half)))/2
	r.StdErr = math.Sqrt(k*trigamma(half)) / 2
	return r
}

// trigamma is the derivative of the digamma function, a Hurwitz zeta function.
func trigamma(x float64) float64 { return mathext.Zeta(2, x) }
