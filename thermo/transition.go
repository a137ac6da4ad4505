package thermo

import (
	"fmt"
	"math"
)

// A State is one end of a transition: its energy and entropy, estimated apart
// from each other, and what they refer to.
type State struct {
	Name       string  `json:"name"`
	Energy     Reading `json:"energy"`
	Entropy    Reading `json:"entropy"` // in nats
	Resolution string  `json:"resolution"`
}

// Transition is the finite change from state A to state B (T2 in
// docs/theory.md). Its temperature is (U_a − U_b)/(S_a − S_b) and its latent heat
// T (S_a − S_b), which is U_a − U_b.
type Transition struct {
	A           State   `json:"a"`
	B           State   `json:"b"`
	Temperature Reading `json:"temperature"` // energy per nat
	Heat        Reading `json:"heat"`        // given off from A to B, in energy
	Entropy     Reading `json:"entropy"`     // lost from A to B, in nats
}

// NewTransition compares two states whose readings are independent of each
// other; errors propagate by the delta method. The entropy of a continuous
// distribution is relative to a resolution, and that of a single point is −∞, so
// both states must say what spread their entropy refers to ("posterior",
// "stationary covariance of SGD over the last 1000 steps"): it is an error if
// they do not. The temperature is not valid when the entropies do not differ
// significantly, for then it could be anything.
func NewTransition(a, b State) (Transition, error) {
	for _, s := range []State{a, b} {
		if s.Resolution == "" {
			return Transition{}, fmt.Errorf("transition: state %q does not say what spread its entropy refers to", s.Name)
		}
	}
	t := Transition{A: a, B: b}
	t.Heat = difference(a.Energy, b.Energy)
	t.Heat.Name, t.Heat.Unit = "latent heat", "energy"
	t.Entropy = difference(a.Entropy, b.Entropy)
	t.Entropy.Name, t.Entropy.Unit = "entropy", "nat"
	if math.IsInf(a.Entropy.Value, 0) || math.IsInf(b.Entropy.Value, 0) {
		t.Entropy.Invalid = "the entropy of a state without spread is −∞: give it the spread of a posterior or of the optimiser"
	}
	t.Temperature = quotient(t.Heat, t.Entropy)
	t.Temperature.Name, t.Temperature.Unit = "transition", "energy/nat"
	return t, nil
}
