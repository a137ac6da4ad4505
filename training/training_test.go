package training

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kelvin-ml/kelvin/checkpoint"
	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/run"
)

// childVariable makes the test binary train into the folder it names, and
// nothing else: a process to kill.
const childVariable = "KELVIN_TRAIN_INTO"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		config, set := problem()
		if _, err := Train(context.Background(), config, set, dir, func(string) {}, func(int, float64) {}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// problem is a training that takes a while and keeps three checkpoints on the way.
func problem() (Config, *dataset.Set) {
	set, err := dataset.Make("gaussian-mixture", dataset.Options{Examples: 300, Features: 8, Classes: 3, Noise: 1, Seed: 1})
	if err != nil {
		panic(err)
	}
	spec, err := nn.ParseArch("8-64-64-3:gelu", "ce")
	if err != nil {
		panic(err)
	}
	return Config{Network: spec, Init: "glorot", Optimizer: nn.OptimizerSpec{Kind: "adam", LearningRate: 1e-3},
		Batch: 32, Steps: 3500, Seed: 7}, set
}

// final returns the bytes of the last checkpoint.
func final(t *testing.T, dir string) []byte {
	t.Helper()
	list, err := run.Checkpoints(dir)
	if err != nil || len(list) == 0 {
		t.Fatalf("%d checkpoints, error %v", len(list), err)
	}
	data, err := os.ReadFile(list[len(list)-1].Path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func train(ctx context.Context, config Config, set *dataset.Set, dir string) (*Trainer, []string, error) {
	var warnings []string
	trainer, err := Train(ctx, config, set, dir, func(w string) { warnings = append(warnings, w) }, func(int, float64) {})
	return trainer, warnings, err
}

func TestKilledRunReachesTheSameWeights(t *testing.T) {
	config, set := problem()
	whole, killed := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "killed")
	if _, _, err := train(context.Background(), config, set, whole); err != nil {
		t.Fatal(err)
	}
	for attempt := range 3 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childVariable+"="+killed)
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		waitForCheckpoint(t, killed, attempt+1)
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait() // killed, as it should be, or done before
	}
	trainer, warnings, err := train(context.Background(), config, set, killed)
	if err != nil {
		t.Fatal(err)
	}
	if trainer.Step != config.Steps || len(warnings) == 0 || !strings.Contains(strings.Join(warnings, " "), "going on from step") {
		t.Errorf("step %d, warnings %q: expected to go on to step %d", trainer.Step, warnings, config.Steps)
	}
	if !bytes.Equal(final(t, whole), final(t, killed)) {
		t.Error("the weights differ from those of a run that was not killed")
	}
	seen := map[int64]int{}
	for record, err := range run.Records(killed) {
		if err != nil {
			t.Fatal(err)
		}
		if record.Kind == run.KindStep {
			seen[record.Step]++
		}
	}
	for step := int64(1); step < int64(config.Steps); step += recordEvery {
		if seen[step] != 1 {
			t.Fatalf("step %d is recorded %d times, want once", step, seen[step])
		}
	}
}

