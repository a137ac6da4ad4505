package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/kelvin-ml/kelvin/curvature"
	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/thermo"
	"github.com/spf13/cobra"
)

func newCompareCommand() *cobra.Command {
	var f landscapeFlags
	cmd := &cobra.Command{
		Use:   "compare A B --data FILE",
		Short: "Which of two minima wins, and above which temperature the other does",
		Long: `Compares two minima of one network as phases: the energy and the entropy of
their basins, the coexistence temperature at which their free energies are equal,
above which the wider wins, and which one wins at the temperature that the
optimiser runs at. Then the energy along the straight line between them, and its
barrier.

A and B are runs of kelvin train, or weights alone with --arch. A basin has a
finite entropy only with a regulariser: the weight decay of the runs, or --prior.`,
		Example: `  kelvin compare runs/small-batch runs/large-batch --data digits.npz
  kelvin compare a.safetensors b.safetensors --arch 64-128-10:relu --data digits.npz --prior 1e-3 --temperature 1e-5`,
		Args: exactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return runCompare(cmd, args, f) },
	}
	f.register(cmd)
	cmd.Flags().IntVar(&f.probes, "probes", 10, "random probes of the entropies")
	cmd.Flags().IntVar(&f.steps, "steps", basinSteps, "Lanczos steps of each probe at most")
	return cmd
}

func runCompare(cmd *cobra.Command, paths []string, f landscapeFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	if f.probes < 2 || f.steps < 8 {
		return usagef("--probes %d --steps %d: expected at least 2 and 8", f.probes, f.steps)
	}
	set, err := dataset.Open(f.data)
	if err != nil {
		return err
	}
	var sides [2]*landscape
	for i, path := range paths {
		if sides[i], err = f.open(path, set); err != nil {
			return err
		}
		if err := sides[i].divide(set, f.part, false, f.seed); err != nil {
			return err
		}
	}
	a, b := sides[0].network.Spec, sides[1].network.Spec
	switch {
	case a.WeightDecay != b.WeightDecay:
		return usagef("the weight decays differ, %g and %g: their energies are not the same function", a.WeightDecay, b.WeightDecay)
	case a.WeightDecay == 0:
		return usagef("there is no weight decay, and flat directions have a finite entropy only with a prior: give its curvature by --prior")
	case !reflect.DeepEqual(a, b):
		return usagef("%s and %s are different networks, whose entropies are not to be compared", paths[0], paths[1])
	}
	d := &compareDocument{Schema: schema, Data: f.data, Seed: f.seed, Examples: sides[0].examples,
		Parameters: len(sides[0].network.Params), Regulariser: a.WeightDecay, Path: []curvature.PathPoint{},
		Temperatures: []compareTemperature{}}
	err = d.measure(cmd.Context(), f, paths, sides, progress(cmd.ErrOrStderr(), "comparing"))
	if err != nil && (!d.compared || !errors.Is(err, context.Canceled)) {
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

// Points on the line between two minima.
const pathPoints = 33

func (d *compareDocument) measure(ctx context.Context, f landscapeFlags, paths []string, sides [2]*landscape, show func(done, total int)) error {
	var states [2]curvature.State
	var basins [2]curvature.Basin
	for i, l := range sides {
		var err error
		if states[i], err = curvature.Look(l.network, l.batches); err != nil {
			return fmt.Errorf("%s: %w", paths[i], err)
		}
		shifted := func(done, total int) { show(i*total+done, 2*total) }
		if basins[i], err = f.basin(ctx, l, states[i], shifted); err != nil {
			return fmt.Errorf("%s: %w", paths[i], err)
		}
	}
	energy, err := states[0].Difference(states[1])
	if err != nil {
		return err
	}
	comparison, err := curvature.Compare(basins[0], basins[1], energy)
	if err != nil {
		return err
	}
	d.compare(comparison, basins, states, paths)
	if err := d.temperatures(f, comparison, states, sides); err != nil {
		return err
	}
	path, err := curvature.Line(ctx, sides[0].network, sides[1].network, sides[0].batches, pathPoints)
	if err != nil {
		return err
	}
	d.Path, d.Barrier = path.Points, &compareBarrier{path.Place, path.Barrier}
	return ctx.Err()
}

// basin measures the spectrum of a network's energy.
func (f *landscapeFlags) basin(ctx context.Context, l *landscape, s curvature.State, show func(done, total int)) (curvature.Basin, error) {
	operator, err := curvature.NewOperator(l.network, l.batches, curvature.Hessian)
	if err != nil {
		return curvature.Basin{}, err
	}
	krylov, err := curvature.Lanczos(ctx, operator, curvature.Layers(l.network), curvature.LanczosOptions{Top: 10, Bottom: 1,
		Tolerance: eigenvalueTolerance, Steps: f.steps, Seed: f.seed})
	if err != nil {
		return curvature.Basin{}, err
	}
	quadrature, err := curvature.NewQuadrature(ctx, operator, krylov, curvature.QuadratureOptions{Probes: f.probes, Steps: f.steps,
		Seed: f.seed, Progress: show})
	if err != nil {
		return curvature.Basin{}, err
	}
	return curvature.NewBasin(quadrature, thermo.Reading{Name: "energy", Value: s.Energy, Unit: "energy"}, l.network.Spec.WeightDecay)
}
