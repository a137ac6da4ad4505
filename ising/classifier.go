package ising

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/optimize"

	"github.com/kelvin-ml/kelvin/nn"
)

// Classifier is a network that tells ordered from disordered configurations.
type Classifier struct {
	Size    int
	Hidden  int // 0, or 2 units
	Loss    float64
	network *nn.Network[float64]
}

// Train fits a classifier of the configurations below Tc (ordered) and above
// to convergence, by L-BFGS on the cross entropy plus (decay/2)(N|w|² + |v|²)
// of the weights w on the N spins and v on the hidden units: a uniform w costs
// the same at every size. With hidden 0 it sees every configuration with
// its magnetisation turned up, which is the Z₂ symmetry put in by hand; with
// hidden 2 it sees them as they are, and keeps the better of two starts.
func Train(ctx context.Context, s *Samples, hidden int, decay float64, seed uint64) (*Classifier, error) {
	if hidden != 0 && hidden != 2 {
		return nil, fmt.Errorf("%d hidden units: expected 0 or 2", hidden)
	}
	if !(decay >= 0) || math.IsInf(decay, 1) {
		return nil, fmt.Errorf("weight decay %g: expected a number from 0", decay)
	}
	sites := s.Size * s.Size
	arch, starts := fmt.Sprintf("%d-2", sites), 1
	if hidden == 2 {
		arch, starts = fmt.Sprintf("%d-2-2:sigmoid", sites), 2
	}
	spec, err := nn.ParseArch(arch, "ce")
	if err != nil {
		return nil, err
	}
	batch := s.batch(hidden == 0)
	var best *Classifier
	for start := range starts {
		c := &Classifier{Size: s.Size, Hidden: hidden}
		if c.network, err = nn.New[float64](spec); err != nil {
			return nil, err
		}
		if err := c.fit(ctx, batch, decay, rand.New(rand.NewPCG(seed, uint64(start)))); err != nil {
			return nil, fmt.Errorf("training the %s network: %w", arch, err)
		}
		if best == nil || c.Loss < best.Loss {
			best = c
		}
	}
	return best, nil
}

// batch turns samples into what a network reads; label 1 is ordered.
func (s *Samples) batch(turnUp bool) nn.Batch[float64] {
	b := nn.Batch[float64]{X: make([]float64, len(s.Spins)), N: s.Len(), Labels: make([]int32, s.Len())}
	sites := s.Size * s.Size
	for i := range s.Len() {
		sign := 1.0
		if turnUp && s.Magnetisation(i) < 0 {
			sign = -1
		}
		for k, x := range s.Configuration(i) {
			b.X[i*sites+k] = sign * float64(x)
		}
		if s.Temperature[i] < Tc {
			b.Labels[i] = 1
		}
	}
	return b
}

// fit minimises the energy of the whole batch.
func (c *Classifier) fit(ctx context.Context, b nn.Batch[float64], decay float64, rng *rand.Rand) error {
	n := c.network
	if c.Hidden == 0 {
		clear(n.Params) // convex: one start serves
	} else if err := n.Init("glorot", rng); err != nil {
		return err
	}
	var failed error
	last := make([]float64, 0, len(n.Params))
	var energy float64
	evaluate := func(x []float64) {
		if len(last) == len(x) && equal(last, x) {
			return
		}
		last = append(last[:0], x...)
		copy(n.Params, x)
		if energy, failed = n.Backward(b, nil); failed != nil {
			energy = math.Inf(1)
			return
		}
		for layer, g := range n.Groups {
			strength := decay
			if layer == 0 {
				strength *= float64(c.Size * c.Size)
			}
			w := g.Tensors[0]
			for i := w.Offset; i < w.Offset+w.Size(); i++ {
				energy += strength / 2 * x[i] * x[i]
				n.Grad[i] += strength * x[i]
			}
		}
	}
	problem := optimize.Problem{
		Func: func(x []float64) float64 { evaluate(x); return energy },
		Grad: func(grad, x []float64) { evaluate(x); copy(grad, n.Grad) },
		Status: func() (optimize.Status, error) {
			return optimize.NotTerminated, errors.Join(ctx.Err(), failed)
		},
	}
	start := append([]float64(nil), n.Params...)
	result, err := optimize.Minimize(problem, start, &optimize.Settings{MajorIterations: 100, GradientThreshold: 1e-5}, &optimize.LBFGS{})
	if err := errors.Join(ctx.Err(), failed); err != nil {
		return err
	}
	if result == nil {
		return err
	}
	// A line search that can gain nothing more has arrived as well.
	copy(n.Params, result.X)
	c.Loss = result.F
	return nil
}

