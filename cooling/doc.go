// Package cooling computes the temperature of a chip, in kelvins, from where it
// spends its power, and chooses the currents of thermoelectric coolers on it
// (docs/theory.md, T12).
//
// The chip and its package (interface material, spreader, sink, convection) become
// a network of thermal conductances and capacities, from the files of HotSpot
// (Huang et al., IEEE Transactions on VLSI Systems 14, 501, 2006): floorplan,
// power trace, configuration, layers and materials. Lengths are in metres,
// conductivities in W/(m·K), volumetric capacities in J/(m³·K), powers in watts.
package cooling
