// Package curvature reads the shape of the energy about a point: traces and
// extreme eigenvalues of the Hessian or the Gauss-Newton matrix, their spectral
// density, and the entropy of the basin they make (docs/theory.md, T7).
//
// Everything works on an [Operator], a symmetric matrix known by its products
// with vectors; [NewOperator] makes one of a network and data. Every estimate
// carries its error: that of the random probes, which is that of "the curvature
// of these data", or with Population that of the choice of the examples too,
// which is that of "the curvature of what the data were drawn from".
package curvature
