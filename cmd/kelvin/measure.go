package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kelvin-ml/kelvin/checkpoint"
	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/measure"
	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/onnx"
	"github.com/kelvin-ml/kelvin/training"
	"github.com/spf13/cobra"
)

// measureFlags are the flags of kelvin measure.
type measureFlags struct {
	options measure.Options
	arch    string
	loss    string
	data    string
	asJSON  bool
}

func newMeasureCommand() *cobra.Command {
	var f measureFlags
	cmd := &cobra.Command{
		Use:   "measure RUN|MODEL --data FILE",
		Short: "Temperature of every layer of a network, with error bars",
		Long: `Reads the energy, entropy and temperature of a network on data, of the whole and
of every layer, with standard errors; work efficiency, dead and saturated units;
gradient noise; and what is wrong, in plain words.

RUN is a folder that kelvin train wrote. Its trained state is what its optimiser
does at the end: the optimiser goes on for a while, in memory, and its
fluctuations are read. A MODEL is a network in ONNX, or weights alone (any
checkpoint kelvin reads, named as PyTorch's state_dict names
torch.nn.Sequential), whose architecture --arch gives. Its trained state is a Gaussian posterior about the weights.

--state init reads the initialisation instead: every draw is a new one.`,
		Example: `  kelvin measure runs/digits --data digits.npz
  kelvin measure model.onnx --data digits.npz
  kelvin measure model.safetensors --arch 64-128-10:relu --data digits.npz --html report.html`,
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runMeasure(cmd, args[0], f) },
	}
	addMeasureFlags(cmd, &f)
	return cmd
}

// addMeasureFlags adds the flags of commands that measure a state.
func addMeasureFlags(cmd *cobra.Command, f *measureFlags) {
	flags := cmd.Flags()
	flags.StringVar(&f.data, "data", "", "data `file` (npz, npy, csv, idx)")
	flags.StringVar(&f.arch, "arch", "", "architecture of a MODEL: widths and activation, as in 64-128-10:relu, or a model.json")
	flags.StringVar(&f.loss, "loss", "", "loss of a MODEL: ce, mse or mae (default ce with class labels, mse with targets)")
	flags.StringVar(&f.options.State, "state", measure.Trained, "what to measure: trained or init")
	flags.StringVar(&f.options.Init, "init", "", "initialisation scheme of a MODEL (default pytorch)")
	flags.IntVar(&f.options.Draws, "draws", 0, "draws of the state (default 64; 4000 steps for a RUN)")
	flags.Uint64Var(&f.options.Seed, "seed", 0, "seed of everything drawn")
	addHTMLFlag(cmd)
	flags.BoolVar(&f.asJSON, "json", false, "print one JSON document")
}

// check looks at the flags.
func (f measureFlags) check() error {
	switch {
	case f.data == "":
		return usagef("expected --data FILE with the examples to measure on")
	case f.options.State != measure.Trained && f.options.State != measure.Initial:
		return usagef("--state %q: expected %s or %s", f.options.State, measure.Trained, measure.Initial)
	case f.options.Draws < 0:
		return usagef("--draws %d: expected a positive number", f.options.Draws)
	}
	return nil
}

func runMeasure(cmd *cobra.Command, path string, f measureFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	set, err := dataset.Open(f.data)
	if err != nil {
		return err
	}
	network, err := openNetwork(path, set, &f)
	if err != nil {
		return err
	}
	f.options.Progress = progress(cmd.ErrOrStderr(), "measuring")
	result, err := measure.Network(cmd.Context(), network, set, f.options)
	if err != nil && (result == nil || !errors.Is(err, context.Canceled)) {
		return err
	}
	document := newMeasureDocument(path, f.data, result)
	if err := writePage(cmd, document.page); err != nil {
		return err
	}
	if f.asJSON {
		return errors.Join(printJSON(cmd.OutOrStdout(), document), err)
	}
	return errors.Join(document.print(cmd.OutOrStdout()), err)
}

