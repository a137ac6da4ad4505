package thermo

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

const (
	nodesPerOctave = 4    // of the grid of inverse temperatures
	mostOctaves    = 64   // between the lowest and the highest temperature
	squarings      = 16   // weights squared this often are computed afresh: their error doubles each time
	minClusters    = 4    // fewer say nothing about their own spread
	largestEnergy  = 1e99 // cubes stay finite
)

// Likelihood is the thermometer of discrete choices (T6 in docs/theory.md): the
// temperature that maximises Σ log softmax(−e/T)[chosen] over draws of energies
// e and the choice made. With labels as the choice and negative logits as the
// energies it is temperature scaling, with sampled tokens it is the decoding
// temperature, and with every spin of a snapshot, given the others, it is the
// pseudo-likelihood temperature.
//
// Memory is constant in the number of draws: the log-likelihood and its first
// three derivatives are summed at four inverse temperatures an octave, and
// interpolated by quintic polynomials. The maximum is within 2·10⁻⁶ of the
// temperature that [MaximumLikelihood] finds by passing over all draws, and
// within 2·10⁻⁵ in the worst case tried: one choice in 100,000 across a gap.
//
// The error is that of the observed information, for independent draws. Draws
// of a pseudo-likelihood are not independent: call EndCluster after each
// snapshot, sequence or batch, and the error is that of independent clusters
// instead (the sandwich, or Godambe information).
type Likelihood struct {
	betas                             []float64 // ascending
	values, scores, variances, thirds []float64 // of log-likelihood and its derivatives at every beta, summed
	clusterScores, clusterSquares     []float64
	draws, clusters, sinceCluster     int
	hotScore, coldScore               float64 // in the limits of infinite and zero temperature
	excess, weights                   []float64
	low, high                         float64
}

// NewLikelihood returns a likelihood thermometer for temperatures between low
// and high, in the units of the energies. Each draw costs four exponentials a
// choice, and some twenty multiplications a choice and octave of the range.
func NewLikelihood(low, high float64) (*Likelihood, error) {
	if !(low > 0 && high > low) || math.IsInf(high, 0) {
		return nil, fmt.Errorf("likelihood thermometer: range of temperatures %g to %g, expected 0 < low < high", low, high)
	}
	octaves := int(math.Ceil(math.Log2(high) - math.Log2(low)))
	if octaves > mostOctaves || 1/low > math.MaxFloat64/4 || high > math.MaxFloat64/4 {
		return nil, fmt.Errorf("likelihood thermometer: range of temperatures %g to %g, expected at most a factor of 2^%d", low, high, mostOctaves)
	}
	n := octaves*nodesPerOctave + 1
	l := &Likelihood{low: low, high: high, betas: make([]float64, n)}
	for i := range l.betas {
		l.betas[i] = math.Exp2(float64(i)/nodesPerOctave) / high
	}
	for _, sums := range []*[]float64{&l.values, &l.scores, &l.variances, &l.thirds, &l.clusterScores, &l.clusterSquares} {
		*sums = make([]float64, n)
	}
	return l, nil
}

// Add adds one draw: the energies of its choices, at least two, and the index
// of the one that was chosen. It allocates only when a draw has more choices
// than any before.
func (l *Likelihood) Add(energies []float64, chosen int) error {
	lowest, err := checkChoice(energies, chosen)
	if err != nil {
		return err
	}
	if len(energies) > cap(l.excess) {
		l.excess, l.weights = make([]float64, len(energies)), make([]float64, len(energies))
	}
	l.excess, l.weights = l.excess[:len(energies)], l.weights[:len(energies)]
	var mean float64
	for i, e := range energies {
		l.excess[i] = e - lowest
		mean += (e - lowest) / float64(len(energies))
	}
	l.draws++
	l.sinceCluster++
	l.hotScore += mean - l.excess[chosen]
	l.coldScore -= l.excess[chosen]
	for offset := range nodesPerOctave {
		for squared, i := 0, offset; i < len(l.betas); squared, i = squared+1, i+nodesPerOctave {
			l.weigh(l.betas[i], squared%squarings == 0)
			l.accumulate(i, l.excess[chosen])
		}
	}
	return nil
}

