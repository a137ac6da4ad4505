package thermo

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat"
)

const (
	marginNeighbours = 8   // in one coordinate
	copulaNeighbours = 4   // in all
	fewestPoints     = 100 // for an estimate of the error
)

// KozachenkoLeonenko returns the differential entropy, in nats, of the
// distribution that the points were drawn from, one point a row, by the distance
// to the k-th nearest neighbour (Kozachenko and Leonenko, Probl. Inf. Transm. 23,
// 95, 1987). Nothing is assumed but a density.
//
// The plain estimator is badly biased above three or four dimensions, for its
// balls reach past the edges and across the slopes of the density. So the points
// are whitened, each coordinate is estimated by itself (k = 8), and what is left,
// the entropy of the ranks in the unit cube, by boxes cut at the faces of the
// cube (k = 4). For independent coordinates and for normal distributions that
// leaves no bias in any dimension.
//
// The error has two parts: the spread of the local estimates, in the order of the
// points so that correlated draws count for less, and, where quarters of the
// points give a significantly different entropy than all, the bias that this
// difference extrapolates to. It is not valid when there are fewer than 100
// points, when more than a few coincide (the distribution has no density: add
// noise of a known size, and say so), or when they lie in a plane.
func KozachenkoLeonenko(points [][]float64) Reading {
	r := Reading{Name: "entropy", Unit: "nat", Value: math.NaN(), StdErr: math.NaN()}
	if r.Invalid = pointsDefect(points); r.Invalid != "" {
		return r
	}
	n, d := len(points), len(points[0])
	white, logDet, cause := whiten(points)
	if cause != "" {
		r.Invalid = cause
		return r
	}
	local, cause := localEntropies(white)
	if cause != "" {
		r.Invalid = cause
		return r
	}
	var s Series
	for _, x := range local {
		s.Add(x + logDet)
	}
	whole := s.Reading("entropy", "", "nat")
	r.Value, r.ESS, r.DoF, r.Invalid = whole.Value, whole.ESS, whole.DoF, whole.Invalid
	r.StdErr = math.Sqrt(sq(whole.StdErr) + sharing(d)/float64(n))
	if d > 1 {
		r.StdErr = math.Hypot(r.StdErr, extrapolatedBias(white, local))
	}
	return r
}

// sharing returns what neighbours that points share add to n times the variance
// of the mean in d dimensions: local estimates nearby are correlated, which their
// spread does not show. It is universal where the density is smooth; measured on
// 1,000 samples of uniform points to about 0.03.
func sharing(d int) float64 {
	sum := 0.09 * float64(d)
	if d > 1 {
		sum += 0.15 + 0.02*float64(d)
	}
	return sum
}

func pointsDefect(points [][]float64) string {
	if len(points) < fewestPoints {
		return fmt.Sprintf("%d points, at least %d are needed", len(points), fewestPoints)
	}
	d := len(points[0])
	if d == 0 {
		return "the points have no coordinates"
	}
	if len(points) <= 2*d {
		return fmt.Sprintf("%d points in %d dimensions: more than two a dimension are needed", len(points), d)
	}
	for i, p := range points {
		if len(p) != d {
			return fmt.Sprintf("point %d has %d coordinates, expected %d as the first", i, len(p), d)
		}
		for j, x := range p {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				return fmt.Sprintf("coordinate %d of point %d is %v", j, i, x)
			}
		}
	}
	return ""
}

// whiten returns the points times the inverse of the Cholesky factor of their
// correlation, which leaves uncorrelated coordinates as they are but for scale,
// and the logarithm of its determinant.
func whiten(points [][]float64) (white [][]float64, logDet float64, cause string) {
	n, d := len(points), len(points[0])
	data := mat.NewDense(n, d, nil)
	for i, p := range points {
		data.SetRow(i, p)
	}
	scale := make([]float64, d)
	for j := range d {
		column := mat.Col(nil, j, data)
		scale[j] = stat.StdDev(column, nil)
		if !(scale[j] > 0) || math.IsInf(scale[j], 0) {
			return nil, 0, fmt.Sprintf("coordinate %d has the standard deviation %g", j, scale[j])
		}
		logDet += math.Log(scale[j])
		mean := stat.Mean(column, nil)
		for i, x := range column {
			data.Set(i, j, (x-mean)/scale[j])
		}
	}
	var correlation mat.SymDense
	stat.CovarianceMatrix(&correlation, data, nil)
	var chol mat.Cholesky
	if !chol.Factorize(&correlation) || chol.Cond() > 1e12 {
		return nil, 0, "the points lie in a plane: some coordinates are linear combinations of others"
	}
	if significant := significantCorrelations(&correlation, n); !chol.Factorize(significant) || chol.Cond() > 1e12 {
		chol.Factorize(&correlation)
	}
	logDet += chol.LogDet() / 2
	var lower mat.TriDense
	chol.LTo(&lower)
	var solved mat.Dense
	if err := solved.Solve(&lower, data.T()); err != nil {
		return nil, 0, "whitening the points: " + err.Error()
	}
	white = make([][]float64, n)
	for i := range white {
		white[i] = mat.Col(nil, i, &solved)
	}
	return white, logDet, ""
}

