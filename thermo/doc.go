// Package thermo reads temperatures: it turns streams of numbers that a
// machine-learning system produces into readings with honest error bars.
//
// A temperature here is dU/dS, energy per nat of entropy (THEORY T2 in
// docs/theory.md), so it is defined for states that are not Boltzmann
// distributions. Independent thermometers read it in different ways, and
// [ZerothLaw] says whether they agree.
//
// Every accumulator in this package uses memory that does not grow with the
// number of draws, and no accumulator allocates once it is built. None is safe
// for concurrent use.
package thermo
