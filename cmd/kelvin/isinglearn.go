package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/kelvin-ml/kelvin/ising"
	"github.com/kelvin-ml/kelvin/thermo"
)

// isingLearnDocument is what ising learn prints with --json.
type isingLearnDocument struct {
	Schema string  `json:"schema"`
	Seed   uint64  `json:"seed"`
	Seeds  int     `json:"seeds"`
	Decay  float64 `json:"decay"`
	Gap    float64 `json:"gap"`
	ising.Learning
	Explanation string `json:"explanation"`
}

func newIsingLearnCommand() *cobra.Command {
	var o ising.LearnOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "learn",
		Short: "Learn the critical temperature from labelled configurations, and explain how",
		Long: `Draw configurations below and above the critical temperature, train a network
without a hidden layer (its input turned so that the magnetisation is up) and one
with two hidden units (on the configurations as they are), several seeds at each
size; find where the mean output crosses one half, extrapolate to infinite size
(from four sizes), and say what the networks do: near-uniform weights count
magnetisation against a threshold m*, noisy ones memorise. The defaults take half
a minute on two cores; time goes as the square of the largest size.`,
		Example: `  kelvin ising learn --html ising.html
  kelvin ising learn --gap 0.3 --sizes 20,40   # labels that can be separated: weights all of one sign`,
		Args: exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runIsingLearn(cmd, o, asJSON)
		},
	}
	flags := cmd.Flags()
	flags.IntSliceVar(&o.Sizes, "sizes", []int{10, 14, 20, 28, 40}, "lattice sizes, ascending and even; four or more for the extrapolation")
	flags.IntVar(&o.Seeds, "seeds", 5, "networks at each size, each with configurations of its own")
	flags.IntVar(&o.PerTemperature, "samples", 20, "configurations at each of the 135 training temperatures")
	flags.Float64Var(&o.Decay, "decay", 1e-3, "weight decay; 0 lets the weights memorise")
	flags.Float64Var(&o.Gap, "gap", 0, "leave temperatures this close to the critical one out of training")
	flags.Uint64Var(&o.Seed, "seed", 1, "seed of the random streams")
	addHTMLFlag(cmd)
	flags.BoolVar(&asJSON, "json", false, "print one JSON document")
	return cmd
}

func runIsingLearn(cmd *cobra.Command, o ising.LearnOptions, asJSON bool) error {
	if err := o.Validate(); err != nil {
		return usageError{err}
	}
	show, done, counting := progress(cmd.ErrOrStderr(), "networks"), 0, sync.Mutex{}
	o.Progress = func() { // of networks trained side by side
		counting.Lock()
		defer counting.Unlock()
		done++
		show(done, len(o.Sizes)*o.Seeds)
	}
	learning, err := ising.Learn(cmd.Context(), o)
	if err != nil && (len(learning.Sizes) == 0 || !errors.Is(err, context.Canceled)) {
		return err
	}
	doc := isingLearnDocument{schema, o.Seed, o.Seeds, o.Decay, o.Gap, learning, explainLearning(learning)}
	if err := writePage(cmd, doc.page); err != nil {
		return err
	}
	if asJSON {
		if err := printJSON(cmd.OutOrStdout(), doc); err != nil {
			return err
		}
	} else if err := printLearning(cmd.OutOrStdout(), doc); err != nil {
		return err
	}
	return err // of an interrupted study, whose finished sizes were printed
}

// isingVerdict says in words what the networks without a hidden layer do.
func isingVerdict(s ising.Learned) string {
	switch {
	case s.LearnedNothing():
		return "learned nothing"
	case s.Counting > 0.97:
		return fmt.Sprintf("counts magnetisation (%.1f %%)", 100*s.Counting)
	case s.Counting > 0.8:
		return fmt.Sprintf("mostly counts magnetisation (%.1f %%), with noise in its weights", 100*s.Counting)
	}
	return fmt.Sprintf("remembers configurations (magnetisation %.1f %%): its weights are mostly noise", 100*s.Counting)
}

