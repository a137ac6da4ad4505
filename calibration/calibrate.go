package calibration

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/stat"

	"github.com/kelvin-ml/kelvin/thermo"
)

// The temperatures that are looked for.
const (
	coldest = 1.0 / 64
	hottest = 64
)

// A Calibration is what the logits of a classifier say about labels it was not
// trained on.
type Calibration struct {
	N, Classes int

	// Temperature is the T of softmax(z/T) that makes the labels most likely; Low
	// and High its 95 % profile-likelihood interval.
	Temperature thermo.Reading
	Low, High   float64

	Before, After Fit

	// PerClass holds the temperature of the examples that were predicted to be of
	// each class: by label instead it would be biased, as it looks at the answer.
	PerClass []thermo.Reading

	// Held out, mean over the folds: NLL of examples that the fit did not see.
	Folds            int
	HeldOut          thermo.Reading // temperature scaling
	HeldOutVector    thermo.Reading // vector scaling; not valid if it was not fitted
	HeldOutUnchanged thermo.Reading // the logits as they are
	VectorExamples   int            // that vector scaling was fitted on; 0 if it was not
}

// A Fit says how well probabilities fit the labels.
type Fit struct {
	NLL      thermo.Reading // mean −log p of the label, nats
	ECE      thermo.Reading // expected calibration error of the predicted class, 15 bins of equal width
	Accuracy thermo.Reading
	Bins     []Bin
}

// A Bin is the predictions of nearly one confidence.
type Bin struct {
	Count      int
	Confidence float64 // mean probability of the predicted class
	Accuracy   float64 // share that was right
}

const (
	bins       = 15
	replicates = 100 // of the bootstrap behind the error of the ECE
)

// Options set what Calibrate does beyond the temperature.
type Options struct {
	Seed  uint64
	Folds int // of the cross-validation; 0 for none
	// VectorLimit is the largest number of logits that are held in memory for
	// vector scaling, a weight and a bias for every class; above it a random part
	// of the examples is taken.
	VectorLimit int
}

// Calibrate reads the temperature of labels off logits. Examples are taken to be
// independent. A temperature that does not exist, as when every prediction is
// right, is a reading that is not valid, and After is then Before.
func Calibrate(ctx context.Context, logits Source, labels []int32, o Options) (*Calibration, error) {
	c := &Calibration{N: len(labels), Folds: o.Folds}
	fold := foldsOf(o.Seed, len(labels), o.Folds)
	parts, err := c.read(ctx, logits, labels, fold)
	if err != nil {
		return nil, err
	}
	all, err := parts.merged(func(key) bool { return true })
	if err != nil {
		return nil, err
	}
	c.Temperature = all.Reading("temperature", "", "1")
	c.Low, c.High = all.Interval(0.95)
	for class := range min(c.Classes, maxPerClass) {
		l, err := parts.merged(func(k key) bool { return k.class == class })
		if err != nil {
			return nil, err
		}
		c.PerClass = append(c.PerClass, l.Reading("temperature", fmt.Sprint(class), "1"))
	}
	scales := make([]float64, o.Folds)
	for i := range scales {
		l, err := parts.merged(func(k key) bool { return k.fold != i })
		if err != nil {
			return nil, err
		}
		scales[i] = scaleOf(l.Reading("", "", ""))
	}
	if err := c.assess(ctx, logits, labels, scaleOf(c.Temperature), scales, fold, o.Seed); err != nil {
		return nil, err
	}
	if o.Folds > 1 && o.VectorLimit > 0 {
		err = c.vector(ctx, logits, labels, o)
	}
	return c, err
}

// scaleOf returns the temperature to divide logits by: 1 if there is none.
func scaleOf(r thermo.Reading) float64 {
	if r.Valid() {
		return r.Value
	}
	return 1
}

// A key names a part of the examples: those predicted to be of a class, or all
// beyond maxPerClass, in a fold.
type key struct{ class, fold int }

// parts are thermometers of disjoint parts, so that every example is read once.
type parts map[key]*thermo.Likelihood

func (p parts) merged(of func(key) bool) (*thermo.Likelihood, error) {
	sum, err := thermo.NewLikelihood(coldest, hottest)
	for k, l := range p {
		if err == nil && of(k) {
			err = sum.Merge(l)
		}
	}
	return sum, err
}

// read passes over the examples.
func (c *Calibration) read(ctx context.Context, logits Source, labels []int32, fold []int) (parts, error) {
	p := parts{}
	var energies []float64
	var failed error
	err := each(logits, labels, func(i int, row []float64, largest float64, label int) {
		if c.Classes = len(row); failed != nil {
			return
		}
		if failed = ctx.Err(); failed != nil {
			return
		}
		k := key{class: min(argmax(row), maxPerClass)}
		if fold != nil {
			k.fold = fold[i]
		}
		if p[k] == nil {
			if p[k], failed = thermo.NewLikelihood(coldest, hottest); failed != nil {
				return
			}
		}
		if energies = excess(energies[:0], row, largest, label); len(energies) > 1 {
			failed = p[k].Add(energies, 0)
		}
	})
	if err == nil {
		err = failed
	}
	return p, err
}

// maxPerClass bounds the classes that have a temperature of their own.
const maxPerClass = 1000

