// Package spectrum reads the singular values of weight matrices and what they
// say: norms, stable rank, entropy, the bulk that a random matrix would have,
// and whether the tail of the eigenvalues of WᵀW is a power law
// (docs/theory.md, T13).
//
// Every estimate carries its standard error, and a tail that is not a power
// law is called so instead of being given an exponent. The conventions are
// those of WeightWatcher (Martin and Mahoney, arXiv 1810.01075): eigenvalues
// λ = σ², exponent α of their density λ^−α, convolutions cut into one matrix
// for each place of the kernel.
package spectrum
