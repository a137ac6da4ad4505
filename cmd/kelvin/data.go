package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/thermo"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newDataCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "data",
		Short: "Make data sets and describe them",
		Args:  subcommand,
		RunE:  help,
	}
	cmd.AddCommand(newDataInfoCommand(), newDataMakeCommand(), newDataTextCommand())
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
	Alphabet string         `json:"alphabet,omitempty"` // the characters of a text, in the order of their tokens
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
	Labels  int     `json:"labels"` // per example
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
		Schema: schema, Path: path, Examples: set.N, Shape: set.Shape, DType: set.DType, Alphabet: string(set.Alphabet),
		Features: featureSummary{m.Mean, m.SD, m.Min, m.Max, m.Constant},
	}
	if m.Counts != nil {
		low, high := m.Counts[0], m.Counts[0]
		for _, n := range m.Counts {
			low, high = min(low, n), max(high, n)
		}
		d.Classes = &classSummary{len(m.Counts), set.Positions(), m.Counts, float64(low) / float64(high), m.LabelEntropy}
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
	fmt.Fprintf(t, "features\tmean %s, standard deviation %s, from %s to %s\n", thermo.Format(f.Mean, 4), thermo.Format(f.SD, 4), thermo.Format(f.Min, 4), thermo.Format(f.Max, 4))
	if f.Constant > 0 {
		fmt.Fprintf(t, "constant\t%d features have one value in every example\n", f.Constant)
	}
	switch {
	case d.Classes != nil:
		c := d.Classes
		if c.Labels > 1 {
			fmt.Fprintf(t, "labels\t%d per example, one for each position\n", c.Labels)
		}
		if d.Alphabet != "" {
			fmt.Fprintf(t, "alphabet\t%.80q\n", d.Alphabet)
		}
		fmt.Fprintf(t, "classes\t%d, balance %.3g (smallest / largest), entropy %.4g nat\n", c.Number, c.Balance, c.Entropy)
		shown := c.Counts[:min(len(c.Counts), 20)]
		list := strings.Trim(fmt.Sprint(shown), "[]")
		if len(shown) < len(c.Counts) {
			list += " …"
		}
		fmt.Fprintf(t, "counts\t%s\n", list)
	case d.Targets != nil:
		fmt.Fprintf(t, "targets\t%d per example, mean %s, standard deviation %s\n", d.Targets.Number, thermo.Format(d.Targets.Mean, 4), thermo.Format(d.Targets.SD, 4))
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

// dataOutput is what the commands that write a set have in common.
type dataOutput struct {
	out, part string
	fraction  float64
	seed      uint64
	asJSON    bool
}

func (o *dataOutput) register(f *pflag.FlagSet) {
	f.StringVar(&o.out, "out", "", "file to write (.npz)")
	f.StringVar(&o.part, "part", "all", "all, or one side of the seeded split: train, test")
	f.Float64Var(&o.fraction, "test-fraction", 0.2, "share of the examples in the test part")
	f.Uint64Var(&o.seed, "seed", 0, "seed of everything random")
	f.BoolVar(&o.asJSON, "json", false, "print one JSON document")
}

func (o *dataOutput) check() error {
	switch {
	case o.out == "":
		return usagef("expected --out FILE.npz")
	case !strings.HasSuffix(o.out, ".npz"):
		return usagef("--out: expected a name that ends in .npz, got %q", o.out)
	case o.part != "all" && o.part != "train" && o.part != "test":
		return usagef("--part: expected all, train or test, got %q", o.part)
	}
	return nil
}

// write writes the part of the set that was asked for, and describes it.
func (o *dataOutput) write(w io.Writer, name string, set *dataset.Set) error {
	if o.part != "all" {
		train, test, err := set.Split(o.fraction, o.seed)
		if err != nil {
			return usageError{err}
		}
		if set = train; o.part == "test" {
			set = test
		}
	}
	if err := set.WriteNPZ(o.out); err != nil {
		return err
	}
	d := describeData(o.out, set)
	d.Name, d.Seed, d.Part = name, &o.seed, o.part
	if o.asJSON {
		return printJSON(w, d)
	}
	fmt.Fprintf(w, "wrote %s (%s, seed %d)\n", o.out, name, o.seed)
	return d.print(w)
}

func newDataMakeCommand() *cobra.Command {
	var o dataset.Options
	var output dataOutput
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
			if err := output.check(); err != nil {
				return err
			}
			defaults, err := dataset.Defaults(args[0])
			if err != nil {
				return usageError{err}
			}
			if !cmd.Flags().Changed("noise") {
				o.Noise = defaults.Noise
			}
			o.Seed = output.seed
			set, err := dataset.Make(args[0], o)
			if err != nil {
				return usageError{err} // options are command-line values: what it refuses is usage
			}
			return output.write(cmd.OutOrStdout(), args[0], set)
		},
	}
	f := cmd.Flags()
	output.register(f)
	f.IntVar(&o.Examples, "examples", 0, "number of examples")
	f.IntVar(&o.Features, "features", 0, "number of features; of sentences, characters an example")
	f.IntVar(&o.Classes, "classes", 0, "number of classes (1: teacher-student makes a regression)")
	f.IntVar(&o.Width, "width", 0, "hidden units of the teacher")
	f.IntVar(&o.Modulus, "modulus", 0, "modulus of modular-addition")
	f.IntVar(&o.Active, "active", 0, "bits that decide in sparse-parity")
	f.Float64Var(&o.Noise, "noise", 0, "noise: standard deviation, or probability of a flipped label (sparse-parity)")
	return cmd
}

func newDataTextCommand() *cobra.Command {
	var length int
	var output dataOutput
	cmd := &cobra.Command{
		Use:   "text FILE --out FILE.npz",
		Short: "Cut a text into examples for a network that predicts the next character",
		Long: `Cuts a text (UTF-8) into examples of so many characters. A character is a token, its
place in the sorted alphabet of the text; the label of a position is the character
after it. Writes arrays x (tokens), labels and alphabet (code points).`,
		Example: "  kelvin data text book.txt --length 128 --part train --out train.npz\n" +
			"  kelvin data text book.txt --length 128 --part test --out test.npz",
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := output.check(); err != nil {
				return err
			}
			if length < 1 {
				return usagef("--length %d: expected at least 1", length)
			}
			text, err := os.ReadFile(args[0])
			if err != nil {
				return fmt.Errorf("reading the text: %w", err)
			}
			set, err := dataset.Text(string(text), length)
			if err != nil {
				return fmt.Errorf("reading %s: %w", args[0], err)
			}
			return output.write(cmd.OutOrStdout(), args[0], set)
		},
	}
	f := cmd.Flags()
	output.register(f)
	f.IntVar(&length, "length", 64, "characters of an example")
	return cmd
}
