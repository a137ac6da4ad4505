package spectrum

import (
	"math"
	"sort"
)

// A Bulk is the Marchenko-Pastur law that fits the middle of a spectrum: the
// eigenvalues of WᵀW for independent entries of one variance.
type Bulk struct {
	Sigma    float64 // standard deviation of the entries
	Low      float64 // edges of the law; eigenvalues, not singular values
	High     float64
	Edge     float64 // the largest eigenvalue of such a matrix stays below with probability 0.999
	Outliers int     // eigenvalues above Edge
	Distance float64 // Kolmogorov-Smirnov, between the spectrum and the law
	Random   bool    // no outliers, and Distance is below 1/√n
}

// tracyWidom999 is the 0.999 quantile of the Tracy-Widom law for real matrices.
const tracyWidom999 = 3.2724

// fitBulk fits the variance so that the medians agree, which outliers hardly
// move (Gavish and Donoho, IEEE Trans. Inf. Theory 60, 5040). Eigenvalues are
// ascending and add up to total. Where they are estimated, the median has a
// standard error (relative); then the variance is taken from the sum, which is
// exact, if the two agree, and else the edge is kept clear of the error.
func fitBulk(eigenvalues []float64, rows, cols int, total, medianError float64) Bulk {
	long, short := float64(max(rows, cols)), float64(min(rows, cols))
	law := newMarchenkoPastur(short / long)
	n := len(eigenvalues)
	variance := median(eigenvalues) / (long * law.quantile(0.5))
	if variance == 0 { // more than half of the rank is missing
		return Bulk{Outliers: n - sort.SearchFloat64s(eigenvalues, math.SmallestNonzeroFloat64), Distance: 1}
	}
	edge := largest(variance*(1+3*medianError), long, short)
	if medianError > 0 {
		inside := sort.SearchFloat64s(eigenvalues, edge)
		for _, x := range eigenvalues[inside:] {
			total -= x
		}
		if mean := total / (long * float64(inside)); math.Abs(mean/variance-1) < 3*medianError {
			variance, edge = mean, largest(mean, long, short)
		}
	}
	unit := variance * long
	b := Bulk{Sigma: math.Sqrt(variance), Low: unit * law.low, High: unit * law.high, Edge: edge}
	for i, x := range eigenvalues {
		if x > b.Edge {
			b.Outliers++
		}
		model := law.cdf(x / unit)
		b.Distance = max(b.Distance, model-float64(i)/float64(n), float64(i+1)/float64(n)-model)
	}
	b.Random = b.Outliers == 0 && b.Distance < 1/math.Sqrt(float64(n))
	return b
}

func median(ascending []float64) float64 {
	n := len(ascending)
	return (ascending[(n-1)/2] + ascending[n/2]) / 2
}

// largest bounds the largest eigenvalue of a random matrix with probability
// 0.999 (Johnstone, Ann. Stat. 29, 295).
func largest(variance, long, short float64) float64 {
	root := math.Sqrt(long-1) + math.Sqrt(short)
	spread := root * math.Cbrt(1/math.Sqrt(long-1)+1/math.Sqrt(short))
	return variance * (root*root + tracyWidom999*spread)
}

// marchenkoPastur is the law of the eigenvalues of XᵀX/N for an N × M matrix X
// of unit variance, q = M/N ≤ 1.
type marchenkoPastur struct {
	low, high  float64
	cumulative []float64 // at the angles k·π/steps, λ = middle − radius·cos(angle)
}

const mpSteps = 4096

func newMarchenkoPastur(q float64) marchenkoPastur {
	s := math.Sqrt(q)
	m := marchenkoPastur{low: (1 - s) * (1 - s), high: (1 + s) * (1 + s), cumulative: make([]float64, mpSteps+1)}
	// The density √((high−λ)(λ−low))/(2πqλ) dλ is smooth in the angle.
	middle, radius := (m.low+m.high)/2, (m.high-m.low)/2
	density := func(angle float64) float64 {
		sin, cos := math.Sincos(angle)
		x := middle - radius*cos
		if x <= 0 {
			return radius * (1 + cos) // the limit, for q = 1
		}
		return radius * radius * sin * sin / x
	}
	h := math.Pi / mpSteps
	for k := range mpSteps { // Simpson's rule on every step
		a := float64(k) * h
		m.cumulative[k+1] = m.cumulative[k] + density(a) + 4*density(a+h/2) + density(a+h)
	}
	for k := range m.cumulative {
		m.cumulative[k] /= m.cumulative[mpSteps]
	}
	m.cumulative[mpSteps] = 1
	return m
}

func (m marchenkoPastur) cdf(x float64) float64 {
	switch {
	case x <= m.low:
		return 0
	case x >= m.high:
		return 1
	}
	middle, radius := (m.low+m.high)/2, (m.high-m.low)/2
	at := math.Acos(max(-1, min(1, (middle-x)/radius))) / math.Pi * mpSteps
	k := min(int(at), mpSteps-1)
	return m.cumulative[k] + (at-float64(k))*(m.cumulative[k+1]-m.cumulative[k])
}

func (m marchenkoPastur) quantile(p float64) float64 {
	k := sort.SearchFloat64s(m.cumulative, p)
	if k == 0 {
		return m.low
	}
	below, above := m.cumulative[k-1], m.cumulative[k]
	angle := (float64(k-1) + (p-below)/(above-below)) * math.Pi / mpSteps
	return (m.low+m.high)/2 - (m.high-m.low)/2*math.Cos(angle)
}

// RandomLaw returns the distribution function of the eigenvalues that a random
// matrix with the bulk of s has.
func (s Spectrum) RandomLaw() func(x float64) float64 {
	law := newMarchenkoPastur(float64(min(s.Rows, s.Cols)) / float64(max(s.Rows, s.Cols)))
	unit := s.Bulk.Sigma * s.Bulk.Sigma * float64(max(s.Rows, s.Cols))
	return func(x float64) float64 {
		if unit == 0 {
			return 1
		}
		return law.cdf(x / unit)
	}
}
