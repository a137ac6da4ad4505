package drift

import (
	"context"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"gonum.org/v1/gonum/stat"
)

const neighbours = 5

// A test holds all statistics of a comparison, under the true division of the
// examples into two sets and under permutations of it.
type test struct {
	n, first   int // examples together, and in the reference
	names      []string
	statistics []statistic
	values     [][]float64 // [permutation, the true one first][statistic]
	highest    []float64   // of every permutation, standardised
	scores     []float64   // of the true division, standardised
}

// A statistic compares the examples that are in the current set with the others.
type statistic func(current []bool) float64

func newTest(ctx context.Context, a, b *state, labelled bool) (*test, error) {
	t := &test{n: a.n + b.n, first: a.n}
	if labelled {
		t.add("energy", difference(slices.Concat(a.losses, b.losses)))
		for i, name := range a.groups {
			t.add("heat "+name, difference(slices.Concat(a.virials[i], b.virials[i])))
		}
	}
	for i, v := range a.views {
		points := slices.Concat(v.points, b.views[i].points)
		near, far, err := nearest(ctx, points, v.features)
		if err != nil {
			return nil, err
		}
		t.add("mean "+v.name, means(points, v.features))
		t.add("density "+v.name, difference(far))
		t.add("neighbours "+v.name, sameSide(near))
	}
	return t, nil
}

func (t *test) add(name string, s statistic) {
	t.names, t.statistics = append(t.names, name), append(t.statistics, s)
}

// difference compares means, in both directions.
func difference(values []float64) statistic {
	return func(current []bool) float64 {
		var sums [2]float64
		var counts [2]int
		for i, x := range values {
			side := 0
			if current[i] {
				side = 1
			}
			sums[side] += x
			counts[side]++
		}
		return math.Abs(sums[1]/float64(counts[1]) - sums[0]/float64(counts[0]))
	}
}

// means compares all features at once: the root of the sum of the squared
// differences of their means, in units of their variances.
func means(points []float64, features int) statistic {
	n := len(points) / features
	weights := make([]float64, features)
	values := make([]float64, n)
	for f := range features {
		for i := range n {
			values[i] = points[i*features+f]
		}
		if v := stat.Variance(values, nil); v > 0 {
			weights[f] = 1 / v
		}
	}
	total := make([]float64, features)
	for i := range n {
		for f, x := range points[i*features : (i+1)*features] {
			total[f] += x
		}
	}
	return func(current []bool) float64 {
		sum := make([]float64, features)
		count := 0.0
		for i, c := range current {
			if c {
				count++
				for f, x := range points[i*features : (i+1)*features] {
					sum[f] += x
				}
			}
		}
		square := 0.0
		for f, s := range sum {
			d := s/count - (total[f]-s)/(float64(n)-count)
			square += weights[f] * d * d
		}
		return math.Sqrt(square)
	}
}

// sameSide counts the nearest neighbours in the same set (Schilling, Journal of the
// American Statistical Association 81, 799, 1986; Henze, Annals of Statistics 16,
// 772, 1988).
func sameSide(near []int32) statistic {
	return func(current []bool) float64 {
		count := 0
		for i, c := range current {
			for _, j := range near[i*neighbours : (i+1)*neighbours] {
				if current[j] == c {
					count++
				}
			}
		}
		return float64(count)
	}
}

// nearest returns the nearest neighbours of every point among all the others, and
// the logarithm of its distance to the last of them: a local measure of how thin
// the points are there.
func nearest(ctx context.Context, points []float64, features int) (near []int32, far []float64, err error) {
	n := len(points) / features
	near, far = make([]int32, n*neighbours), make([]float64, n)
	var next atomic.Int64
	var wait sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				far[i] = nearestTo(points, features, i, near[i*neighbours:(i+1)*neighbours])
			}
		})
	}
	wait.Wait()
	return near, far, ctx.Err()
}

