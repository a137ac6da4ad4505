package power

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"

	"github.com/kelvin-ml/kelvin/thermo"
)

// The online problem: a job recurs, and what a batch size costs to the target is
// only known by running it, with noise. A run that costs more than a multiple of the
// best so far is stopped early, and the job run again with another batch size.

// A Policy chooses batch sizes for a recurring job.
type Policy interface {
	// Next returns the index of the batch size to run; failed are those that were
	// stopped in this recurrence.
	Next(failed []bool, r *rand.Rand) int
	// Learn takes in what a run cost; stopped, it would have cost more.
	Learn(arm int, cost float64, stopped bool)
}

// The policies there are.
const (
	Zeus      = "zeus"     // prune, then Thompson sampling of independent costs
	Smooth    = "smooth"   // Thompson sampling of costs that are alike for batch sizes that are
	Baseline  = "baseline" // the given batch size at the largest limit, always
	stopAbove = 2.0        // times the best cost so far, as Zeus stops
	mostTries = 20         // runs of one recurrence before the limit is doubled
	lastRuns  = 5          // recurrences that are read at the end
)

// An arm is a batch size at the power limit that is best for the cost. Which that is
// the first run finds out: its first epoch goes through all limits.
type arm struct {
	batch             int
	cost, energy      float64 // per epoch, J
	firstCost, firstJ float64 // of the first epoch of the first run
	epochs            []float64
}

// A Replay is a policy on a recurring job, over seeds.
type Replay struct {
	Dataset, Policy string
	Recurrences     int
	Saving          thermo.Reading // of energy, in the last five recurrences, against the baseline's
	EarlySaving     thermo.Reading // in the first fifth, with all that was learned from
	Regret          thermo.Reading // summed over all recurrences, in costs of the best batch size
	Wasted          thermo.Reading // runs that were stopped
}

// SimulateOptions say what to replay.
type SimulateOptions struct {
	PlanOptions
	Recurrences int // 0: twice the number of batch sizes and limits, as Zeus does
	Seeds       int
	Seed        uint64
}

// Simulate replays policies on the jobs of traces: every run draws one of the repeated
// runs of its batch size. The cost is η·E + (1−η)·P_max·t.
func Simulate(ctx context.Context, runs []Run, speeds []Speed, o SimulateOptions, progress func(done, total int)) ([]Replay, error) {
	jobs, err := Plan(runs, speeds, o.PlanOptions)
	if err != nil {
		return nil, err
	}
	if o.Seeds < 2 || o.Recurrences < 0 {
		return nil, fmt.Errorf("expected at least 2 seeds and a number of recurrences from 0, got %d and %d", o.Seeds, o.Recurrences)
	}
	var list []Replay
	policies := []string{Baseline, Zeus, Smooth}
	for i, j := range jobs {
		arms, start, baseline := j.arms(runs, speeds, o.Eta)
		if start < 0 {
			return nil, fmt.Errorf("%s: the baseline's batch size was not measured", j.Dataset)
		}
		n := o.Recurrences
		if n == 0 {
			n = 2 * len(j.Settings)
		}
		for k, name := range policies {
			r, err := replay(ctx, arms, start, baseline, name, n, o)
			if err != nil {
				return list, err
			}
			r.Dataset = j.Dataset
			list = append(list, r)
			if progress != nil {
				progress(i*len(policies)+k+1, len(jobs)*len(policies))
			}
		}
	}
	return list, nil
}