func equal(a, b []float64) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// tensor returns tensor k of layer g.
func (c *Classifier) tensor(g, k int) []float64 {
	t := c.network.Groups[g].Tensors[k]
	return c.network.Params[t.Offset : t.Offset+t.Size()]
}

// logit returns the log odds of "ordered" of one input.
func (c *Classifier) logit(x []float64) float64 {
	b := nn.Batch[float64]{X: x, N: 1, Labels: []int32{0}}
	if _, err := c.network.Energy(b); err != nil {
		return math.NaN()
	}
	z := c.network.Outputs()
	return z[1] - z[0]
}

// Logits returns the log odds of "ordered" for each configuration.
func (c *Classifier) Logits(s *Samples) ([]float64, error) {
	if s.Size != c.Size {
		return nil, fmt.Errorf("a network for size %d cannot read size %d", c.Size, s.Size)
	}
	if _, err := c.network.Energy(s.batch(c.Hidden == 0)); err != nil {
		return nil, err
	}
	z := c.network.Outputs()
	out := make([]float64, s.Len())
	for i := range out {
		out[i] = z[2*i+1] - z[2*i]
	}
	return out, nil
}

// Units returns the weights of each unit that reads the spins: one row of w₁ −
// w₀ without a hidden layer, else one a hidden unit.
func (c *Classifier) Units() [][]float64 {
	w := c.tensor(0, 0)
	sites := c.Size * c.Size
	if c.Hidden == 0 {
		row := make([]float64, sites)
		for i := range row {
			row[i] = w[sites+i] - w[i]
		}
		return [][]float64{row}
	}
	return [][]float64{w[:sites], w[sites : 2*sites]}
}

// Threshold returns m*, the magnetisation at which the network is undecided:
// −b/Σw without a hidden layer, else where its log odds of a uniform input
// s = m cross zero; NaN when they do not.
func (c *Classifier) Threshold() float64 {
	if c.Hidden == 0 {
		b := c.tensor(0, 1)
		var sum float64
		for _, w := range c.Units()[0] {
			sum += w
		}
		return -(b[1] - b[0]) / sum
	}
	x := make([]float64, c.Size*c.Size)
	at := func(m float64) float64 {
		for i := range x {
			x[i] = m
		}
		return c.logit(x)
	}
	low, high := 0.0, 1.0
	if !(at(low) < 0) || !(at(high) > 0) {
		return math.NaN()
	}
	for range 50 {
		if middle := (low + high) / 2; at(middle) < 0 {
			low = middle
		} else {
			high = middle
		}
	}
	return (low + high) / 2
}

// WeightCV returns the standard deviation of the weights on the spins over the
// size of their mean, the mean over units: 0 when the network counts
// magnetisation and nothing else, above 1 when its weights are mostly noise.
func (c *Classifier) WeightCV() float64 {
	units := c.Units()
	var sum float64
	for _, w := range units {
		mean, variance := 0.0, 0.0
		for _, x := range w {
			mean += x / float64(len(w))
		}
		for _, x := range w {
			variance += (x - mean) * (x - mean) / float64(len(w))
		}
		sum += math.Sqrt(variance) / math.Abs(mean)
	}
	return sum / float64(len(units))
}

// Against returns the share of the weights on the spins whose sign is not that
// of their mean, the mean over units: 0 when all count, ½ when they are noise.
func (c *Classifier) Against() float64 {
	units := c.Units()
	var share float64
	for _, w := range units {
		var sum float64
		for _, x := range w {
			sum += x
		}
		for _, x := range w {
			if x*sum < 0 {
				share += 1 / float64(len(w)*len(units))
			}
		}
	}
	return share
}

// Symmetry returns |cos| of the angle between the weights of the two hidden
// units: 1 when the network has found the Z₂ symmetry, both units reading one
// pattern with a threshold on either side. It is NaN without a hidden layer.
func (c *Classifier) Symmetry() float64 {
	units := c.Units()
	if len(units) != 2 {
		return math.NaN()
	}
	var ab, aa, bb float64
	for i, a := range units[0] {
		b := units[1][i]
		ab, aa, bb = ab+a*b, aa+a*a, bb+b*b
	}
	return math.Abs(ab) / math.Sqrt(aa*bb)
}