// significantCorrelations drops the correlations that chance explains: to remove
// those would blur the edges of independent coordinates.
func significantCorrelations(correlation *mat.SymDense, n int) *mat.SymDense {
	d := correlation.SymmetricDim()
	significant := mat.NewSymDense(d, nil)
	for i := range d {
		for j := range i + 1 {
			if r := correlation.At(i, j); i == j || math.Abs(r) > 4/math.Sqrt(float64(n)) {
				significant.SetSym(i, j, r)
			}
		}
	}
	return significant
}

// localEntropies returns for every point the estimate of −ln p there.
func localEntropies(points [][]float64) (local []float64, cause string) {
	n, d := len(points), len(points[0])
	local = make([]float64, n)
	ranks := make([][]float64, n)
	cells := make([]float64, n*d)
	for i := range ranks {
		ranks[i] = cells[i*d : (i+1)*d]
	}
	order, sorted := make([]int, n), make([]float64, n)
	offset := mathext.Digamma(float64(n)) - mathext.Digamma(marginNeighbours) + math.Ln2
	for j := range d {
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int {
			switch x, y := points[a][j], points[b][j]; {
			case x < y:
				return -1
			case x > y:
				return 1
			}
			return 0
		})
		for rank, i := range order {
			sorted[rank] = points[i][j]
			ranks[i][j] = float64(rank)
		}
		for rank, i := range order {
			distance := marginDistance(sorted, rank)
			if distance == 0 {
				return nil, fmt.Sprintf("more than %d points coincide in coordinate %d: the distribution has no density there", marginNeighbours, j)
			}
			local[i] += math.Log(distance) + offset
		}
	}
	if d > 1 {
		addCopula(ranks, local)
	}
	return local, ""
}

// marginDistance returns the distance from the value of the given rank to its
// k-th nearest, k = marginNeighbours.
func marginDistance(sorted []float64, rank int) float64 {
	const k = marginNeighbours
	nearest := math.Inf(1)
	for first := max(0, rank-k); first <= rank && first+k < len(sorted); first++ {
		nearest = min(nearest, max(sorted[rank]-sorted[first], sorted[first+k]-sorted[rank]))
	}
	return nearest
}

// addCopula adds the local entropies of the ranks, 0 to n−1, as points of the
// unit cube. No other point has the rank of this one: the n−1 others fill as many
// columns, and the one m columns away lies m − ½ away on average.
func addCopula(ranks [][]float64, local []float64) {
	tree := newNeighbourTree(ranks)
	nearest := make([]float64, copulaNeighbours)
	others := float64(len(ranks) - 1)
	offset := mathext.Digamma(float64(len(ranks))) - mathext.Digamma(copulaNeighbours)
	for i, rank := range ranks {
		tree.distances(i, nearest)
		e := nearest[copulaNeighbours-1] - 0.5
		volume := 1.0
		for _, r := range rank {
			volume *= (min(r, e) + min(others-r, e)) / others
		}
		local[i] += math.Log(volume) + offset
	}
}

// extrapolatedBias returns the bias that the difference between the entropies of
// all points and of quarters of them extrapolates to, if it falls as n^(−1/d), as
// at the edges of a density; zero when the difference is not significant.
func extrapolatedBias(points [][]float64, local []float64) float64 {
	const parts = 4
	quarters := [parts][][]float64{}
	for i, p := range points {
		quarters[i%parts] = append(quarters[i%parts], p)
	}
	locals := [parts][]float64{}
	for i, quarter := range quarters {
		var cause string
		if locals[i], cause = localEntropies(quarter); cause != "" {
			return 0 // fewer points cannot coincide more often
		}
	}
	var difference Series
	for i, x := range local {
		difference.Add(locals[i%parts][i/parts] - x)
	}
	r := difference.Reading("", "", "")
	if !(math.Abs(r.Value) > 2*r.StdErr) {
		return 0
	}
	return r.Value / (math.Pow(parts, 1/float64(len(points[0]))) - 1)
}
