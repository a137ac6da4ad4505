package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/measure"
	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/training"
	"github.com/spf13/cobra"
)

// demoArch and the rest of the demonstration: a classifier of real digits whose
// weight decay lets it come to rest within the steps it is given.
const (
	demoArch  = "64-64-10:relu"
	demoSteps = 20000
)

func newDemoCommand() *cobra.Command {
	var out string
	var seed uint64
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Train a classifier of handwritten digits, and read its temperature",
		Long: `Writes 1,797 real handwritten digits, trains a small classifier on four fifths of
them until it is in equilibrium, measures it, and writes a report. Takes well
under a minute. What it does, step by step, is

  kelvin data make digits --part train --out kelvin-demo/digits.npz
  kelvin train --data kelvin-demo/digits.npz --layers 64,64,10 --lr 0.3 --batch 16 \
      --weight-decay 0.01 --steps 20000 --out kelvin-demo/run
  kelvin measure kelvin-demo/run --data kelvin-demo/digits.npz --html kelvin-demo/report.html`,
		Example: "  kelvin demo --out demo",
		Args:    exactArgs(0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return runDemo(cmd, out, seed, asJSON) },
	}
	cmd.Flags().StringVar(&out, "out", "kelvin-demo", "`folder` for the data, the run and the report")
	cmd.Flags().Uint64Var(&seed, "seed", 0, "seed of everything random")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document, that of kelvin measure")
	return cmd
}

func runDemo(cmd *cobra.Command, out string, seed uint64, asJSON bool) error {
	ctx, warnings := cmd.Context(), cmd.ErrOrStderr()
	digits, err := dataset.Make("digits", dataset.Options{Seed: seed})
	if err != nil {
		return err
	}
	set, _, err := digits.Split(0.2, seed)
	if err != nil {
		return err
	}
	spec, err := nn.ParseArch(demoArch, "ce")
	if err != nil {
		return err
	}
	spec.WeightDecay = 0.01
	runDir, data, page := filepath.Join(out, "run"), filepath.Join(out, "digits.npz"), filepath.Join(out, "report.html")
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("making the demo's folder: %w", err)
	}
	if err := set.WriteNPZ(data); err != nil {
		return err
	}
	draw := progress(warnings, "training")
	trainer, err := training.Train(ctx, training.Config{
		Network: spec, Init: "he", Seed: seed, Batch: 16, Steps: demoSteps,
		Optimizer: nn.OptimizerSpec{Kind: "sgd", LearningRate: 0.3},
	}, set, runDir, func(warning string) { fmt.Fprintln(warnings, "kelvin:", warning) },
		func(step int, _ float64) { draw(step, demoSteps) })
	if err != nil {
		return err
	}
	result, interrupted := measure.Network(ctx, trainer.Network, set, measure.Options{
		State: measure.Trained, Init: trainer.Config.Init, Trainer: trainer, Seed: seed, Progress: progress(warnings, "measuring")})
	if result == nil {
		return interrupted
	}
	document := newMeasureDocument(runDir, data, result)
	if err := madeBy(cmd, document.page()).WriteFile(page); err != nil {
		return err
	}
	if asJSON {
		return errors.Join(printJSON(cmd.OutOrStdout(), document), interrupted)
	}
	if err := document.print(cmd.OutOrStdout()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "\nreport: %s\n", page)
	return errors.Join(err, interrupted)
}
