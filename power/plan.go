package power

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat"

	"github.com/kelvin-ml/kelvin/thermo"
)

// A Setting is a batch size and power limit, and what reaching the target costs
// there: the mean over repeated runs, with its standard error.
type Setting struct {
	Batch   int
	Limit   float64        // W
	Energy  thermo.Reading // J
	Time    thermo.Reading // s
	Runs    int
	Reached int // runs that reached the target; means are over these
}

// sure reports whether every run reached the target.
func (s Setting) sure() bool { return s.Reached == s.Runs }

// A Job is one workload of a trace.
type Job struct {
	Dataset, Network, Optimizer string
	Target                      float64
	Baseline                    Setting
	Settings                    []Setting // by batch size and limit
	MaxPower                    float64   // the largest power limit, W

	Best       Setting // least energy
	Fastest    Setting
	Cheapest   Setting // least η·E + (1−η)·P_max·t
	Slowed     Setting // least energy within the slowdown
	BatchOnly  Setting // least energy at the largest limit
	LimitOnly  Setting // least energy at the baseline's batch size
	Frontier   []Setting
	Failing    []int     // batch sizes with runs that never reach the target
	Unmeasured []int     // batch sizes of which there is no power
	Missing    []Setting // batch size and limit alone: those of the others of which there is none
}

// PlanOptions choose jobs and trade-offs.
type PlanOptions struct {
	Dataset     string  // of the jobs; empty for all
	Baseline    int     // batch size; 0 for that of a published job (Published), else it must be given
	Target      float64 // metric; NaN for that of a published job, else the strictest that two batch sizes always reach
	Eta         float64 // weight of energy against time, 0 … 1
	MaxSlowdown float64 // of the baseline's time, from 1
}

// Published are the jobs of Zeus's traces, with the batch sizes and targets of their
// authors: what the traces say nothing of.
var Published = map[string]struct {
	Batch  int
	Target float64
}{
	"cifar100": {1024, 0.6}, "imagenet": {256, 0.65}, "squad": {32, 84}, "librispeech": {192, 40}, "movielens-1m": {1024, 0.41}, "sentiment140": {128, 0.84},
}

// Plan computes energy and time to the target of every batch size and power limit,
// and what is best. Batch sizes with runs that never reach the target are left out
// of what is best, and counted.
func Plan(runs []Run, speeds []Speed, o PlanOptions) ([]Job, error) {
	if !(o.Eta >= 0 && o.Eta <= 1) {
		return nil, fmt.Errorf("eta %g: expected a number from 0 to 1", o.Eta)
	}
	if !(o.MaxSlowdown >= 1) {
		return nil, fmt.Errorf("slowdown %g: expected a number from 1", o.MaxSlowdown)
	}
	type name struct{ dataset, network, optimizer string }
	var names []name
	byJob := map[name][]Run{}
	for _, r := range runs {
		if o.Dataset == "" || r.Dataset == o.Dataset {
			k := name{r.Dataset, r.Network, r.Optimizer}
			if byJob[k] == nil {
				names = append(names, k)
			}
			byJob[k] = append(byJob[k], r)
		}
	}
	if len(names) == 0 {
		var have []string
		for _, r := range runs {
			if !slices.Contains(have, r.Dataset) {
				have = append(have, r.Dataset)
			}
		}
		return nil, fmt.Errorf("the trace has no dataset %q; it has %s", o.Dataset, strings.Join(have, ", "))
	}
	var jobs []Job
	for _, k := range names {
		var of []Speed
		for _, s := range speeds {
			if s.Dataset == k.dataset && s.Network == k.network && s.Optimizer == k.optimizer {
				of = append(of, s)
			}
		}
		j := Job{Dataset: k.dataset, Network: k.network, Optimizer: k.optimizer}
		if err := j.plan(byJob[k], of, o); err != nil {
			return nil, fmt.Errorf("%s, %s, %s: %w", k.dataset, k.network, k.optimizer, err)
		}
		jobs = append(jobs, j)
	}
	return jobs, nil
}

func (j *Job) plan(runs []Run, speeds []Speed, o PlanOptions) error {
	published, known := Published[j.Dataset]
	j.Target = o.Target
	if math.IsNaN(j.Target) {
		if j.Target = published.Target; !known {
			j.Target = strictest(runs)
		}
	}
	batch := cmp.Or(o.Baseline, published.Batch)
	if batch == 0 {
		return errors.New("expected the batch size to compare with")
	}
	epochs := map[int][]float64{}
	for _, r := range runs {
		if r.Target == j.Target {
			epochs[r.Batch] = append(epochs[r.Batch], r.Epochs)
		}
	}
	if len(epochs) == 0 {
		return fmt.Errorf("no run has the target %g; they have %s", j.Target, targets(runs))
	}
	j.settings(epochs, speeds)
	var sure []Setting
	for _, s := range j.Settings {
		if s.sure() {
			sure = append(sure, s)
		}
	}
	if len(sure) == 0 {
		return fmt.Errorf("no batch size always reaches the target %g", j.Target)
	}
	at := slices.IndexFunc(j.Settings, func(s Setting) bool { return s.Batch == batch && s.Limit == j.MaxPower })
	if at < 0 || j.Settings[at].Reached == 0 {
		return fmt.Errorf("the baseline, batch size %d at %g W, is not in the traces, or never reaches the target %g", batch, j.MaxPower, j.Target)
	}
	j.Baseline = j.Settings[at]
	least := func(cost func(Setting) float64, of func(Setting) bool) Setting {
		best := j.Baseline
		for _, s := range sure {
			if of(s) && (cost(s) < cost(best) || !best.sure()) {
				best = s
			}
		}
		return best
	}
	energy := func(s Setting) float64 { return s.Energy.Value }
	all := func(Setting) bool { return true }
	j.Best = least(energy, all)
	j.Fastest = least(func(s Setting) float64 { return s.Time.Value }, all)
	j.Cheapest = least(func(s Setting) float64 { return o.Eta*s.Energy.Value + (1-o.Eta)*j.MaxPower*s.Time.Value }, all)
	j.Slowed = least(energy, func(s Setting) bool { return s.Time.Value <= o.MaxSlowdown*j.Baseline.Time.Value })
	j.BatchOnly = least(energy, func(s Setting) bool { return s.Limit == j.MaxPower })
	j.LimitOnly = least(energy, func(s Setting) bool { return s.Batch == batch })
	j.Frontier = pareto(sure)
	return nil
}

