package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/kelvin-ml/kelvin/checkpoint"
	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/spectrum"
	"github.com/kelvin-ml/kelvin/thermo"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

func newSpectrumCommand() *cobra.Command {
	var o spectrum.Options
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "spectrum CHECKPOINT [OTHER]",
		Short: "Singular values of every weight matrix: norms, rank, entropy, tail exponent",
		Long: `Reads every weight matrix of a checkpoint (safetensors, sharded or not, GGUF,
.npz, PyTorch) and prints its norms, stable rank and spectral entropy, how many
eigenvalues of WᵀW lie outside what a random matrix would have, and the exponent
alpha of their tail with its error, or why the tail is not a power law.
A convolution is read twice: as slices (one matrix for each place of the kernel,
pooled) and unfolded (out × the rest).

With a second checkpoint, the two are compared matrix by matrix.

Matrices whose shorter side is above 2048 are estimated by a Lanczos method, and
their errors printed; --exact decomposes them fully.`,
		Example: "  kelvin spectrum model.safetensors\n  kelvin spectrum before.pt after.pt --json",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usagef("expected one or two checkpoints, got %d arguments (see %s --help)", len(args), cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return runSpectrum(cmd, args, o, asJSON)
		},
	}
	cmd.Flags().BoolVar(&o.Exact, "exact", false, "decompose large matrices fully instead of estimating")
	cmd.Flags().Uint64Var(&o.Seed, "seed", 0, "seed of the bootstrap and of the probes")
	addHTMLFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return cmd
}

func runSpectrum(cmd *cobra.Command, paths []string, o spectrum.Options, asJSON bool) error {
	ctx, out, warnings := cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	var docs []spectrumDocument
	var files []*checkpoint.File
	var interrupted error
	for _, path := range paths {
		f, err := checkpoint.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		d, err := measureSpectra(ctx, f, o, warnings)
		if err != nil && !d.Interrupted {
			return err
		}
		if err != nil {
			interrupted = err
		}
		docs, files = append(docs, d), append(files, f)
	}
	var document interface{ print(io.Writer) error } = docs[0]
	if len(docs) == 2 {
		document = compareSpectra(ctx, files[0], files[1], docs[0], docs[1])
	}
	if err := writePage(cmd, func() report.Page { return spectrumPage(docs) }); err != nil {
		return err
	}
	var err error
	if asJSON {
		err = printJSON(out, document)
	} else {
		err = document.print(out)
	}
	return errors.Join(err, interrupted)
}

// spectrumDocument is what kelvin spectrum prints for one checkpoint.
type spectrumDocument struct {
	Schema      string           `json:"schema"`
	Checkpoint  string           `json:"checkpoint"`
	Format      string           `json:"format"`
	Seed        uint64           `json:"seed"`
	Matrices    []spectrumMatrix `json:"matrices"`
	Summary     spectrumSummary  `json:"summary"`
	Interrupted bool             `json:"interrupted,omitempty"` // some matrices are missing
}

type spectrumMatrix struct {
	Name          string            `json:"name"`
	View          spectrum.View     `json:"view"`
	Shape         []int             `json:"shape"`
	Alpha         thermo.Reading    `json:"alpha"`
	Xmin          *float64          `json:"xmin"`
	PValue        *float64          `json:"p_value"`
	Tail          int               `json:"tail"` // eigenvalues above xmin
	StableRank    float64           `json:"stable_rank"`
	SpectralNorm  float64           `json:"spectral_norm"`
	FrobeniusNorm float64           `json:"frobenius_norm"`
	Entropy       float64           `json:"entropy"`
	EffectiveRank float64           `json:"effective_rank"` // exp(entropy)
	Outliers      int               `json:"outliers"`
	Bulk          spectrumBulk      `json:"bulk"`
	Errors        *spectrumErrors   `json:"errors,omitempty"` // where the spectrum is estimated
	Spectrum      spectrum.Spectrum `json:"-"`
}