// arms are the batch sizes of a job, in order, the index of the baseline's, and the
// baseline itself.
func (j *Job) arms(runs []Run, speeds []Speed, eta float64) (arms []arm, start int, baseline arm) {
	byBatch, limits := map[int]*arm{}, map[int]float64{}
	for _, s := range speeds {
		if s.Dataset != j.Dataset || s.Network != j.Network || s.Optimizer != j.Optimizer {
			continue
		}
		energy := s.Seconds * s.Watts
		cost := eta*energy + (1-eta)*j.MaxPower*s.Seconds
		b := byBatch[s.Batch]
		if b == nil {
			b = &arm{batch: s.Batch, cost: math.Inf(1)}
			byBatch[s.Batch] = b
		}
		if cost < b.cost {
			b.cost, b.energy = cost, energy
		}
		limits[s.Batch]++
		b.firstCost += (cost - b.firstCost) / limits[s.Batch]
		b.firstJ += (energy - b.firstJ) / limits[s.Batch]
		if s.Batch == j.Baseline.Batch && s.Limit == j.MaxPower {
			baseline = arm{batch: s.Batch, cost: cost, energy: energy, firstCost: cost, firstJ: energy}
		}
	}
	for _, r := range runs {
		if r.Dataset == j.Dataset && r.Network == j.Network && r.Optimizer == j.Optimizer && r.Target == j.Target {
			if a := byBatch[r.Batch]; a != nil {
				a.epochs = append(a.epochs, r.Epochs)
			}
		}
	}
	for _, a := range byBatch {
		if len(a.epochs) > 0 {
			arms = append(arms, *a)
		}
	}
	slices.SortFunc(arms, func(a, b arm) int { return a.batch - b.batch })
	start = slices.IndexFunc(arms, func(a arm) bool { return a.batch == j.Baseline.Batch })
	if start >= 0 {
		baseline.epochs = arms[start].epochs
	}
	return arms, start, baseline
}

// expected is the mean cost of an arm that always reaches the target; +Inf of others.
func (a arm) expected() float64 {
	if slices.ContainsFunc(a.epochs, math.IsNaN) {
		return math.Inf(1)
	}
	return a.cost * stat.Mean(a.epochs, nil)
}

func replay(ctx context.Context, arms []arm, start int, baseline arm, name string, recurrences int, o SimulateOptions) (Replay, error) {
	best := math.Inf(1)
	for _, a := range arms {
		best = math.Min(best, a.expected())
	}
	reached := slices.DeleteFunc(slices.Clone(baseline.epochs), math.IsNaN)
	usual := baseline.energy * stat.Mean(reached, nil)
	var last, early, regret, wasted []float64
	for seed := range o.Seeds {
		if err := ctx.Err(); err != nil {
			return Replay{}, err
		}
		r := rand.New(rand.NewPCG(o.Seed, uint64(seed)))
		var policy Policy
		switch name {
		case Zeus:
			policy = newZeus(len(arms), start)
		case Smooth:
			policy = newSmooth(arms, start)
		}
		energies, costs, stops := recur(arms, baseline, policy, recurrences, r)
		saved := func(e []float64) float64 { return math.Round((1-stat.Mean(e, nil)/usual)*1e12) / 1e12 }
		last = append(last, saved(energies[max(0, len(energies)-lastRuns):]))
		early = append(early, saved(energies[:max(1, len(energies)/5)]))
		sum := 0.0
		for _, c := range costs {
			sum += c/best - 1
		}
		regret, wasted = append(regret, sum), append(wasted, float64(stops))
	}
	mean := func(name, unit string, xs []float64) thermo.Reading {
		n := float64(len(xs))
		return thermo.Reading{Name: name, Unit: unit, Value: stat.Mean(xs, nil), StdErr: stat.StdDev(xs, nil) / math.Sqrt(n), ESS: n, DoF: n - 1}
	}
	return Replay{Policy: name, Recurrences: recurrences, Saving: mean("saving", "1", last), EarlySaving: mean("early saving", "1", early),
		Regret: mean("regret", "runs", regret), Wasted: mean("wasted", "runs", wasted)}, nil
}

