package curvature

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/thermo"
)

// piecewiseLinear are the layers linear in their input but for kinks.
var piecewiseLinear = []string{
	"linear", "conv2d", "maxpool2d", "avgpool2d", "global_avgpool", "flatten", "batchnorm", "embedding",
	"position", "mean", "dropout", "add", "identity", "relu", "leaky_relu", "hardtanh", "relu6",
}

// ExactTraceCost returns the backward passes over the data that ExactTrace
// takes, or 0 and the reason why it does not apply.
//
// The Gauss-Newton matrix is a mean over examples of Σ_k J_kᵀJ_k-like terms, so
// its trace is a sum of squared gradients, of which [nn.Observation] has all.
// The Hessian is that plus Σ_k r_k ∇²z_k. If every layer is linear in its
// parameters and piecewise linear in its input, the outputs z are linear in the
// parameters of any one layer while the others are held: the diagonal of ∇²z
// vanishes, and both traces are the same, layer by layer.
func ExactTraceCost(spec nn.Spec, outputs []int, kind Kind) (passes int, reason string) {
	if kind == Hessian {
		for _, l := range spec.Layers {
			name, _, _ := strings.Cut(l.Type, "(")
			if !slices.Contains(piecewiseLinear, name) {
				return 0, fmt.Sprintf("layers of type %s bend the outputs", l.Type)
			}
		}
	}
	size := 1
	for _, d := range outputs {
		size *= d
	}
	switch {
	case spec.Loss == "ce" && len(outputs) > 1:
		return 0, "the gradients of a sequence's positions are seen together only"
	case spec.Loss == "mae":
		return 1, ""
	}
	return size, ""
}

// ExactTrace returns the trace of the Hessian or the Gauss-Newton matrix of the
// network's energy without random probes, for the networks and losses that
// ExactTraceCost names. The standard error is 0, or with population that of the
// examples, which are then taken as independent draws.
func ExactTrace[T nn.Float](network *nn.Network[T], batches []nn.Batch[T], kind Kind, population bool) (TraceResult, error) {
	passes, reason := ExactTraceCost(network.Spec, network.OutputShape(), kind)
	if passes == 0 {
		return TraceResult{}, fmt.Errorf("exact trace: %s", reason)
	}
	e := exact[T]{network: network, outputs: passes, sums: make([]moments, len(network.Groups)+1)}
	for _, b := range batches {
		var err error
		switch network.Spec.Loss {
		case "ce":
			err = e.crossEntropy(b)
		case "mse":
			err = e.squared(b)
		default: // mae has no curvature by the outputs
			e.begin(b.N)
			e.finish(b.N)
		}
		if err != nil {
			return TraceResult{}, err
		}
	}
	r := TraceResult{Whole: e.reading(len(network.Groups), len(network.Params), population)}
	for g, group := range network.Groups {
		layer := e.reading(g, group.Size, population)
		layer.Group = group.Name
		r.Layers = append(r.Layers, layer)
	}
	return r, nil
}

// exact adds up the traces of examples.
type exact[T nn.Float] struct {
	network *nn.Network[T]
	outputs int
	obs     nn.Observation
	traces  [][]float64 // [group][example] of the batch
	sums    []moments   // of every group, then of all
}

type moments struct{ n, mean, squares float64 }

func (e *exact[T]) begin(examples int) {
	e.traces = make([][]float64, len(e.network.Groups))
	for g := range e.traces {
		e.traces[g] = make([]float64, examples)
	}
}

func (e *exact[T]) finish(examples int) {
	for i := range examples {
		whole := 0.0
		for g := range e.traces {
			e.sums[g].add(e.traces[g][i])
			whole += e.traces[g][i]
		}
		e.sums[len(e.traces)].add(whole)
	}
}

// crossEntropy: S = diag(p) − ppᵀ is the covariance of the adjoint p − e_y under
// labels y drawn from p, so the trace is Σ_y p_y |∇ℓ(y)|².
func (e *exact[T]) crossEntropy(b nn.Batch[T]) error {
	e.begin(b.N)
	labels := make([]int32, b.N)
	probabilities := make([]float64, b.N*e.outputs)
	for y := range e.outputs {
		for i := range labels {
			labels[i] = int32(y)
		}
		if _, err := e.network.Backward(nn.Batch[T]{X: b.X, N: b.N, Labels: labels}, &e.obs); err != nil {
			return err
		}
		if y == 0 {
			softmax(e.network.Outputs(), e.outputs, probabilities)
		}
		for g := range e.traces {
			for i, norm2 := range e.obs.GradNorm2[g] {
				e.traces[g][i] += probabilities[i*e.outputs+y] * norm2
			}
		}
	}
	e.finish(b.N)
	return nil
}

// squared: with the targets z − (K/2)e_k the adjoint of a mean over K outputs is
// e_k, so the squared gradient is |∇z_k|²; the trace is 2/K times their sum.
func (e *exact[T]) squared(b nn.Batch[T]) error {
	if _, err := e.network.Energy(b); err != nil {
		return err
	}
	e.begin(b.N)
	outputs := slices.Clone(e.network.Outputs())
	half := T(e.outputs) / 2
	targets := slices.Clone(outputs)
	for k := range e.outputs {
		for i := range b.N {
			targets[i*e.outputs+k] -= half
		}
		if _, err := e.network.Backward(nn.Batch[T]{X: b.X, N: b.N, Y: targets}, &e.obs); err != nil {
			return err
		}
		for i := range b.N {
			targets[i*e.outputs+k] = outputs[i*e.outputs+k]
		}
		for g := range e.traces {
			for i, norm2 := range e.obs.GradNorm2[g] {
				e.traces[g][i] += 2 / float64(e.outputs) * norm2
			}
		}
	}
	e.finish(b.N)
	return nil
}

func softmax[T nn.Float](z []T, classes int, p []float64) {
	for start := 0; start < len(z); start += classes {
		row := z[start : start+classes]
		top, sum := row[0], 0.0
		for _, v := range row {
			top = max(top, v)
		}
		for j, v := range row {
			p[start+j] = math.Exp(float64(v - top))
			sum += p[start+j]
		}
		for j := range row {
			p[start+j] /= sum
		}
	}
}

func (m *moments) add(x float64) {
	m.n++
	d := x - m.mean
	m.mean += d / m.n
	m.squares += d * (x - m.mean)
}

func (e *exact[T]) reading(group, size int, population bool) thermo.Reading {
	m := e.sums[group]
	r := thermo.Reading{Name: "trace", Unit: "1", Value: m.mean + e.network.Spec.WeightDecay*float64(size)}
	if population {
		r.StdErr, r.ESS, r.DoF = math.Sqrt(m.squares/(m.n-1)/m.n), m.n, m.n-1
	}
	return r
}
