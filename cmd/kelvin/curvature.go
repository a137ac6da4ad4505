package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"

	"github.com/kelvin-ml/kelvin/curvature"
	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/measure"
	"github.com/kelvin-ml/kelvin/nn"
	runs "github.com/kelvin-ml/kelvin/run"
	"github.com/kelvin-ml/kelvin/thermo"
	"github.com/kelvin-ml/kelvin/training"
	"github.com/spf13/cobra"
)

// landscapeFlags are the flags that kelvin curvature and kelvin compare share.
type landscapeFlags struct {
	data, arch, loss    string
	lr, momentum        float64
	batch               int
	temperature, prior  float64
	probes, steps, part int // of the quadrature; examples
	seed                uint64
	asJSON              bool
}

func (f *landscapeFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.data, "data", "", "data `file` (npz, npy, csv, idx)")
	flags.StringVar(&f.arch, "arch", "", "architecture of weights alone: widths and activation, as in 64-128-10:relu")
	flags.StringVar(&f.loss, "loss", "", "loss of weights alone: ce, mse or mae (default ce with class labels, mse with targets)")
	flags.Float64Var(&f.lr, "lr", 0, "learning rate of sgd (default that of the run)")
	flags.Float64Var(&f.momentum, "momentum", 0, "momentum of sgd (default that of the run)")
	flags.IntVar(&f.batch, "batch", 0, "examples in a minibatch of sgd (default that of the run)")
	flags.Float64Var(&f.temperature, "temperature", 0, "temperature in energy per nat (default that of sgd's noise)")
	flags.Float64Var(&f.prior, "prior", 0, "curvature r of a prior: adds (r/2)|θ|² to the energy")
	flags.IntVar(&f.part, "examples", 0, "use this many random examples (default all)")
	flags.Uint64Var(&f.seed, "seed", 0, "seed of the probes and of the choice of examples")
	addHTMLFlag(cmd)
	flags.BoolVar(&f.asJSON, "json", false, "print one JSON document")
}

func (f *landscapeFlags) check() error {
	switch {
	case f.data == "":
		return usagef("expected --data FILE with the examples to measure on")
	case !(f.lr >= 0) || !(f.momentum >= 0 && f.momentum < 1) || f.batch < 0:
		return usagef("--lr %g --momentum %g --batch %d: expected numbers above 0, and a momentum below 1", f.lr, f.momentum, f.batch)
	case !(f.temperature >= 0) || !(f.prior >= 0):
		return usagef("--temperature %g --prior %g: expected numbers above 0", f.temperature, f.prior)
	case f.part < 0 || f.part == 1:
		return usagef("--examples %d: expected at least 2", f.part)
	}
	return nil
}

// A landscape is a network, its examples, and the optimiser that moves on it.
type landscape struct {
	network  *nn.Network[float32]
	batches  []nn.Batch[float32]
	examples int
	sgd      *sgdNoise // nil when unknown
	why      string    // there is none
}

// sgdNoise is what sets the noise of sgd.
type sgdNoise struct {
	LearningRate float64 `json:"learning_rate"`
	Momentum     float64 `json:"momentum"`
	Batch        int     `json:"batch,omitempty"`
}

// open reads a network, its regulariser and its optimiser.
func (f *landscapeFlags) open(path string, set *dataset.Set) (*landscape, error) {
	options := measureFlags{arch: f.arch, loss: f.loss}
	options.options.State = measure.Trained
	network, err := openNetwork(path, set, &options)
	if err != nil {
		return nil, err
	}
	if err := training.Check(network, set); err != nil {
		return nil, err
	}
	l := &landscape{network: network, why: "the optimiser is not known: give --lr, and --momentum and --batch"}
	if info, err := os.Stat(path); err == nil && info.IsDir() && !isCheckpointFolder(path) {
		var config training.Config
		if err := runs.Model(path, &config); err != nil {
			return nil, err
		}
		switch o := config.Optimizer; o.Kind {
		case "sgd":
			network.Spec.WeightDecay += o.WeightDecay
			l.sgd = &sgdNoise{o.LearningRate, o.Momentum, config.Batch}
		default:
			if o.Kind == "adam" {
				network.Spec.WeightDecay += o.WeightDecay
			}
			l.why = fmt.Sprintf("the run's optimiser is %s, whose steps are not those of sgd", o.Kind)
		}
	}
	if f.lr > 0 {
		l.sgd = &sgdNoise{f.lr, f.momentum, f.batch}
	}
	network.Spec.WeightDecay += f.prior
	return l, nil
}

