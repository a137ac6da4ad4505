package thermo

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/dsp/fourier"
)

// IntegratedTime returns the integrated autocorrelation time τ = 1 + 2 Σ ρ_k of
// a stored series, in draws: the mean of xs has the variance σ²τ/len(xs). τ is 1
// for independent draws and below 1 for anticorrelated ones.
//
// The sum runs over Geyer's initial monotone sequence (Practical Markov chain
// Monte Carlo, Stat. Sci. 7, 473, 1992), corrected to first order for the mean
// having been estimated from the same draws. A constant series has τ = 1. It is
// an error when xs has fewer than four draws or one that is not finite.
func IntegratedTime(xs []float64) (tau float64, err error) {
	_, _, tau, err = integrate(xs)
	return tau, err
}

// MeanError returns the mean of a stored series of correlated draws, its
// standard error and its effective sample size len(xs)/τ, with the τ of
// [IntegratedTime]. A constant series has an error of zero. It is an error when
// xs has fewer than four draws, one that is not finite, or so correlated ones
// that they are worth fewer than ten. Normal intervals of this error cover what
// they say from some 50 effective draws on; below, add the draws to a [Series],
// whose reading has Student's t.
func MeanError(xs []float64) (mean, stderr, ess float64, err error) {
	mean, variance, tau, err := integrate(xs)
	if err != nil {
		return math.NaN(), math.NaN(), 0, err
	}
	n := float64(len(xs))
	ess = n / tau
	if cause := tooCorrelated(ess, len(xs)); cause != "" {
		return mean, math.NaN(), ess, fmt.Errorf("error of a mean: %s", cause)
	}
	return mean, math.Sqrt(variance * tau / n), ess, nil
}

// integrate returns the mean, the variance of a single draw and the integrated
// time of xs.
func integrate(xs []float64) (mean, variance, tau float64, err error) {
	n := len(xs)
	if n < minDraws {
		return 0, 0, 0, fmt.Errorf("integrated time: %d draws, at least %d are needed", n, minDraws)
	}
	for i, x := range xs {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return 0, 0, 0, fmt.Errorf("integrated time: draw %d is %v", i, x)
		}
		mean += (x - mean) / float64(i+1)
	}
	covariance := autocovariance(xs, mean)
	if math.IsNaN(covariance[0]) || math.IsInf(covariance[0], 0) {
		return 0, 0, 0, fmt.Errorf("integrated time: the variance of the draws overflows")
	}
	if covariance[0] == 0 {
		return mean, 0, 1, nil
	}
	var sum float64
	lags, last := 0, math.Inf(1)
	for ; lags+1 < n; lags += 2 {
		pair := min(covariance[lags]+covariance[lags+1], last)
		if pair <= 0 {
			break
		}
		sum, last = sum+pair, pair
	}
	length := float64(n)
	// Each of the 2·lags−1 covariances is low by the variance of the mean.
	longRun := (2*sum - covariance[0]) / (1 - min(float64(2*lags-1)/length, 0.5))
	longRun = max(longRun, covariance[0]/length)
	variance = covariance[0] + longRun/length
	return mean, variance, longRun / variance, nil
}

// autocovariance returns the covariance of xs with itself at every lag, with
// the divisor n at all lags so that it is positive definite.
func autocovariance(xs []float64, mean float64) []float64 {
	n := len(xs)
	size := 1
	for size < 2*n {
		size *= 2
	}
	padded := make([]float64, size)
	constant := true
	for i, x := range xs {
		padded[i] = x - mean
		constant = constant && x == xs[0]
	}
	if constant { // rounding in the mean must not look like spread
		return make([]float64, n)
	}
	fft := fourier.NewFFT(size)
	spectrum := fft.Coefficients(nil, padded)
	for i, c := range spectrum {
		spectrum[i] = complex(real(c)*real(c)+imag(c)*imag(c), 0)
	}
	fft.Sequence(padded, spectrum)
	covariance := padded[:n]
	for i := range covariance {
		covariance[i] /= float64(size) * float64(n)
	}
	return covariance
}
