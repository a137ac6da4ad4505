// Command transitions trains networks that go through phase transitions, and some
// that do not, and keeps every run in a folder for kelvin transitions to read.
// docs/commands/transitions.md shows what it prints of them.
//
//	go run ./examples/transitions [-dir runs] [-plain 20]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"math"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/monitor"
	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/run"
	"github.com/kelvin-ml/kelvin/training"
)

// A scenario is a training whose records show, or do not show, a transition.
type scenario struct {
	name    string
	config  training.Config
	set     *dataset.Set
	heldOut *dataset.Set           // nil when nothing is held out
	scale   float32                // of the initial weights; 0 leaves them
	every   int                    // steps from record to record
	rate    func(step int) float64 // factor of the learning rate; nil leaves it
}

func main() {
	log.SetFlags(0)
	dir := flag.String("dir", "runs", "folder for the runs")
	plain := flag.Int("plain", 20, "seeds of plain convergence")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	list, err := scenarios(*plain)
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range list {
		folder := filepath.Join(*dir, s.name)
		if err := s.train(ctx, folder); err != nil {
			log.Fatal(err)
		}
		h, err := monitor.ReadHistory(ctx, folder)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %d transitions\n", folder, len(h.Transitions))
		for _, t := range h.Transitions {
			fmt.Printf("  steps %d to %d: %s, p = %.1g %s\n", t.First, t.Last, t.Kind, t.P, t.Driven)
			for _, c := range t.Changes {
				fmt.Printf("    %s %s: %v → %v\n", h.Curves[c.Curve].Name, h.Curves[c.Curve].Layer, c.Before, c.After)
			}
		}
	}
}

