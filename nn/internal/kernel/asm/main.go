// Command asm writes the assembly of package kernel: go generate in that
// package runs it.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("amd64")
	for rows := 1; rows <= 14; rows++ {
		tileAVX512(rows)
	}
	for rows := 1; rows <= 6; rows++ {
		tileAVX2(rows)
	}
	transpose8()
	for _, columns := range []int{8, 16, 32} {
		copyColumns(columns)
	}
	axpy()
	dot()
	relu()
	multiply()
	momentum()
	adam()
	Generate()
}

// unroll is how many terms of the sum a tile's inner loop adds at a time.
const unroll = 2

// tile declares a tile kernel and loads its arguments: K terms are left, A and B
// are the packed panels, C the tile's first element and LDC bytes apart its rows.
type tile struct{ k, a, b, c, ldc, cols Register }

func declareTile(set string, rows, width int) tile {
	name := fmt.Sprintf("tile%sx%d", set, rows)
	TEXT(name, NOSPLIT, "func(k int, a, b, c *float32, ldc, cols, add int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes %d rows of at most %d columns of C from packed panels.", name, rows, width))
	t := tile{
		k: Load(Param("k"), RDX), a: Load(Param("a"), RSI), b: Load(Param("b"), RDI),
		c: Load(Param("c"), R8), ldc: Load(Param("ldc"), R9), cols: Load(Param("cols"), RCX),
	}
	SHLQ(Imm(2), R9)
	return t
}

// sum writes the loop over the k terms: term(i) adds the i-th from A and B on.
// name distinguishes the labels of one kernel's loops.
func (t tile) sum(name string, rows, width int, term func(i int)) {
	pairs, single := name+"Pairs", name+"Single"
	Label(pairs)
	CMPQ(t.k, U8(unroll))
	JL(LabelRef(single))
	for i := range unroll {
		term(i)
	}
	ADDQ(U32(4*rows*unroll), t.a)
	ADDQ(U32(4*width*unroll), t.b)
	SUBQ(Imm(unroll), t.k)
	JMP(LabelRef(pairs))
	Label(single)
	TESTQ(t.k, t.k)
	JE(LabelRef("store"))
	term(0)
	ADDQ(U32(4*rows), t.a)
	ADDQ(U32(4*width), t.b)
	DECQ(t.k)
	JMP(LabelRef(single))
}

// prefetch asks for the lines of C, which are needed at the end.
func (t tile) prefetch(rows, width int) {
	MOVQ(t.c, R10)
	for r := range rows {
		for line := 0; line < width; line += 16 {
			PREFETCHT0(Mem{Base: R10, Disp: 4 * line})
		}
		if r < rows-1 {
			ADDQ(t.ldc, R10)
		}
	}
}

// tileAVX512 is a tile of 32 columns in 2·rows accumulators. Of 16 columns and
// less, as small networks have, it leaves the second half out.
func tileAVX512(rows int) {
	t := declareTile("AVX512", rows, 32)
	z := []VecPhysical{Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15, Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31}
	sums, b0, b1 := z[:28], z[28], z[29]
	MOVQ(U32(1), R11) // the masks of the two halves of a row
	SHLQ(CL, R11)
	DECQ(R11)
	KMOVW(R11.As32(), K1)
	SHRQ(Imm(16), R11)
	KMOVW(R11.As32(), K2)
	for i := range 2 * rows {
		VPXORQ(sums[i], sums[i], sums[i])
	}
	t.prefetch(rows, 32)
	terms := func(halves int) func(i int) {
		return func(i int) {
			for half := range halves {
				VMOVUPS(Mem{Base: RDI, Disp: 128*i + 64*half}, z[28+half])
			}
			for r := range rows {
				a := z[30+r%2]
				VBROADCASTSS(Mem{Base: RSI, Disp: 4 * (rows*i + r)}, a)
				for half := range halves {
					VFMADD231PS(a, z[28+half], sums[2*r+half])
				}
			}
		}
	}
	CMPQ(t.cols, U8(16))
	JLE(LabelRef("narrowPairs"))
	t.sum("wide", rows, 32, terms(2))
	t.sum("narrow", rows, 32, terms(1))
	Label("store")
	add := Load(Param("add"), RAX)
	TESTQ(add, add)
	JE(LabelRef("write"))
	MOVQ(t.c, R10)
	for r := range rows {
		VMOVUPS_Z(Mem{Base: R10}, K1, b0)
		VADDPS(b0, sums[2*r], sums[2*r])
		VMOVUPS_Z(Mem{Base: R10, Disp: 64}, K2, b1)
		VADDPS(b1, sums[2*r+1], sums[2*r+1])
		ADDQ(t.ldc, R10)
	}
	Label("write")
	for r := range rows {
		VMOVUPS(sums[2*r], K1, Mem{Base: R8})
		VMOVUPS(sums[2*r+1], K2, Mem{Base: R8, Disp: 64})
		ADDQ(t.ldc, t.c)
	}
	VZEROUPPER()
	RET()
}