// Batches are of this many examples, and there are this many at least where
// their spread is wanted.
const (
	landscapeBatch = 512
	landscapeParts = 32
)

// divide draws the examples and deals them into batches of about one size.
func (l *landscape) divide(set *dataset.Set, examples int, population bool, seed uint64) error {
	order := rand.New(rand.NewPCG(seed, examplesStream)).Perm(set.N)
	if examples > 0 && examples < set.N {
		order = order[:examples]
	}
	n := len(order)
	parts := (n + landscapeBatch - 1) / landscapeBatch
	if population {
		if n < 64 {
			return fmt.Errorf("%d examples are too few to tell how the curvature depends on their choice: expected at least 64", n)
		}
		parts = max(parts, min(landscapeParts, n/8))
	}
	l.examples = n
	l.batches = make([]nn.Batch[float32], parts)
	for c := range l.batches {
		training.Minibatch(set, order[c*n/parts:(c+1)*n/parts], &l.batches[c])
	}
	return nil
}

// examplesStream of the seed draws the examples.
const examplesStream = 1 << 32

type curvatureFlags struct {
	landscapeFlags
	matrix, method string
	tolerance      float64
	top, bottom    int
	maxProbes      int
	lanczos        int
	density        int
	population     bool
}

func newCurvatureCommand() *cobra.Command {
	var f curvatureFlags
	cmd := &cobra.Command{
		Use:   "curvature RUN|MODEL --data FILE",
		Short: "Sharpness of a minimum: traces, eigenvalues and density of the Hessian, with errors",
		Long: `Reads the curvature of the energy at a network's weights on data: the trace of
the Hessian, whole and layer by layer, its largest and smallest eigenvalues with
their residuals, the density of all, and what follows: the configurational
temperature, the edge of stability, and at a temperature the entropy and free
energy of the basin.

Curvature is that of the given examples, and errors are those of random probes.
With --population it is that of what the examples were drawn from, and errors
count the choice of the examples too; --examples N takes N at random and
implies it.

The trace stops when its standard error is below --tolerance of it. Networks of
linear, convolution and pooling layers with piecewise linear activations have an
exact one, from gradients alone.`,
		Example: `  kelvin curvature runs/digits --data digits.npz
  kelvin curvature model.safetensors --arch 64-128-10:relu --data digits.npz --lr 0.1 --momentum 0.9 --json`,
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runCurvature(cmd, args[0], f) },
	}
	f.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.matrix, "matrix", "hessian", "hessian, gauss-newton, or fisher, which for ce is gauss-newton")
	flags.StringVar(&f.method, "method", "auto", "of the trace: exact, hutch++, hutchinson, or auto, the first of them that applies")
	flags.Float64Var(&f.tolerance, "tolerance", 0.02, "standard error of the trace to reach, relative to it")
	flags.IntVar(&f.maxProbes, "probes", 2000, "random probes of the trace at most")
	flags.IntVar(&f.top, "top", 3, "largest eigenvalues wanted, to 10⁻⁴ of the largest modulus")
	flags.IntVar(&f.bottom, "bottom", 3, "smallest eigenvalues wanted, as close")
	flags.IntVar(&f.lanczos, "steps", 200, "Lanczos steps at most")
	flags.IntVar(&f.density, "density", 6, "random probes of the density; 0 for none")
	flags.BoolVar(&f.population, "population", false, "count the choice of the examples into the errors")
	return cmd
}

func (f *curvatureFlags) check() error {
	if err := f.landscapeFlags.check(); err != nil {
		return err
	}
	switch {
	case f.matrix != string(curvature.Hessian) && f.matrix != string(curvature.GaussNewton) && f.matrix != "fisher":
		return usagef("--matrix %q: expected hessian, gauss-newton or fisher", f.matrix)
	case f.method != "auto" && f.method != "exact" && f.method != "hutch++" && f.method != "hutchinson":
		return usagef("--method %q: expected auto, exact, hutch++ or hutchinson", f.method)
	case !(f.tolerance > 0):
		return usagef("--tolerance %g: expected a number above 0", f.tolerance)
	case f.top < 1 || f.bottom < 0 || f.lanczos < 1:
		return usagef("--top %d --bottom %d --steps %d: expected at least 1, 0 and 1", f.top, f.bottom, f.lanczos)
	case f.maxProbes < 16 || f.density < 0 || f.density == 1:
		return usagef("--probes %d --density %d: expected at least 16 and 2, or no density at 0", f.maxProbes, f.density)
	}
	return nil
}