// recur runs a job again and again. A nil policy is the baseline's.
func recur(arms []arm, baseline arm, policy Policy, n int, r *rand.Rand) (energies, costs []float64, stops int) {
	best := math.Inf(1) // cost of a recurrence
	profiled := make([]bool, len(arms))
	for range n {
		energy, cost := 0.0, 0.0
		failed := make([]bool, len(arms))
		patience := stopAbove
		for tries, done := 1, false; !done; tries++ {
			if tries%mostTries == 0 { // the best was luck
				patience *= 2
			}
			a, i := baseline, -1
			limit := math.Inf(1)
			if policy != nil {
				limit = patience * best
				if i = policy.Next(failed, r); i < 0 { // all were stopped: likewise
					clear(failed)
					patience *= 2
					continue
				}
				a = arms[i]
			}
			epochs := a.draw(r)
			for math.IsNaN(epochs) && math.IsInf(limit, 1) { // nothing is known yet to stop it by
				epochs = a.draw(r)
			}
			may := math.Floor(limit / a.cost) // it is stopped before the epoch that would cost too much
			done = epochs <= may
			if !done {
				failed[i] = true
				epochs = may
			}
			spent := a.cost * epochs
			if epochs > 0 {
				energy += a.energy * epochs
				if !done {
					stops++
				}
				if i >= 0 && !profiled[i] {
					profiled[i] = true
					energy += a.firstJ - a.energy
					spent += a.firstCost - a.cost
				}
			}
			cost += spent
			if policy != nil {
				if epochs == 0 { // it could not even begin
					spent = limit
				}
				policy.Learn(i, spent, !done)
			}
		}
		best = math.Min(best, cost)
		energies, costs = append(energies, energy), append(costs, cost)
	}
	return energies, costs, stops
}

func (a arm) draw(r *rand.Rand) float64 { return a.epochs[r.IntN(len(a.epochs))] }

// zeus explores from the default batch size down until one is stopped, then up, and once
// more from the best; only those that always finished are left. From then on it draws a
// mean cost of each from its posterior, independent of the others, and runs the least
// (Zeus, algorithm 1 and section 4.4, and its own simulator).
type zeus struct {
	left  []int // batch sizes, in order
	start int
	plan  []int // still to be explored in this round
	round int
	good  []int // finished in this round
	best  float64
	next  int // start of the next round: the one that cost least
	costs [][]float64
}

func newZeus(n, start int) *zeus {
	z := &zeus{next: start, costs: make([][]float64, n)}
	for i := range n {
		z.left = append(z.left, i)
	}
	z.explore()
	return z
}

// explore begins a round.
func (z *zeus) explore() {
	z.round++
	z.start, z.best, z.good, z.plan = z.next, math.Inf(1), nil, nil
	for _, i := range slices.Backward(z.left) {
		if i <= z.start {
			z.plan = append(z.plan, i)
		}
	}
	for _, i := range z.left {
		if i > z.start {
			z.plan = append(z.plan, i)
		}
	}
}

func (z *zeus) Next(_ []bool, r *rand.Rand) int {
	if len(z.plan) > 0 {
		return z.plan[0]
	}
	best, least := -1, math.Inf(1)
	for _, i := range z.left {
		n := float64(len(z.costs[i]))
		if x := stat.Mean(z.costs[i], nil) + math.Sqrt(stat.PopVariance(z.costs[i], nil)/n)*r.NormFloat64(); x < least {
			best, least = i, x
		}
	}
	return best
}

func (z *zeus) Learn(i int, cost float64, stopped bool) {
	z.costs[i] = append(z.costs[i], cost)
	if len(z.plan) == 0 {
		return
	}
	z.plan = z.plan[1:]
	if stopped { // what lies beyond is taken to be worse still
		down := i <= z.start
		z.plan = slices.DeleteFunc(z.plan, func(k int) bool { return (k <= z.start) == down })
	} else {
		z.good = append(z.good, i)
		if cost < z.best {
			z.best, z.next = cost, i
		}
	}
	if len(z.plan) == 0 {
		if len(z.good) > 0 {
			slices.Sort(z.good)
			z.left = z.good
		}
		if z.round < 2 {
			z.explore()
		}
	}
}

// smooth takes log cost as a Gaussian process of log batch size: what one run costs
// says something of its neighbours, so that few of the bad ones are run at all. Each
// recurrence draws a function from the posterior and runs its least batch size.
// A run that was stopped counts as half as much again.
type smooth struct {
	x      []float64 // log₂ batch sizes
	sum    []float64 // of log costs
	count  []float64
	square []float64 // of log costs, summed
	base   float64   // log cost of the first run
	start  int
}

// Of the process, in log cost and powers of two of the batch size: batch sizes a
// factor of four apart differ by some factor of two; runs of one by some tenths.
const (
	processSpread = 0.7
	processLength = 2.0
	processNoise  = 0.15
)