// columnMasks holds eight ones and then sixteen zeros: eight lanes from element
// 8−n on are the mask of n.
var columnMasks Mem

func tileAVX2(rows int) {
	if columnMasks.Base == nil {
		columnMasks = GLOBL("columnMasks", RODATA|NOPTR)
		for i := range 24 {
			DATA(4*i, U32(uint32(0xffffffff*((23-i)/16))))
		}
	}
	t := declareTile("AVX2", rows, 16)
	y := []VecPhysical{Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11, Y12, Y13, Y14, Y15}
	sums, b0, b1 := y[:12], y[12], y[13]
	for i := range 2 * rows {
		VPXOR(sums[i], sums[i], sums[i])
	}
	t.prefetch(rows, 16)
	t.sum("wide", rows, 16, func(i int) {
		VMOVUPS(Mem{Base: RDI, Disp: 64 * i}, b0)
		VMOVUPS(Mem{Base: RDI, Disp: 64*i + 32}, b1)
		for r := range rows {
			a := y[14+r%2]
			VBROADCASTSS(Mem{Base: RSI, Disp: 4 * (rows*i + r)}, a)
			VFMADD231PS(a, b0, sums[2*r])
			VFMADD231PS(a, b1, sums[2*r+1])
		}
	})
	Label("store")
	LEAQ(columnMasks, R11)
	for half, mask := range []VecPhysical{Y14, Y15} { // of min(max(cols−8·half, 0), 8) columns
		MOVQ(t.cols, R10)
		if half == 1 {
			SUBQ(Imm(8), R10)
			XORQ(R12, R12)
			CMPQ(R10, U8(0))
			CMOVQLT(R12, R10)
		}
		MOVQ(U32(8), R12)
		CMPQ(R10, U8(8))
		CMOVQGT(R12, R10)
		SUBQ(R10, R12)
		VMOVUPS(Mem{Base: R11, Index: R12, Scale: 4}, mask)
	}
	add := Load(Param("add"), RAX)
	TESTQ(add, add)
	JE(LabelRef("write"))
	MOVQ(t.c, R10)
	for r := range rows {
		VMASKMOVPS(Mem{Base: R10}, Y14, b0)
		VADDPS(b0, sums[2*r], sums[2*r])
		VMASKMOVPS(Mem{Base: R10, Disp: 32}, Y15, b1)
		VADDPS(b1, sums[2*r+1], sums[2*r+1])
		ADDQ(t.ldc, R10)
	}
	Label("write")
	for r := range rows {
		VMASKMOVPS(sums[2*r], Y14, Mem{Base: R8})
		VMASKMOVPS(sums[2*r+1], Y15, Mem{Base: R8, Disp: 32})
		ADDQ(t.ldc, t.c)
	}
	VZEROUPPER()
	RET()
}

