// Package collapse closes the loop of generative models: a model is trained on
// what the last one made, at a temperature, with some fresh data or none, again
// and again (docs/theory.md, T10; Marchi et al., arXiv 2404.02325). It simulates
// such loops, knows the exact laws where there are some, and looks for the same
// signs in corpora that are given to it.
package collapse

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"

	"github.com/kelvin-ml/kelvin/thermo"
)

// Data is a set of examples: numbers, Width to an example, or tokens.
type Data struct {
	Width  int
	X      []float64
	Tokens []int32
}

// Len returns the number of examples.
func (d Data) Len() int { return (len(d.X) + len(d.Tokens)) / d.Width }

// with returns the examples of both.
func (d Data) with(more Data) Data {
	return Data{d.Width, append(d.X[:len(d.X):len(d.X)], more.X...), append(d.Tokens[:len(d.Tokens):len(d.Tokens)], more.Tokens...)}
}

// A Model is a generative model: fitted to data, it makes more.
type Model interface {
	// Fit fits the model to data by maximum likelihood, or nearly so.
	Fit(data Data, r *rand.Rand) error
	// Sample draws n examples from p^(1/τ), normalised.
	Sample(n int, temperature float64, r *rand.Rand) (Data, error)
	// Entropy is that of the model, in nats an example (a token, for sequences).
	Entropy(r *rand.Rand) float64
	// Energy is −ln p of an example of data (a token), mean over the examples.
	Energy(data Data) float64
	// Temperature is the one at which the model would have drawn data.
	Temperature(data Data) float64
	// Diversity is the chance that two draws differ (categories), the share of
	// different pairs of tokens (sequences) or the spread compared with the world's
	// (numbers).
	Diversity(data Data) float64
	// LogVariance is the logarithm of the variance of numbers, the mean over their
	// dimensions; NaN where there are none.
	LogVariance(data Data) float64
}

// A World is where real data come from.
type World struct {
	Name  string
	Truth Model // what the data are drawn from
	New   func() Model
	// Tail reports whether an example is in the tail of the world: a tenth of the
	// real examples is.
	Tail func(d Data, i int) bool
	// Exact is true when the model of a generation is known in closed form, so that
	// entropy and diversity are of the model and not of its samples.
	Exact bool
}

// A Mode says what a generation is trained on.
type Mode string

const (
	Replace    Mode = "replace"    // samples of the last one, and fresh data
	Accumulate Mode = "accumulate" // all data so far, samples of the last one, and fresh data
	Mixed      Mode = "mixed"      // the first real data, samples of the last one, and fresh data
)

// A Config describes a closed loop.
type Config struct {
	Mode        Mode
	Temperature float64 // τ at which generations are sampled
	Fresh       float64 // μ: fresh examples for every sample
	Generations int
	Samples     int // of each generation
	Runs        int
	Seed        uint64
}

// A Generation is what the runs look like after a number of refits; generation 0
// is the world itself. Errors are over runs, which are independent.
type Generation struct {
	Number      int
	Entropy     thermo.Reading
	Diversity   thermo.Reading
	TailMass    thermo.Reading
	LogVariance thermo.Reading // not valid where data are no numbers
	Energy      thermo.Reading // of real data under this generation's model
	Temperature thermo.Reading // of this generation's samples, under the world
}

// A row is the measures of one run and generation.
type row [6]float64

// Simulate runs the loops in parallel and returns their generations. If ctx ends,
// it returns the generations of the runs that were done, or, when those are fewer
// than two, those that all runs that had begun have reached; and the context's
// error.
func Simulate(ctx context.Context, w *World, c Config, progress func(done, total int)) ([]Generation, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	rows := make([][]row, c.Runs)
	errs := make([]error, c.Runs)
	var mu sync.Mutex
	done := 0
	work := make(chan int)
	var group sync.WaitGroup
	for range workers(c.Runs) {
		group.Go(func() {
			for i := range work {
				rows[i], errs[i] = w.loop(ctx, c, rand.New(rand.NewPCG(c.Seed, uint64(i))), func() {
					mu.Lock()
					defer mu.Unlock()
					if done++; progress != nil {
						progress(done, c.Runs*c.Generations)
					}
				})
			}
		})
	}
	for i := range c.Runs {
		work <- i
	}
	close(work)
	group.Wait()
	for i, err := range errs {
		if err != nil && ctx.Err() == nil {
			return nil, fmt.Errorf("run %d: %w", i, err)
		}
	}
	return summarise(reached(rows, c.Generations)), ctx.Err()
}

