package spectrum

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/kelvin-ml/kelvin/checkpoint"
	"github.com/kelvin-ml/kelvin/thermo"
)

// View says which matrices were made of a tensor.
type View string

const (
	Matrix   View = "matrix"   // the tensor is one
	Slices   View = "slices"   // one out × in matrix for each place of a convolution kernel; their eigenvalues are pooled
	Unfolded View = "unfolded" // a convolution as one matrix, out × (in · places)
)

// A Spectrum describes the singular values of one weight matrix, or of the
// pooled slices of a convolution kernel.
type Spectrum struct {
	Name  string
	View  View
	Shape []int // of the tensor
	Rows  int   // of each matrix
	Cols  int
	Count int // of matrices: 1, or the places of the kernel

	// Eigenvalues of WᵀW (squared singular values), ascending, min(Rows, Cols)
	// of each matrix. Where Approximate is set, those above Resolved are
	// eigenvalues and the others are quantiles of the estimated density.
	Eigenvalues []float64
	Approximate bool
	Resolved    float64

	Frobenius    float64        // √Σλ, exact
	SpectralNorm thermo.Reading // the largest singular value; for Slices, of the largest slice
	StableRank   thermo.Reading // Σλ/λ_max; for Slices, the mean over slices
	Entropy      thermo.Reading // −Σ p ln p of p = λ/Σλ, in nats; for Slices, the mean over slices

	Bulk  Bulk  // what a random matrix would have
	Alpha Alpha // the tail
}

// Options set how spectra are estimated.
type Options struct {
	Seed  uint64 // of probes and of the bootstrap
	Exact bool   // compute all singular values however large the matrix
	// Resamples is the number of bootstrap fits behind the standard error of
	// α, and again behind its p-value. Zero means DefaultResamples.
	Resamples int
}

// DefaultResamples gives a p-value to ±0.02 and a standard error to 5 %.
const DefaultResamples = 200

// maxKernel is the longest side of a convolution kernel. A tensor with longer
// ones is something else, a stack of matrices say, and has no views.
const maxKernel = 64

// Views returns how a tensor can be seen as matrices. There are none if it has
// fewer than two dimensions longer than 1, if it is no convolution kernel
// (out × in × at most three short sides), or if it is not of floating point.
func Views(t checkpoint.Tensor) []View {
	s := t.Shape
	if !t.Readable() || t.Len() == 0 || len(s) < 2 || len(s) > 5 {
		return nil
	}
	if len(s) == 2 {
		if min(s[0], s[1]) > 1 {
			return []View{Matrix}
		}
		return nil
	}
	if slices.Max(s[2:]) > maxKernel {
		return nil
	}
	var views []View
	if min(s[0], s[1]) > 1 && slices.Max(s[2:]) > 1 { // else the slice is the unfolded matrix
		views = append(views, Slices)
	}
	if min(s[0], t.Len()/s[0]) > 1 {
		views = append(views, Unfolded)
	}
	return views
}