// transpose8 packs eight rows into eight lanes.
func transpose8() {
	TEXT("transpose8", NOSPLIT, "func(dst *float32, dstStride int, src *float32, srcStride, n int)")
	Pragma("noescape")
	Doc("transpose8 sets dst[j·dstStride+i] = src[i·srcStride+j] for i < 8 and j < n, a multiple of 8.")
	strides()
	LEAQ(Mem{Base: R9, Index: R9, Scale: 2}, R10) // three rows
	MOVQ(R9, R11)
	SHLQ(Imm(2), R11)
	ADDQ(RSI, R11) // the fifth row
	y := []VecPhysical{Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11}
	row := func(base Register, r, column int) Mem {
		m := Mem{Base: base, Disp: 4 * column}
		switch r {
		case 1, 2:
			m.Index, m.Scale = R9, uint8(r)
		case 3:
			m.Index, m.Scale = R10, 1
		}
		return m
	}
	Label("loop")
	TESTQ(RCX, RCX)
	JE(LabelRef("done"))
	for half := range 2 {
		// Rows r and r+4 share a register, one to a half.
		for r := range 4 {
			x := []VecPhysical{X0, X1, X2, X3}[r]
			VMOVUPS(row(RSI, r, 4*half), x)
			VINSERTF128(Imm(1), row(R11, r, 4*half), y[r], y[r])
		}
		VUNPCKLPS(Y1, Y0, Y4)
		VUNPCKHPS(Y1, Y0, Y5)
		VUNPCKLPS(Y3, Y2, Y6)
		VUNPCKHPS(Y3, Y2, Y7)
		VUNPCKLPD(Y6, Y4, Y8)
		VUNPCKHPD(Y6, Y4, Y9)
		VUNPCKLPD(Y7, Y5, Y10)
		VUNPCKHPD(Y7, Y5, Y11)
		for c := range 4 {
			VMOVUPS(y[8+c], Mem{Base: RDI})
			ADDQ(R8, RDI)
		}
	}
	ADDQ(Imm(32), RSI)
	ADDQ(Imm(32), R11)
	SUBQ(Imm(8), RCX)
	JMP(LabelRef("loop"))
	Label("done")
	VZEROUPPER()
	RET()
}

// copyColumns packs some columns, a multiple of 8. Rows are far apart: those
// that come soon are asked for.
func copyColumns(columns int) {
	name := fmt.Sprintf("copy%d", columns)
	TEXT(name, NOSPLIT, "func(dst *float32, dstStride int, src *float32, srcStride, n int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s sets dst[j·dstStride+i] = src[j·srcStride+i] for i < %d and j < n.", name, columns))
	strides()
	MOVQ(R9, R10)
	SHLQ(Imm(3), R10)
	y := []VecPhysical{Y0, Y1, Y2, Y3}
	Label("loop")
	TESTQ(RCX, RCX)
	JE(LabelRef("done"))
	for i := range columns / 8 {
		VMOVUPS(Mem{Base: RSI, Disp: 32 * i}, y[i])
		if i%2 == 0 {
			PREFETCHT0(Mem{Base: RSI, Index: R10, Scale: 1, Disp: 32 * i})
		}
	}
	for i := range columns / 8 {
		VMOVUPS(y[i], Mem{Base: RDI, Disp: 32 * i})
	}
	ADDQ(R9, RSI)
	ADDQ(R8, RDI)
	DECQ(RCX)
	JMP(LabelRef("loop"))
	Label("done")
	VZEROUPPER()
	RET()
}

// strides loads the arguments of the packing kernels, strides in bytes.
func strides() {
	Load(Param("dst"), RDI)
	Load(Param("dstStride"), R8)
	Load(Param("src"), RSI)
	Load(Param("srcStride"), R9)
	Load(Param("n"), RCX)
	SHLQ(Imm(2), R8)
	SHLQ(Imm(2), R9)
}

