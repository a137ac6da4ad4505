package ising

import "golang.org/x/sys/cpu"

//go:generate sh -c "cd asm && go run . -out ../kernel_amd64.s -pkg ising"

//go:noescape
func rowMetropolisAVX512(job *rowJob)

//go:noescape
func rowHeatBathAVX512(job *rowJob)

//go:noescape
func rowMetropolisAVX2(job *rowJob)

//go:noescape
func rowHeatBathAVX2(job *rowJob)

// availableKernels lists the implementations that this processor runs, the
// fastest first.
func availableKernels() []kernels {
	var list []kernels
	if cpu.X86.HasAVX512F {
		list = append(list, kernels{"avx512", rowMetropolisAVX512, rowHeatBathAVX512})
	}
	if cpu.X86.HasAVX2 {
		list = append(list, kernels{"avx2", rowMetropolisAVX2, rowHeatBathAVX2})
	}
	return append(list, goKernels)
}
