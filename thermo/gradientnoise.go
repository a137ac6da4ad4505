package thermo

import (
	"fmt"
	"math"
)

// GradientNoise estimates the covariance C of per-example gradients and the true
// gradient G of every group from batches of independent examples (T6 in
// docs/theory.md): the noise scale B_simple = tr C/|G|², the batch size at which
// noise and signal are alike (McCandlish and others, arXiv 1812.06162), and the
// temperature η tr C/(2Bk) that the noise of batches of B sustains in plain
// gradient descent with a small learning rate η.
//
// Both tr C and |G|² are unbiased for any number of examples a batch: the square
// of a mean gradient contains tr C/n, which is taken off.
type GradientNoise struct{ trace, signal grouped }

// NewGradientNoise returns an estimator for the given groups of parameters. It
// is an error when there is none, or one without parameters.
func NewGradientNoise(groups []Group) (*GradientNoise, error) {
	trace, err := newGrouped("gradient noise", groups)
	if err != nil {
		return nil, err
	}
	signal, err := newGrouped("gradient noise", groups)
	return &GradientNoise{trace, signal}, err
}

// Add adds one batch of n ≥ 2 examples: for every group the sum over examples
// Σ|g_i|², and |ḡ|² of their mean gradient. Batches should be of one size, and
// at parameters that do not move much between them.
func (g *GradientNoise) Add(n int, sumSquares, meanSquares []float64) error {
	if n < 2 {
		return fmt.Errorf("gradient noise: a batch of %d examples, expected at least two", n)
	}
	if err := g.trace.check("gradient noise: sums of squares", sumSquares); err != nil {
		return err
	}
	if err := g.signal.check("gradient noise: squares of the mean", meanSquares); err != nil {
		return err
	}
	size := float64(n)
	var allTrace, allSignal float64
	for i, sum := range sumSquares {
		trace := (sum - size*meanSquares[i]) / (size - 1)
		signal := meanSquares[i] - trace/size
		g.trace.series[i].Add(trace)
		g.signal.series[i].Add(signal)
		allTrace, allSignal = allTrace+trace, allSignal+signal
	}
	g.trace.total.Add(allTrace)
	g.signal.total.Add(allSignal)
	return nil
}

// Scales returns the noise scale of every group, in examples. It is not valid
// where |G|² is not significantly above zero: at a minimum the scale is infinite.
func (g *GradientNoise) Scales() []Reading {
	readings := make([]Reading, len(g.trace.groups))
	for i, group := range g.trace.groups {
		readings[i] = noiseScale(group.Name, &g.trace.series[i], &g.signal.series[i])
	}
	return readings
}

// Scale returns the noise scale of all groups together, in examples.
func (g *GradientNoise) Scale() Reading { return noiseScale("", &g.trace.total, &g.signal.total) }

func noiseScale(group string, trace, signal *Series) Reading {
	r := Ratio("gradient-noise scale", group, "examples", trace, signal)
	s := signal.Reading("", "", "")
	if low, _ := s.Interval(0.95); r.Invalid == "" && low <= 0 || s.Valid() && s.Value <= 0 {
		r.Invalid = fmt.Sprintf("the squared mean gradient, %v, is not significantly above zero: the gradient is all noise", s)
	}
	return r
}

// Temperatures returns, for every group, the temperature η tr C/(2Bk) that the
// noise of batches of the given size sustains at the given learning rate, in
// energy per nat. It is an error when either is not positive.
func (g *GradientNoise) Temperatures(learningRate float64, batch int) ([]Reading, error) {
	scale, err := noiseTemperature(learningRate, batch)
	if err != nil {
		return nil, err
	}
	return g.trace.readings("sgd noise", scale), nil
}

// Temperature returns the temperature of all groups together, as Temperatures.
func (g *GradientNoise) Temperature(learningRate float64, batch int) (Reading, error) {
	scale, err := noiseTemperature(learningRate, batch)
	if err != nil {
		return Reading{}, err
	}
	return g.trace.global("sgd noise", scale), nil
}

func noiseTemperature(learningRate float64, batch int) (float64, error) {
	if !(learningRate > 0) || math.IsInf(learningRate, 0) || batch < 1 {
		return 0, fmt.Errorf("gradient noise: learning rate %g and batch %d, expected both positive", learningRate, batch)
	}
	return learningRate / (2 * float64(batch)), nil
}
