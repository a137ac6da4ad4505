package ising

import (
	"math/bits"
	"unsafe"
)

// A block is 512 lattice sites: eight words, one a lane of the generator.
const (
	lanes     = 8
	blockBits = 64 * lanes
)

// lanesState is eight independent xoshiro256++ generators (Blackman and Vigna
// 2018), word i of lane j at [i][j], as the vector kernels load it.
type lanesState [4][lanes]uint64

// maxPlanes bounds the random bit planes of one update.
const maxPlanes = 32

// planeBits are the binary digits of the two thresholds of an update, least
// significant first, each spread over a word: [k][0] of the higher threshold
// (common), [k][1] of the lower (rare).
type planeBits [maxPlanes][2]uint64

// rowJob is one row of one colour to update. The neighbour beside side at
// block word i is left[i]<<shiftL | right[i]>>shiftR: a bit shift along a
// packed row, or a plain word (shifts 0 and 64) where lanes are replicas.
// The assembly depends on the order of the fields.
type rowJob struct {
	dst, up, down, side, left, right *uint64
	blocks                           int // rows are this many blocks long, at least one
	planes                           int // random bit planes, at least one
	bits                             *planeBits
	state                            *lanesState
	flip                             uint64 // all ones when J < 0: neighbours count inverted
	shiftL, shiftR                   uint64
}

// A rowKernel updates one row. All of them give the same bits.
type rowKernel func(*rowJob)

// kernels is one implementation of both update rules.
type kernels struct {
	name                 string
	metropolis, heatBath rowKernel
}

// goKernels is the portable implementation.
var goKernels = kernels{"go", rowMetropolis, rowHeatBath}

// draw runs the bit planes for one word: x uniform with job.planes bits in
// each of the 64 lanes is below the higher threshold in common and below the
// lower in rare; coin is a fair bit. Going up from the least significant digit
// d of a threshold, "below" becomes below|x̄ where d is 1 and below&x̄ where it
// is 0, the majority of the three. (x̄ is as random as x.)
func draw(digits [][2]uint64, s *[4]uint64) (common, rare, coin uint64) {
	s0, s1, s2, s3 := s[0], s[1], s[2], s[3]
	var x uint64
	for i := range digits {
		x = bits.RotateLeft64(s0+s3, 23) + s0
		t := s1 << 17
		s2 ^= s0
		s3 ^= s1
		s1 ^= s2
		s0 ^= s3
		s2 ^= t
		s3 = bits.RotateLeft64(s3, 45)
		d := &digits[i]
		common = common&x | d[0]&(common|x)
		rare = rare&x | d[1]&(rare|x)
	}
	s[0], s[1], s[2], s[3] = s0, s1, s2, s3
	return common, rare, x
}

// fastest is what the processor runs best; tests replace it.
var fastest = availableKernels()[0]

// word returns the word i words after p.
func word(p *uint64, i int) *uint64 {
	return (*uint64)(unsafe.Add(unsafe.Pointer(p), 8*i))
}

// neighbours returns the four neighbour words of word i of the row, inverted
// when J < 0.
func (j *rowJob) neighbours(i int) (up, down, side, other uint64) {
	other = *word(j.left, i)<<j.shiftL | *word(j.right, i)>>j.shiftR
	return *word(j.up, i) ^ j.flip, *word(j.down, i) ^ j.flip, *word(j.side, i) ^ j.flip, other ^ j.flip
}

// rowMetropolis flips a site with two or more unsatisfied bonds always, with
// one if common, with none if rare.
func rowMetropolis(j *rowJob) {
	digits := j.bits[:j.planes]
	for lane := range lanes {
		s := [4]uint64{j.state[0][lane], j.state[1][lane], j.state[2][lane], j.state[3][lane]}
		for i := lane; i < j.blocks*lanes; i += lanes {
			common, rare, _ := draw(digits, &s)
			a, b, c, d := j.neighbours(i)
			dst := word(j.dst, i)
			spin := *dst
			a, b, c, d = a^spin, b^spin, c^spin, d^spin
			two := a&b | c&d | (a|b)&(c|d)
			*dst = spin ^ (two | common&(a|b|c|d) | rare)
		}
		j.state[0][lane], j.state[1][lane], j.state[2][lane], j.state[3][lane] = s[0], s[1], s[2], s[3]
	}
}

// rowHeatBath gives a site the sign of its neighbours' sum, turned around
// where common (sum ±2) or rare (sum ±4), and a fair coin where the sum is 0.
func rowHeatBath(j *rowJob) {
	digits := j.bits[:j.planes]
	for lane := range lanes {
		s := [4]uint64{j.state[0][lane], j.state[1][lane], j.state[2][lane], j.state[3][lane]}
		for i := lane; i < j.blocks*lanes; i += lanes {
			common, rare, coin := draw(digits, &s)
			a, b, c, d := j.neighbours(i)
			odd := a ^ b ^ c
			pair := a&b | c&(a|b)
			carry := odd & d
			odd ^= d // the neighbours' count is odd + 2 (pair + carry)
			tie := pair ^ carry
			even := coin&tie | (pair&carry^rare)&^tie
			*word(j.dst, i) = odd&((pair|carry)^common) | even&^odd
		}
		j.state[0][lane], j.state[1][lane], j.state[2][lane], j.state[3][lane] = s[0], s[1], s[2], s[3]
	}
}
