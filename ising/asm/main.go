// Command asm writes kernel_amd64.s: the AVX-512 and AVX2 forms of the
// checkerboard row updates of package ising. Run it with
//
//	go run . -out ../kernel_amd64.s -pkg ising
//
// The algorithm, stated once in Go, is rowMetropolis and rowHeatBath in
// ../kernel.go; the tests hold all three to the same bits.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of rowJob in ../kernel.go.
const (
	offDst    = 0
	offUp     = 8
	offDown   = 16
	offSide   = 24
	offLeft   = 32
	offRight  = 40
	offBlocks = 48
	offPlanes = 56
	offBits   = 64
	offState  = 72
	offFlip   = 80
	offShiftL = 88
	offShiftR = 96
)

func main() {
	ConstraintExpr("amd64")
	for _, v := range []vector{avx512{}, avx2{}} {
		generate(v, "rowMetropolis", metropolis)
		generate(v, "rowHeatBath", heatBath)
	}
	Generate()
}

// vector is the set of operations that the kernels need, in one instruction
// set. Truth tables follow VPTERNLOG: bit 4a+2b+c of the table is f(a, b, c).
type vector interface {
	suffix() string
	bytes() int
	reg() Register
	load(m Mem, r Register)
	store(r Register, m Mem)
	broadcast(m Mem, r Register)
	zero(r Register)
	copy(a, r Register)
	and(a, b, r Register)
	or(a, b, r Register)
	xor(a, b, r Register)
	add(a, b, r Register)
	shl(n uint8, a, r Register)
	rotl(n uint8, a, r, tmp Register)
	shlv(n, a, r Register)
	shrv(n, a, r Register)
	xor3(a, b, r Register)                             // r ^= a ^ b
	majority(a, b, r Register, tmp [2]Register)        // r = at least two of a, b, r
	majorityMem(m Mem, x, r Register, tmp [3]Register) // r = majority of r, x and the broadcast word at m
}

// kernel holds the registers that both update rules share.
type kernel struct {
	v                     vector
	up, down, side, other Register // the four neighbours of each site, flipped when J < 0
	rare, common, random  Register // lanes that pass the lower and the higher threshold; fresh random bits
	site                  Mem
	tmp                   [3]Register
}

func generate(v vector, name string, rule func(*kernel)) {
	TEXT(name+v.suffix(), NOSPLIT, "func(job *byte)")
	Doc(name + v.suffix() + " is " + name + " with " + v.suffix() + " instructions.")
	job := Mem{Base: Load(Param("job"), GP64())}
	field := func(offset int) Mem { return job.Offset(offset) }
	lanes := 64 / v.bytes() // passes over the row: the generator has 64 bytes of lanes

	var s [4]Register
	for i := range s {
		s[i] = v.reg()
	}
	k := &kernel{v: v, up: v.reg(), down: v.reg(), side: v.reg(), other: v.reg(), rare: v.reg(), common: v.reg(), random: v.reg()}
	t := v.reg()
	k.tmp = [3]Register{t, v.reg(), v.reg()}

	offset, blocks, planes, bits, state, pointer := GP64(), GP64(), GP64(), GP64(), GP64(), GP64()
	end := GP64()
	MOVQ(field(offState), state)
	for pass := 0; pass < lanes; pass++ {
		label := func(s string) string { return s + string(rune('0'+pass)) }
		for i := range s {
			v.load(Mem{Base: state, Disp: 64*i + pass*v.bytes()}, s[i])
		}
		MOVQ(field(offBlocks), blocks)
		MOVQ(U32(uint32(pass*v.bytes())), offset)
		Label(label("block"))
		v.zero(k.rare)
		v.zero(k.common)
		MOVQ(field(offBits), bits)
		MOVQ(field(offPlanes), planes)
		SHLQ(U8(4), planes)
		end = GP64()
		LEAQ(Mem{Base: bits, Index: planes, Scale: 1}, end)
		Label(label("plane"))
		// xoshiro256++, one generator a 64-bit lane.
		x := k.random
		v.add(s[0], s[3], x)
		v.rotl(23, x, x, k.tmp[1])
		v.add(s[0], x, x)
		v.shl(17, s[1], t)
		v.xor(s[1], s[3], s[3])
		v.xor3(s[2], s[0], s[1])
		v.xor3(s[0], t, s[2])
		v.xor(s[3], s[0], s[0])
		v.rotl(45, s[3], s[3], k.tmp[1])
		v.majorityMem(Mem{Base: bits}, x, k.common, k.tmp)
		v.majorityMem(Mem{Base: bits, Disp: 8}, x, k.rare, k.tmp)
		ADDQ(U8(16), bits)
		CMPQ(bits, end)
		JNE(LabelRef(label("plane")))

		at := func(field int) Mem {
			MOVQ(job.Offset(field), pointer)
			return Mem{Base: pointer, Index: offset, Scale: 1}
		}
		flip := k.tmp[0]
		v.broadcast(field(offShiftL), k.tmp[1])
		v.load(at(offLeft), k.other)
		v.shlv(k.tmp[1], k.other, k.other)
		v.broadcast(field(offShiftR), k.tmp[1])
		v.load(at(offRight), k.side)
		v.shrv(k.tmp[1], k.side, k.side)
		v.or(k.side, k.other, k.other)
		v.load(at(offUp), k.up)
		v.load(at(offDown), k.down)
		v.load(at(offSide), k.side)
		v.broadcast(field(offFlip), flip)
		for _, r := range []Register{k.up, k.down, k.side, k.other} {
			v.xor(flip, r, r)
		}
		k.site = at(offDst)
		rule(k)
		ADDQ(U8(64), offset)
		DECQ(blocks)
		JNZ(LabelRef(label("block")))
		for i := range s {
			v.store(s[i], Mem{Base: state, Disp: 64*i + pass*v.bytes()})
		}
	}
	VZEROUPPER()
	RET()
}

