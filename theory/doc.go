// Package theory holds the closed forms that measured temperatures are compared
// with: linear models ([Linear], docs/theory.md#t3), the softmax as a random
// energy model ([Softmax], docs/theory.md#t3), wide networks at initialisation
// ([MLP], docs/theory.md#t4), and the work efficiency of activation functions
// ([Activation], docs/theory.md#t5).
//
// Everything here is deterministic. "Exact" means exact up to the numerical
// error that the doc comment states. k_B = 1: energies are in the units of the
// loss and temperatures in energy per nat.
package theory
