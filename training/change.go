package training

import (
	"fmt"
	"math"
	"slices"

	"github.com/kelvin-ml/kelvin/thermo"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// A Curve is one quantity along a run.
type Curve struct {
	Name   string    // "energy", "temperature", …
	Layer  string    // empty for the whole system
	Unit   string    // of the values
	Steps  []float64 // increasing
	Values []float64 // finite, as many as steps
}

// A Change is an interval in which a curve changed suddenly.
type Change struct {
	Curve       int            // its number among the curves looked at
	First, Last float64        // steps between which most of it happened
	Before      thermo.Reading // mean of the curve before First
	After       thermo.Reading // and after Last
	Waited      float64        // steps from the change before, or the first record, to First
	P           float64        // chance of one as striking anywhere on any of the curves when none changes
}

// Sharp reports whether the change took less than a fifth of the time that the
// curve had waited for it: a jump. Else it bent.
func (c Change) Sharp() bool { return c.Last-c.First < sharpShare*c.Waited }

// Kind is "first-order-like" for a jump, else "continuous".
func (c Change) Kind() string {
	if c.Sharp() {
		return "first-order-like"
	}
	return "continuous"
}

// What counts as a change. How often they raise a false alarm is measured by
// TestChangesFalseAlarms.
const (
	changeLevel  = 0.01 // of P
	leastBlock   = 8    // records in a block
	sharpShare   = 0.2
	fasterShare  = 3.0  // than the curve had moved on average over the blocks before,
	lookBack     = 4    // these many of them beside the first two
	leastShare   = 0.2  // of its value that a positive curve changes by,
	leastRange   = 0.05 // or of its range any other
	edgeOfChange = 0.25 // of the highest rate, where a change begins and ends
)

// Changes returns the sudden changes of the curves, in the order of their steps.
//
// Left alone, a system relaxes: whatever it moves towards, it moves ever more
// slowly. A curve that speeds up has passed a barrier, lost its stability, or was
// pushed. Changes therefore compares three neighbouring blocks of records, of
// every length and at every place: the change from the second to the third
// against the change from the first to the second, by Student's t with the
// autocorrelation of the records within the blocks. Its null hypothesis is not
// a constant but every curve that slows down (multiscale testing of qualitative
// hypotheses: Dümbgen and Spokoiny, Annals of Statistics 29, 2001). P is corrected for
// all places, lengths and curves looked at (Bonferroni). A change must also be
// at least three times as fast as the curve was on average over the six blocks
// before, and be a fifth of its value (of a curve that has zeros or changes sign:
// a twentieth of its range), for a full batch has no noise, and everything is
// significant.
func Changes(curves []Curve) ([]Change, error) {
	for _, c := range curves {
		if err := c.check(); err != nil {
			return nil, err
		}
	}
	var found []Change
	for i, c := range curves {
		s := search{curve: c, tests: float64(len(curves) * c.tests())}
		s.memory, s.least = s.wholeMemory(), c.least()
		s.segment(0, len(c.Values))
		for _, change := range s.found {
			change.Curve = i
			found = append(found, change)
		}
	}
	slices.SortFunc(found, func(a, b Change) int { return compare(a.First, b.First, a.Last, b.Last) })
	return found, nil
}

func compare(pairs ...float64) int {
	for i := 0; i < len(pairs); i += 2 {
		if d := pairs[i] - pairs[i+1]; d != 0 {
			return int(math.Copysign(1, d))
		}
	}
	return 0
}

func (c Curve) check() error {
	if len(c.Steps) != len(c.Values) {
		return fmt.Errorf("changes of %s: %d steps and %d values", c.Name, len(c.Steps), len(c.Values))
	}
	for i, x := range c.Values {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Errorf("changes of %s: value %v at step %.0f is not finite", c.Name, x, c.Steps[i])
		}
		if i > 0 && !(c.Steps[i] > c.Steps[i-1]) {
			return fmt.Errorf("changes of %s: step %.0f comes after step %.0f", c.Name, c.Steps[i], c.Steps[i-1])
		}
	}
	return nil
}

// tests counts the places and lengths looked at.
func (c Curve) tests() int {
	n := 0
	for w := leastBlock; 3*w <= len(c.Values); w *= 2 {
		n += (len(c.Values)-3*w)/(w/4) + 1
	}
	return n
}

// least is the smallest change that matters, 0 of a curve that is always
// positive: what counts of that are ratios.
func (c Curve) least() float64 {
	if len(c.Values) == 0 || slices.Min(c.Values) > 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(c.Values))
	return leastRange * (stat.Quantile(0.95, stat.Empirical, sorted, nil) - stat.Quantile(0.05, stat.Empirical, sorted, nil))
}

// A search goes through one curve.
type search struct {
	curve  Curve
	tests  float64
	memory float64 // correlation of neighbouring records, over the whole curve
	found  []Change
	least  float64 // change that matters, of a curve that is not always positive
}

// segment looks for changes among the records from low to high, before and after
// the first one again.
func (s *search) segment(low, high int) {
	for w := leastBlock; low+3*w <= high; w *= 2 {
		best, at := changeLevel, -1
		for i := low; i+3*w <= high; i += w / 4 {
			if p := s.test(low, i, w); p < best {
				best, at = p, i
			}
		}
		if at < 0 {
			continue
		}
		first, last := s.extent(at, w, low, high)
		s.segment(low, first)
		steps := s.curve.Steps
		s.found = append(s.found, Change{
			First: steps[first], Last: steps[last], Waited: steps[first] - steps[low], P: best,
			Before: s.level(max(low, first-2*w, (low+first)/2), first+1), After: s.level(last, min(high, last+2*w)),
		})
		s.segment(last, high)
		return
	}
}

