package web

import (
	"math"
	"slices"

	"github.com/kelvin-ml/kelvin/thermo"
)

// A noise says how uncertain means of stretches of a curve are. A curve has a
// trend and noise whose size changes along it, and a stretch is often shorter
// than the noise is correlated: neither can be told from the records of the
// stretch alone. What is told from all of the curve is how the noise is
// correlated; its size comes from the second differences about the stretch,
// which no trend that is straight over three values changes.
type noise struct {
	tau  float64   // integrated autocorrelation time in values, NaN when not known
	size float64   // variance of a value over the mean square of its second differences
	sums []float64 // of squared second differences: sums[j] of the first j
}

const (
	fewestTimes  = 40 // correlation times in a window that they are read from
	shortest     = 128
	differences  = 48 // at least so many tell how large the noise is
	ofDifference = 6  // variance of the second difference of independent values of variance 1
)

// readNoise reads the noise of the values of a curve, off windows that are short
// against its trend and long against the correlation, about straight lines.
func readNoise(values []float64) noise {
	z := noise{tau: math.NaN(), sums: make([]float64, 1, len(values)+1)}
	for j := 2; j < len(values); j++ {
		d := values[j] - 2*values[j-1] + values[j-2]
		z.sums = append(z.sums, z.sums[len(z.sums)-1]+d*d/ofDifference)
	}
	for length := shortest; ; length *= 2 {
		windows := max(1, len(values)/length)
		var taus, sizes []float64
		for i := range windows {
			a, b := i*len(values)/windows, (i+1)*len(values)/windows
			if b-a < fewestTimes {
				break
			}
			residuals, variance := straightened(values[a:b])
			tau, err := thermo.IntegratedTime(residuals)
			if rough := z.roughness(a, b); err == nil && rough > 0 {
				taus, sizes = append(taus, tau), append(sizes, variance/rough)
			}
		}
		if len(taus) > 0 {
			slices.Sort(taus)
			slices.Sort(sizes)
			tau := taus[(len(taus)-1)/2]
			if tau*fewestTimes <= float64(len(values)/windows) {
				z.tau, z.size = tau, sizes[(len(sizes)-1)/2]
				return z
			}
		}
		if windows == 1 {
			return z
		}
	}
}

// straightened returns values less the straight line of least squares, and their
// variance about it.
func straightened(values []float64) (residuals []float64, variance float64) {
	n := float64(len(values))
	var mean, slope float64
	for _, x := range values {
		mean += x / n
	}
	for j, x := range values {
		slope += (float64(j) - (n-1)/2) * (x - mean)
	}
	slope /= n * (n*n - 1) / 12
	residuals = make([]float64, len(values))
	for j, x := range values {
		residuals[j] = x - mean - slope*(float64(j)-(n-1)/2)
		variance += residuals[j] * residuals[j] / (n - 2)
	}
	return residuals, variance
}

// roughness returns the mean squared second difference of values a to b, over that
// of independent values of variance 1.
func (z noise) roughness(a, b int) float64 {
	b = min(b-2, len(z.sums)-1)
	return (z.sums[b] - z.sums[a]) / float64(b-a)
}

// stderr returns the standard error of the mean of values a to b, NaN where it is
// not known. The correlation is taken to fall off exponentially, which matters
// where the stretch is not long against it.
func (z noise) stderr(a, b int) float64 {
	n := len(z.sums) - 1
	if n < 1 {
		return math.NaN()
	}
	low := max(0, min(a, (a+b-differences)/2-1, n-differences))
	high := min(n, max(b-2, low+differences))
	rough := (z.sums[high] - z.sums[low]) / float64(high-low)
	if rough == 0 && z.sums[n] == 0 {
		return 0 // a constant
	}
	length, rho := float64(b-a), (z.tau-1)/(z.tau+1)
	inside := 2 * rho * (1 - math.Pow(rho, length)) / (length * (1 - rho) * (1 - rho)) // what τ counts beyond the ends
	return math.Sqrt(rough * z.size * (z.tau - inside) / length)
}