func runCurvature(cmd *cobra.Command, path string, f curvatureFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	set, err := dataset.Open(f.data)
	if err != nil {
		return err
	}
	l, err := f.open(path, set)
	if err != nil {
		return err
	}
	if f.matrix == "fisher" && l.network.Spec.Loss != "ce" {
		return usagef("--matrix fisher: the loss is %s, and only ce is a likelihood without a noise to be given: expected gauss-newton", l.network.Spec.Loss)
	}
	if f.temperature > 0 && l.network.Spec.WeightDecay == 0 {
		return usagef("--temperature: flat directions have a finite entropy only with a prior: give its curvature by --prior")
	}
	f.population = f.population || f.part > 0 && f.part < set.N
	if err := l.divide(set, f.part, f.population, f.seed); err != nil {
		return err
	}
	show := progress(cmd.ErrOrStderr(), "measuring")
	d := newCurvatureDocument(path, f, l)
	err = d.measure(cmd.Context(), f, l, show)
	if err != nil && (d.Trace == nil && d.Top == nil || !errors.Is(err, context.Canceled)) {
		return err
	}
	if err != nil {
		d.Interrupted = true
		err = fmt.Errorf("interrupted; what was measured until then is above: %w", err)
	}
	err = errors.Join(err, writePage(cmd, d.page))
	if f.asJSON {
		return errors.Join(printJSON(cmd.OutOrStdout(), d), err)
	}
	return errors.Join(d.print(cmd.OutOrStdout()), err)
}

// kind returns the matrix of the flag.
func (f *curvatureFlags) kind() curvature.Kind {
	if f.matrix == string(curvature.Hessian) {
		return curvature.Hessian
	}
	return curvature.GaussNewton
}

// maxExactPasses is the number of backward passes up to which auto takes the
// exact trace.
const maxExactPasses = 100

// measure fills the document step by step, so that it holds what is done when
// ctx ends.
func (d *curvatureDocument) measure(ctx context.Context, f curvatureFlags, l *landscape, show func(done, total int)) error {
	operator, err := curvature.NewOperator(l.network, l.batches, f.kind())
	if err != nil {
		return err
	}
	state, err := curvature.Look(l.network, l.batches)
	if err != nil {
		return err
	}
	d.look(state, l)
	groups := curvature.Layers(l.network)
	krylov, err := curvature.Lanczos(ctx, operator, groups, curvature.LanczosOptions{Top: f.top, Bottom: f.bottom,
		Tolerance: eigenvalueTolerance, Steps: f.lanczos, Seed: f.seed, Population: f.population, Progress: show})
	if krylov != nil {
		d.eigenvalues(f, krylov, l)
	}
	if err != nil {
		return err
	}
	if f.population {
		if d.TopPopulation, err = krylov.PopulationTop(operator, f.top); err != nil {
			return err
		}
	}
	trace, method, err := f.trace(ctx, operator, l, groups, krylov, show)
	d.traces(trace, method, groups)
	if err != nil {
		return err
	}
	if !f.population { // the squared gradient is that of the data
		d.configurational(state, trace, groups)
	}
	if f.density == 0 && d.Temperature == nil {
		return nil
	}
	o := curvature.QuadratureOptions{Probes: max(f.density, 6), Steps: 64, Seed: f.seed, Progress: show}
	if d.Temperature != nil {
		o.Steps = basinSteps // the logarithm near zero takes more than the density
	}
	quadrature, err := curvature.NewQuadrature(ctx, operator, krylov, o)
	if err != nil {
		return err
	}
	d.spread(quadrature, f)
	return errors.Join(d.basin(quadrature, state, l), ctx.Err())
}

const (
	eigenvalueTolerance = 1e-4
	basinSteps          = 160
)

// trace takes the method of the flag.
func (f *curvatureFlags) trace(ctx context.Context, operator curvature.Operator, l *landscape, groups []thermo.Group,
	krylov *curvature.Krylov, show func(done, total int)) (curvature.TraceResult, string, error) {
	passes, _ := curvature.ExactTraceCost(l.network.Spec, l.network.OutputShape(), f.kind())
	if f.method == "exact" || f.method == "auto" && passes > 0 && passes <= maxExactPasses {
		r, err := curvature.ExactTrace(l.network, l.batches, f.kind(), f.population)
		return r, "exact", err
	}
	method := "hutch++"
	if f.method == "hutchinson" {
		method, krylov = "hutchinson", nil
	}
	r, err := curvature.Trace(ctx, operator, groups, krylov, curvature.TraceOptions{Tolerance: f.tolerance, Probes: f.maxProbes,
		Seed: f.seed, Population: f.population, Progress: show})
	return r, method, err
}