func newSmooth(arms []arm, start int) *smooth {
	s := &smooth{sum: make([]float64, len(arms)), count: make([]float64, len(arms)), square: make([]float64, len(arms)), start: start, base: math.NaN()}
	for _, a := range arms {
		s.x = append(s.x, math.Log2(float64(a.batch)))
	}
	return s
}

func (s *smooth) Next(failed []bool, r *rand.Rand) int {
	if math.IsNaN(s.base) {
		return s.start // the first run is the default's
	}
	mean, root := s.posterior()
	n := len(s.x)
	z := make([]float64, n)
	for i := range z {
		z[i] = r.NormFloat64()
	}
	best, least := -1, math.Inf(1)
	for i := range n {
		f := mean[i]
		for k := 0; k <= i; k++ {
			f += root.At(i, k) * z[k]
		}
		if !failed[i] && f < least {
			best, least = i, f
		}
	}
	return best
}

// posterior returns mean and Cholesky root of the log costs at all batch sizes.
func (s *smooth) posterior() ([]float64, *mat.TriDense) {
	n := len(s.x)
	// Prior precision plus that of the observations: all batch sizes are inputs.
	prior := mat.NewSymDense(n, nil)
	for i := range n {
		for k := i; k < n; k++ {
			d := (s.x[i] - s.x[k]) / processLength
			v := processSpread * processSpread * math.Exp(-0.5*d*d)
			if i == k {
				v += 1e-6 + 0.1*0.1 // what is not smooth
			}
			prior.SetSym(i, k, v)
		}
	}
	// K(K + N)⁻¹ over the observed ones, in the form K − K B (I + BKB)⁻¹ B K of B = N^−½.
	b, noise := make([]float64, n), s.noise()
	inner := mat.NewSymDense(n, nil)
	for i := range n {
		b[i] = math.Sqrt(s.count[i]) / noise
	}
	for i := range n {
		for k := i; k < n; k++ {
			v := b[i] * prior.At(i, k) * b[k]
			if i == k {
				v++
			}
			inner.SetSym(i, k, v)
		}
	}
	var chol mat.Cholesky
	chol.Factorize(inner) // of a positive matrix by construction
	bk := mat.NewDense(n, n, nil)
	y := mat.NewVecDense(n, nil)
	for i := range n {
		for k := range n {
			bk.Set(i, k, b[i]*prior.At(i, k))
		}
		if s.count[i] > 0 {
			y.SetVec(i, b[i]*(s.sum[i]/s.count[i]-s.base))
		}
	}
	var solved mat.Dense
	var weights mat.VecDense
	if chol.SolveTo(&solved, bk) != nil || chol.SolveVecTo(&weights, y) != nil {
		return make([]float64, n), mat.NewTriDense(n, mat.Lower, nil)
	}
	var reduce mat.Dense
	reduce.Mul(bk.T(), &solved)
	mean := make([]float64, n)
	posterior := mat.NewSymDense(n, nil)
	for i := range n {
		for k := range n {
			mean[i] += bk.At(k, i) * weights.AtVec(k)
		}
		for k := i; k < n; k++ {
			v := prior.At(i, k) - (reduce.At(i, k)+reduce.At(k, i))/2
			if i == k {
				v += 1e-9
			}
			posterior.SetSym(i, k, v)
		}
	}
	var root mat.Cholesky
	if !root.Factorize(posterior) {
		return mean, mat.NewTriDense(n, mat.Lower, nil)
	}
	lower := mat.NewTriDense(n, mat.Lower, nil)
	root.LTo(lower)
	return mean, lower
}

func (s *smooth) Learn(i int, cost float64, stopped bool) {
	l := math.Log(cost)
	if stopped {
		l += math.Log(1.5)
	}
	if math.IsNaN(s.base) {
		s.base = l
	}
	s.sum[i] += l
	s.square[i] += l * l
	s.count[i]++
}

// noise is the spread of log costs of one batch size: what is assumed, as if it were
// two observations, and what was seen.
func (s *smooth) noise() float64 {
	square, n := 2*processNoise*processNoise, 2.0
	for i, c := range s.count {
		if c > 1 {
			square += math.Max(s.square[i]-s.sum[i]*s.sum[i]/c, 0)
			n += c - 1
		}
	}
	return math.Sqrt(square / n)
}
