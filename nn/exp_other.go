//go:build !amd64

package nn

func expBlocks(x, y []float32) int { return 0 }
