package sampler

import (
	"math"
	"slices"
	"sort"

	"gonum.org/v1/gonum/dsp/fourier"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// The diagnostics of A. Vehtari, A. Gelman, D. Simpson, B. Carpenter,
// P.-C. Bürkner, "Rank-normalization, folding, and localization: an improved R̂
// for assessing convergence of MCMC", Bayesian Analysis 16 (2021) 667. Chains
// must be of one length; of fewer than 4 draws, or when a draw is not finite,
// the diagnostics are NaN.

// RHat returns the larger of the rank-normalised split R̂ of the draws and of
// their folded values: below 1.01 the chains agree about location and scale.
// NaN when all draws are equal.
func RHat(chains [][]float64) float64 {
	if !usable(chains) {
		return math.NaN()
	}
	halves := split(chains)
	return max(rHat(rankNormal(halves)), rHat(rankNormal(fold(halves))))
}

// ESSBulk returns the effective sample size for location: that of the
// rank-normalised draws.
func ESSBulk(chains [][]float64) float64 {
	if !usable(chains) {
		return math.NaN()
	}
	return ess(rankNormal(split(chains)))
}

// ESSTail returns the effective sample size for the 5 % and 95 % quantiles, the
// smaller of the two.
func ESSTail(chains [][]float64) float64 {
	if !usable(chains) {
		return math.NaN()
	}
	halves := split(chains)
	all := slices.Concat(chains...)
	slices.Sort(all)
	tail := math.Inf(1)
	for _, p := range []float64{0.05, 0.95} {
		q := quantile(p, all)
		below := transform(halves, func(x float64) float64 {
			if x <= q {
				return 1
			}
			return 0
		})
		tail = min(tail, ess(below))
	}
	return tail
}

// ESS returns the effective sample size for the mean of the draws as they are.
func ESS(chains [][]float64) float64 {
	if !usable(chains) {
		return math.NaN()
	}
	return ess(split(chains))
}

// MCSE returns the Monte-Carlo standard error of the mean.
func MCSE(chains [][]float64) float64 {
	if !usable(chains) {
		return math.NaN()
	}
	return stat.StdDev(slices.Concat(chains...), nil) / math.Sqrt(ESS(chains))
}

func usable(chains [][]float64) bool {
	for _, c := range chains {
		if len(c) < 4 || len(c) != len(chains[0]) || !finite(sumSquares(c)) {
			return false
		}
	}
	return len(chains) > 0
}

// split halves every chain; the middle draw of an odd one is left out.
func split(chains [][]float64) [][]float64 {
	var halves [][]float64
	for _, c := range chains {
		half := len(c) / 2
		halves = append(halves, c[:half], c[len(c)-half:])
	}
	return halves
}

func transform(chains [][]float64, f func(float64) float64) [][]float64 {
	out := make([][]float64, len(chains))
	for i, c := range chains {
		out[i] = make([]float64, len(c))
		for j, x := range c {
			out[i][j] = f(x)
		}
	}
	return out
}

// quantile interpolates linearly between order statistics (type 7 of Hyndman
// and Fan, the default of R and numpy, which gonum does not have).
func quantile(p float64, sorted []float64) float64 {
	at := p * float64(len(sorted)-1)
	i := min(int(at), len(sorted)-2)
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// fold returns the distances from the median.
func fold(chains [][]float64) [][]float64 {
	all := slices.Concat(chains...)
	slices.Sort(all)
	median := quantile(0.5, all)
	return transform(chains, func(x float64) float64 { return math.Abs(x - median) })
}

// rankNormal replaces draws by the normal scores of their ranks, ties sharing
// their mean rank.
func rankNormal(chains [][]float64) [][]float64 {
	all := slices.Concat(chains...)
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	sort.Slice(order, func(a, b int) bool { return all[order[a]] < all[order[b]] })
	scores := make([]float64, len(all))
	for i := 0; i < len(order); {
		j := i
		for j < len(order) && all[order[j]] == all[order[i]] {
			j++
		}
		rank := float64(i+j+1) / 2 // of 1 … n
		score := distuv.UnitNormal.Quantile((rank - 0.375) / (float64(len(all)) + 0.25))
		for ; i < j; i++ {
			scores[order[i]] = score
		}
	}
	out := make([][]float64, len(chains))
	for i, c := range chains {
		out[i], scores = scores[:len(c)], scores[len(c):]
	}
	return out
}

// within and between are the mean variance within the chains and the variance
// of their means, times their length.
func within(chains [][]float64) (w, between float64) {
	means := make([]float64, len(chains))
	for i, c := range chains {
		mean, variance := stat.MeanVariance(c, nil)
		means[i] = mean
		w += variance / float64(len(chains))
	}
	if len(chains) > 1 {
		between = float64(len(chains[0])) * stat.Variance(means, nil)
	}
	return w, between
}

func rHat(chains [][]float64) float64 {
	n := float64(len(chains[0]))
	w, b := within(chains)
	return math.Sqrt(((n-1)/n*w + b/n) / w)
}

// ess is the effective sample size by Geyer's initial monotone sequence over
// the autocorrelations that all chains share.
func ess(chains [][]float64) float64 {
	m, n := len(chains), len(chains[0])
	w, b := within(chains)
	variance := float64(n-1)/float64(n)*w + b/float64(n)
	if !(variance > 0) {
		return math.NaN()
	}
	mean := make([]float64, n) // autocovariance, averaged over the chains
	for _, c := range chains {
		for t, v := range autocovariance(c) {
			mean[t] += v / float64(m)
		}
	}
	rho := func(t int) float64 { return 1 - (w-mean[t])/variance }
	// Whole pairs while they are positive, made monotone, then the even lag of the
	// first pair that is not (the improved truncation of Stan and arviz).
	even, odd := 1.0, rho(1)
	sum, previous := 0.0, math.Inf(1)
	for t := 2; t < n-2 && even+odd > 0; t += 2 {
		previous = min(previous, even+odd)
		sum += previous
		even, odd = rho(t), rho(t+1)
	}
	tau := max(2*sum-1+max(even, 0), 1/math.Log10(float64(m*n))) // antithetic chains: bounded as in Stan
	return float64(m*n) / tau
}

// autocovariance returns Σ (x_i − x̄)(x_{i+t} − x̄)/n for t = 0 … n−1.
func autocovariance(x []float64) []float64 {
	n := len(x)
	size := 1
	for size < 2*n {
		size *= 2
	}
	padded := make([]float64, size)
	mean := stat.Mean(x, nil)
	for i, v := range x {
		padded[i] = v - mean
	}
	fft := fourier.NewFFT(size)
	coefficients := fft.Coefficients(nil, padded)
	for i, c := range coefficients {
		coefficients[i] = complex(real(c)*real(c)+imag(c)*imag(c), 0)
	}
	out := fft.Sequence(padded, coefficients)[:n]
	for i := range out {
		out[i] /= float64(size) * float64(n)
	}
	return out
}

// A Summary describes the draws of one quantity.
type Summary struct {
	Name    string  `json:"name"`
	Mean    float64 `json:"mean"`
	SD      float64 `json:"sd"`
	MCSE    float64 `json:"mcse"` // of the mean
	ESSBulk float64 `json:"ess_bulk"`
	ESSTail float64 `json:"ess_tail"`
	RHat    float64 `json:"rhat"`
}

// Summaries describes every quantity of r: mean and standard deviation from all
// steps, the diagnostics from the kept draws.
func (r *Result) Summaries() []Summary {
	out := make([]Summary, len(r.Names))
	for i, name := range r.Names {
		chains := r.Chain(i)
		mean, variance := r.pooled(i)
		sd := math.Sqrt(variance)
		out[i] = Summary{Name: name, Mean: mean, SD: sd, MCSE: sd / math.Sqrt(ESS(chains)),
			ESSBulk: ESSBulk(chains), ESSTail: ESSTail(chains), RHat: RHat(chains)}
	}
	return out
}

// Chain returns the kept draws of quantity i, chain by chain, all of the length
// of the shortest.
func (r *Result) Chain(i int) [][]float64 {
	return r.series(func(c *Chain) []float64 {
		out := make([]float64, c.Kept())
		for t := range out {
			out[t] = c.Draws[t*len(r.Names)+i]
		}
		return out
	})
}

// A Histogram counts values in bins of one width from Low to High.
type Histogram struct {
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	Counts []int   `json:"counts"`
}

// EnergyHistogram counts the energies of the kept draws of all chains, the means
// of blocks where r is thinned, in at most 60 bins by the rule of Freedman and
// Diaconis. There must be a kept draw.
func (r *Result) EnergyHistogram() Histogram {
	var energies []float64
	for _, c := range r.Chains {
		energies = append(energies, c.Energy...)
	}
	slices.Sort(energies)
	n := len(energies)
	h := Histogram{energies[0], energies[n-1], make([]int, 1)}
	if !(h.High > h.Low) {
		h.High = h.Low + 1
	}
	if width := 2 * (energies[n*3/4] - energies[n/4]) / math.Cbrt(float64(n)); width > 0 {
		h.Counts = make([]int, min(max(int(math.Ceil((h.High-h.Low)/width)), 1), 60))
	}
	for _, e := range energies {
		h.Counts[min(int((e-h.Low)/(h.High-h.Low)*float64(len(h.Counts))), len(h.Counts)-1)]++
	}
	return h
}

// Trimmed returns r without the chains that a cancelled run left so short that
// the others say more alone: those whose number times the shortest is largest
// stay. The draws are shared. Nil if fewer than 4 draws a chain are left.
func (r *Result) Trimmed() *Result {
	chains := slices.Clone(r.Chains)
	slices.SortStableFunc(chains, func(a, b *Chain) int { return b.Kept() - a.Kept() })
	best := 0
	for n := range chains {
		if (n+1)*chains[n].Kept() > (best+1)*chains[best].Kept() {
			best = n
		}
	}
	shortest := chains[best].Kept()
	if shortest < 4 {
		return nil
	}
	trimmed := *r
	trimmed.Chains = slices.DeleteFunc(slices.Clone(r.Chains), func(c *Chain) bool { return c.Kept() < shortest })
	return &trimmed
}

// series returns one trace of every chain, all of the length of the shortest.
func (r *Result) series(trace func(*Chain) []float64) [][]float64 {
	out := make([][]float64, len(r.Chains))
	shortest := math.MaxInt
	for i, c := range r.Chains {
		out[i] = trace(c)
		shortest = min(shortest, len(out[i]))
	}
	for i := range out {
		out[i] = out[i][:shortest]
	}
	return out
}

// pooled joins the streaming moments of the chains.
func (r *Result) pooled(i int) (mean, variance float64) {
	all := newMoments(1)
	for _, c := range r.Chains {
		all.join(moments{c.Moments.N, c.Moments.Mean[i : i+1], c.Moments.M2[i : i+1]})
	}
	return all.Mean[0], all.M2[0] / float64(all.N-1)
}

func chiSquaredTail(degrees, x float64) float64 { return distuv.ChiSquared{K: degrees}.Survival(x) }
