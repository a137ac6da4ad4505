package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/theory"
	"github.com/kelvin-ml/kelvin/thermo"
	"github.com/spf13/cobra"
)

func newTheoryCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "theory",
		Short: "Closed forms: linear models, softmax, work efficiency",
		Args:  subcommand,
		RunE:  help,
	}
	cmd.AddCommand(newTheoryEfficiencyCommand(), newTheoryLinearCommand(), newTheorySoftmaxCommand())
	return cmd
}

type linearValue struct {
	Loss         theory.Loss     `json:"loss"`
	Init         theory.Init     `json:"init"`
	Energy       float64         `json:"energy"`
	Temperature  float64         `json:"temperature"`
	PerParameter []float64       `json:"temperature_per_parameter"`
	Asymptotic   linearAsymptote `json:"asymptotic"`
}

type linearAsymptote struct {
	Regime        string  `json:"regime"`
	Energy        float64 `json:"energy"`
	Temperature   float64 `json:"temperature"`
	RelativeError float64 `json:"relative_error"`
}

func newTheoryLinearCommand() *cobra.Command {
	var in string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "linear --in FILE",
		Short: "Energy and temperature of a linear model, exact and asymptotic",
		Long: `Energy and temperature of a linear model z = x·w with random parameters, for
each loss (mse, mae, ce) and distribution of the parameters (normal, uniform,
mixed: the first normal, the others uniform), exact and in the limits of small
spread (cold), large spread (hot) and many parameters.

FILE is a JSON object: X (rows are examples), y, mean and sigma (the standard
deviation of each parameter). The label of ce is the sign of y.`,
		Example: "  kelvin theory linear --in model.json",
		Args:    exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if in == "" {
				return usagef("expected --in FILE, a JSON object with X, y, mean, sigma")
			}
			states, err := linearStates(in, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if err := writePage(cmd, func() report.Page { return linearPage(in, states) }); err != nil {
				return err
			}
			if !asJSON {
				return printLinear(cmd.OutOrStdout(), states)
			}
			values := make([]linearValue, len(states))
			for i, s := range states {
				values[i] = linearValue{s.Loss, s.Init, s.Energy, s.Temperature, s.PerParameter, linearAsymptote(s.Best())}
			}
			return printJSON(cmd.OutOrStdout(), struct {
				Schema string        `json:"schema"`
				Values []linearValue `json:"values"`
			}{schema, values})
		},
	}
	cmd.Flags().StringVar(&in, "in", "", "JSON `file` with X, y, mean, sigma")
	addHTMLFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// linearStates reads the model at path and computes all its states. Cross
// entropy has no label where y is 0; it is left out then, with a warning.
func linearStates(path string, warnings io.Writer) ([]theory.LinearState, error) {
	file, err := os.Open(path)
	if err != nil {
		var pathError *fs.PathError
		if errors.As(err, &pathError) {
			err = pathError.Err
		}
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	defer file.Close()
	model, err := theory.ReadLinear(file)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	var states []theory.LinearState
	for _, loss := range theory.Losses {
		if zero := slices.Index(model.Y, 0); loss == theory.CrossEntropy && zero >= 0 {
			fmt.Fprintf(warnings, "kelvin: y[%d] is 0, which has no sign for a label: leaving out ce\n", zero)
			continue
		}
		for _, init := range theory.Inits {
			state, err := model.State(loss, init)
			if err != nil {
				return nil, fmt.Errorf("reading %s: %w", path, err)
			}
			states = append(states, state)
		}
	}
	return states, nil
}

func printLinear(w io.Writer, states []theory.LinearState) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "loss\tinit\tform\tenergy\ttemperature\trelative error")
	for _, s := range states {
		fmt.Fprintf(t, "%s\t%s\texact\t%s\t%s\n", s.Loss, s.Init, thermo.Format(s.Energy, 7), thermo.Format(s.Temperature, 7))
		best := s.Best()
		for _, a := range s.Asymptotes {
			mark := ""
			if a == best {
				mark = " *"
			}
			fmt.Fprintf(t, "\t\t%s\t%s\t%s\t%s%s\n", a.Regime, thermo.Format(a.Energy, 7), thermo.Format(a.Temperature, 7), thermo.Format(a.RelativeError, 2), mark)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, "\nenergy: units of the loss; temperature: energy per nat and parameter; relative error: the larger of\nthe two; *: the limit that applies best")
	return err
}

// efficiencyDocument is one activation function at one working point.
type efficiencyDocument struct {
	Schema     string            `json:"schema,omitempty"` // not in a list
	Activation string            `json:"activation"`
	Q          float64           `json:"q"`
	Efficiency float64           `json:"efficiency"`
	Type       theory.EngineType `json:"type"`
	Regime     theory.Regime     `json:"regime"`
	Gain       float64           `json:"gain"`
}

// shown is the efficiency without the rounding error where it is 0.
func (d efficiencyDocument) shown() float64 {
	if d.Regime == theory.Reversible {
		return 0
	}
	return d.Efficiency
}