// openNetwork reads the network that path names: a run folder, from which the
// trainer goes into the options, a network in ONNX, or weights whose architecture the flags give.
func openNetwork(path string, set *dataset.Set, f *measureFlags) (*nn.Network[float32], error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("opening the network: %w", err)
	}
	if info.IsDir() && !isCheckpointFolder(path) {
		if f.arch != "" || f.loss != "" || f.options.Init != "" {
			return nil, usagef("--arch, --loss and --init are for weights alone: %s is a run and knows its own", path)
		}
		return openRun(path, set, f)
	}
	if strings.EqualFold(filepath.Ext(path), ".onnx") {
		return openONNX(path, set, f)
	}
	file, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if f.arch == "" {
		return nil, usagef("%s holds weights alone: give their architecture%s", path, guessArch(file))
	}
	asked := f.loss
	if f.defaults(set); strings.HasSuffix(f.arch, ".json") { // says its loss
		f.loss = asked
	}
	spec, err := parseArch(f.arch, f.loss)
	if err != nil {
		return nil, err
	}
	network, err := nn.New[float32](spec)
	if err != nil {
		return nil, usageError{err}
	}
	return network, training.Load(network, file)
}

// openONNX reads a network that says its own architecture, and tells what it is
// not to the letter.
func openONNX(path string, set *dataset.Set, f *measureFlags) (*nn.Network[float32], error) {
	if f.arch != "" {
		return nil, usagef("--arch is for weights alone: %s holds its own", path)
	}
	f.defaults(set)
	if !slices.Contains([]string{"ce", "mse", "mae"}, f.loss) {
		return nil, usagef("--loss %q: expected ce, mse or mae", f.loss)
	}
	model, err := onnx.Open(path, f.loss, set.Shape)
	if err != nil {
		return nil, err
	}
	for _, note := range model.Notes {
		fmt.Fprintf(os.Stderr, "kelvin: %s: %s\n", path, note)
	}
	return model.Network, nil
}

// defaults fills in the loss and the initialisation of weights alone.
func (f *measureFlags) defaults(set *dataset.Set) {
	if f.loss == "" {
		if f.loss = "mse"; set.Labels != nil {
			f.loss = "ce"
		}
	}
	if f.options.Init == "" {
		f.options.Init = "pytorch"
	}
}

// parseArch reads an architecture: widths and activation, or the name of a file
// that describes it.
func parseArch(arch, loss string) (nn.Spec, error) {
	if strings.HasSuffix(arch, ".json") {
		return readSpec(arch, loss)
	}
	spec, err := nn.ParseArch(arch, loss)
	if err != nil {
		return spec, usageError{err}
	}
	return spec, nil
}

// readSpec reads the description of a network (docs/model.md), whose loss another
// one may replace.
func readSpec(path, loss string) (nn.Spec, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nn.Spec{}, fmt.Errorf("reading the architecture: %w", err)
	}
	spec, err := nn.ParseSpec(text)
	if err != nil {
		return spec, fmt.Errorf("reading %s: %w", path, err)
	}
	if loss != "" {
		spec.Loss = loss
	}
	return spec, nil
}

// openRun reads the network of a run. Its optimiser can only go on with the data
// it was trained on; on others the trained state is that of weights alone.
func openRun(path string, set *dataset.Set, f *measureFlags) (*nn.Network[float32], error) {
	trainer, err := training.Resume(path, set)
	if errors.Is(err, training.ErrOtherData) {
		fmt.Fprintf(os.Stderr, "kelvin: %s was trained on other data: its optimiser cannot go on with these, so the weights are read alone\n", path)
		if trainer, err = training.ResumeOn(path, set); err == nil {
			f.options.Init = trainer.Config.Init
			return trainer.Network, nil
		}
	}
	if err != nil {
		return nil, err
	}
	f.options.Init = trainer.Config.Init
	if f.options.State == measure.Trained {
		f.options.Trainer = trainer
	}
	return trainer.Network, nil
}

// isCheckpointFolder tells a sharded checkpoint from a run.
func isCheckpointFolder(path string) bool {
	matches, err := filepath.Glob(filepath.Join(path, "*.index.json"))
	return err == nil && len(matches) > 0
}

// guessArch suggests --arch from the shapes of a chain of linear layers.
func guessArch(file *checkpoint.File) string {
	var widths []string
	for _, t := range file.Tensors {
		if !strings.HasSuffix(t.Name, ".weight") || len(t.Shape) != 2 {
			continue
		}
		if in := fmt.Sprint(t.Shape[1]); len(widths) == 0 {
			widths = []string{in}
		} else if widths[len(widths)-1] != in {
			return ", as in --arch 64-128-10:relu"
		}
		widths = append(widths, fmt.Sprint(t.Shape[0]))
	}
	if len(widths) < 2 {
		return ", as in --arch 64-128-10:relu"
	}
	return fmt.Sprintf(": its tensors look like --arch %s:ACTIVATION", strings.Join(widths, "-"))
}