// each writes a loop over n elements in RCX, a multiple of step: body(i)
// processes register i of the pass; pointers advance by eight elements each.
func each(step int, pointers []Register, body func(i int)) {
	Label("loop")
	TESTQ(RCX, RCX)
	JE(LabelRef("done"))
	for i := range step / 8 {
		body(i)
	}
	for _, p := range pointers {
		ADDQ(U32(4*step), p)
	}
	SUBQ(Imm(uint64(step)), RCX)
	JMP(LabelRef("loop"))
	Label("done")
}

func axpy() {
	TEXT("axpyAVX2", NOSPLIT, "func(alpha float32, x, y *float32, n int)")
	Pragma("noescape")
	Doc("axpyAVX2 adds alpha·x to y, of n elements, a multiple of 32.")
	VBROADCASTSS(NewParamAddr("alpha", 0), Y8)
	Load(Param("x"), RSI)
	Load(Param("y"), RDI)
	Load(Param("n"), RCX)
	y := []VecPhysical{Y0, Y1, Y2, Y3}
	each(32, []Register{RSI, RDI}, func(i int) {
		VMOVUPS(Mem{Base: RDI, Disp: 32 * i}, y[i])
		VFMADD231PS(Mem{Base: RSI, Disp: 32 * i}, Y8, y[i])
		VMOVUPS(y[i], Mem{Base: RDI, Disp: 32 * i})
	})
	VZEROUPPER()
	RET()
}