// foldsOf deals examples to folds at random.
func foldsOf(seed uint64, n, folds int) []int {
	if folds < 1 {
		return nil
	}
	fold := make([]int, n)
	for i := range fold {
		fold[i] = i % folds
	}
	rand.New(rand.NewPCG(seed, 1)).Shuffle(n, func(i, j int) { fold[i], fold[j] = fold[j], fold[i] })
	return fold
}

// excess appends the energies −z of a row, that of the label first, without
// choices that cannot be made (−Inf).
func excess(to, row []float64, largest float64, label int) []float64 {
	to = append(to, largest-row[label])
	for j, z := range row {
		if j != label && !math.IsInf(z, -1) {
			to = append(to, largest-z)
		}
	}
	return to
}

func argmax(row []float64) int {
	best := 0
	for j, z := range row {
		if z > row[best] {
			best = j
		}
	}
	return best
}

// assess measures the fit of the logits as they are, over the temperature, and of
// held-out examples.
func (c *Calibration) assess(ctx context.Context, logits Source, labels []int32, scale float64, scales []float64, fold []int, seed uint64) error {
	before, after := newTally(seed), newTally(seed)
	var heldOut, unchanged []float64
	err := each(logits, labels, func(i int, row []float64, largest float64, label int) {
		predicted := argmax(row)
		nll := before.add(row, largest, label, predicted, 1)
		after.add(row, largest, label, predicted, scale)
		if fold != nil {
			heldOut = append(heldOut, (largest-row[label])/scales[fold[i]]+logSum(row, largest, scales[fold[i]]))
			unchanged = append(unchanged, nll)
		}
	})
	if err != nil {
		return err
	}
	c.Before, c.After = before.fit(), after.fit()
	if fold != nil {
		c.HeldOut, c.HeldOutUnchanged = independent("held-out nll", heldOut), independent("held-out nll", unchanged)
	}
	return ctx.Err()
}

// independent is the mean of independent draws.
func independent(name string, xs []float64) thermo.Reading {
	mean, sd := stat.MeanStdDev(xs, nil)
	n := float64(len(xs))
	return thermo.Reading{Name: name, Unit: "nat", Value: mean, StdErr: sd / math.Sqrt(n), ESS: n, DoF: n - 1}
}

// logSum returns log Σ e^{(z − largest)/T}.
func logSum(row []float64, largest, t float64) float64 {
	sum := 0.0
	for _, z := range row {
		sum += math.Exp((z - largest) / t)
	}
	return math.Log(sum)
}

// A tally sums up predictions, and bootstrap replicates of them: in each an
// example counts a Poisson number of times, so that one pass will do.
type tally struct {
	n                float64
	nll, nll2, right float64
	bins             [bins]struct{ count, confidence, right float64 }
	replicates       [replicates][bins]struct{ count, gap float64 }
	random           *rand.Rand
}

func newTally(seed uint64) *tally {
	return &tally{random: rand.New(rand.NewPCG(seed, 2))}
}

// add adds an example at a temperature, and returns −log p of its label.
func (t *tally) add(row []float64, largest float64, label, predicted int, temperature float64) float64 {
	z := logSum(row, largest, temperature)
	nll := (largest-row[label])/temperature + z
	confidence, right := math.Exp(-z), 0.0
	if label == predicted {
		right = 1
	}
	t.n++
	t.nll += nll
	t.nll2 += nll * nll
	t.right += right
	i := min(int(confidence*bins), bins-1)
	b := &t.bins[i]
	b.count++
	b.confidence += confidence
	b.right += right
	for k := range t.replicates {
		if w := poisson(t.random); w > 0 {
			r := &t.replicates[k][i]
			r.count += w
			r.gap += w * (confidence - right)
		}
	}
	return nll
}

// poisson draws from the Poisson distribution of mean 1 by inversion.
func poisson(r *rand.Rand) float64 {
	u := r.Float64()
	n, p := 0.0, 1/math.E
	for ; u > p && n < 20; n++ {
		u -= p
		p /= n + 1
	}
	return n
}

func (t *tally) fit() Fit {
	mean := t.nll / t.n
	variance := math.Max(t.nll2/t.n-mean*mean, 0) * t.n / math.Max(t.n-1, 1)
	accuracy := t.right / t.n
	f := Fit{
		NLL:      thermo.Reading{Name: "nll", Unit: "nat", Value: mean, StdErr: math.Sqrt(variance / t.n), ESS: t.n},
		Accuracy: thermo.Reading{Name: "accuracy", Unit: "1", Value: accuracy, StdErr: math.Sqrt(accuracy * (1 - accuracy) / t.n), ESS: t.n},
		ECE:      thermo.Reading{Name: "ece", Unit: "1", ESS: t.n},
	}
	for _, b := range t.bins {
		if b.count > 0 {
			f.Bins = append(f.Bins, Bin{int(b.count), b.confidence / b.count, b.right / b.count})
		}
		f.ECE.Value += math.Abs(b.confidence-b.right) / t.n
	}
	eces := make([]float64, replicates)
	for k, replicate := range t.replicates {
		total := 0.0
		for _, b := range replicate {
			eces[k] += math.Abs(b.gap)
			total += b.count
		}
		eces[k] /= total
	}
	f.ECE.StdErr = stat.StdDev(eces, nil)
	return f
}