// Measure reads a tensor in one of its Views.
func Measure(ctx context.Context, t checkpoint.Tensor, view View, o Options) (Spectrum, error) {
	if !slices.Contains(Views(t), view) {
		return Spectrum{}, fmt.Errorf("tensor %q of shape %v (%s) cannot be seen as %s", t.Name, t.Shape, t.DType, view)
	}
	s := Spectrum{Name: t.Name, View: view, Shape: t.Shape, Rows: t.Shape[0], Cols: t.Len() / t.Shape[0], Count: 1}
	if view == Slices {
		s.Cols = t.Shape[1]
		s.Count = t.Len() / (s.Rows * s.Cols)
	}
	values, err := s.solve(ctx, t, o)
	if err != nil {
		return Spectrum{}, fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	if err := s.describe(ctx, values, o); err != nil {
		return Spectrum{}, fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	return s, nil
}

// Of takes the spectrum of a row-major matrix that is already in memory.
func Of(ctx context.Context, name string, rows, cols int, weights []float64, o Options) (Spectrum, error) {
	if rows < 2 || cols < 2 || len(weights) != rows*cols {
		return Spectrum{}, fmt.Errorf("matrix %q: expected %d × %d values with both sides above 1, got %d", name, rows, cols, len(weights))
	}
	s := Spectrum{Name: name, View: Matrix, Shape: []int{rows, cols}, Rows: rows, Cols: cols, Count: 1}
	values, err := singularValues(rows, cols, weights)
	if err == nil {
		err = s.describe(ctx, solution{eigenvalues: values}, o)
	}
	if err != nil {
		return Spectrum{}, fmt.Errorf("matrix %q: %w", name, err)
	}
	return s, nil
}

// A solution is a spectrum as a solver found it: exact, or with replicates
// whose scatter shows its error.
type solution struct {
	eigenvalues []float64
	slices      [][]float64 // eigenvalues of each slice, where there are several
	approximate bool
	frobenius2  float64 // Σ λ, exact; 0 means the sum of eigenvalues
	resolved    float64
	topError    float64     // of the largest eigenvalue
	medianError float64     // of the median eigenvalue, relative to it
	replicates  [][]float64 // leave-one-probe-out estimates of eigenvalues
}

// describe fills in everything that follows from the eigenvalues.
func (s *Spectrum) describe(ctx context.Context, v solution, o Options) error {
	slices.Sort(v.eigenvalues)
	s.Eigenvalues, s.Approximate, s.Resolved = v.eigenvalues, v.approximate, v.resolved
	total := v.frobenius2
	if total == 0 {
		total = sum(v.eigenvalues)
	}
	top := v.eigenvalues[len(v.eigenvalues)-1]
	if math.IsNaN(total) || math.IsInf(total, 0) {
		return fmt.Errorf("some weights are NaN, infinite or too large to square")
	}
	s.SpectralNorm = thermo.Reading{Name: "spectral norm", Group: s.Name, Unit: "1"}
	s.StableRank = thermo.Reading{Name: "stable rank", Group: s.Name, Unit: "1"}
	s.Entropy = thermo.Reading{Name: "spectral entropy", Group: s.Name, Unit: "nat"}
	if top <= 0 { // a layer that starts at zero
		s.Alpha = noFit("all weights are zero")
		s.Alpha.Group = s.Name
		return nil
	}
	s.Frobenius = math.Sqrt(total)
	topNorm := math.Sqrt(top)
	s.SpectralNorm.Value, s.SpectralNorm.StdErr = topNorm, v.topError/(2*topNorm)
	s.StableRank.Value, s.StableRank.StdErr = total/top, total/top*v.topError/top
	s.Entropy.Value, s.Entropy.StdErr = entropy(v.eigenvalues), jackknife(v.replicates, entropy)
	if len(v.slices) > 0 {
		s.StableRank.Value = meanOf(v.slices, func(x []float64) float64 { return sum(x) / slices.Max(x) })
		s.Entropy.Value = meanOf(v.slices, entropy)
	}
	s.Bulk = fitBulk(v.eigenvalues, s.Rows, s.Cols, total, v.medianError)
	alpha, err := fitTail(ctx, v.eigenvalues, o, rand.New(rand.NewPCG(o.Seed, seedStream(s.Name, s.View))))
	if err != nil {
		return err
	}
	if v.approximate && alpha.Tail > 0 {
		spread := jackknife(v.replicates, func(x []float64) float64 { return bestFit(positive(x)).alpha })
		alpha.StdErr = math.Hypot(alpha.StdErr, spread)
	}
	alpha.Group = s.Name
	s.Alpha = alpha
	if s.Alpha.Tail > 0 && s.Bulk.Random {
		s.Alpha.Invalid = "not a power law: the whole spectrum is that of a random matrix"
	}
	return nil
}

// entropy is that of p = λ/Σλ, in nats.
func entropy(eigenvalues []float64) float64 {
	total := sum(eigenvalues)
	var h float64
	for _, x := range eigenvalues {
		if x > 0 {
			h -= x / total * math.Log(x/total)
		}
	}
	return h
}

func sum(xs []float64) float64 {
	var total float64
	for _, x := range xs {
		total += x
	}
	return total
}

// meanOf averages a statistic over the slices that are not all zero.
func meanOf(parts [][]float64, statistic func([]float64) float64) float64 {
	var total float64
	n := 0
	for _, x := range parts {
		if slices.Max(x) > 0 {
			total += statistic(x)
			n++
		}
	}
	return total / float64(n)
}

// jackknife returns the standard error of a statistic from its leave-one-out
// replicates; without replicates there is no sampling, and it is 0.
func jackknife(replicates [][]float64, statistic func([]float64) float64) float64 {
	n := float64(len(replicates))
	var mean, square float64
	for _, r := range replicates {
		mean += statistic(r) / n
	}
	for _, r := range replicates {
		d := statistic(r) - mean
		square += d * d
	}
	if n == 0 {
		return 0
	}
	return math.Sqrt((n - 1) / n * square)
}

// seedStream gives every matrix a random stream of its own, so that a spectrum
// does not depend on what else was measured.
func seedStream(name string, view View) uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	for _, b := range []byte(name + "\x00" + string(view)) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return h
}