type spectrumBulk struct {
	Sigma    float64 `json:"sigma"`
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
	Edge     float64 `json:"edge"`
	Distance float64 `json:"distance"`
	Random   bool    `json:"random"`
}

type spectrumErrors struct {
	SpectralNorm float64 `json:"spectral_norm"`
	StableRank   float64 `json:"stable_rank"`
	Entropy      float64 `json:"entropy"`
}

type spectrumSummary struct {
	Matrices  int             `json:"matrices"`
	PowerLaws int             `json:"power_laws"`
	Random    int             `json:"random"`
	Alpha     *thermo.Reading `json:"alpha"` // mean over the power laws; null if there are none
}

func describeSpectrum(s spectrum.Spectrum) spectrumMatrix {
	m := spectrumMatrix{
		Name: s.Name, View: s.View, Shape: s.Shape, Alpha: s.Alpha.Reading, Tail: s.Alpha.Tail,
		StableRank: s.StableRank.Value, SpectralNorm: s.SpectralNorm.Value, FrobeniusNorm: s.Frobenius,
		Entropy: s.Entropy.Value, EffectiveRank: math.Exp(s.Entropy.Value), Outliers: s.Bulk.Outliers,
		Bulk:     spectrumBulk{s.Bulk.Sigma, s.Bulk.Low, s.Bulk.High, s.Bulk.Edge, s.Bulk.Distance, s.Bulk.Random},
		Spectrum: s,
	}
	if s.Alpha.Tail > 0 {
		m.Xmin, m.PValue = &s.Alpha.Xmin, &s.Alpha.PValue
	}
	if s.Approximate {
		m.Errors = &spectrumErrors{s.SpectralNorm.StdErr, s.StableRank.StdErr, s.Entropy.StdErr}
	}
	return m
}

func summarizeSpectra(matrices []spectrumMatrix) spectrumSummary {
	s := spectrumSummary{Matrices: len(matrices)}
	var sum, square float64
	for _, m := range matrices {
		if m.Bulk.Random {
			s.Random++
		}
		if m.Alpha.Valid() {
			s.PowerLaws++
			sum += m.Alpha.Value
			square += m.Alpha.StdErr * m.Alpha.StdErr
		}
	}
	if n := float64(s.PowerLaws); n > 0 {
		s.Alpha = &thermo.Reading{Name: "alpha", Value: sum / n, StdErr: math.Sqrt(square) / n, Unit: "1"}
	}
	return s
}

// parallelLimit is the number of elements up to which matrices are measured
// side by side; larger ones keep all cores and the memory to themselves.
const parallelLimit = 1 << 22