// weigh sets the Boltzmann weights at beta: afresh, or as the squares of those
// at half of it.
func (l *Likelihood) weigh(beta float64, afresh bool) {
	for i, w := range l.weights {
		if afresh {
			l.weights[i] = math.Exp(-beta * l.excess[i])
		} else {
			l.weights[i] = w * w
		}
	}
}

func (l *Likelihood) accumulate(node int, chosen float64) {
	var m choiceMoments
	for i, w := range l.weights {
		m.add(w, l.excess[i])
	}
	mean, variance, third := m.cumulants()
	l.values[node] -= l.betas[node]*chosen + math.Log(m.z)
	l.scores[node] += mean - chosen
	l.variances[node] += variance
	l.thirds[node] += third
	l.clusterScores[node] += mean - chosen
}

// EndCluster ends a cluster of draws that may depend on each other in any way,
// but not on other clusters. After the first call the error is that of clusters;
// draws after the last one count as one more.
func (l *Likelihood) EndCluster() {
	if l.sinceCluster == 0 {
		return
	}
	l.clusters++
	l.sinceCluster = 0
	for i, s := range l.clusterScores {
		l.clusterSquares[i] += s * s
		l.clusterScores[i] = 0
	}
}

// Merge adds the draws of other, which must have the same range of temperatures,
// to l. A cluster that other has not ended ends.
func (l *Likelihood) Merge(other *Likelihood) error {
	if l.low != other.low || l.high != other.high {
		return fmt.Errorf("likelihood thermometer: merging ranges of temperatures %g to %g and %g to %g", l.low, l.high, other.low, other.high)
	}
	for _, sums := range [][2][]float64{{l.values, other.values}, {l.scores, other.scores}, {l.variances, other.variances},
		{l.thirds, other.thirds}, {l.clusterSquares, other.clusterSquares}} {
		for i, x := range sums[1] {
			sums[0][i] += x
		}
	}
	l.draws += other.draws
	l.clusters += other.clusters
	l.hotScore += other.hotScore
	l.coldScore += other.coldScore
	if other.clusters > 0 && other.sinceCluster > 0 {
		l.clusters++
		for i, s := range other.clusterScores {
			l.clusterSquares[i] += s * s
		}
	}
	return nil
}

// Reading returns the temperature, in the units of the energies. It is not valid
// without draws, when the maximum is outside the range, when all choices were
// those of lowest energy (temperature zero) or do not prefer low energies
// (infinite or negative), or with fewer than four clusters.
func (l *Likelihood) Reading(name, group, unit string) Reading {
	r := Reading{Name: name, Group: group, Unit: unit, Value: math.NaN(), StdErr: math.NaN()}
	beta, cause := l.maximum()
	if cause != "" {
		r.Invalid = cause
		return r
	}
	information, spread := l.information(beta), 0.0
	clusters := 0
	if l.clusters > 0 {
		spread, clusters = l.clusterSpread(beta)
	}
	return choiceReading(r, beta, information, spread, l.draws, clusters)
}

// Interval returns the profile-likelihood interval of the given level (0.95,
// say): all temperatures whose log-likelihood is less than half the χ² quantile
// below the largest, adjusted for clusters if there are any. An end outside the
// range is 0 or +Inf; both are NaN when the reading is not valid.
func (l *Likelihood) Interval(level float64) (low, high float64) {
	r := l.Reading("", "", "")
	if !r.Valid() {
		return math.NaN(), math.NaN()
	}
	quantile := distuv.UnitNormal.Quantile(0.5 + level/2)
	if r.DoF > 0 {
		quantile = distuv.StudentsT{Sigma: 1, Nu: r.DoF}.Quantile(0.5 + level/2)
	}
	beta := 1 / r.Value
	// The drop that the standard error of the reading makes in a parabola.
	drop := sq(quantile) / 2 * l.information(beta) * sq(r.StdErr*sq(beta))
	top := l.value(beta)
	inside := func(b float64) bool { return top-l.value(b) < drop }
	first, last := l.betas[0], l.betas[len(l.betas)-1]
	low, high = 0, math.Inf(1)
	if !inside(last) {
		low = 1 / bisect(beta, last, inside)
	}
	if !inside(first) {
		high = 1 / bisect(beta, first, inside)
	}
	return low, high
}