func scenarios(plain int) ([]scenario, error) {
	var list []scenario
	for _, make := range []func(uint64) (scenario, error){grokking, teacherStudent} {
		s, err := make(1)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	digits, err := dataset.Make("digits", dataset.Options{Seed: 1})
	if err != nil {
		return nil, err
	}
	mixture, err := dataset.Make("gaussian-mixture", dataset.Options{Examples: 4000, Features: 20, Classes: 10, Noise: 2, Seed: 1})
	if err != nil {
		return nil, err
	}
	config := func(arch string) (training.Config, error) {
		spec, err := nn.ParseArch(arch, "ce")
		return training.Config{Network: spec, Init: "he", Batch: 32, Steps: 4000, Seed: 1,
			Optimizer: nn.OptimizerSpec{Kind: "sgd", LearningRate: 0.1, WeightDecay: 1e-3}}, err
	}
	drop, err1 := config("20-16-10:tanh")
	base, err2 := config("64-32-10:tanh")
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	drop.Optimizer.LearningRate, drop.Optimizer.Momentum = 0.4, 0.5
	list = append(list, scenario{name: "rate-drop", config: drop, set: mixture, every: 10, rate: func(step int) float64 {
		if step < 2500 {
			return 1
		}
		return 0.05
	}})
	for seed := range plain {
		c := base
		c.Seed = uint64(seed + 1)
		list = append(list, scenario{name: fmt.Sprintf("plain-%02d", seed+1), config: c, set: digits, every: 10})
	}
	return list, nil
}

// grokking is addition modulo 37, of seven tenths of all pairs: the network learns them by
// heart, and the rule only much later, under weight decay (Power et al.,
// arXiv 2201.02177).
func grokking(seed uint64) (scenario, error) {
	all, err := dataset.Make("modular-addition", dataset.Options{Modulus: 37, Seed: seed})
	if err != nil {
		return scenario{}, err
	}
	spec, err := nn.ParseArch("74-128-37:relu", "ce")
	if err != nil {
		return scenario{}, err
	}
	seen, heldOut := part(all, 0, 7*all.N/10), part(all, 7*all.N/10, all.N)
	return scenario{name: "grokking", set: seen, heldOut: heldOut, every: 10, scale: 3, config: training.Config{
		Network: spec, Init: "he", Batch: seen.N, Steps: 6000, Seed: seed,
		Optimizer: nn.OptimizerSpec{Kind: "adamw", LearningRate: 0.003, WeightDecay: 1}}}, nil
}

// teacherStudent is a soft committee machine that learns from another of its kind.
// From small weights its hidden units first all learn the mean of the teacher's,
// and then divide them among themselves (Saad and Solla, Physical Review E 52,
// 4225, 1995).
func teacherStudent(seed uint64) (scenario, error) {
	const features, units, examples = 40, 3, 20000
	random := rand.New(rand.NewPCG(seed, 0))
	set := &dataset.Set{N: examples, Shape: []int{features}, DType: "float32", Outputs: 1}
	for range examples {
		y := 0.0
		x := make([]float32, features)
		for j := range x {
			x[j] = float32(random.NormFloat64())
		}
		for k := range units { // each teacher sees its own third of the features
			field := 0.0
			for j := k; j < features; j += units {
				field += float64(x[j])
			}
			y += math.Tanh(field / math.Sqrt(features/units))
		}
		set.X, set.Y = append(set.X, x...), append(set.Y, float32(y))
	}
	spec, err := nn.ParseArch(fmt.Sprintf("%d-%d-1:tanh", features, units), "mse")
	if err != nil {
		return scenario{}, err
	}
	seen, heldOut := part(set, 0, examples-2000), part(set, examples-2000, examples)
	return scenario{name: "teacher-student", set: seen, heldOut: heldOut, every: 10, scale: 1e-3, config: training.Config{
		Network: spec, Init: "glorot", Batch: 200, Steps: 12000, Seed: seed, Optimizer: nn.OptimizerSpec{Kind: "sgd", LearningRate: 0.01}}}, nil
}

// part is the examples of a set from one to another.
func part(s *dataset.Set, from, to int) *dataset.Set {
	p, f := *s, s.Features()
	p.N, p.X = to-from, s.X[from*f:to*f]
	if s.Labels != nil {
		p.Labels = s.Labels[from:to]
	}
	if s.Y != nil {
		p.Y = s.Y[from*s.Outputs : to*s.Outputs]
	}
	return &p
}

// train trains and records; a folder that holds the whole run already is left.
func (s scenario) train(ctx context.Context, dir string) (err error) {
	t, err := training.New(s.config, s.set)
	if err != nil {
		return err
	}
	if s.scale > 0 {
		for i := range t.Network.Params {
			t.Network.Params[i] *= s.scale
		}
	}
	r, err := run.Create(dir, s.config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	observation := &nn.Observation{}
	for t.Step < s.config.Steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.rate != nil {
			t.Optimizer.Spec.LearningRate = s.config.Optimizer.LearningRate * s.rate(t.Step)
		}
		var obs *nn.Observation
		if t.Optimizer.KeepUpdate = t.Step%s.every == 0; t.Optimizer.KeepUpdate {
			obs = observation
		}
		energy, err := t.Advance(obs)
		if err != nil {
			return err
		}
		if obs == nil {
			continue
		}
		records := t.Records(energy, obs)
		if s.heldOut != nil {
			loss, accuracy, err := s.look(t)
			if err != nil {
				return err
			}
			records[0].Values["held_out_loss"] = loss
			if s.heldOut.Labels != nil {
				records[0].Values["held_out_accuracy"] = accuracy
			}
		}
		if err := r.Append(records...); err != nil {
			return err
		}
	}
	return r.Append(run.Record{Step: int64(t.Step), Kind: run.KindEnd})
}

// look returns the energy and the accuracy (0 without classes) on what is held out.
func (s scenario) look(t *training.Trainer) (loss, accuracy float64, err error) {
	indices := make([]int, s.heldOut.N)
	for i := range indices {
		indices[i] = i
	}
	var batch nn.Batch[float32]
	training.Minibatch(s.heldOut, indices, &batch)
	if loss, err = t.Network.Energy(batch); err != nil {
		return 0, 0, err
	}
	right := 0
	for i, y := range batch.Labels {
		logits := t.Network.Outputs()[i*s.heldOut.Classes : (i+1)*s.heldOut.Classes]
		if slices.Max(logits) == logits[y] {
			right++
		}
	}
	return loss, float64(right) / float64(s.heldOut.N), nil
}
