package checkpoint

import "golang.org/x/sys/cpu"

// kernelFor returns a function that adds n elements, a multiple of 16, to the
// lanes, or nil.
func kernelFor(dtype string) func(src *byte, n int, shift float64, out *lanes) {
	if !cpu.X86.HasAVX2 || !cpu.X86.HasFMA {
		return nil
	}
	switch dtype {
	case "F32":
		return addF32
	case "BF16":
		return addBF16
	case "F16":
		if cpu.X86.HasF16C {
			return addF16
		}
	}
	return nil
}

//go:noescape
func addF32(src *byte, n int, shift float64, out *lanes)

//go:noescape
func addBF16(src *byte, n int, shift float64, out *lanes)

//go:noescape
func addF16(src *byte, n int, shift float64, out *lanes)