// explainLearning says what the numbers mean, a sentence a size, and which
// networks they are not of.
func explainLearning(l ising.Learning) string {
	var lines []string
	for _, s := range l.Sizes {
		if s.LearnedNothing() {
			reason := s.Tc.Invalid
			if s.Tc.Valid() {
				reason = fmt.Sprintf("its threshold %s is no magnetisation", isingNumber(s.Threshold, 3))
			}
			lines = append(lines, fmt.Sprintf("L = %d: the network learned nothing: %s.", s.Size, reason))
			continue
		}
		crossed := "which <|m|> does not cross in the temperatures given"
		if t := isingNumber(s.ThresholdTc, 3); t != "none" {
			crossed = "which is <|m|> at T = " + t
		}
		lines = append(lines, fmt.Sprintf("L = %d: the network %s (weights vary by %.0f %% of their mean, %.1f %% are of the other sign); ordered is what has |m| > %.3f, %s.",
			s.Size, isingVerdict(s), 100*s.WeightCV, 100*s.Against, s.Threshold, crossed))
	}
	return strings.Join(append(lines, leftOut(l)...), "\n")
}

// leftOut says which networks and readings there are none of, and why.
func leftOut(l ising.Learning) (notes []string) {
	note := func(of string, undecided int, r thermo.Reading) {
		switch {
		case !r.Valid():
			notes = append(notes, fmt.Sprintf("none %s: %s", of, r.Invalid))
		case undecided > 0:
			notes = append(notes, fmt.Sprintf("left out %s: %d of %d networks, never undecided in the temperatures given", of, undecided, undecided+int(r.ESS)))
		}
	}
	for _, s := range l.Sizes {
		note(fmt.Sprintf("at size %d", s.Size), s.Undecided, s.Tc)
		note(fmt.Sprintf("at size %d, two units", s.Size), s.TwoUnits.Undecided, s.TwoUnits.Tc)
	}
	note("at size ∞", 0, l.Extrapolated)
	return notes
}

// isingNumber formats a number that may not be there.
func isingNumber(x ising.Number, decimals int) string {
	if v := float64(x); !math.IsNaN(v) && !math.IsInf(v, 0) {
		return strconv.FormatFloat(v, 'f', decimals, 64)
	}
	return "none"
}

// isingReading formats a critical temperature that may not be there.
func isingReading(r thermo.Reading) string {
	if !r.Valid() {
		return "none"
	}
	return thermo.FormatError(r.Value, r.StdErr)
}

func printLearning(w io.Writer, d isingLearnDocument) error {
	fmt.Fprintf(w, "Critical temperature, learned; exact %.6f. %d networks a size, weight decay %g, seed %d\n\n", d.Exact, d.Seeds, d.Decay, d.Seed)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "size\tTc\tTc, two units\tthreshold m*\tT where <|m|> = m*")
	for _, s := range d.Sizes {
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%s\n", s.Size, isingReading(s.Tc), isingReading(s.TwoUnits.Tc), isingNumber(s.Threshold, 3), isingNumber(s.ThresholdTc, 3))
	}
	fmt.Fprintf(tw, "∞\t%s\n", isingReading(d.Extrapolated))
	fmt.Fprintln(tw, "\nsize\tweight cv\tother sign\tcounting\taccuracy\tsymmetry\tPCA cosine\tthe network without a hidden layer")
	for _, s := range d.Sizes {
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%.3f\t%s\t%.4f\t%s\n", s.Size, isingNumber(s.WeightCV, 2), isingNumber(s.Against, 3), isingNumber(s.Counting, 3), s.Accuracy,
			isingNumber(s.TwoUnits.Symmetry, 2), s.PCA.Uniformity, isingVerdict(s))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, `
counting: share of the output's variance at fixed T (as log odds) that |m| explains
weight cv: 0 when all weights are equal; other sign: share of them against the sign of their mean
symmetry: 1 when the two units read one pattern
PCA cosine: 1 when the first principal component, found without labels, is the magnetisation`+strings.Join(append([]string{""}, leftOut(d.Learning)...), "\n"))
	return err
}
