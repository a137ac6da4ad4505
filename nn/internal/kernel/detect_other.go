//go:build !amd64

package kernel

var sets, best = []*set{generic}, generic

// Without vectors in a set these are never called.

func axpyAVX2(float32, *float32, *float32, int)      { panic("kernel: no AVX2") }
func dotAVX2(*float32, *float32, int) float64        { panic("kernel: no AVX2") }
func reluAVX2(*float32, *float32, *float32, int)     { panic("kernel: no AVX2") }
func multiplyAVX2(*float32, *float32, *float32, int) { panic("kernel: no AVX2") }

func momentumAVX2(float32, float32, float32, *float32, *float32, *float32, int) {
	panic("kernel: no AVX2")
}
func adamAVX2(*float32, *float32, *float32, *float32, *float32, int) { panic("kernel: no AVX2") }
