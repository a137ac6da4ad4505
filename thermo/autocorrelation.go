package thermo

import (
	"fmt"
	"math"
)

// IntegratedTime returns the integrated autocorrelation time τ = 1 + 2 Σ ρ_k of
// a stationary series, in draws, by Geyer's initial monotone sequence (Practical
// Markov chain Monte Carlo, Statistical Science 1992): autocovariances are added
// in pairs, which are positive and decreasing for a reversible chain, up to the
// first pair that noise makes negative. n/τ draws are worth one independent
// sample of the same size; τ < 1 when draws repel each other. A constant series
// has τ = 1. It fails on fewer than four draws, or one that is not finite.
func IntegratedTime(xs []float64) (tau float64, err error) {
	n := len(xs)
	if n < minDraws {
		return 0, fmt.Errorf("%d draws are too few for an error: at least %d are needed", n, minDraws)
	}
	mean, low, high := 0.0, xs[0], xs[0]
	for i, x := range xs {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return 0, fmt.Errorf("draw %d is %v", i, x)
		}
		mean += x / float64(n)
		low, high = math.Min(low, x), math.Max(high, x)
	}
	if low == high {
		return 1, nil
	}
	autocovariance := func(lag int) float64 {
		sum := 0.0
		for i, x := range xs[:n-lag] {
			sum += (x - mean) * (xs[i+lag] - mean)
		}
		return sum / float64(n)
	}
	variance := autocovariance(0)
	sum, last, lags := 0.0, math.Inf(1), 0
	for lag := 0; lag+1 < n; lag += 2 {
		pair := autocovariance(lag) + autocovariance(lag+1)
		if pair <= 0 {
			break
		}
		last = math.Min(last, pair)
		sum += last
		lags += 2
	}
	// Taking deviations from the sample mean lowers every autocovariance by the
	// variance of that mean, total/n: give it back at the lags that were summed,
	// (2·lags−1) of them with both signs, and at lag 0.
	total := 2*sum - variance
	total /= math.Max(1-float64(2*lags-1)/float64(n), 0.1)
	// Strongly repelling draws can leave nothing; a hundredth is the least we believe.
	return math.Max(total/(variance+math.Max(total, 0)/float64(n)), 0.01), nil
}