// maximum returns the inverse temperature of the largest likelihood, or why
// there is none.
func (l *Likelihood) maximum() (beta float64, cause string) {
	if cause := choiceDefect(l.draws, l.hotScore, l.coldScore); cause != "" {
		return 0, cause
	}
	last := len(l.betas) - 1
	switch {
	case l.scores[0] <= 0:
		return 0, fmt.Sprintf("the temperature is above %g, where the range ends", l.high)
	case l.scores[last] >= 0:
		return 0, fmt.Sprintf("the temperature is below %g, where the range ends", l.low)
	}
	return bisect(l.betas[0], l.betas[last], func(b float64) bool {
		q, x := l.interpolant(b)
		return q.at(x) > 0
	}), ""
}

// bisect returns where inside turns from true at a to false at b.
func bisect(a, b float64, inside func(float64) bool) float64 {
	for range 200 {
		middle := a + (b-a)/2
		if middle == a || middle == b {
			break
		}
		if inside(middle) {
			a = middle
		} else {
			b = middle
		}
	}
	return a + (b-a)/2
}

func (l *Likelihood) information(beta float64) float64 {
	q, x := l.interpolant(beta)
	return -q.slope(x) / q.width
}

// value returns the log-likelihood at beta.
func (l *Likelihood) value(beta float64) float64 {
	q, x := l.interpolant(beta)
	return l.values[l.node(beta)] + q.width*q.integral(x)
}

// clusterSpread returns the sum of squared scores of the clusters at beta,
// between those of its two nodes, and the number of clusters.
func (l *Likelihood) clusterSpread(beta float64) (spread float64, clusters int) {
	i := l.node(beta)
	a, b := l.clusterSquares[i], l.clusterSquares[i+1]
	clusters = l.clusters
	if l.sinceCluster > 0 {
		a, b, clusters = a+sq(l.clusterScores[i]), b+sq(l.clusterScores[i+1]), clusters+1
	}
	// The mean score of the clusters is zero at the maximum but not at the
	// nodes, where it would pass for spread.
	a -= sq(l.scores[i]) / float64(clusters)
	b -= sq(l.scores[i+1]) / float64(clusters)
	x := (beta - l.betas[i]) / (l.betas[i+1] - l.betas[i])
	return max((1-x)*a+x*b, 0), clusters
}

// node returns the index of the node at or below beta, the last but one at most.
func (l *Likelihood) node(beta float64) int {
	i := int(math.Log2(beta/l.betas[0]) * nodesPerOctave)
	i = max(0, min(i, len(l.betas)-2))
	for i > 0 && l.betas[i] > beta {
		i--
	}
	for i < len(l.betas)-2 && l.betas[i+1] <= beta {
		i++
	}
	return i
}

// interpolant returns the quintic that matches the score and its first two
// derivatives at the nodes on both sides of beta, and where in it beta lies.
func (l *Likelihood) interpolant(beta float64) (q quintic, x float64) {
	i := l.node(beta)
	h := l.betas[i+1] - l.betas[i]
	q = newQuintic(h,
		[3]float64{l.scores[i], -h * l.variances[i], h * h * l.thirds[i]},
		[3]float64{l.scores[i+1], -h * l.variances[i+1], h * h * l.thirds[i+1]})
	return q, (beta - l.betas[i]) / h
}

// A quintic is a polynomial on 0..1, of an interval of the given width.
type quintic struct {
	c     [6]float64
	width float64
}

// newQuintic interpolates value, first and second derivative at 0 and at 1.
func newQuintic(width float64, a, b [3]float64) quintic {
	d := b[0] - a[0] - a[1] - a[2]/2
	e := b[1] - a[1] - a[2]
	f := b[2] - a[2]
	return quintic{[6]float64{a[0], a[1], a[2] / 2, 10*d - 4*e + f/2, -15*d + 7*e - f, 6*d - 3*e + f/2}, width}
}

func (q quintic) at(x float64) float64 {
	var y float64
	for i := len(q.c) - 1; i >= 0; i-- {
		y = y*x + q.c[i]
	}
	return y
}

func (q quintic) slope(x float64) float64 {
	var y float64
	for i := len(q.c) - 1; i >= 1; i-- {
		y = y*x + float64(i)*q.c[i]
	}
	return y
}

func (q quintic) integral(x float64) float64 {
	var y float64
	for i := len(q.c) - 1; i >= 0; i-- {
		y = y*x + q.c[i]/float64(i+1)
	}
	return y * x
}
