package ising

import (
	"math"
	"math/rand/v2"
)

// Costs that choose the number of bit planes: a residual event costs about as
// much as this many planes of a block.
const residualCost = 30

// threshold is a probability split into what bit planes decide and the rest.
type threshold struct {
	digits   uint64  // floor(p 2^planes)
	residual float64 // (p − digits/2^planes) / (1 − digits/2^planes)
}

// splitProbability cuts p, in [0, 1), after the given number of binary digits.
// A lane passes with probability p when it passes the planes or, else, an
// independent event of probability residual.
func splitProbability(p float64, planes int) threshold {
	scale := math.Ldexp(1, planes)
	digits := math.Floor(p * scale)
	return threshold{uint64(digits), (p*scale - digits) / (scale - digits)}
}

// leastRate bounds the rate of residual events from below. Checkerboard
// Metropolis alone is reducible: where every spin has two unsatisfied bonds it
// flips whole colours for ever, and by reversibility never enters such states.
// A flip that costs nothing may be left out with any probability, so half the
// residual events leave one out. On the 4×4 lattice those states carry weight
// (36 of 65,536), so there the rate is high; beyond, none that a run could see.
func leastRate(size int) float64 {
	if size <= 4 {
		return 1.0 / 32
	}
	return 1.0 / (1 << 18)
}

// choosePlanes picks the number of planes that makes an update of one block
// cheapest, for all the probabilities together.
func choosePlanes(probabilities []float64) (planes int, split []threshold, rate float64) {
	best := math.Inf(1)
	for k := 4; k <= maxPlanes; k++ {
		s := make([]threshold, len(probabilities))
		highest := 0.0
		for i, p := range probabilities {
			s[i] = splitProbability(p, k)
			highest = math.Max(highest, s[i].residual)
		}
		if cost := float64(k) + residualCost*blockBits*highest; cost < best {
			best, planes, split, rate = cost, k, s, highest
		}
	}
	return planes, split, rate
}

// digit returns binary digit k of t spread over a word.
func (t threshold) digit(k int) uint64 { return -(t.digits >> k & 1) }

// never is a gap longer than any run.
const never = math.MaxInt64 / 2

// geometric returns the number of failures before the first success of
// independent trials of probability rate.
func geometric(rng *rand.Rand, rate float64) int64 {
	if rate <= 0 {
		return never
	}
	if rate >= 1 {
		return 0
	}
	gap := math.Log(1-rng.Float64()) / math.Log1p(-rate)
	if !(gap < never) {
		return never
	}
	return int64(gap)
}
