package run

import (
	"math"
	"math/big"
	"math/bits"
)

// powers are the float64s 10^k that are exact.
var powers = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
	1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// A power is 10^-k as mantissa × 2^exponent, the mantissa cut to 64 bits.
type power struct {
	mantissa uint64
	exponent int
}

var inverses = func() (table [64]power) {
	ten := big.NewInt(1)
	for k := range table {
		x := new(big.Float).SetPrec(64).SetMode(big.ToZero).Quo(big.NewFloat(1), new(big.Float).SetInt(ten))
		exponent := x.MantExp(x) - 64
		table[k].mantissa, _ = x.SetMantExp(x, 64).Uint64()
		table[k].exponent = exponent
		ten.Mul(ten, big.NewInt(10))
	}
	return table
}()

// decimal returns n × 10^-k exactly rounded. It is not ok where that takes more
// than a division or a product of 64 bits: rarely, but for k far from 0.
func decimal(n uint64, k int) (x float64, ok bool) {
	switch {
	case n < 1<<53 && 0 <= k && k < len(powers):
		// Both are float64s (W. Clinger, How to read floating-point numbers accurately, 1990).
		return float64(n) / powers[k], true
	case n == 0:
		return 0, true
	case k < 0 || k >= len(inverses):
		return 0, false
	}
	// The product with the cut power is short by less than n in its lowest bits:
	// unless that could carry, or the product is half way between two float64s, they
	// do not count (D. Lemire, Number parsing at a gigabyte per second, 2021).
	shift := bits.LeadingZeros64(n)
	n <<= shift
	high, low := bits.Mul64(n, inverses[k].mantissa)
	const dropped = 1<<9 - 1
	if high&dropped == dropped && low+n < low {
		return 0, false
	}
	top := int(high >> 63)
	mantissa := high >> (top + 9) // 54 bits, the last for rounding
	if low == 0 && high&dropped == 0 && mantissa&3 == 1 {
		return 0, false
	}
	mantissa = (mantissa + mantissa&1) >> 1
	return math.Ldexp(float64(mantissa), inverses[k].exponent+64-shift+top+10), true
}
