// Package ising simulates the Ising model and reads temperatures off spins
// (docs/theory.md, T9).
//
// A [Simulation] runs a [Config]: E = −J Σ ss' − H Σ s on a torus, at many
// temperatures and by many replicas at once. On the square lattice Metropolis
// and heat bath run on bits, one spin a bit: all spins of a word are decided
// together by comparing random bit planes with the digits of the acceptance
// probability. What the planes leave out, less than one part in a thousand, is
// added by events a geometric number of spins apart, so the update is exact
// (to the rounding of float64) and every spin has random bits of its own. The
// row kernels exist for AVX-512, AVX2 and in portable Go; all three, any
// number of threads, and a run that was saved and resumed give the same bits.
// Wolff and Swendsen-Wang clusters, and the triangular and honeycomb lattices,
// take a general path.
//
// [Torus], [Plane] and [Magnetisation] are the exact results that the tests
// hold the simulations to; [FiniteSizeScaling] finds the critical temperature
// and the exponents without them.
//
// [Model.Temperature] reads the temperature of a single configuration,
// [ChoiceTemperature] that of samples of any energy-based model, and
// [FitCouplings] fits an Ising model to binary data, a network's weights or
// activations say.
//
// [Train] and [Classifier.Explain] are the machine-learning solution of the
// model (Alamino, arXiv 2402.11701) with its explanation.
package ising