// measureSpectra measures every matrix of a checkpoint. On interruption it
// returns those that are done, marked so, and an error that says how many.
func measureSpectra(ctx context.Context, f *checkpoint.File, o spectrum.Options, warnings io.Writer) (spectrumDocument, error) {
	type task struct {
		tensor checkpoint.Tensor
		view   spectrum.View
	}
	d := spectrumDocument{Schema: schema, Checkpoint: f.Path, Format: f.Format, Seed: o.Seed, Matrices: []spectrumMatrix{}}
	var tasks []task
	for _, t := range f.Tensors {
		views := spectrum.Views(t)
		for _, view := range views {
			tasks = append(tasks, task{t, view})
		}
		switch {
		case !t.Readable() && len(t.Shape) > 1:
			fmt.Fprintf(warnings, "kelvin: %s: %s is left out: %s is not a floating-point type that can be read\n", f.Path, t.Name, t.DType)
		case views == nil && len(t.Shape) > 2 && t.Len() > 0:
			fmt.Fprintf(warnings, "kelvin: %s: %s is left out: shape %s is not that of a matrix or a convolution kernel\n", f.Path, t.Name, shapeText(t.Shape))
		}
	}
	if len(tasks) == 0 {
		return d, fmt.Errorf("%s: none of its %d tensors is a matrix of floating-point numbers", f.Path, len(f.Tensors))
	}
	results := make([]*spectrumMatrix, len(tasks))
	show := progress(warnings, "matrices")
	var mu sync.Mutex
	done := 0
	measure := func(ctx context.Context, i int) error {
		s, err := spectrum.Measure(ctx, tasks[i].tensor, tasks[i].view, o)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
		m := describeSpectrum(s)
		results[i] = &m
		mu.Lock()
		defer mu.Unlock()
		done++
		show(done, len(tasks))
		return nil
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, t := range tasks {
		if t.tensor.Len() <= parallelLimit {
			group.Go(func() error { return measure(groupCtx, i) })
		}
	}
	err := group.Wait()
	for i, t := range tasks {
		if err == nil && t.tensor.Len() > parallelLimit {
			err = measure(ctx, i)
		}
	}
	for _, m := range results {
		if m != nil {
			d.Matrices = append(d.Matrices, *m)
		}
	}
	d.Summary = summarizeSpectra(d.Matrices)
	if err != nil && ctx.Err() != nil {
		d.Interrupted = true
		return d, fmt.Errorf("interrupted after %d of %d matrices of %s", len(d.Matrices), len(tasks), f.Path)
	}
	return d, err
}

func (d spectrumDocument) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "matrix\tshape\t‖W‖F\tσ max\tstable rank\tentropy/nat\toutliers\talpha\tp\t")
	for _, m := range d.Matrices {
		s := m.Spectrum
		fmt.Fprintf(t, "%s\t%s\t%.4g\t%s\t%s\t%s\t%d\t%s\n", m.label(), shapeText(m.Shape), m.FrobeniusNorm,
			readingText(s.SpectralNorm), readingText(s.StableRank), readingText(s.Entropy), m.Outliers, tailText(m))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	s := d.Summary
	fmt.Fprintf(w, "\n%d matrices: %d with a power-law tail, %d like random matrices", s.Matrices, s.PowerLaws, s.Random)
	if s.Alpha != nil {
		fmt.Fprintf(w, ", mean alpha %s", s.Alpha)
	}
	_, err := fmt.Fprintf(w, " (seed %d)\n", d.Seed)
	return err
}

func (m spectrumMatrix) label() string {
	if m.View == spectrum.Matrix {
		return m.Name
	}
	return m.Name + " (" + string(m.View) + ")"
}

// readingText is the value, with its error where it is estimated.
func readingText(r thermo.Reading) string {
	if r.StdErr == 0 {
		return fmt.Sprintf("%.4g", r.Value)
	}
	return thermo.FormatError(r.Value, r.StdErr)
}

func shapeText(shape []int) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(shape), "[]"), " ", "×")
}

// pText is the p-value, or a dash where nothing was fitted.
func (m spectrumMatrix) pText() string {
	if m.PValue == nil {
		return "-"
	}
	return fmt.Sprintf("%.2g", *m.PValue)
}

// tailText is the exponent, its p-value and, where it must not be trusted, why.
func tailText(m spectrumMatrix) string {
	alpha := "-"
	if m.Tail > 0 {
		alpha = thermo.FormatError(m.Alpha.Value, m.Alpha.StdErr)
	}
	return alpha + "\t" + m.pText() + "\t" + m.Alpha.Invalid
}

// comparisonDocument is what kelvin spectrum prints for two checkpoints.
type comparisonDocument struct {
	Schema   string                     `json:"schema"`
	A        string                     `json:"a"`
	B        string                     `json:"b"`
	Seed     uint64                     `json:"seed"`
	Matrices []spectrumChange           `json:"matrices"`
	OnlyInA  []string                   `json:"only_in_a"`
	OnlyInB  []string                   `json:"only_in_b"`
	Summary  map[string]spectrumSummary `json:"summary"`
}