// reached drops runs that were interrupted, or, when that leaves fewer than two,
// those that had not begun.
func reached(rows [][]row, generations int) [][]row {
	var done, begun [][]row
	for _, r := range rows {
		if len(r) > generations {
			done = append(done, r)
		}
		if len(r) > 1 {
			begun = append(begun, r)
		}
	}
	if len(done) >= 2 {
		return done
	}
	return begun
}

func (c Config) check() error {
	switch {
	case c.Mode != Replace && c.Mode != Accumulate && c.Mode != Mixed:
		return fmt.Errorf("mode %q: expected replace, accumulate or mixed", c.Mode)
	case !(c.Temperature > 0) || c.Temperature > 100:
		return fmt.Errorf("temperature %g: expected a number above 0, up to 100", c.Temperature)
	case !(c.Fresh >= 0) || c.Fresh > 1000:
		return fmt.Errorf("fresh data %g: expected a number from 0 to 1000", c.Fresh)
	case c.Generations < 1 || c.Samples < 2 || c.Runs < 2:
		return fmt.Errorf("expected at least 1 generation, 2 samples and 2 runs, got %d, %d and %d", c.Generations, c.Samples, c.Runs)
	}
	return nil
}

// loop runs one closed loop.
func (w *World) loop(ctx context.Context, c Config, r *rand.Rand, step func()) ([]row, error) {
	model := w.Truth
	first, err := w.Truth.Sample(c.Samples, 1, r)
	if err != nil {
		return nil, err
	}
	rows := []row{w.measure(model, first, first, r)}
	data := first
	for range c.Generations {
		if ctx.Err() != nil {
			return rows, nil
		}
		next := w.New()
		if err := next.Fit(data, r); err != nil {
			return rows, err
		}
		model = next
		own, err := model.Sample(c.Samples, c.Temperature, r)
		if err != nil {
			return rows, err
		}
		rows = append(rows, w.measure(model, own, first, r))
		if c.Mode != Accumulate {
			data = Data{Width: data.Width}
		}
		if c.Mode == Mixed {
			data = first
		}
		data = data.with(own)
		if n := fresh(c, r); n > 0 {
			real, err := w.Truth.Sample(n, 1, r)
			if err != nil {
				return rows, err
			}
			data = data.with(real)
		}
		step()
	}
	return rows, nil
}

// fresh is the number of fresh examples of a generation: μ·samples in the mean.
func fresh(c Config, r *rand.Rand) int {
	exact := c.Fresh * float64(c.Samples)
	n := int(exact)
	if r.Float64() < exact-float64(n) {
		n++
	}
	return n
}

// measure looks at a generation: its model, samples of it, and real data.
func (w *World) measure(m Model, own, real Data, r *rand.Rand) row {
	tail := 0.0
	for i := range own.Len() {
		if w.Tail(own, i) {
			tail++
		}
	}
	return row{m.Entropy(r), m.Diversity(own), tail / float64(own.Len()), m.LogVariance(own), m.Energy(real), w.Truth.Temperature(own)}
}

// summarise takes means over runs.
func summarise(rows [][]row) []Generation {
	if len(rows) == 0 {
		return nil
	}
	n := math.MaxInt
	for _, r := range rows {
		n = min(n, len(r))
	}
	list := make([]Generation, n)
	for t := range list {
		reading := func(k int, name, unit string) thermo.Reading {
			var xs []float64
			for _, r := range rows {
				xs = append(xs, r[t][k])
			}
			return overRuns(name, unit, xs)
		}
		list[t] = Generation{t, reading(0, "entropy", "nat"), reading(1, "diversity", "1"), reading(2, "tail mass", "1"),
			reading(3, "log variance", "1"), reading(4, "energy", "nat"), reading(5, "temperature", "1")}
	}
	return list
}

// overRuns is the mean of independent runs.
func overRuns(name, unit string, xs []float64) thermo.Reading {
	r := thermo.Reading{Name: name, Unit: unit}
	n, mean, square := 0.0, 0.0, 0.0
	for _, x := range xs {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			continue
		}
		n++
		d := x - mean
		mean += d / n
		square += d * (x - mean)
	}
	switch missing := len(xs) - int(n); {
	case n == 0:
		r.Value, r.StdErr, r.Invalid = math.NaN(), math.NaN(), "no run has a finite "+name
		return r
	case missing > 0:
		r.Invalid = fmt.Sprintf("%d of %d runs have no finite %s", missing, len(xs), name)
	}
	r.Value, r.ESS, r.DoF = mean, n, n-1
	r.StdErr = math.Sqrt(square / math.Max(n-1, 1) / n)
	return r
}
