package kernel

import "math"

// Momentum is one step of gradient descent: v = momentum·v + grad + decay·θ, then
// θ −= rate·v. The slices have one length.
func Momentum[T Float](rate, momentum, decay T, params, velocity, grad []T) {
	velocity, grad = velocity[:len(params)], grad[:len(params)]
	n := 0
	if theta, ok := any(params).([]float32); ok && best.vectors && len(params) >= 16 {
		n = len(params) &^ 15
		momentumAVX2(float32(rate), float32(momentum), float32(decay), &theta[0], &any(velocity).([]float32)[0], &any(grad).([]float32)[0], n)
	}
	for i := n; i < len(params); i++ {
		velocity[i] = momentum*velocity[i] + grad[i] + decay*params[i]
		params[i] -= rate * velocity[i]
	}
}

// Adam is the constants of a step by Step. The assembly relies on their order.
type Adam struct {
	Decay                      float32
	Beta1, Rest1, Beta2, Rest2 float32 // Rest is 1 − Beta, of its float64
	Scale, Epsilon             float32
	Rate, Shrink               float32
}

// Step takes, for g = grad + Decay·θ, the moments m = Beta1·m + Rest1·g and
// v = Beta2·v + Rest2·g², and then θ = Shrink·θ − Rate·m/(Scale·√v + Epsilon). The
// slices have one length.
func (a *Adam) Step(params, first, second, grad []float32) {
	first, second, grad = first[:len(params)], second[:len(params)], grad[:len(params)]
	n := 0
	if best.vectors && len(params) >= 8 {
		n = len(params) &^ 7
		adamAVX2(&a.Decay, &params[0], &first[0], &second[0], &grad[0], n)
	}
	for i := n; i < len(params); i++ {
		g := grad[i] + a.Decay*params[i]
		first[i] = a.Beta1*first[i] + a.Rest1*g
		second[i] = a.Beta2*second[i] + a.Rest2*(g*g)
		params[i] = params[i]*a.Shrink - a.Rate*first[i]/(float32(math.Sqrt(float64(second[i])))*a.Scale+a.Epsilon)
	}
}
