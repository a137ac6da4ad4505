package sampler

import (
	"math"
	"math/rand/v2"
)

// The ziggurat of Marsaglia and Tsang (J. Stat. Softw. 5, 8, 2000): layers under
// the normal density, all of one area. Layer i is as wide as the density is at
// height height[i]; its part below bound[i]·scale[i] lies under the density.
var ziggurat = func() (z struct {
	bound  [layers]int32   // of the 22 bits that are drawn
	scale  [layers]float64 // a bit's width
	height [layers]float64
}) {
	const bits = 1 << 22
	density := func(x float64) float64 { return math.Exp(-x * x / 2) }
	area := tail*density(tail) + math.Sqrt(math.Pi/2)*math.Erfc(tail/math.Sqrt2)
	base := area / density(tail) // the lowest layer, with the tail as a box
	z.bound[0], z.scale[0], z.height[0] = int32(tail/base*bits), base/bits, 1
	z.scale[layers-1], z.height[layers-1] = tail/bits, density(tail)
	for i, x := layers-2, tail; i > 0; i-- {
		inner := math.Sqrt(-2 * math.Log(area/x+density(x)))
		z.bound[i+1] = int32(inner / x * bits)
		x = inner
		z.scale[i], z.height[i] = x/bits, density(x)
	}
	return z
}()

// The more layers, the fewer draws are rejected (1 in 125); tail is where so many
// of one area leave off.
const (
	layers = 512
	tail   = 3.852046150368391
)

// normals fills x with independent draws from N(0, 1), of 22 bits and a sign
// each, in a third of the time of rng.NormFloat64: small networks spend theirs on
// noise. rng gives the start of a SplitMix64 sequence (Steele, Lea and Flood 2014),
// whose numbers do not wait for each other, and what rejected draws need.
func normals(x []float64, rng *rand.Rand) {
	state := rng.Uint64()
	var bits uint64
	for i := range x {
		if bits >>= 32; i%2 == 0 { // a draw from each half: 9 bits choose the layer, 23 the place
			state += 0x9e3779b97f4a7c15
			bits = (state ^ state>>30) * 0xbf58476d1ce4e5b9
			bits = (bits ^ bits>>27) * 0x94d049bb133111eb
			bits ^= bits >> 31
		}
		layer, place := uint32(bits)%layers, int32(bits)>>9
		x[i] = float64(place) * ziggurat.scale[layer]
		if max(place, -place) >= ziggurat.bound[layer] {
			x[i] = rejected(layer, place, rng)
		}
	}
}

// rejected is a draw where the first place was not surely below the density.
func rejected(layer uint32, place int32, rng *rand.Rand) float64 {
	for {
		x := float64(place) * ziggurat.scale[layer]
		if max(place, -place) < ziggurat.bound[layer] {
			return x
		}
		if layer == 0 { // Marsaglia (1964) for the tail
			for {
				x, y := rng.ExpFloat64()/tail, rng.ExpFloat64()
				if 2*y >= x*x {
					return math.Copysign(tail+x, float64(place))
				}
			}
		}
		low, high := ziggurat.height[layer], ziggurat.height[layer-1]
		if low+rng.Float64()*(high-low) < math.Exp(-x*x/2) {
			return x
		}
		bits := rng.Uint32()
		layer, place = bits%layers, int32(bits)>>9
	}
}
