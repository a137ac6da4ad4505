package nn

import (
	"fmt"
	"math"

	"github.com/kelvin-ml/kelvin/nn/internal/kernel"
)

// An OptimizerSpec names an optimiser and its constants, with PyTorch's
// meanings. Beta1, Beta2 and Epsilon of zero mean PyTorch's 0.9, 0.999 and 1e-8.
type OptimizerSpec struct {
	Kind         string  `json:"kind"` // "sgd", "adam" or "adamw"
	LearningRate float64 `json:"learning_rate"`
	Momentum     float64 `json:"momentum,omitempty"`     // sgd
	WeightDecay  float64 `json:"weight_decay,omitempty"` // decoupled for adamw; for the others wd·θ joins the gradient
	Beta1        float64 `json:"beta1,omitempty"`        // adam, adamw
	Beta2        float64 `json:"beta2,omitempty"`        // adam, adamw
	Epsilon      float64 `json:"epsilon,omitempty"`      // adam, adamw
}

// An Optimizer changes parameters by gradients, by the formulas of torch.optim.
// Its state is Steps and Buffers: an optimiser of the same OptimizerSpec with
// the same state continues exactly.
type Optimizer[T Float] struct {
	Spec       OptimizerSpec // LearningRate may be changed between steps
	Steps      int64         // taken so far
	KeepUpdate bool          // record θ' − θ of each step for Update

	first, second, update []T
}

// A Buffer is one named vector of an optimiser's state.
type Buffer[T Float] struct {
	Name string // as in torch.optim: "momentum_buffer", "exp_avg", "exp_avg_sq"
	Data []T    // shared with the optimiser: read it to save, write it to resume
}

// NewOptimizer returns an optimiser for vectors of size parameters.
func NewOptimizer[T Float](spec OptimizerSpec, size int) (*Optimizer[T], error) {
	for _, c := range []struct {
		value *float64
		unset float64
	}{{&spec.Beta1, 0.9}, {&spec.Beta2, 0.999}, {&spec.Epsilon, 1e-8}} {
		if *c.value == 0 && spec.Kind != "sgd" {
			*c.value = c.unset
		}
	}
	atLeast0 := func(xs ...float64) bool {
		for _, x := range xs {
			if !(x >= 0) || math.IsInf(x, 0) {
				return false
			}
		}
		return true
	}
	if !atLeast0(spec.LearningRate, spec.Momentum, spec.WeightDecay, spec.Beta1, spec.Beta2, spec.Epsilon) ||
		spec.Momentum >= 1 || spec.Beta1 >= 1 || spec.Beta2 >= 1 {
		return nil, fmt.Errorf("optimizer %+v: expected finite constants ≥ 0, and momentum and betas < 1", spec)
	}
	if size < 0 {
		return nil, fmt.Errorf("optimizer: expected a number of parameters, got %d", size)
	}
	o := &Optimizer[T]{Spec: spec}
	switch spec.Kind {
	case "sgd":
		if spec.Momentum > 0 {
			o.first = make([]T, size)
		}
	case "adam", "adamw":
		if spec.Momentum != 0 {
			return nil, fmt.Errorf("optimizer %s: momentum is sgd's; use beta1", spec.Kind)
		}
		o.first, o.second = make([]T, size), make([]T, size)
	default:
		return nil, fmt.Errorf("optimizer %q: expected sgd, adam or adamw", spec.Kind)
	}
	return o, nil
}

// Buffers returns the state vectors, none for plain sgd.
func (o *Optimizer[T]) Buffers() []Buffer[T] {
	switch {
	case o.second != nil:
		return []Buffer[T]{{"exp_avg", o.first}, {"exp_avg_sq", o.second}}
	case o.first != nil:
		return []Buffer[T]{{"momentum_buffer", o.first}}
	}
	return nil
}

// Update returns θ' − θ of the last step; nil unless KeepUpdate was set before
// it. The slice is overwritten by the next step.
func (o *Optimizer[T]) Update() []T { return o.update }

// Step changes params by one step along grad, which it leaves alone.
func (o *Optimizer[T]) Step(params, grad []T) {
	o.Steps++
	if o.KeepUpdate {
		o.update = fit(o.update, len(params))
		copy(o.update, params)
	} else {
		o.update = nil
	}
	if o.Spec.Kind == "sgd" {
		o.sgd(params, grad)
	} else {
		o.adam(params, grad)
	}
	for i, old := range o.update {
		o.update[i] = params[i] - old
	}
}

// sgd follows torch.optim.SGD with dampening 0.
func (o *Optimizer[T]) sgd(params, grad []T) {
	lr, momentum, decay := T(o.Spec.LearningRate), T(o.Spec.Momentum), T(o.Spec.WeightDecay)
	grad = grad[:len(params)]
	if o.first == nil && decay == 0 {
		kernel.Axpy(-lr, grad, params)
		return
	}
	if o.first == nil {
		for i, g := range grad {
			params[i] -= lr * (g + decay*params[i])
		}
		return
	}
	kernel.Momentum(lr, momentum, decay, params, o.first[:len(params)], grad)
}

// adam follows torch.optim.Adam and AdamW.
func (o *Optimizer[T]) adam(params, grad []T) {
	s := o.Spec
	correction1 := 1 - math.Pow(s.Beta1, float64(o.Steps))
	correction2 := math.Sqrt(1 - math.Pow(s.Beta2, float64(o.Steps)))
	step, epsilon := T(s.LearningRate/correction1), T(s.Epsilon)
	beta1, beta2, rest1, rest2 := T(s.Beta1), T(s.Beta2), T(1-s.Beta1), T(1-s.Beta2)
	scale := T(1 / correction2)
	decay, shrink := T(s.WeightDecay), T(1)
	if s.Kind == "adamw" {
		decay, shrink = 0, T(1-s.LearningRate*s.WeightDecay)
	}
	grad, m, v := grad[:len(params)], o.first[:len(params)], o.second[:len(params)]
	if single, ok := any(params).([]float32); ok {
		constants := kernel.Adam{
			Decay: float32(decay), Beta1: float32(beta1), Rest1: float32(rest1), Beta2: float32(beta2), Rest2: float32(rest2),
			Scale: float32(scale), Epsilon: float32(epsilon), Rate: float32(step), Shrink: float32(shrink),
		}
		constants.Step(single, any(m).([]float32), any(v).([]float32), any(grad).([]float32))
		return
	}
	for i, theta := range params {
		g := grad[i] + decay*theta
		m[i] = beta1*m[i] + rest1*g
		v[i] = beta2*v[i] + rest2*g*g
		params[i] = theta*shrink - step*m[i]/(T(math.Sqrt(float64(v[i])))*scale+epsilon)
	}
}
