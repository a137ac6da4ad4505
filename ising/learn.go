package ising

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
	"gonum.org/v1/gonum/mat"

	"github.com/kelvin-ml/kelvin/thermo"
)

// LearnOptions says what to learn the critical temperature from.
type LearnOptions struct {
	Sizes          []int   // L, ascending, each even
	Seeds          int     // networks a size, each trained and tested on configurations of its own
	PerTemperature int     // configurations at each temperature
	Decay          float64 // weight decay, see [Train]
	Gap            float64 // temperatures closer to Tc than this are not trained on
	Seed           uint64
	// Progress, if not nil, is called after each of the Sizes × Seeds networks.
	Progress func()
}

// Number is a float64 that JSON shows as null where it is not finite: a network
// that learned nothing has no threshold.
type Number float64

// MarshalJSON writes the number or null.
func (x Number) MarshalJSON() ([]byte, error) {
	if v := float64(x); !math.IsNaN(v) && !math.IsInf(v, 0) {
		return json.Marshal(v)
	}
	return []byte("null"), nil
}

// Learned is what networks of one size found, over seeds.
type Learned struct {
	Size int `json:"size"`
	// Undecided networks have an output that never crosses one half in the test
	// temperatures; means are over the others, but for Accuracy and Curve.
	Undecided int `json:"undecided"`
	// Tc is where the mean output of the network without a hidden layer
	// crosses one half; its error is over seeds.
	Tc          thermo.Reading `json:"tc"`
	Threshold   Number         `json:"threshold_magnetization"`
	ThresholdTc Number         `json:"threshold_tc"` // T where ⟨|m|⟩ = m*
	WeightCV    Number         `json:"weight_cv"`
	Against     Number         `json:"weights_against"` // share of the weights whose sign is not that of their mean
	Counting    Number         `json:"counting"`        // share of the log odds' variance at fixed T that |m| explains
	Accuracy    float64        `json:"accuracy"`
	TwoUnits    TwoUnits       `json:"two_units"`
	PCA         Component      `json:"pca"`
	Curve       Curve          `json:"curve"`
	Weights     []float64      `json:"-"` // of the last seed, without a hidden layer
}

// TwoUnits is what the network with two hidden units found, which is not told
// of the Z₂ symmetry.
type TwoUnits struct {
	Undecided int            `json:"undecided"`
	Tc        thermo.Reading `json:"tc"`
	Threshold Number         `json:"threshold_magnetization"`
	WeightCV  Number         `json:"weight_cv"`
	Against   Number         `json:"weights_against"`
	Symmetry  Number         `json:"symmetry"` // |cos| between its units; 1: one pattern, two signs
}

// Component is the first principal component, found without labels.
type Component struct {
	Share      float64 `json:"variance_share"`
	Uniformity float64 `json:"uniformity"` // 1: it is the magnetisation
}

// Curve is means over seeds at each test temperature.
type Curve struct {
	Temperature []float64 `json:"temperature"`
	Output      []float64 `json:"output"`
	OutputErr   []float64 `json:"output_stderr"`
	AbsM        []float64 `json:"abs_magnetization"`
	AbsMErr     []float64 `json:"abs_magnetization_stderr"`
}

// Learning is the whole study.
type Learning struct {
	Sizes        []Learned      `json:"sizes"`
	Extrapolated thermo.Reading `json:"extrapolated"` // L → ∞ of Tc(L) = Tc + (a + b ln L)/L
	Exact        float64        `json:"exact"`
}

// Validate says what is wrong with the options.
func (o LearnOptions) Validate() error {
	if len(o.Sizes) == 0 {
		return errors.New("no sizes")
	}
	for i, size := range o.Sizes {
		if err := (Model{Square, size, 1, 0}).Validate(); err != nil {
			return err
		}
		if size > 256 {
			return fmt.Errorf("size %d: a network of every spin is trained up to 256", size)
		}
		if i > 0 && size <= o.Sizes[i-1] {
			return errors.New("sizes are not in ascending order")
		}
	}
	if o.Seeds < 2 || o.Seeds > 1000 {
		return fmt.Errorf("%d seeds: expected 2 (for an error) to 1000", o.Seeds)
	}
	if o.PerTemperature < 2 || o.PerTemperature > 1e6 {
		return fmt.Errorf("%d configurations a temperature: expected 2 to 1000000", o.PerTemperature)
	}
	if !(o.Decay >= 0) || math.IsInf(o.Decay, 1) {
		return fmt.Errorf("weight decay %g: expected a number from 0", o.Decay)
	}
	if !(o.Gap >= 0 && o.Gap <= 0.6) {
		return fmt.Errorf("gap %g: expected 0 to 0.6", o.Gap)
	}
	return nil
}

// temperatures returns one temperature drawn from each of many equal steps, so
// that no seed has the critical point at the same place between two of them.
func temperatures(low, high, step float64, rng *rand.Rand) []float64 {
	var list []float64
	for k := range int(math.Round((high - low) / step)) {
		list = append(list, low+step*(float64(k)+rng.Float64()))
	}
	return list
}

