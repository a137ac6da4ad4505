// Package power reads what a machine draws, and decides how to spend it: measured
// traces in, decisions out (docs/theory.md, T11).
//
// Trace is the power of one device, as nvidia-smi logged it, as the energy
// counters of the CPU gave it, or as a run recorded it; its Energy never fills a
// gap. Plan chooses the batch size and power limit of a training job from repeated
// runs (after Zeus, You, Chung and Chowdhury, NSDI 2023), and Simulate replays what
// policies learn of a job that recurs. Optimise chooses the frequencies of a pipeline
// by the exact time-energy frontier of its graph (the problem of Perseus, Chung et
// al., SOSP 2024), which Solve finds for any project. Spend divides a run's joules by
// what it got for them.
package power
