package calibration

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/optimize"

	"github.com/kelvin-ml/kelvin/thermo"
)

// A sample is logits in memory.
type sample struct {
	classes int
	z       []float64 // n × classes
	labels  []int
	fold    []int
}

// vector cross-validates vector scaling, softmax(w∘z + b), to be compared with
// temperature scaling: more parameters, which small sets do not support.
func (c *Calibration) vector(ctx context.Context, logits Source, labels []int32, o Options) error {
	c.HeldOutVector = thermo.Reading{Name: "held-out nll", Unit: "nat", Value: math.NaN(), StdErr: math.NaN()}
	most := o.VectorLimit / max(c.Classes, 1)
	if most < 10*o.Folds {
		c.HeldOutVector.Invalid = fmt.Sprintf("%d classes are too many to hold %d examples in memory", c.Classes, 10*o.Folds)
		return nil
	}
	take := func(int) bool { return true }
	if c.N > most {
		r := rand.New(rand.NewPCG(o.Seed, 3))
		chosen := map[int]bool{}
		for _, i := range r.Perm(c.N)[:most] {
			chosen[i] = true
		}
		take = func(i int) bool { return chosen[i] }
	}
	s := sample{classes: c.Classes}
	finite := true
	err := each(logits, labels, func(i int, row []float64, largest float64, label int) {
		if !take(i) {
			return
		}
		for _, z := range row {
			finite = finite && !math.IsInf(z, -1)
			s.z = append(s.z, z-largest)
		}
		s.labels = append(s.labels, label)
		s.fold = append(s.fold, len(s.fold)%o.Folds)
	})
	if err != nil {
		return err
	}
	if !finite {
		c.HeldOutVector.Invalid = "some logits are -Inf, which a bias cannot shift"
		return nil
	}
	var heldOut []float64
	for k := range o.Folds {
		if err := ctx.Err(); err != nil {
			return err
		}
		x, err := s.fit(k)
		if err != nil {
			c.HeldOutVector.Invalid = err.Error()
			return nil
		}
		for i := range s.labels {
			if s.fold[i] == k {
				heldOut = append(heldOut, s.nll(i, x, nil))
			}
		}
	}
	c.VectorExamples = len(s.labels)
	c.HeldOutVector = independent("held-out nll", heldOut)
	return nil
}

// fit returns the most probable weights and biases given the labels of all folds
// but one, under normal priors of variance 1 about no change: without them classes
// that can be separated, as in small sets of a good classifier, would drive the
// weights to infinity.
func (s *sample) fit(without int) ([]float64, error) {
	n := 0.0
	for _, f := range s.fold {
		if f != without {
			n++
		}
	}
	start := make([]float64, 2*s.classes)
	for j := range s.classes {
		start[j] = 1
	}
	pass := func(x, gradient []float64) float64 {
		clear(gradient)
		sum := 0.0
		for i := range s.labels {
			if s.fold[i] != without {
				sum += s.nll(i, x, gradient)
			}
		}
		for j, v := range x {
			d := v - start[j]
			sum += d * d / 2
			if gradient != nil {
				gradient[j] = (gradient[j] + d) / n
			}
		}
		return sum / n
	}
	result, err := optimize.Minimize(optimize.Problem{
		Func: func(x []float64) float64 { return pass(x, nil) },
		Grad: func(gradient, x []float64) { pass(x, gradient) },
	}, start, &optimize.Settings{GradientThreshold: 1e-5, MajorIterations: 200, Converger: &optimize.FunctionConverge{Relative: 1e-7, Iterations: 5}}, &optimize.LBFGS{})
	if result == nil || !(result.F < math.Inf(1)) {
		return nil, fmt.Errorf("vector scaling: %w", err)
	}
	return result.X, nil // a fit that stopped early is a fit too
}

// nll returns −log p of label i at weights and biases x, and adds its gradient.
func (s *sample) nll(i int, x, gradient []float64) float64 {
	k := s.classes
	row := s.z[i*k : (i+1)*k]
	w, b := x[:k], x[k:]
	largest := math.Inf(-1)
	for j, z := range row {
		largest = math.Max(largest, w[j]*z+b[j])
	}
	sum := 0.0
	for j, z := range row {
		sum += math.Exp(w[j]*z + b[j] - largest)
	}
	label := s.labels[i]
	if gradient != nil {
		for j, z := range row {
			p := math.Exp(w[j]*z+b[j]-largest) / sum
			if j == label {
				p--
			}
			gradient[j] += p * z
			gradient[k+j] += p
		}
	}
	return largest + math.Log(sum) - w[label]*row[label] - b[label]
}
