//go:build !amd64

package ising

func availableKernels() []kernels { return []kernels{goKernels} }
