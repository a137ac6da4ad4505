package ising

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkSweep measures whole sweeps of one lattice at the critical
// temperature, by implementation, rule, size and number of threads.
func BenchmarkSweep(b *testing.B) {
	defer func(k kernels) { fastest = k }(fastest)
	for _, k := range availableKernels() {
		for _, size := range []int{1024, 4096, 16384} {
			for threads := 1; threads <= 2; threads++ {
				b.Run(fmt.Sprintf("%s/metropolis/L=%d/threads=%d", k.name, size, threads), func(b *testing.B) {
					fastest = k
					p := newPacked(size, 1, false)
					p.rule = newUpdateRule(Model{Lattice: Square, Size: size, Coupling: 1}, Tc, false)
					rng := rand.New(rand.NewPCG(1, 1))
					p.seed(rng)
					p.fill(true, false, rng)
					b.ResetTimer()
					for b.Loop() {
						p.sweep(16, threads)
					}
					b.ReportMetric(16*float64(size)*float64(size)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "flips/ns")
				})
			}
		}
	}
}
