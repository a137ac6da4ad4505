package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/spf13/cobra"
)

func newDataCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "data",
		Short: "Make data sets and describe them",
		Args:  exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	cmd.AddCommand(newDataInfoCommand(), newDataMakeCommand())
	return cmd
}

// dataDocument is what both data commands print with --json.
type dataDocument struct {
	Schema   string         `json:"schema"`
	Path     string         `json:"path"`
	Name     string         `json:"name,omitempty"` // of the generator
	Seed     *uint64        `json:"seed,omitempty"`
	Part     string         `json:"part,omitempty"`
	Examples int            `json:"examples"`
	Shape    []int          `json:"shape"`
	DType    string         `json:"dtype"`
	Features featureSummary `json:"features"`
	Classes  *classSummary  `json:"classes,omitempty"`
	Targets  *targetSummary `json:"targets,omitempty"`
}

type featureSummary struct {
	Mean     float64 `json:"mean"`
	SD       float64 `json:"sd"`
	Min      float64 `json:"min"`
	Max      float64 `json:"max"`
	Constant int     `json:"constant"` // features with one value in every example
}

type classSummary struct {
	Number  int     `json:"number"`
	Counts  []int   `json:"counts"`
	Balance float64 `json:"balance"` // smallest count / largest
	Entropy float64 `json:"entropy"` // of the frequencies, nats
}

type targetSummary struct {
	Number int     `json:"number"` // per example
	Mean   float64 `json:"mean"`
	SD     float64 `json:"sd"`
}

func describeData(path string, set *dataset.Set) dataDocument {
	m := set.Summarize()
	d := dataDocument{
		Schema: schema, Path: path, Examples: set.N, Shape: set.Shape, DType: set.DType,
		Features: featureSummary{m.Mean, m.SD, m.Min, m.Max, m.Constant},
	}
	if m.Counts != nil {
		low, high := m.Counts[0], m.Counts[0]
		for _, n := range m.Counts {
			low, high = min(low, n), max(high, n)
		}
		d.Classes = &classSummary{len(m.Counts), m.Counts, float64(low) / float64(high), m.LabelEntropy}
	}
	if set.Y != nil {
		d.Targets = &targetSummary{set.Outputs, m.TargetMean, m.TargetSD}
	}
	return d
}

func (d dataDocument) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "examples\t%d\n", d.Examples)
	fmt.Fprintf(t, "shape\t%v %s\n", d.Shape, d.DType)
	f := d.Features
	fmt.Fprintf(t, "features\tmean %.4g, standard deviation %.4g, from %.4g to %.4g\n", f.Mean, f.SD, f.Min, f.Max)
	if f.Constant > 0 {
		fmt.Fprintf(t, "constant\t%d features have one value in every example\n", f.Constant)
	}
	switch {
	case d.Classes != nil:
		c := d.Classes
		fmt.Fprintf(t, "classes\t%d, balance %.3g (smallest / largest), entropy %.4g nat\n", c.Number, c.Balance, c.Entropy)
		shown := c.Counts[:min(len(c.Counts), 20)]
		list := strings.Trim(fmt.Sprint(shown), "[]")
		if len(shown) < len(c.Counts) {
			list += " …"
		}
		fmt.Fprintf(t, "counts\t%s\n", list)
	case d.Targets != nil:
		fmt.Fprintf(t, "targets\t%d per example, mean %.4g, standard deviation %.4g\n", d.Targets.Number, d.Targets.Mean, d.Targets.SD)
	default:
		fmt.Fprintln(t, "answers\tnone: neither labels nor targets")
	}
	return t.Flush()
}

func newDataInfoCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "info FILE",
		Short:   "Describe a data set: examples, shape, ranges, classes",
		Example: "  kelvin data info digits.npz\n  kelvin data info train-images-idx3-ubyte.gz --json",
		Args:    exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			set, err := dataset.Open(args[0])
			if err != nil {
				return err
			}
			d := describeData(args[0], set)
			if asJSON {
				return printJSON(cmd.OutOrStdout(), d)
			}
			return d.print(cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return cmd
}

func newDataMakeCommand() *cobra.Command {
	var o dataset.Options
	var out, part string
	var fraction float64
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "make NAME --out FILE.npz",
		Short: "Make a data set: real digits, or synthetic from a seed",
		Long: "Make a data set and write it as an npz file with arrays x and y.\nNAME is one of " + strings.Join(dataset.Names(), ", ") +
			".\nOptions that are not given have the generator's defaults (docs/commands/data.md).",
		Example: "  kelvin data make digits --part train --out train.npz\n" +
			"  kelvin data make digits --part test --out test.npz\n" +
			"  kelvin data make modular-addition --modulus 97 --out mod97.npz",
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usagef("expected --out FILE.npz")
			}
			if !strings.HasSuffix(out, ".npz") {
				return usagef("--out: expected a name that ends in .npz, got %q", out)
			}
			defaults, err := dataset.Defaults(args[0])
			if err != nil {
				return usageError{err}
			}
			if !cmd.Flags().Changed("noise") {
				o.Noise = defaults.Noise
			}
			set, err := makePart(args[0], o, part, fraction)
			if err != nil {
				return err
			}
			if err := set.WriteNPZ(out); err != nil {
				return err
			}
			d := describeData(out, set)
			d.Name, d.Seed, d.Part = args[0], &o.Seed, part
			if asJSON {
				return printJSON(cmd.OutOrStdout(), d)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "wrote %s (%s, seed %d)\n", out, args[0], o.Seed)
			return d.print(cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&out, "out", "", "file to write (.npz)")
	f.IntVar(&o.Examples, "examples", 0, "number of examples")
	f.IntVar(&o.Features, "features", 0, "number of features")
	f.IntVar(&o.Classes, "classes", 0, "number of classes (1: teacher-student makes a regression)")
	f.IntVar(&o.Width, "width", 0, "hidden units of the teacher")
	f.IntVar(&o.Modulus, "modulus", 0, "modulus of modular-addition")
	f.IntVar(&o.Active, "active", 0, "bits that decide in sparse-parity")
	f.Float64Var(&o.Noise, "noise", 0, "noise: standard deviation, or probability of a flipped label (sparse-parity)")
	f.StringVar(&part, "part", "all", "all, or one side of the seeded split: train, test")
	f.Float64Var(&fraction, "test-fraction", 0.2, "share of the examples in the test part")
	f.Uint64Var(&o.Seed, "seed", 0, "seed of everything random")
	f.BoolVar(&asJSON, "json", false, "print one JSON document")
	return cmd
}

// makePart makes the set and returns the part of it that was asked for. The
// options of a generator are command-line values: what it refuses is usage.
func makePart(name string, o dataset.Options, part string, fraction float64) (*dataset.Set, error) {
	if part != "all" && part != "train" && part != "test" {
		return nil, usagef("--part: expected all, train or test, got %q", part)
	}
	set, err := dataset.Make(name, o)
	if err != nil {
		return nil, usageError{err}
	}
	if part == "all" {
		return set, nil
	}
	train, test, err := set.Split(fraction, o.Seed)
	if err != nil {
		return nil, usageError{err}
	}
	if part == "test" {
		return test, nil
	}
	return train, nil
}