// targets lists those of runs.
func targets(runs []Run) string {
	var list []float64
	for _, r := range runs {
		if !slices.Contains(list, r.Target) {
			list = append(list, r.Target)
		}
	}
	slices.Sort(list)
	return strings.Trim(fmt.Sprint(list), "[]")
}

// settings computes the cost of every batch size and limit that was measured.
func (j *Job) settings(epochs map[int][]float64, speeds []Speed) {
	measured := map[int]map[float64]bool{}
	var limits []float64
	for _, s := range speeds {
		j.MaxPower = math.Max(j.MaxPower, s.Limit)
		if !slices.Contains(limits, s.Limit) {
			limits = append(limits, s.Limit)
		}
	}
	slices.Sort(limits)
	for _, s := range speeds {
		list, ok := epochs[s.Batch]
		if !ok {
			continue
		}
		if measured[s.Batch] == nil {
			measured[s.Batch] = map[float64]bool{}
		}
		measured[s.Batch][s.Limit] = true
		reached := slices.DeleteFunc(slices.Clone(list), math.IsNaN)
		set := Setting{Batch: s.Batch, Limit: s.Limit, Runs: len(list), Reached: len(reached)}
		mean, stderr := math.NaN(), math.NaN()
		if n := float64(len(reached)); n > 0 {
			mean = stat.Mean(reached, nil)
			stderr = stat.StdDev(reached, nil) / math.Sqrt(n) // NaN for one run: it says nothing of its error
		}
		reading := func(name, unit string, scale float64) thermo.Reading {
			r := thermo.Reading{Name: name, Unit: unit, Value: mean * scale, StdErr: stderr * scale, ESS: float64(len(reached))}
			if len(reached) == 0 {
				r.Invalid = "no run reaches the target"
			}
			return r
		}
		set.Time, set.Energy = reading("time", "s", s.Seconds), reading("energy", "J", s.Seconds*s.Watts)
		j.Settings = append(j.Settings, set)
	}
	slices.SortFunc(j.Settings, func(a, b Setting) int { return cmp.Or(cmp.Compare(a.Batch, b.Batch), cmp.Compare(a.Limit, b.Limit)) })
	for b, list := range epochs {
		if measured[b] == nil {
			j.Unmeasured = append(j.Unmeasured, b)
		}
		for _, limit := range limits {
			if measured[b] != nil && !measured[b][limit] {
				j.Missing = append(j.Missing, Setting{Batch: b, Limit: limit})
			}
		}
		if slices.ContainsFunc(list, math.IsNaN) {
			j.Failing = append(j.Failing, b)
		}
	}
	slices.SortFunc(j.Missing, func(a, b Setting) int { return cmp.Or(cmp.Compare(a.Batch, b.Batch), cmp.Compare(a.Limit, b.Limit)) })
	slices.Sort(j.Unmeasured)
	slices.Sort(j.Failing)
}

// strictest is the target that takes longest among those that two batch sizes
// always reach.
func strictest(runs []Run) float64 {
	best, longest := math.NaN(), -1.0
	targets := map[float64]map[int][]float64{}
	for _, r := range runs {
		if targets[r.Target] == nil {
			targets[r.Target] = map[int][]float64{}
		}
		targets[r.Target][r.Batch] = append(targets[r.Target][r.Batch], r.Epochs)
	}
	for target, batches := range targets {
		always, sum := 0, 0.0
		for _, epochs := range batches {
			if !slices.ContainsFunc(epochs, math.IsNaN) {
				always++
				sum += stat.Mean(epochs, nil)
			}
		}
		if always >= 2 && sum/float64(always) > longest {
			best, longest = target, sum/float64(always)
		}
	}
	return best
}

// pareto returns the settings that none beats in both energy and time, the fastest
// first.
func pareto(settings []Setting) []Setting {
	list := slices.Clone(settings)
	slices.SortFunc(list, func(a, b Setting) int {
		return cmp.Or(cmp.Compare(a.Time.Value, b.Time.Value), cmp.Compare(a.Energy.Value, b.Energy.Value))
	})
	var frontier []Setting
	for _, s := range list {
		if len(frontier) == 0 || s.Energy.Value < frontier[len(frontier)-1].Energy.Value {
			frontier = append(frontier, s)
		}
	}
	return frontier
}

// Saving is 1 − E/E_baseline, with its standard error: the runs of different batch
// sizes are independent, those of one are the same.
func (j *Job) Saving(s Setting) thermo.Reading {
	r := thermo.Reading{Name: "saving", Unit: "1", ESS: math.Min(s.Energy.ESS, j.Baseline.Energy.ESS)}
	ratio := s.Energy.Value / j.Baseline.Energy.Value
	r.Value = 1 - ratio
	if s.Batch != j.Baseline.Batch {
		r.StdErr = ratio * math.Hypot(s.Energy.StdErr/s.Energy.Value, j.Baseline.Energy.StdErr/j.Baseline.Energy.Value)
	}
	return r
}
