package spectrum

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/kelvin-ml/kelvin/thermo"
)

// Alpha is the power-law fit of a tail, density ∝ λ^−α above Xmin. The reading
// is invalid where the tail is not a power law, or too short to tell; its
// Value is then the exponent that fits best all the same.
type Alpha struct {
	thermo.Reading         // ESS is the number of eigenvalues above Xmin
	Xmin           float64 // where the tail begins
	Distance       float64 // Kolmogorov-Smirnov, between the tail and the fit
	PValue         float64 // of the fit: the chance that a true power law fits worse; NaN when not computed
	Tail           int     // eigenvalues in the tail
}

const (
	minEigenvalues = 50 // below, nothing is fitted
	minTail        = 25 // eigenvalues the tail has at least, and
	tailFraction   = 20 // at least one in tailFraction of all
	maxCandidates  = 1024
	significance   = 0.1 // p-value below which a power law is refused (Clauset et al., section 4)
)

// fitTail fits by maximum likelihood, with the beginning of the tail chosen by
// the smallest Kolmogorov-Smirnov distance (Clauset, Shalizi and Newman, SIAM
// Review 51, 661). The standard error comes from a bootstrap that chooses
// anew, so it includes the error of that choice; the p-value from synthetic
// samples that are a power law above Xmin and like the data below it.
func fitTail(ctx context.Context, eigenvalues []float64, o Options, rng *rand.Rand) (Alpha, error) {
	x := positive(eigenvalues)
	if len(x) < minEigenvalues {
		return noFit(fmt.Sprintf("%d eigenvalues are too few to fit a tail (at least %d)", len(x), minEigenvalues)), nil
	}
	best := bestFit(x)
	if best.tail == 0 {
		return noFit("not a power law: the eigenvalues are all alike"), nil
	}
	a := noFit("")
	a.Value, a.Xmin, a.Distance, a.Tail, a.ESS = best.alpha, best.xmin, best.distance, best.tail, float64(best.tail)

	resamples := o.Resamples
	if resamples == 0 {
		resamples = DefaultResamples
	}
	fitted := make([]float64, 0, resamples)
	sample, counts := make([]float64, len(x)), make([]int, len(x))
	worse := 0
	body := x[:len(x)-best.tail]
	for range resamples {
		if err := ctx.Err(); err != nil {
			return a, context.Cause(ctx)
		}
		resample(sample, x, counts, rng)
		if f := bestFit(sample); f.tail > 0 {
			fitted = append(fitted, f.alpha)
		}
		for i := range sample {
			if k := rng.IntN(len(x)); k < len(body) {
				sample[i] = body[rng.IntN(len(body))]
			} else {
				sample[i] = best.xmin * math.Exp(rng.ExpFloat64()/(best.alpha-1))
			}
		}
		slices.Sort(sample)
		if bestFit(sample).distance >= best.distance {
			worse++
		}
	}
	a.StdErr = deviation(fitted)
	a.PValue = float64(1+worse) / float64(1+resamples)
	if a.PValue < significance {
		a.Invalid = fmt.Sprintf("not a power law: p = %.2g", a.PValue)
	}
	return a, nil
}

// noFit is the reading where nothing could be fitted.
func noFit(reason string) Alpha {
	return Alpha{Reading: thermo.Reading{Name: "alpha", Value: math.NaN(), StdErr: math.NaN(), Unit: "1", Invalid: reason}, PValue: math.NaN()}
}

// resample draws from x with replacement, and keeps the draws ascending.
func resample(sample, x []float64, counts []int, rng *rand.Rand) {
	clear(counts)
	for range x {
		counts[rng.IntN(len(x))]++
	}
	at := 0
	for i, c := range counts {
		for range c {
			sample[at] = x[i]
			at++
		}
	}
}

// positive returns the eigenvalues that are not zero up to rounding.
// They must be ascending.
func positive(eigenvalues []float64) []float64 {
	floor := 1e-12 * eigenvalues[len(eigenvalues)-1]
	i, _ := slices.BinarySearch(eigenvalues, floor)
	for i < len(eigenvalues) && eigenvalues[i] <= floor {
		i++
	}
	return eigenvalues[i:]
}

// A fit is a power law above xmin; tail is 0 when nothing could be fitted.
type fit struct {
	alpha, xmin, distance float64
	tail                  int
}

// bestFit tries every eigenvalue that leaves a long enough tail as xmin, or,
// of more than maxCandidates, as many evenly spaced. The eigenvalues are
// ascending and positive.
func bestFit(x []float64) fit {
	n := len(x)
	logs := make([]float64, n)
	for i, v := range x {
		logs[i] = math.Log(v)
	}
	sums := make([]float64, n+1) // of logs from i on
	for i := n - 1; i >= 0; i-- {
		sums[i] = sums[i+1] + logs[i]
	}
	best := fit{distance: math.Inf(1)}
	last := n - max(minTail, n/tailFraction)
	try := func(i int) {
		if i > 0 && x[i] == x[i-1] {
			return // the tail begins at the first of equal values
		}
		tail := float64(n - i)
		excess := sums[i] - tail*logs[i]
		if excess <= 0 {
			return
		}
		rate := tail / excess // α − 1
		if d, ok := distance(logs[i:], rate, best.distance); ok {
			best = fit{1 + rate, x[i], d, n - i}
		}
	}
	// A coarse pass first makes the bound tight, so that most of the others
	// are given up after a few of their points.
	const coarse = 16
	step := 1 + last/maxCandidates
	for k := 0; k*step <= last; k += coarse {
		try(k * step)
	}
	for k := 0; k*step <= last; k++ {
		if k%coarse != 0 {
			try(k * step)
		}
	}
	return best
}

// distance is the Kolmogorov-Smirnov distance between ascending logs and the
// exponential distribution of the given rate above logs[0]. It gives up, with
// ok false, once the distance is not below bound.
func distance(logs []float64, rate, bound float64) (d float64, ok bool) {
	n := float64(len(logs))
	const stride = 8
	for start := range min(stride, len(logs)) {
		for j := start; j < len(logs); j += stride {
			model := 1 - math.Exp(-rate*(logs[j]-logs[0]))
			d = max(d, model-float64(j)/n, float64(j+1)/n-model)
		}
		if d >= bound {
			return d, false
		}
	}
	return d, true
}

// deviation is the standard deviation of xs, NaN if there are fewer than two.
func deviation(xs []float64) float64 {
	n := float64(len(xs))
	if n < 2 {
		return math.NaN()
	}
	var mean, square float64
	for _, x := range xs {
		mean += x / n
	}
	for _, x := range xs {
		square += (x - mean) * (x - mean)
	}
	return math.Sqrt(square / (n - 1))
}
