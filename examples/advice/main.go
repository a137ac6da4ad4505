// Command advice asks whether the findings of package monitor help: the same
// training with and without following the advice, on the same seeds. docs/findings.md
// shows what it prints.
//
//	go run ./examples/advice [-seeds 10]
package main

import (
	"flag"
	"fmt"
	"log"
	"math"
	"slices"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/monitor"
	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/thermo"
	"github.com/kelvin-ml/kelvin/training"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

const (
	recordEvery = 10
	lookEvery   = 50
)

// A policy changes a training before a step; r is what was just read of it, nil
// at most steps. It reports whether it followed an advice.
type policy func(t *training.Trainer, r *monitor.Report) bool

// A trial is a training and the policies that are compared on it. The first is
// the advice.
type trial struct {
	name     string
	set      *dataset.Set
	config   training.Config
	scale    float32 // of the initial weights; 0 leaves them
	policies []named
}

type named struct {
	name  string
	apply func() policy // anew for each run: it may remember
}

func main() {
	log.SetFlags(0)
	seeds := flag.Int("seeds", 10, "runs of each policy")
	flag.Parse()
	for _, t := range slices.Concat(trials(), fresh()) {
		if err := t.compare(*seeds); err != nil {
			log.Fatal(err)
		}
	}
}

// blobs are ten overlapping classes.
func blobs(seed uint64) *dataset.Set {
	set, err := dataset.Make("gaussian-mixture", dataset.Options{Examples: 4000, Features: 20, Classes: 10, Noise: 1, Seed: seed})
	if err != nil {
		log.Fatal(err)
	}
	return set
}

func network(arch string) nn.Spec {
	spec, err := nn.ParseArch(arch, "ce")
	if err != nil {
		log.Fatal(err)
	}
	return spec
}

func trials() []trial {
	set, spec := blobs(1), network("20-64-32-10:tanh")
	base := training.Config{Network: spec, Init: "he", Batch: 16, Steps: 12000,
		Optimizer: nn.OptimizerSpec{Kind: "sgd", LearningRate: 0.2, Momentum: 0.5, WeightDecay: 2e-3}}
	rising := base
	rising.Steps, rising.Optimizer = 4000, nn.OptimizerSpec{Kind: "sgd", LearningRate: 0.1, Momentum: 0.5}
	decaying := base
	decaying.Steps, decaying.Optimizer.WeightDecay = 4000, 0.5
	deep := base
	deep.Steps = 3000
	deep.Optimizer = nn.OptimizerSpec{Kind: "sgd", LearningRate: 0.02, Momentum: 0.9}
	deep.Network = network("20-32-32-32-32-32-32-32-32-10:relu")
	return []trial{
		{"equilibrium: divide the learning rate by five", set, base, 0, []named{
			{"advice", cooled(0)},
			{"constant", nothing},
			{"cosine", cosine},
			{"step at 1/2 and 3/4", steps},
		}},
		{"divergence, of a learning rate that rises by 1/1000 a step: halve it and let it rise no more", set, rising, 0, []named{
			{"advice", func() policy {
				told := false
				return func(t *training.Trainer, r *monitor.Report) bool {
					if told = told || has(r, "divergence"); !told {
						t.Optimizer.Spec.LearningRate *= 1.001
					} else if has(r, "divergence") {
						t.Optimizer.Spec.LearningRate /= 2
					}
					return told
				}
			}},
			{"no advice", func() policy {
				return func(t *training.Trainer, _ *monitor.Report) bool {
					t.Optimizer.Spec.LearningRate *= 1.001
					return false
				}
			}},
		}},
		{"signal-energy, of eight layers that begin with half the weights they should: scale them by the factor given", set, deep, 0.5, []named{
			{"advice", func() policy {
				done := false
				return func(t *training.Trainer, r *monitor.Report) bool {
					if !done && has(r, "signal-energy") {
						done = true
						rescale(t, r.Layers)
					}
					return done
				}
			}},
			{"no advice", nothing},
		}},
		{"collapsing-layer, of a weight decay of 0.5: divide it by ten", set, decaying, 0, []named{
			{"advice", on("collapsing-layer", func(t *training.Trainer, _ *monitor.Report) { t.Optimizer.Spec.WeightDecay /= 10 })},
			{"no advice", nothing},
		}},
	}
}

// fresh are trainings on which nothing was tried before. The share of the budget
// to cool in is from A. Hägele et al., Scaling laws and compute-optimal training
// beyond fixed training durations, 2024.
func fresh() []trial {
	digits, err := dataset.Make("digits", dataset.Options{Seed: 1})
	if err != nil {
		log.Fatal(err)
	}
	config := func(arch string, batch int, rate, momentum, decay float64) training.Config {
		return training.Config{Network: network(arch), Init: "he", Batch: batch, Steps: 12000,
			Optimizer: nn.OptimizerSpec{Kind: "sgd", LearningRate: rate, Momentum: momentum, WeightDecay: decay}}
	}
	policies := []named{{"advice, cooled", cooled(0.2)}, {"advice", cooled(0)}, {"constant", nothing}, {"cosine", cosine}, {"step at 1/2 and 3/4", steps},
		{"constant, cooled", cooledOnly}}
	return []trial{
		{"equilibrium, another mixture", blobs(2), config("20-64-32-10:tanh", 16, 0.2, 0.5, 2e-3), 0, policies},
		{"equilibrium, a third mixture, relu, larger batches", blobs(3), config("20-64-32-10:relu", 32, 0.2, 0.9, 2e-3), 0, policies},
		{"equilibrium, handwritten digits", digits, config("64-64-10:tanh", 16, 0.3, 0.5, 2e-3), 0, policies},
	}
}

// cooled divides the learning rate by five at every equilibrium and lets it fall
// to zero evenly over the last share of the budget.
func cooled(share float64) func() policy {
	return func() policy {
		rate, advised := 0.0, false
		return func(t *training.Trainer, r *monitor.Report) bool {
			left := float64(t.Config.Steps-t.Step) / float64(t.Config.Steps)
			switch {
			case left < share && rate == 0:
				rate = t.Optimizer.Spec.LearningRate
				fallthrough
			case left < share:
				t.Optimizer.Spec.LearningRate = rate * left / share
			case has(r, "equilibrium"):
				t.Optimizer.Spec.LearningRate /= 5
				advised = true
			}
			return advised
		}
	}
}

func cooledOnly() policy {
	p := cooled(0.2)()
	return func(t *training.Trainer, _ *monitor.Report) bool { return p(t, nil) }
}

func cosine() policy {
	return schedule(func(x float64) float64 { return (1 + math.Cos(math.Pi*x)) / 2 })()
}

func steps() policy {
	return schedule(func(x float64) float64 { return math.Pow(0.2, math.Floor(max(0, 4*x-1))) })()
}

func nothing() policy { return func(*training.Trainer, *monitor.Report) bool { return false } }

// on follows an advice whenever it is given.
func on(id string, do func(*training.Trainer, *monitor.Report)) func() policy {
	return func() policy {
		return func(t *training.Trainer, r *monitor.Report) bool {
			if !has(r, id) {
				return false
			}
			do(t, r)
			return true
		}
	}
}

// schedule sets the learning rate by how much of the budget is spent.
func schedule(factor func(spent float64) float64) func() policy {
	return func() policy {
		return func(t *training.Trainer, _ *monitor.Report) bool {
			t.Optimizer.Spec.LearningRate = t.Config.Optimizer.LearningRate * factor(float64(t.Step)/float64(t.Config.Steps))
			return false
		}
	}
}

func has(r *monitor.Report, id string) bool {
	return r != nil && slices.ContainsFunc(r.Findings, func(f thermo.Finding) bool { return f.ID == id })
}

// rescale multiplies all weights by the factor that the finding gives: the root of
// what the signal energy loses in a layer.
func rescale(t *training.Trainer, layers []monitor.Layer) {
	var in []float64
	for _, l := range layers {
		if l.EnergyIn.Value > 0 {
			in = append(in, l.EnergyIn.Value)
		}
	}
	factor := math.Pow(in[0]/in[len(in)-1], 0.5/float64(len(in)-1))
	for i := range t.Network.Params {
		t.Network.Params[i] *= float32(factor)
	}
}

// compare runs all policies on the same seeds and prints the energy on the whole
// set at the end, and its ratio to that with the advice.
func (t trial) compare(seeds int) error {
	fmt.Printf("%s\n", t.name)
	energies := make([][]float64, len(t.policies))
	for i, p := range t.policies {
		failed, acted := 0, 0
		for seed := range seeds {
			config := t.config
			config.Seed = uint64(seed)
			energy, acts, err := train(config, t.set, t.scale, p.apply())
			if err != nil {
				return err
			}
			if !(energy < 1e3) {
				energy, failed = 1e3, failed+1
			}
			if acts {
				acted++
			}
			energies[i] = append(energies[i], math.Log(energy))
		}
		mean, sd := stat.MeanStdDev(energies[i], nil)
		fmt.Printf("  %-20s energy %.4g (geometric mean, ×/÷ %.2f), %d of %d diverged", p.name, math.Exp(mean), math.Exp(sd), failed, seeds)
		if i == 0 {
			fmt.Printf(", advised in %d\n", acted)
			continue
		}
		var gains []float64
		for s := range seeds {
			gains = append(gains, energies[i][s]-energies[0][s])
		}
		gain, spread := stat.MeanStdDev(gains, nil)
		half := distuv.StudentsT{Sigma: 1, Nu: float64(seeds - 1)}.Quantile(0.975) * spread / math.Sqrt(float64(seeds))
		fmt.Printf("; %s times that of the advice (95 %%: %s to %s)\n", thermo.Format(math.Exp(gain), 3), thermo.Format(math.Exp(gain-half), 3), thermo.Format(math.Exp(gain+half), 3))
	}
	return nil
}

// train trains under a policy and returns the energy on the whole set, infinite if
// it diverged, and whether the policy followed an advice.
func train(config training.Config, set *dataset.Set, scale float32, apply policy) (energy float64, advised bool, err error) {
	t, err := training.New(config, set)
	if err != nil {
		return 0, false, err
	}
	if scale > 0 {
		for i := range t.Network.Params {
			t.Network.Params[i] *= scale
		}
	}
	m, observation := monitor.New(), &nn.Observation{}
	for t.Step < config.Steps {
		var look *monitor.Report
		if t.Step%lookEvery == 0 {
			r := m.Report()
			look = &r
		}
		advised = apply(t, look) || advised
		var obs *nn.Observation
		if t.Optimizer.KeepUpdate = t.Step%recordEvery == 0; t.Optimizer.KeepUpdate {
			obs = observation
		}
		energy, err := t.Advance(obs)
		if err != nil { // the energy is not finite
			return math.Inf(1), advised, nil
		}
		if obs != nil {
			for _, r := range t.Records(energy, obs) {
				r.Time = float64(t.Step)
				m.Add(r)
			}
		}
	}
	indices := make([]int, set.N)
	for i := range indices {
		indices[i] = i
	}
	var batch nn.Batch[float32]
	training.Minibatch(set, indices, &batch)
	energy, err = t.Network.Energy(batch)
	if err != nil {
		return math.Inf(1), advised, nil
	}
	return energy, advised, nil
}