func dot() {
	TEXT("dotAVX2", NOSPLIT, "func(x, y *float32, n int) float64")
	Pragma("noescape")
	Doc("dotAVX2 returns the sum of x·y in double precision, of n elements, a multiple of 16.")
	Load(Param("x"), RSI)
	Load(Param("y"), RDI)
	Load(Param("n"), RCX)
	sums := []VecPhysical{Y0, Y1, Y2, Y3}
	for _, s := range sums {
		VXORPD(s, s, s)
	}
	each(16, []Register{RSI, RDI}, func(i int) {
		for half := range 2 {
			at := 32*i + 16*half
			VCVTPS2PD(Mem{Base: RSI, Disp: at}, Y4)
			VCVTPS2PD(Mem{Base: RDI, Disp: at}, Y5)
			VFMADD231PD(Y4, Y5, sums[2*i+half])
		}
	})
	VADDPD(Y1, Y0, Y0)
	VADDPD(Y3, Y2, Y2)
	VADDPD(Y2, Y0, Y0)
	VEXTRACTF128(Imm(1), Y0, X1)
	VADDPD(X1, X0, X0)
	VHADDPD(X0, X0, X0)
	Store(X0, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

func relu() {
	TEXT("reluAVX2", NOSPLIT, "func(z, a, slope *float32, n int)")
	Pragma("noescape")
	Doc("reluAVX2 sets a = max(z, 0) and slope = 1 where z > 0, else 0, of n elements, a multiple of 16.")
	Load(Param("z"), RSI)
	Load(Param("a"), RDI)
	Load(Param("slope"), RDX)
	Load(Param("n"), RCX)
	VXORPS(Y8, Y8, Y8)
	MOVL(U32(0x3f800000), EAX)
	VMOVD(EAX, X9)
	VBROADCASTSS(X9, Y9)
	y := []VecPhysical{Y0, Y1, Y2, Y3}
	each(16, []Register{RSI, RDI, RDX}, func(i int) {
		v, s := y[2*i], y[2*i+1]
		VMOVUPS(Mem{Base: RSI, Disp: 32 * i}, v)
		VCMPPS(Imm(1), v, Y8, s) // 0 < v
		VANDPS(Y9, s, s)
		VMAXPS(v, Y8, v) // a NaN stays one
		VMOVUPS(v, Mem{Base: RDI, Disp: 32 * i})
		VMOVUPS(s, Mem{Base: RDX, Disp: 32 * i})
	})
	VZEROUPPER()
	RET()
}

func multiply() {
	TEXT("multiplyAVX2", NOSPLIT, "func(x, y, z *float32, n int)")
	Pragma("noescape")
	Doc("multiplyAVX2 sets z = x·y element by element, of n elements, a multiple of 16.")
	Load(Param("x"), RSI)
	Load(Param("y"), RDI)
	Load(Param("z"), RDX)
	Load(Param("n"), RCX)
	y := []VecPhysical{Y0, Y1}
	each(16, []Register{RSI, RDI, RDX}, func(i int) {
		VMOVUPS(Mem{Base: RSI, Disp: 32 * i}, y[i])
		VMULPS(Mem{Base: RDI, Disp: 32 * i}, y[i], y[i])
		VMOVUPS(y[i], Mem{Base: RDX, Disp: 32 * i})
	})
	VZEROUPPER()
	RET()
}

func momentum() {
	TEXT("momentumAVX2", NOSPLIT, "func(rate, momentum, decay float32, params, velocity, grad *float32, n int)")
	Pragma("noescape")
	Doc("momentumAVX2 is Momentum for n elements, a multiple of 16.")
	rate, keep, decay := Y8, Y9, Y10
	VBROADCASTSS(NewParamAddr("rate", 0), rate)
	VBROADCASTSS(NewParamAddr("momentum", 4), keep)
	VBROADCASTSS(NewParamAddr("decay", 8), decay)
	params, velocity, grad := Load(Param("params"), RDI), Load(Param("velocity"), RDX), Load(Param("grad"), RSI)
	Load(Param("n"), RCX)
	y := []VecPhysical{Y0, Y1, Y2, Y3}
	each(16, []Register{params, velocity, grad}, func(i int) {
		theta, v := y[2*i], y[2*i+1]
		VMOVUPS(Mem{Base: params, Disp: 32 * i}, theta)
		VMULPS(Mem{Base: velocity, Disp: 32 * i}, keep, v)
		VADDPS(Mem{Base: grad, Disp: 32 * i}, v, v)
		VFMADD231PS(decay, theta, v)
		VFNMADD231PS(rate, v, theta)
		VMOVUPS(v, Mem{Base: velocity, Disp: 32 * i})
		VMOVUPS(theta, Mem{Base: params, Disp: 32 * i})
	})
	VZEROUPPER()
	RET()
}

func adam() {
	TEXT("adamAVX2", NOSPLIT, "func(c, params, first, second, grad *float32, n int)")
	Pragma("noescape")
	Doc("adamAVX2 is Step of the Adam at c for n elements, a multiple of 8.")
	c := Load(Param("c"), RAX)
	decay, beta1, rest1, beta2, rest2, scale, epsilon, step, shrink := Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11, Y12
	for i, y := range []VecPhysical{decay, beta1, rest1, beta2, rest2, scale, epsilon, step, shrink} {
		VBROADCASTSS(Mem{Base: c, Disp: 4 * i}, y)
	}
	params, first, second, grad := Load(Param("params"), RDI), Load(Param("first"), RDX), Load(Param("second"), R8), Load(Param("grad"), RSI)
	Load(Param("n"), RCX)
	each(8, []Register{params, first, second, grad}, func(int) {
		theta, g, m, v := Y0, Y1, Y2, Y3
		VMOVUPS(Mem{Base: params}, theta)
		VMOVUPS(Mem{Base: grad}, g)
		VFMADD231PS(decay, theta, g)
		VMULPS(Mem{Base: first}, beta1, m)
		VFMADD231PS(rest1, g, m)
		VMOVUPS(m, Mem{Base: first})
		VMULPS(g, g, g)
		VMULPS(Mem{Base: second}, beta2, v)
		VFMADD231PS(rest2, g, v)
		VMOVUPS(v, Mem{Base: second})
		VSQRTPS(v, v)
		VFMADD213PS(epsilon, scale, v) // the denominator
		VMULPS(step, m, m)
		VDIVPS(v, m, m)
		VMULPS(shrink, theta, theta)
		VSUBPS(m, theta, theta)
		VMOVUPS(theta, Mem{Base: params})
	})
	VZEROUPPER()
	RET()
}
