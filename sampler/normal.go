package sampler

import (
	"math"
	"math/rand/v2"
)

// layers of the ziggurat of Marsaglia and Tsang (J. Stat. Softw. 5, 8, 2000)
// under the normal density, all of one area. Layer i is as wide as the density is
// at height height[i]; its part below bound[i]·scale[i] lies under the density.
var ziggurat = func() (z struct {
	bound  [128]int32   // of the 24 bits that are drawn
	scale  [128]float64 // a bit's width
	height [128]float64
}) {
	const bits = 1 << 24
	density := func(x float64) float64 { return math.Exp(-x * x / 2) }
	area := tail*density(tail) + math.Sqrt(math.Pi/2)*math.Erfc(tail/math.Sqrt2)
	base := area / density(tail) // the lowest layer, with the tail as a box
	z.bound[0], z.scale[0], z.height[0] = int32(tail/base*bits), base/bits, 1
	z.scale[127], z.height[127] = tail/bits, density(tail)
	for i, x := 126, tail; i > 0; i-- {
		inner := math.Sqrt(-2 * math.Log(area/x+density(x)))
		z.bound[i+1] = int32(inner / x * bits)
		x = inner
		z.scale[i], z.height[i] = x/bits, density(x)
	}
	return z
}()

// tail is where 128 layers of one area leave off.
const tail = 3.442619855899

// normals fills x with independent draws from N(0, 1), of 24 bits and a sign
// each, in half the time of rng.NormFloat64: small networks spend theirs on noise.
func normals(x []float64, rng *rand.Rand) {
	var bits uint64
	for i := range x {
		if bits >>= 32; i%2 == 0 {
			bits = rng.Uint64() // a draw from each half: 7 bits choose the layer, 25 the place
		}
		layer, place := uint32(bits)&127, int32(bits)>>7
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
		layer, place = bits&127, int32(bits)>>7
	}
}
