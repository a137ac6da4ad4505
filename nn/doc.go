// Package nn runs neural networks for measurement: energies, gradients,
// Hessian-vector products, and what one backward pass shows of every example
// and layer ([Observation]), all without allocating in steady state.
//
// A [Network] is a short list of nodes, each an operation with a forward and a
// backward pass and the tangents of both (forward-over-reverse, so Hessian-vector
// products are exact). There is no tensor language: a network is built from a
// [Spec], the list of layers of model.json.
//
// Energies follow PyTorch's conventions, so they compare digit for digit: mse
// and mae are means over examples and outputs, ce is the mean over examples (and
// positions of a sequence) in nats. Weight decay adds (wd/2)|θ|² over all
// parameters. Parameters are laid out and named as in PyTorch's state_dict.
//
// Use float32 for speed and float64 for checks. A Network is not safe for
// concurrent use; [Network.Clone] makes an independent one.
package nn
