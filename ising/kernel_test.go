package ising

import (
	"math/rand/v2"
	"testing"
)

// randomJob builds a row of the given length in every state a row can be in,
// with its own copies of everything the kernel writes.
func randomJob(rng *rand.Rand, blocks, planes int, flip uint64, shiftL, shiftR uint64) (*rowJob, []uint64) {
	words := func() []uint64 {
		w := make([]uint64, blocks*lanes)
		for i := range w {
			w[i] = rng.Uint64()
		}
		return w
	}
	dst := words()
	job := &rowJob{dst: &dst[0], up: &words()[0], down: &words()[0], side: &words()[0], left: &words()[0], right: &words()[0],
		blocks: blocks, planes: planes, flip: flip, shiftL: shiftL, shiftR: shiftR, bits: new(planeBits), state: new(lanesState)}
	for i := range job.state {
		for j := range job.state[i] {
			job.state[i][j] = rng.Uint64()
		}
	}
	for i := range planes {
		job.bits[i] = [2]uint64{-(rng.Uint64() & 1), -(rng.Uint64() & 1)}
	}
	return job, dst
}

// TestKernelsAgree holds every implementation to the bits of the Go one.
func TestKernelsAgree(t *testing.T) {
	for _, k := range availableKernels() {
		t.Run(k.name, func(t *testing.T) {
			for seed := range uint64(200) {
				for rule := range 2 {
					build := func() (*rowJob, []uint64) {
						rng := rand.New(rand.NewPCG(seed, 1))
						shifts := [][2]uint64{{1, 63}, {63, 1}, {0, 64}}[rng.IntN(3)]
						return randomJob(rng, 1+rng.IntN(5), 1+rng.IntN(maxPlanes), -(rng.Uint64() & 1), shifts[0], shifts[1])
					}
					want, wantRow := build()
					got, gotRow := build()
					if rule == 0 {
						rowMetropolis(want)
						k.metropolis(got)
					} else {
						rowHeatBath(want)
						k.heatBath(got)
					}
					if *want.state != *got.state {
						t.Fatalf("seed %d rule %d: generator states differ", seed, rule)
					}
					for i := range wantRow {
						if wantRow[i] != gotRow[i] {
							t.Fatalf("seed %d rule %d: word %d is %x, want %x", seed, rule, i, gotRow[i], wantRow[i])
						}
					}
				}
			}
		})
	}
}

// BenchmarkRow measures the bare kernels.
func BenchmarkRow(b *testing.B) {
	for _, k := range availableKernels() {
		for rule, f := range []rowKernel{k.metropolis, k.heatBath} {
			b.Run(k.name+"/"+[]string{"metropolis", "heatbath"}[rule], func(b *testing.B) {
				job, _ := randomJob(rand.New(rand.NewPCG(1, 1)), 4, 13, 0, 1, 63)
				for b.Loop() {
					f(job)
				}
				b.ReportMetric(4*blockBits*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "flips/ns")
			})
		}
	}
}
