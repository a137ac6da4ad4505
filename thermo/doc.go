// Package thermo reads temperatures: it turns streams of numbers that a
// machine-learning system produces into readings with honest error bars.
//
// A temperature here is dU/dS, energy per nat of entropy (THEORY T2 in
// docs/theory.md), so it is defined for states that are not Boltzmann
// distributions. Independent thermometers read it in different ways, and
// [ZerothLaw] says whether they agree.
//
// [Virial], [Configurational], [Kinetic] and [Likelihood] accumulate draws;
// [Transition] compares two states; [Stationarity] and [GradientNoise] tell how an
// optimiser keeps its temperature; [GaussianEntropy] and [KozachenkoLeonenko] give
// the entropy that a temperature is relative to. [Series] is the error bar of
// them all.
//
// Every accumulator uses memory that does not grow with the number of draws, and
// adding a draw allocates nothing. None is safe for concurrent use.
package thermo