func describeEfficiency(a theory.Activation, q float64) (efficiencyDocument, error) {
	e, err := a.Efficiency(q)
	return efficiencyDocument{Activation: a.Name, Q: q, Efficiency: e.Efficiency, Type: e.Type, Regime: e.Regime, Gain: e.Gain}, err
}

func newTheoryEfficiencyCommand() *cobra.Command {
	var name string
	var q float64
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "efficiency [--activation NAME] [--q Q]",
		Short: "Work efficiency, engine type and gain of activation functions",
		Long: `Work efficiency 1 − ⟨φ(z)²⟩/⟨z²⟩ of an activation function φ on Gaussian
signals of second moment Q, with the engine type (I: the same at every Q), the
regime, and the gain: initial weights with a standard deviation of
gain/√fan_in keep the signal at Q. Without --activation, all of them.`,
		Example: "  kelvin theory efficiency --q 2\n  kelvin theory efficiency --activation 'leaky_relu(0.2)' --json",
		Args:    exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			activations := theory.Activations()
			if name != "" {
				a, err := theory.ActivationByName(name)
				if err != nil {
					return usagef("--activation: %w", err)
				}
				activations = []theory.Activation{a}
			}
			if !(q > 0) || q > 1e300 {
				return usagef("--q: expected a positive second moment, at most 1e300, got %g", q)
			}
			var rows []efficiencyDocument
			for _, a := range activations {
				row, err := describeEfficiency(a, q)
				if err != nil {
					return err
				}
				rows = append(rows, row)
			}
			if err := writePage(cmd, func() report.Page { return efficiencyPage(rows) }); err != nil {
				return err
			}
			switch {
			case !asJSON:
				return printEfficiency(cmd.OutOrStdout(), rows)
			case name != "":
				rows[0].Schema = schema
				return printJSON(cmd.OutOrStdout(), rows[0])
			}
			return printJSON(cmd.OutOrStdout(), struct {
				Schema string               `json:"schema"`
				Values []efficiencyDocument `json:"values"`
			}{schema, rows})
		},
	}
	cmd.Flags().StringVar(&name, "activation", "", "`name` of the activation function, as in relu or leaky_relu(0.2)")
	addHTMLFlag(cmd)
	cmd.Flags().Float64Var(&q, "q", 1, "second moment of the signal before the activation")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printEfficiency(w io.Writer, rows []efficiencyDocument) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "activation\tq\tefficiency\ttype\tregime\tgain")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%g\t%s\t%s\t%s\t%.6g\n", r.Activation, r.Q, thermo.Format(r.shown(), 6), r.Type, r.Regime, r.Gain)
	}
	return t.Flush()
}

func newTheorySoftmaxCommand() *cobra.Command {
	var classes int
	var spread float64
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "softmax --classes K --spread S",
		Short: "Energy, heat and freezing of a softmax over random logits",
		Long: `Expected cross entropy of a softmax over K independent logits of standard
deviation S, its heat S·dU/dS, and whether it is frozen: above the spread
√(2 ln K) a few classes carry all the probability.`,
		Example: "  kelvin theory softmax --classes 50257 --spread 3",
		Args:    exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, required := range []string{"classes", "spread"} {
				if !cmd.Flags().Changed(required) {
					return usagef("expected --%s", required)
				}
			}
			s, err := theory.NewSoftmax(classes, spread)
			if err != nil {
				return usageError{err}
			}
			if err := writePage(cmd, func() report.Page { return softmaxPage(s) }); err != nil {
				return err
			}
			if !asJSON {
				return printSoftmax(cmd.OutOrStdout(), s)
			}
			return printJSON(cmd.OutOrStdout(), struct {
				Schema         string  `json:"schema"`
				Classes        int     `json:"classes"`
				Spread         float64 `json:"spread"`
				Energy         float64 `json:"energy"`
				Heat           float64 `json:"heat"`
				FreezingSpread float64 `json:"freezing_spread"`
				Frozen         bool    `json:"frozen"`
			}{schema, s.Classes, s.Spread, s.Energy, s.Heat, s.FreezingSpread, s.Frozen})
		},
	}
	cmd.Flags().IntVar(&classes, "classes", 0, "number of classes, the size of a vocabulary, say")
	addHTMLFlag(cmd)
	cmd.Flags().Float64Var(&spread, "spread", 0, "standard deviation of the logits")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printSoftmax(w io.Writer, s theory.Softmax) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "energy\t%.6g nat\t(cold limit %.6g, frozen limit %.6g)\n", s.Energy, s.ColdEnergy, s.FrozenEnergy)
	fmt.Fprintf(t, "heat\t%.6g nat\ts dU/ds\n", s.Heat)
	fmt.Fprintf(t, "freezing spread\t%.6g\t√(2 ln %d)\n", s.FreezingSpread, s.Classes)
	fmt.Fprintf(t, "state\t%s\n", softmaxState(s))
	return t.Flush()
}

func softmaxState(s theory.Softmax) string {
	if s.Frozen {
		return "frozen: a few classes carry all the probability"
	}
	return "liquid: many classes share the probability"
}
