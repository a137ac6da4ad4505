package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/training"
	"github.com/spf13/cobra"
)

// trainFlags are the flags of kelvin train.
type trainFlags struct {
	data, layers, model, activation, loss, out string
	config                                     training.Config
	asJSON                                     bool
}

func newTrainCommand() *cobra.Command {
	var f trainFlags
	cmd := &cobra.Command{
		Use:   "train --data FILE (--layers WIDTHS | --model FILE) --out RUN",
		Short: "Train a network and keep the run",
		Long: `Trains a multilayer perceptron, or the network that a file describes
(docs/model.md), and keeps the run in a folder: its description, what was seen on
the way, and the weights every 1000 steps and at the end.

A run that was stopped, by Ctrl-C or by a power cut, goes on when the same
command is given again, and reaches the same weights as if it had not stopped;
--steps may be larger then. Minibatches are drawn with replacement.`,
		Example: `  kelvin data make digits --part train --out train.npz
  kelvin train --data train.npz --layers 64,128,10 --lr 0.1 --steps 2000 --out runs/digits
  kelvin train --data train.npz --model cnn.json --optimizer adam --lr 0.002 --out runs/cnn`,
		Args: exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return runTrain(cmd, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.data, "data", "", "data `file` (npz, npy, csv, idx)")
	flags.StringVar(&f.out, "out", "", "`folder` of the run")
	flags.StringVar(&f.layers, "layers", "", "`widths`, from the features to the outputs: 64,128,10")
	flags.StringVar(&f.model, "model", "", "`file` that describes the network, a model.json")
	flags.StringVar(&f.activation, "activation", "relu", "activation between the layers of --layers")
	flags.StringVar(&f.loss, "loss", "", "loss: ce, mse or mae (default ce, or what the model says)")
	flags.StringVar(&f.config.Init, "init", "he", "initialisation: normal, uniform, he, glorot, lecun, orthogonal, mixed, balanced or pytorch")
	flags.StringVar(&f.config.Optimizer.Kind, "optimizer", "sgd", "optimiser: sgd, adam or adamw")
	flags.Float64Var(&f.config.Optimizer.LearningRate, "lr", 0.1, "learning rate")
	flags.Float64Var(&f.config.Optimizer.Momentum, "momentum", 0, "momentum of sgd")
	flags.Float64Var(&f.config.Network.WeightDecay, "weight-decay", 0, "weight decay wd: adds (wd/2)|θ|² to the energy; decoupled for adamw (default what the model says)")
	flags.IntVar(&f.config.Batch, "batch", 64, "examples in a minibatch")
	flags.IntVar(&f.config.Steps, "steps", 2000, "steps of the optimiser")
	flags.Uint64Var(&f.config.Seed, "seed", 0, "seed of the weights and minibatches")
	addHTMLFlag(cmd)
	flags.BoolVar(&f.asJSON, "json", false, "print one JSON document")
	return cmd
}

// trainConfig turns the flags into a description of the run.
func (f trainFlags) trainConfig() (training.Config, error) {
	c := f.config
	var err error
	if f.model != "" {
		c.Network, err = readSpec(f.model, f.loss)
	} else {
		c.Network, err = parseArch(strings.ReplaceAll(f.layers, ",", "-")+":"+f.activation, cmp.Or(f.loss, "ce"))
	}
	if err != nil {
		return c, err
	}
	if decay := f.config.Network.WeightDecay; decay != 0 {
		c.Network.WeightDecay = decay
	}
	if c.Optimizer.Kind == "adamw" {
		c.Network.WeightDecay, c.Optimizer.WeightDecay = 0, c.Network.WeightDecay
	}
	if !(c.Optimizer.LearningRate > 0) {
		return c, usagef("--lr %g: expected a positive number", c.Optimizer.LearningRate)
	}
	if c.Batch < 1 || c.Steps < 1 {
		return c, usagef("--batch %d --steps %d: expected at least 1 of each", c.Batch, c.Steps)
	}
	return c, nil
}

func runTrain(cmd *cobra.Command, f trainFlags) error {
	for _, required := range []struct{ flag, value, what string }{
		{"--data", f.data, "FILE"}, {"--layers", f.layers + f.model, "WIDTHS, as in 64,128,10, or --model FILE"}, {"--out", f.out, "RUN, the folder to write"},
	} {
		if required.value == "" {
			return usagef("expected %s %s (see %s --help)", required.flag, required.what, cmd.CommandPath())
		}
	}
	switch {
	case f.layers != "" && f.model != "":
		return usagef("expected one of --layers and --model")
	case f.model != "" && cmd.Flags().Changed("activation"):
		return usagef("--activation is for --layers: %s has its own", f.model)
	}
	config, err := f.trainConfig()
	if err != nil {
		return err
	}
	set, err := dataset.Open(f.data)
	if err != nil {
		return err
	}
	summary, err := trainRun(cmd.Context(), config, set, f.out, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if html := htmlFile(cmd); html != "" {
		if err := writeRunPage(cmd, f.out, html, cmd.ErrOrStderr()); err != nil {
			return err
		}
	}
	if f.asJSON {
		return printJSON(cmd.OutOrStdout(), summary)
	}
	if summary.LastEnergy == nil {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is complete: step %d (seed %d)\n", f.out, summary.Steps, summary.Seed)
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "trained %s to step %d (seed %d): energy of the last minibatch %s\n",
		f.out, summary.Steps, summary.Seed, strconv.FormatFloat(*summary.LastEnergy, 'g', 4, 64))
	return err
}

// trainDocument is what kelvin train prints.
type trainDocument struct {
	Schema     string   `json:"schema"`
	Run        string   `json:"run"`
	Seed       uint64   `json:"seed"`
	Steps      int      `json:"steps"`
	Parameters int      `json:"parameters"`
	LastEnergy *float64 `json:"last_minibatch_energy"` // before the last step; null if the run was complete already
}

// trainRun trains into a run folder and reports progress on w.
func trainRun(ctx context.Context, config training.Config, set *dataset.Set, out string, w io.Writer) (trainDocument, error) {
	d := trainDocument{Schema: schema, Run: out, Seed: config.Seed}
	draw := progress(w, "training")
	trainer, err := training.Train(ctx, config, set, out,
		func(warning string) { fmt.Fprintln(w, "kelvin:", warning) },
		func(step int, energy float64) {
			d.LastEnergy = &energy
			draw(step, config.Steps)
		})
	if errors.Is(err, os.ErrPermission) {
		err = fmt.Errorf("%w: choose a folder you may write to with --out", err)
	}
	if trainer != nil {
		d.Steps, d.Parameters = trainer.Step, len(trainer.Network.Params)
	}
	return d, err
}