// training spans both phases; the gap is left out.
func (o LearnOptions) training(rng *rand.Rand) []float64 {
	return slices.DeleteFunc(temperatures(1.6, 2.95, 0.01, rng), func(t float64) bool { return math.Abs(t-Tc) < o.Gap })
}

// testTemperatures cover the transition of the smallest lattices too.
var testTemperatures = func() (list []float64) {
	for k := range 41 {
		list = append(list, 2.05+0.015*float64(k))
	}
	return list
}()

// trial is one seed's pair of networks.
type trial struct {
	single, double Explanation
	pca            PCA
	weights        []float64
	err            error
}

// Learn trains networks on labelled configurations and explains what they
// found (Alamino, arXiv 2402.11701; docs/theory.md, T9). A context that ends
// leaves the sizes that were completed, beside the error.
func Learn(ctx context.Context, o LearnOptions) (Learning, error) {
	result := Learning{Exact: Tc}
	if err := o.Validate(); err != nil {
		return result, err
	}
	for _, size := range o.Sizes {
		trials := make([]trial, o.Seeds)
		group, groupCtx := errgroup.WithContext(ctx)
		group.SetLimit(runtime.GOMAXPROCS(0))
		for seed := range trials {
			group.Go(func() error {
				trials[seed] = o.try(groupCtx, size, o.Seed+uint64(seed))
				if o.Progress != nil && trials[seed].err == nil {
					o.Progress()
				}
				return trials[seed].err
			})
		}
		if err := group.Wait(); err != nil {
			return result.extrapolate(), fmt.Errorf("learning size %d: %w", size, err)
		}
		result.Sizes = append(result.Sizes, summarise(size, trials))
	}
	return result.extrapolate(), nil
}

// try trains and explains both networks of one size and seed.
func (o LearnOptions) try(ctx context.Context, size int, seed uint64) (t trial) {
	var train, test *Samples
	rng := rand.New(rand.NewPCG(seed, uint64(size)))
	if train, t.err = Sample(ctx, size, o.training(rng), o.PerTemperature, rng.Uint64()); t.err != nil {
		return t
	}
	if test, t.err = Sample(ctx, size, testTemperatures, 2*o.PerTemperature, rng.Uint64()); t.err != nil {
		return t
	}
	for _, hidden := range []int{0, 2} {
		c, err := Train(ctx, train, hidden, o.Decay, seed)
		if err != nil {
			t.err = err
			return t
		}
		e, err := c.Explain(test)
		if err != nil {
			t.err = fmt.Errorf("%d hidden units, seed %d: %w", hidden, seed, err)
			return t
		}
		if hidden == 0 {
			t.single, t.weights = e, c.Units()[0]
		} else {
			t.double = e
		}
	}
	t.pca, t.err = PrincipalComponent(test)
	return t
}

// LearnedNothing tells whether the networks without a hidden layer have no
// critical temperature, or a threshold that is no magnetisation.
func (l Learned) LearnedNothing() bool {
	return !l.Tc.Valid() || !(l.Threshold >= 0 && l.Threshold <= 1)
}

// summarise takes means over seeds.
func summarise(size int, trials []trial) Learned {
	// Those that are never undecided have neither a critical temperature nor
	// weights that mean anything.
	decided := func(of func(trial) Explanation) (list []Explanation) {
		for _, t := range trials {
			if e := of(t); !math.IsNaN(e.Tc) {
				list = append(list, e)
			}
		}
		return list
	}
	tc := func(found []Explanation) thermo.Reading {
		m, stderr := meanOver(found, func(e Explanation) float64 { return e.Tc })
		r := thermo.Reading{Name: "tc", Unit: "energy/nat", Value: m, StdErr: stderr, ESS: float64(len(found)), DoF: float64(max(0, len(found)-1))}
		if missing := len(trials) - len(found); 2*missing > len(trials) || len(found) < 2 {
			r.Invalid = fmt.Sprintf("%d of %d networks are never undecided in the temperatures given", missing, len(trials))
		}
		return r
	}
	number := func(found []Explanation, pick func(Explanation) float64) Number {
		m, _ := meanOver(found, pick)
		return Number(m)
	}
	mean := func(pick func(trial) float64) float64 {
		m, _ := meanOver(trials, pick)
		return m
	}
	threshold := func(e Explanation) float64 { return e.Threshold }
	cv := func(e Explanation) float64 { return e.WeightCV }
	against := func(e Explanation) float64 { return e.Against }
	single, double := decided(func(t trial) Explanation { return t.single }), decided(func(t trial) Explanation { return t.double })
	l := Learned{
		Size:        size,
		Undecided:   len(trials) - len(single),
		Tc:          tc(single),
		Threshold:   number(single, threshold),
		ThresholdTc: number(single, func(e Explanation) float64 { return e.ThresholdTc }),
		WeightCV:    number(single, cv),
		Against:     number(single, against),
		Counting:    number(single, func(e Explanation) float64 { return e.Counting }),
		Accuracy:    mean(func(t trial) float64 { return t.single.Accuracy }),
		TwoUnits: TwoUnits{
			Undecided: len(trials) - len(double),
			Tc:        tc(double),
			Threshold: number(double, threshold),
			WeightCV:  number(double, cv),
			Against:   number(double, against),
			Symmetry:  number(double, func(e Explanation) float64 { return e.Symmetry }),
		},
		PCA: Component{
			Share:      mean(func(t trial) float64 { return t.pca.Share }),
			Uniformity: mean(func(t trial) float64 { return t.pca.Uniformity }),
		},
		Weights: trials[len(trials)-1].weights,
	}
	for i, t := range trials[0].single.Temperatures {
		out, stderr := meanOver(trials, func(t trial) float64 { return t.single.Output[i] })
		l.Curve.Temperature = append(l.Curve.Temperature, t)
		l.Curve.Output = append(l.Curve.Output, out)
		l.Curve.OutputErr = append(l.Curve.OutputErr, stderr)
		m, stderr := meanOver(trials, func(t trial) float64 { return t.single.AbsM[i] })
		l.Curve.AbsM, l.Curve.AbsMErr = append(l.Curve.AbsM, m), append(l.Curve.AbsMErr, stderr)
	}
	return l
}