func nearestTo(points []float64, features, i int, near []int32) float64 {
	x := points[i*features : (i+1)*features]
	var distances [neighbours]float64
	for k := range distances {
		distances[k] = math.Inf(1)
	}
	for j := range len(points) / features {
		if j == i {
			continue
		}
		y := points[j*features : (j+1)*features]
		d := 0.0
		for f := range x {
			e := x[f] - y[f]
			d += e * e
			if d >= distances[neighbours-1] {
				break
			}
		}
		if d >= distances[neighbours-1] {
			continue
		}
		k := neighbours - 1
		for ; k > 0 && distances[k-1] > d; k-- {
			distances[k], near[k] = distances[k-1], near[k-1]
		}
		distances[k], near[k] = d, int32(j)
	}
	return 0.5 * math.Log(max(distances[neighbours-1], math.SmallestNonzeroFloat64))
}

// permute computes all statistics for the true division and for n permutations of
// it, or as many as there is time for, and standardises them.
func (t *test) permute(ctx context.Context, n int, random *rand.Rand) int {
	seeds := make([]uint64, n)
	for i := range seeds {
		seeds[i] = random.Uint64()
	}
	all := make([][]float64, n+1)
	var next atomic.Int64
	var wait sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			current := make([]bool, t.n)
			for {
				i := int(next.Add(1)) - 1
				if i > n || i > 0 && ctx.Err() != nil {
					return
				}
				for j := range current {
					current[j] = j >= t.first
				}
				if i > 0 {
					rand.New(rand.NewPCG(seeds[i-1], 2)).Shuffle(t.n, func(a, b int) { current[a], current[b] = current[b], current[a] })
				}
				row := make([]float64, len(t.statistics))
				for j, s := range t.statistics {
					row[j] = s(current)
				}
				all[i] = row
			}
		})
	}
	wait.Wait()
	for _, row := range all {
		if row != nil {
			t.values = append(t.values, row)
		}
	}
	t.standardise()
	return len(t.values) - 1
}

// standardise puts all statistics on one scale, by the mean and deviation over all
// divisions. That treats the true one as any other, so ranks stay exact.
func (t *test) standardise() {
	t.highest = make([]float64, len(t.values))
	for i := range t.highest {
		t.highest[i] = math.Inf(-1)
	}
	t.scores = make([]float64, len(t.statistics))
	column := make([]float64, len(t.values))
	for j := range t.statistics {
		for i, row := range t.values {
			column[i] = row[j]
		}
		mean, deviation := stat.MeanStdDev(column, nil)
		for i, x := range column {
			score := 0.0
			if deviation > 0 {
				score = (x - mean) / deviation
			}
			if t.highest[i] = max(t.highest[i], score); i == 0 {
				t.scores[j] = score
			}
		}
	}
}

// p returns the chance that the largest of all statistics is as large as the named
// one, when the two sets do not differ.
func (t *test) p(name string) float64 {
	j := slices.Index(t.names, name)
	count := 0
	for _, h := range t.highest {
		if h >= t.scores[j] {
			count++
		}
	}
	return float64(count) / float64(len(t.highest))
}

// alone returns the chance that the named statistic is as large, when the two sets
// do not differ.
func (t *test) alone(name string) float64 {
	j, count := slices.Index(t.names, name), 0
	for _, row := range t.values {
		if row[j] >= t.values[0][j] {
			count++
		}
	}
	return float64(count) / float64(len(t.values))
}

// least is the smallest p of all.
func (t *test) least() float64 {
	p := 1.0
	for _, name := range t.names {
		p = min(p, t.p(name))
	}
	return p
}

// bootstrap returns f of the means of two samples, with the spread of it over
// samples drawn from them with repetition.
func (t *test) bootstrap(n int, random *rand.Rand, a, b []float64, f func(a, b float64) float64) Interval {
	again := func(values []float64) float64 {
		sum := 0.0
		for range values {
			sum += values[random.IntN(len(values))]
		}
		return sum / float64(len(values))
	}
	draws := make([]float64, n)
	for i := range draws {
		draws[i] = f(again(a), again(b))
	}
	slices.Sort(draws)
	return Interval{Value: f(stat.Mean(a, nil), stat.Mean(b, nil)), StdErr: stat.StdDev(draws, nil),
		Low: stat.Quantile(0.025, stat.Empirical, draws, nil), High: stat.Quantile(0.975, stat.Empirical, draws, nil)}
}