// metropolis flips a site with two or more unsatisfied bonds always, with one
// if common, with none if rare.
func metropolis(k *kernel) {
	v := k.v
	spin, any, two := k.tmp[0], k.tmp[1], k.tmp[2]
	v.load(k.site, spin)
	for _, r := range []Register{k.up, k.down, k.side, k.other} {
		v.xor(spin, r, r) // 1 where the bond is unsatisfied
	}
	// two = (up&down) | (side&other) | ((up|down) & (side|other))
	v.and(k.up, k.down, k.random)
	v.or(k.up, k.down, k.up)
	v.and(k.side, k.other, k.down)
	v.or(k.side, k.other, k.side)
	v.or(k.up, k.side, any)
	v.and(k.up, k.side, two)
	v.or(k.random, two, two)
	v.or(k.down, two, two)
	v.and(k.common, any, any)
	v.or(any, two, two)
	v.or(k.rare, two, two)
	v.xor(two, spin, spin)
	v.store(spin, k.site)
}

// heatBath gives a site the sign of its neighbours' sum, turned around where
// common (sum ±2) or rare (sum ±4), and a fair coin where the sum is 0.
func heatBath(k *kernel) {
	v := k.v
	odd, pair, carry := k.tmp[0], k.tmp[1], k.tmp[2]
	v.xor(k.up, k.down, odd)
	v.xor(k.side, odd, odd) // odd = up ^ down ^ side
	v.copy(k.side, pair)
	v.majority(k.up, k.down, pair, [2]Register{carry, k.side}) // uses side as scratch after its last use
	v.and(odd, k.other, carry)
	v.xor(k.other, odd, odd) // the neighbours' count is odd + 2 (pair + carry)
	// Odd counts, 1 or 3: (pair | carry) ^ common.
	v.or(pair, carry, k.up)
	v.xor(k.common, k.up, k.up)
	v.and(odd, k.up, k.up)
	// Even counts: 2 (pair ^ carry) takes the coin; 0 and 4 take (pair & carry) ^ rare.
	v.and(pair, carry, k.down)
	v.xor(k.rare, k.down, k.down)
	v.xor(pair, carry, pair)
	v.xor(k.down, k.random, k.random)
	v.and(pair, k.random, k.random)
	v.xor(k.random, k.down, k.down) // pair ? random : down
	v.and(odd, k.down, carry)
	v.xor(carry, k.down, k.down) // down &^ odd
	v.or(k.up, k.down, k.down)
	v.store(k.down, k.site)
}