type spectrumChange struct {
	Name        string          `json:"name"`
	View        spectrum.View   `json:"view"`
	A           spectrumMatrix  `json:"a"`
	B           spectrumMatrix  `json:"b"`
	AlphaChange *thermo.Reading `json:"alpha_change"` // null unless both are power laws
	Distance    *float64        `json:"distance"`     // ‖B−A‖/‖A‖; null if the shapes differ
}

// compareSpectra pairs the matrices of two checkpoints by name and view.
func compareSpectra(ctx context.Context, fa, fb *checkpoint.File, a, b spectrumDocument) comparisonDocument {
	c := comparisonDocument{
		Schema: schema, A: fa.Path, B: fb.Path, Seed: a.Seed, Matrices: []spectrumChange{}, OnlyInA: []string{}, OnlyInB: []string{},
		Summary: map[string]spectrumSummary{"a": a.Summary, "b": b.Summary},
	}
	same := func(x spectrumMatrix) func(spectrumMatrix) bool {
		return func(y spectrumMatrix) bool { return x.Name == y.Name && x.View == y.View }
	}
	for _, x := range a.Matrices {
		i := slices.IndexFunc(b.Matrices, same(x))
		if i < 0 {
			c.OnlyInA = append(c.OnlyInA, x.label())
			continue
		}
		y := b.Matrices[i]
		change := spectrumChange{Name: x.Name, View: x.View, A: x, B: y}
		if x.Alpha.Valid() && y.Alpha.Valid() {
			change.AlphaChange = &thermo.Reading{Name: "alpha change", Value: y.Alpha.Value - x.Alpha.Value, StdErr: math.Hypot(x.Alpha.StdErr, y.Alpha.StdErr), Unit: "1"}
		}
		change.Distance = distanceOf(ctx, fa, fb, x.Name)
		c.Matrices = append(c.Matrices, change)
	}
	for _, y := range b.Matrices {
		if !slices.ContainsFunc(a.Matrices, same(y)) {
			c.OnlyInB = append(c.OnlyInB, y.label())
		}
	}
	return c
}

// distanceOf is nil where the two tensors cannot be subtracted.
func distanceOf(ctx context.Context, fa, fb *checkpoint.File, name string) *float64 {
	ta, errA := fa.Tensor(name)
	tb, errB := fb.Tensor(name)
	if errA != nil || errB != nil {
		return nil
	}
	d, err := spectrum.Distance(ctx, ta, tb)
	if err != nil {
		return nil
	}
	return &d
}

func (c comparisonDocument) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "matrix\tshape\tmoved\tσ max\tstable rank\tentropy/nat\toutliers\talpha\t")
	for _, m := range c.Matrices {
		moved := "-"
		if m.Distance != nil {
			moved = fmt.Sprintf("%.3g", *m.Distance)
		}
		alpha := "-"
		if m.AlphaChange != nil {
			alpha = fmt.Sprintf("%s (%s)", arrow(m.A.Alpha.Value, m.B.Alpha.Value), thermo.FormatError(m.AlphaChange.Value, m.AlphaChange.StdErr))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d → %d\t%s\n", m.A.label(), shapeText(m.A.Shape), moved, arrow(m.A.SpectralNorm, m.B.SpectralNorm),
			arrow(m.A.StableRank, m.B.StableRank), arrow(m.A.Entropy, m.B.Entropy), m.A.Outliers, m.B.Outliers, alpha)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, missing := range []struct {
		path  string
		names []string
	}{{c.A, c.OnlyInA}, {c.B, c.OnlyInB}} {
		if len(missing.names) > 0 {
			fmt.Fprintf(w, "only in %s: %s\n", missing.path, strings.Join(missing.names, ", "))
		}
	}
	_, err := fmt.Fprintf(w, "\nmoved = ‖B − A‖/‖A‖; alpha is compared where both tails are power laws (seed %d)\n", c.Seed)
	return err
}

func arrow(a, b float64) string { return fmt.Sprintf("%.4g → %.4g", a, b) }