func waitForCheckpoint(t *testing.T, dir string, n int) {
	t.Helper()
	for range 6000 {
		if list, _ := run.Checkpoints(dir); len(list) >= n {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("no %d checkpoints after a minute", n)
}

func TestInterruptedRunSaysHowToGoOn(t *testing.T) {
	config, set := problem()
	config.Steps = 400
	dir := filepath.Join(t.TempDir(), "run")
	ctx, cancel := context.WithCancel(context.Background())
	_, err := Train(ctx, config, set, dir, func(string) {}, func(step int, _ float64) {
		if step == 123 {
			cancel()
		}
	})
	if err == nil || !strings.Contains(err.Error(), "interrupted at step 123 of 400") {
		t.Fatalf("error %v, want one that says where it stopped", err)
	}
	stopped, err := Resume(dir, set)
	if err != nil || stopped.Step != 123 {
		t.Fatalf("resumed at %+v, error %v, want step 123", stopped, err)
	}
	config.Steps = 500 // more than before
	trainer, _, err := train(context.Background(), config, set, dir)
	if err != nil || trainer.Step != 500 {
		t.Fatalf("%v, error %v, want step 500", trainer, err)
	}
}

func TestAnotherTrainingIsRefused(t *testing.T) {
	config, set := problem()
	config.Steps = 5
	dir := filepath.Join(t.TempDir(), "run")
	if _, _, err := train(context.Background(), config, set, dir); err != nil {
		t.Fatal(err)
	}
	other := config
	other.Optimizer.LearningRate = 2e-3
	if _, _, err := train(context.Background(), other, set, dir); err == nil ||
		!strings.Contains(err.Error(), "optimizer.learning_rate 0.001, not 0.002") {
		t.Errorf("error %v, want one that names the learning rates", err)
	}
	moved := *set
	moved.X = append([]float32(nil), set.X...)
	moved.X[17] += 1e-6
	if _, _, err := train(context.Background(), config, &moved, dir); err == nil || !strings.Contains(err.Error(), "data") {
		t.Errorf("error %v, want one about the data", err)
	}
}

func TestAdvanceDoesNotAllocate(t *testing.T) {
	config, set := problem()
	for _, kind := range []string{"sgd", "adam", "adamw"} {
		config.Optimizer.Kind = kind
		trainer, err := New(config, set)
		if err != nil {
			t.Fatal(err)
		}
		step := func() {
			if _, err := trainer.Advance(nil); err != nil {
				t.Fatal(err)
			}
		}
		step()
		if n := testing.AllocsPerRun(20, step); n != 0 {
			t.Errorf("%s: %v allocations a step", kind, n)
		}
	}
}

func TestDivergenceIsAnError(t *testing.T) {
	config, set := problem()
	config.Optimizer = nn.OptimizerSpec{Kind: "sgd", LearningRate: 1e30}
	dir := filepath.Join(t.TempDir(), "run")
	if _, _, err := train(context.Background(), config, set, dir); err == nil || !strings.Contains(err.Error(), "training step") {
		t.Errorf("error %v, want one that names the step", err)
	}
}

func TestLoadNamesWhatDoesNotFit(t *testing.T) {
	spec, err := nn.ParseArch("2-3-2:relu", "ce")
	if err != nil {
		t.Fatal(err)
	}
	tensors := func() []checkpoint.Named {
		return []checkpoint.Named{
			{Name: "0.weight", Shape: []int{3, 2}, F32: make([]float32, 6)}, {Name: "0.bias", Shape: []int{3}, F32: make([]float32, 3)},
			{Name: "2.weight", Shape: []int{2, 3}, F32: make([]float32, 6)}, {Name: "2.bias", Shape: []int{2}, F32: make([]float32, 2)},
		}
	}
	for _, test := range []struct {
		name, want string
		change     func([]checkpoint.Named) []checkpoint.Named
	}{
		{"whole", "", func(ts []checkpoint.Named) []checkpoint.Named { return ts }},
		{"missing", `"2.bias"`, func(ts []checkpoint.Named) []checkpoint.Named { return ts[:3] }},
		{"shape", `tensor "0.weight": the network expects shape [3 2], the file has [2 3]`, func(ts []checkpoint.Named) []checkpoint.Named {
			ts[0].Shape = []int{2, 3}
			return ts
		}},
		{"extra", `tensor "4.weight" has no place in the network`, func(ts []checkpoint.Named) []checkpoint.Named {
			return append(ts, checkpoint.Named{Name: "4.weight", Shape: []int{1}, F32: make([]float32, 1)})
		}},
		{"nan", `tensor "2.weight": element 4 is NaN`, func(ts []checkpoint.Named) []checkpoint.Named {
			ts[2].F32[4] = float32(math.NaN())
			return ts
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "m.safetensors")
			if err := checkpoint.WriteSafetensors(path, test.change(tensors()), nil); err != nil {
				t.Fatal(err)
			}
			file, err := checkpoint.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			network, err := nn.New[float32](spec)
			if err != nil {
				t.Fatal(err)
			}
			err = Load(network, file)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}
