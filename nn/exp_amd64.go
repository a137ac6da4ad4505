package nn

import "golang.org/x/sys/cpu"

//go:noescape
func expAVX2(x, y *float32, n int)

var hasAVX2 = cpu.X86.HasAVX2 && cpu.X86.HasFMA

// expBlocks writes e^x for as many elements as the processor does at once, and
// returns how many.
func expBlocks(x, y []float32) int {
	n := len(x) &^ 7
	if !hasAVX2 || n == 0 {
		return 0
	}
	expAVX2(&x[0], &y[:n][0], n)
	return n
}
