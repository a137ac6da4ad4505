package kernel

import "golang.org/x/sys/cpu"

// sets are those that this processor has, the best first.
var sets = detect()

var best = sets[0]

func detect() []*set {
	if !cpu.X86.HasAVX2 || !cpu.X86.HasFMA {
		return []*set{generic}
	}
	found := []*set{avx2, generic}
	if cpu.X86.HasAVX512F {
		found = append([]*set{avx512}, found...)
	}
	return found
}

var avx2 = &set{
	name: "avx2", rows: 6, columns: 16, transpose8: transpose8, copy8: copy8, copyAll: copy16, vectors: true,
	tiles: []func(k int, a, b, c *float32, ldc, cols, add int){tileAVX2x1, tileAVX2x2, tileAVX2x3, tileAVX2x4, tileAVX2x5, tileAVX2x6},
}

var avx512 = &set{
	name: "avx512", rows: 14, columns: 32, transpose8: transpose8, copy8: copy8, copyAll: copy32, vectors: true,
	tiles: []func(k int, a, b, c *float32, ldc, cols, add int){
		tileAVX512x1, tileAVX512x2, tileAVX512x3, tileAVX512x4, tileAVX512x5, tileAVX512x6, tileAVX512x7,
		tileAVX512x8, tileAVX512x9, tileAVX512x10, tileAVX512x11, tileAVX512x12, tileAVX512x13, tileAVX512x14,
	},
}