// meanOver returns the mean over independent trials and its standard error.
func meanOver[T any](trials []T, pick func(T) float64) (mean, stderr float64) {
	n := float64(len(trials))
	if n == 0 {
		return math.NaN(), math.NaN()
	}
	for _, t := range trials {
		mean += pick(t) / n
	}
	var sum float64
	for _, t := range trials {
		sum += (pick(t) - mean) * (pick(t) - mean)
	}
	return mean, math.Sqrt(sum / (n * (n - 1)))
}

// maxExtrapolationError is half of what lies between the largest training
// temperature and Tc, about: with a larger error nothing was extrapolated.
const maxExtrapolationError = 0.3

// extrapolate fits Tc(L) = Tc + (a + b ln L)/L. A threshold m* that followed
// the magnetisation at Tc down, as L^(−1/8), would be crossed at Tc + a/L, the
// finite-size shift of ν = 1. The networks' threshold goes another way, since
// they see the same window of temperatures at every size: m*·L^(1/8) drifts,
// slowly, and a with it. Seeds scatter as 1/L, so all sizes together tell by how much.
// Three sizes would fit the three terms whatever they are, so four are the least.
func (l Learning) extrapolate() Learning {
	l.Extrapolated = thermo.Reading{Name: "tc", Unit: "energy/nat", Value: math.NaN(), StdErr: math.NaN()}
	const terms = 3
	n := len(l.Sizes)
	if n <= terms {
		l.Extrapolated.Invalid = fmt.Sprintf("an extrapolation of three terms needs four sizes or more, got %d", n)
		return l
	}
	rows, y := mat.NewDense(n, terms, nil), mat.NewVecDense(n, nil) // times L, so that all scatter alike
	var scatter float64
	for i, s := range l.Sizes {
		if !s.Tc.Valid() {
			l.Extrapolated.Invalid = fmt.Sprintf("size %d has no critical temperature: %s", s.Size, s.Tc.Invalid)
			return l
		}
		size := float64(s.Size)
		rows.SetRow(i, []float64{size, 1, math.Log(size)})
		y.SetVec(i, size*s.Tc.Value)
		scatter += size * size * s.Tc.StdErr * s.Tc.StdErr / float64(n)
		l.Extrapolated.DoF += s.Tc.DoF
	}
	var normal, inverse mat.Dense
	normal.Mul(rows.T(), rows)
	if err := inverse.Inverse(&normal); err != nil && !errors.As(err, new(mat.Condition)) {
		l.Extrapolated.Invalid = err.Error()
		return l
	}
	var right, fit, residual mat.VecDense
	right.MulVec(rows.T(), y)
	fit.MulVec(&inverse, &right)
	residual.MulVec(rows, &fit)
	residual.SubVec(y, &residual)
	scatter = max(scatter, mat.Dot(&residual, &residual)/float64(n-terms)) // the form may not be the whole truth
	variance := scatter * inverse.At(0, 0)
	l.Extrapolated.Value, l.Extrapolated.StdErr = fit.AtVec(0), math.Sqrt(variance)
	switch tc := l.Extrapolated.Value; {
	case math.IsNaN(tc) || math.IsNaN(variance):
		l.Extrapolated.Invalid = "no spread between seeds"
	case l.Extrapolated.StdErr > maxExtrapolationError:
		l.Extrapolated.Invalid = fmt.Sprintf("%s: these sizes and seeds do not tell, larger sizes or more seeds do", thermo.FormatError(tc, l.Extrapolated.StdErr))
	}
	return l
}
