// Package power decides how to spend energy: measured traces in, decisions out
// (docs/theory.md, T11). It plans the batch size and power limit of a training job
// from repeated runs (after Zeus, You, Chung and Chowdhury, NSDI 2023), and the
// frequencies of a pipeline by the exact time-energy frontier of its graph (the
// problem of Perseus, Chung et al., SOSP 2024).
package power
