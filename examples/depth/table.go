package main

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/kelvin-ml/kelvin/theory"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// An interval is a mean over seeds and half its 95 % interval by Student's t.
type interval struct {
	mean, half float64
	n          int // of the finite values, which are those it is of
}

func mean95(xs []float64) interval {
	var finite []float64
	for _, x := range xs {
		if !math.IsNaN(x) && !math.IsInf(x, 0) {
			finite = append(finite, x)
		}
	}
	mean, sd := stat.MeanStdDev(finite, nil)
	n := float64(len(finite))
	if n < 2 {
		return interval{mean, math.Inf(1), len(finite)}
	}
	return interval{mean, distuv.StudentsT{Mu: 0, Sigma: 1, Nu: n - 1}.Quantile(0.975) * sd / math.Sqrt(n), len(finite)}
}

func meanDeviation(xs []float32) (mean, deviation float64) {
	wide := make([]float64, len(xs))
	for i, x := range xs {
		wide[i] = float64(x)
	}
	return stat.MeanStdDev(wide, nil)
}

// String rounds both numbers where the half width has two digits.
func (i interval) String() string {
	switch {
	case i.n == 0:
		return "–"
	case math.IsInf(i.half, 1):
		return fmt.Sprintf("%.3g (1 run)", i.mean)
	}
	digits := 4
	if i.half > 0 {
		digits = min(max(1-int(math.Floor(math.Log10(i.half))), 0), 6)
	}
	return strings.ReplaceAll(fmt.Sprintf("%.*f ± %.*f", digits, i.mean, digits, i.half), "-", "−")
}

// excess is how much more training loss a row ends with than the balanced one on
// the same seeds: the same batches in the same order.
func (r row) excess() (interval, bool) {
	if r.balanced == nil {
		return interval{}, false
	}
	var xs []float64
	for i := range r.runs {
		xs = append(xs, r.runs[i].loss-r.balanced[i].loss)
	}
	return mean95(xs), true
}

// printHead writes what the wide limit says of the balanced initialisations, and
// the head of the table of rows, in Markdown.
func (e experiment) printHead(w io.Writer) error {
	fmt.Fprint(w, "| activation | signal energy | balanced gain | differences, gradients | energy |\n|---|---|---|---|---|\n")
	for _, activation := range activations {
		critical, err := criticalEnergy(activation)
		if err != nil {
			return err
		}
		for _, q := range []float64{1, critical} {
			gain, slope, response, err := gains(activation, q)
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "| %s | %.2g | %.3f | × %.3f | × %.3f |\n", activation, q, gain, slope, response)
		}
	}
	fmt.Fprintf(w, "\n%d steps of Adam, batch %d, width %d, seeds 1 to %d, learning rate out of %v by seed 0\n\n", e.steps, e.batch, e.width, e.seeds, e.rates)
	fmt.Fprint(w, "| activation, layers | initialisation | rate | training loss | more than balanced | held-out loss | diverged |\n|---|---|---|---|---|---|---|\n")
	return nil
}

func (e experiment) printRow(w io.Writer, r row) {
	excess := ""
	if x, ok := r.excess(); ok {
		excess = x.String()
	}
	fmt.Fprintf(w, "| %s, %d | %s | %g | %v | %s | %v | %d of %d |\n", r.activation, r.depth, r.scheme.name, r.rate, r.loss, excess, r.held, r.diverged, e.seeds)
}

// printEnergies writes the energies of the layers before training.
func printEnergies(w io.Writer, rows []row) {
	fmt.Fprint(w, "\n| activation, layers | initialisation | log₁₀ energy of the first layer | of the middle one | of the last one | log₁₀ of the share of it that varies |\n|---|---|---|---|---|---|\n")
	for _, r := range rows {
		last := r.depth - 2
		fmt.Fprintf(w, "| %s, %d | %s | %v | %v | %v | %v |\n", r.activation, r.depth, r.scheme.name, r.energy(0), r.energy(last/2), r.energy(last), r.varies)
	}
}

// gains returns the gain of the balanced initialisation at a signal energy q and,
// in the wide limit with weights of that gain,
//
//	slope     gain²⟨φ'²⟩, by which a layer multiplies the mean square of gradients on their way
//	          back, and of small differences between examples on their way forward
//	response  gain²⟨zφφ'⟩/q, by which it multiplies a small relative change of the signal energy
//	          (χ of docs/theory.md, T4): above 1 the energy does not stay where it is
func gains(activation string, q float64) (gain, slope, response float64, err error) {
	phi, err := theory.ActivationByName(activation)
	if err != nil {
		return 0, 0, 0, err
	}
	work, err := phi.Efficiency(q)
	if err != nil {
		return 0, 0, 0, err
	}
	mean := func(f func(z float64) float64) float64 { return theory.Expect(f, 0, q, phi.Kinks...) }
	squares := mean(func(z float64) float64 { return phi.Derivative(z) * phi.Derivative(z) })
	change := mean(func(z float64) float64 { return z * phi.Value(z) * phi.Derivative(z) }) / q
	return work.Gain, work.Gain * work.Gain * squares, work.Gain * work.Gain * change, nil
}