// A block sums up neighbouring records.
type block struct{ step, mean, variance, lagged float64 }

// wholeMemory is the median over the curve: few records say little of it, and
// where the curve changes they look more correlated than they are.
func (s *search) wholeMemory() float64 {
	const w = 4 * leastBlock
	var list []float64
	for i := 0; i+w <= len(s.curve.Values); i += w {
		b := s.block(i, i+w)
		list = append(list, memory(b.lagged, b.variance, w))
	}
	if list == nil {
		return 0
	}
	slices.Sort(list)
	return list[len(list)/2]
}

func (s *search) block(from, to int) block {
	steps, values := s.curve.Steps[from:to], s.curve.Values[from:to]
	offset, slope := stat.LinearRegression(steps, values, nil, false)
	b := block{step: stat.Mean(steps, nil), mean: stat.Mean(values, nil)}
	before := 0.0
	for i, x := range values {
		r := x - offset - slope*steps[i]
		b.variance += r * r
		b.lagged += r * before
		before = r
	}
	return b
}

// memory is the correlation of neighbouring records, of residuals in blocks of w
// records. Those of a line through few records look less correlated than the
// records are.
func memory(lagged, squares float64, w int) float64 {
	if !(squares > 0) {
		return 0
	}
	rho := lagged / squares
	return min(max(rho+(1+3*rho)/float64(w), 0), 0.9)
}

// test returns the corrected chance of the acceleration from the three blocks of
// w records at i, 1 when it is none or of no weight.
func (s *search) test(low, i, w int) float64 {
	a, b, c := s.block(i, i+w), s.block(i+w, i+2*w), s.block(i+2*w, i+3*w)
	before, now := (b.mean-a.mean)/(b.step-a.step), (c.mean-b.mean)/(c.step-b.step)
	change := math.Abs(c.mean - b.mean)
	if s.least == 0 && change < leastShare*max(math.Abs(b.mean), math.Abs(c.mean)) || change < s.least {
		return 1
	}
	expected := math.Copysign(1, now) * before * (c.step - b.step)
	excess := change - max(expected, 0)
	if !(excess > 0) {
		return 1
	}
	if math.Abs(now) < fasterShare*s.speed(max(low, i-lookBack*w), i+2*w, w) {
		return 1
	}
	rho := max(s.memory, memory(a.lagged+b.lagged+c.lagged, a.variance+b.variance+c.variance, w))
	tau := (1 + rho) / (1 - rho)
	dof := float64(3*(w-2)) / tau
	variance := (4*b.variance + a.variance + c.variance) / float64(w-2) * tau / float64(w)
	if !(variance > 0) {
		return 0
	}
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: max(dof, 1)}
	return min(1, 2*s.tests*t.Survival(excess/math.Sqrt(variance)))
}

// speed is how much the mean over w records changed a step, on average, from low
// to high.
func (s *search) speed(low, high, w int) float64 {
	way, steps := 0.0, 0.0
	var before block
	for end := high; end-w >= low; end -= w {
		b := block{step: stat.Mean(s.curve.Steps[end-w:end], nil), mean: stat.Mean(s.curve.Values[end-w:end], nil)}
		if end < high {
			way += math.Abs(before.mean - b.mean)
			steps += before.step - b.step
		}
		before = b
	}
	return way / steps
}

// extent returns the records between which the change at i happened: those
// around its fastest place where it was at least a quarter as fast, looked at as
// closely as the noise lets.
func (s *search) extent(i, w, low, high int) (first, last int) {
	b := s.block(i+w, i+2*w)
	noise := math.Sqrt(b.variance / float64(w-2) * (1 + s.memory) / (1 - s.memory))
	sign := math.Copysign(1, s.block(i+2*w, i+3*w).mean-b.mean)
	for h := 2; ; h *= 2 {
		rate := func(j int) float64 { // at record j
			from, to := max(low, j-h), min(high, j+h+1)
			_, slope := stat.LinearRegression(s.curve.Steps[from:to], s.curve.Values[from:to], nil, false)
			return sign * slope
		}
		peak, highest := i+2*w, math.Inf(-1)
		for j := i + w; j < min(high, i+3*w+2*h); j++ {
			if r := rate(j); r > highest {
				peak, highest = j, r
			}
		}
		across := highest * (s.curve.Steps[min(high-1, peak+h)] - s.curve.Steps[max(low, peak-h)])
		if h < w/4 && across < 8*noise/math.Sqrt(float64(h)) {
			continue
		}
		first, last = peak, peak
		for first > low+1 && rate(first-1) > edgeOfChange*highest {
			first--
		}
		for last < high-2 && rate(last+1) > edgeOfChange*highest {
			last++
		}
		return max(low, first-1), min(high-1, last+1)
	}
}

func (s *search) level(from, to int) thermo.Reading {
	var series thermo.Series
	for _, x := range s.curve.Values[from:to] {
		series.Add(x)
	}
	return series.Reading(s.curve.Name, s.curve.Layer, s.curve.Unit)
}