type avx512 struct{}

func (avx512) suffix() string              { return "AVX512" }
func (avx512) bytes() int                  { return 64 }
func (avx512) reg() Register               { return ZMM() }
func (avx512) load(m Mem, r Register)      { VMOVDQU64(m, r) }
func (avx512) store(r Register, m Mem)     { VMOVDQU64(r, m) }
func (avx512) broadcast(m Mem, r Register) { VPBROADCASTQ(m, r) }
func (avx512) zero(r Register)             { VPXORQ(r, r, r) }
func (avx512) copy(a, r Register)          { VMOVDQA64(a, r) }
func (avx512) and(a, b, r Register)        { VPANDQ(a, b, r) }
func (avx512) or(a, b, r Register)         { VPORQ(a, b, r) }
func (avx512) xor(a, b, r Register)        { VPXORQ(a, b, r) }
func (avx512) add(a, b, r Register)        { VPADDQ(a, b, r) }
func (avx512) shl(n uint8, a, r Register)  { VPSLLQ(U8(n), a, r) }
func (avx512) shlv(n, a, r Register)       { VPSLLVQ(n, a, r) }
func (avx512) shrv(n, a, r Register)       { VPSRLVQ(n, a, r) }
func (avx512) xor3(a, b, r Register)       { VPTERNLOGQ(U8(0x96), a, b, r) }

func (avx512) rotl(n uint8, a, r, _ Register) { VPROLQ(U8(n), a, r) }
func (avx512) majority(a, b, r Register, _ [2]Register) {
	VPTERNLOGQ(U8(0xE8), a, b, r)
}
func (avx512) majorityMem(m Mem, x, r Register, _ [3]Register) {
	VPTERNLOGQ_BCST(U8(0xE8), m, x, r)
}

type avx2 struct{}

func (avx2) suffix() string              { return "AVX2" }
func (avx2) bytes() int                  { return 32 }
func (avx2) reg() Register               { return YMM() }
func (avx2) load(m Mem, r Register)      { VMOVDQU(m, r) }
func (avx2) store(r Register, m Mem)     { VMOVDQU(r, m) }
func (avx2) broadcast(m Mem, r Register) { VPBROADCASTQ(m, r) }
func (avx2) zero(r Register)             { VPXOR(r, r, r) }
func (avx2) copy(a, r Register)          { VMOVDQA(a, r) }
func (avx2) and(a, b, r Register)        { VPAND(a, b, r) }
func (avx2) or(a, b, r Register)         { VPOR(a, b, r) }
func (avx2) xor(a, b, r Register)        { VPXOR(a, b, r) }
func (avx2) add(a, b, r Register)        { VPADDQ(a, b, r) }
func (avx2) shl(n uint8, a, r Register)  { VPSLLQ(U8(n), a, r) }
func (avx2) shlv(n, a, r Register)       { VPSLLVQ(n, a, r) }
func (avx2) shrv(n, a, r Register)       { VPSRLVQ(n, a, r) }

func (v avx2) xor3(a, b, r Register) {
	VPXOR(a, r, r)
	VPXOR(b, r, r)
}

func (avx2) rotl(n uint8, a, r, tmp Register) {
	VPSRLQ(U8(64-n), a, tmp)
	VPSLLQ(U8(n), a, r)
	VPOR(tmp, r, r)
}

// majority uses maj(r, a, b) = r ^ ((r^a) & (r^b)).
func (avx2) majority(a, b, r Register, tmp [2]Register) {
	VPXOR(a, r, tmp[0])
	VPXOR(b, r, tmp[1])
	VPAND(tmp[0], tmp[1], tmp[0])
	VPXOR(tmp[0], r, r)
}

func (v avx2) majorityMem(m Mem, x, r Register, tmp [3]Register) {
	VPBROADCASTQ(m, tmp[2])
	v.majority(x, tmp[2], r, [2]Register{tmp[0], tmp[1]})
}
