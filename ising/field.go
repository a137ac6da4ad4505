package ising

import (
	"math"
	"math/rand/v2"
)

// fieldRule updates in an external field, where each spin and each count of
// neighbours up (ten classes) has its own probability. New spin = inverted
// class bit, turned with probability turn ≤ 1/2.
type fieldRule struct {
	planes   int
	digits   [maxPlanes][10]uint64
	inverted [10]uint64  // all ones: the class prefers up
	share    [10]float64 // of the residual events
}

// newFieldUpdateRule prepares the ten classes 5 spin + count.
func newFieldUpdateRule(m Model, temperature float64, heatBath bool) updateRule {
	f := new(fieldRule)
	turn := make([]float64, 10)
	for class := range turn {
		spin, up := float64(2*(class/5)-1), float64(2*(class%5)-4)
		local := m.Coupling*up + m.Field
		leave := math.Min(1, math.Exp(-2*spin*local/temperature)) // Metropolis
		if local == 0 {
			leave = 0.5 // see leastRate
		}
		keep := 1 - leave
		prefersUp := spin > 0
		if heatBath {
			prefersUp = local > 0
			leave = 1 / (1 + math.Exp(2*math.Abs(local)/temperature))
			keep = 1 - leave
		}
		if leave > 0.5 {
			prefersUp, leave = !prefersUp, keep
		}
		if prefersUp {
			f.inverted[class] = ^uint64(0)
		}
		turn[class] = leave
	}
	planes, split, rate := choosePlanes(turn)
	f.planes = planes
	for k := range planes {
		for class := range split {
			f.digits[k][class] = split[class].digit(k)
		}
	}
	for class := range split {
		if rate > 0 {
			f.share[class] = split[class].residual / rate
		}
	}
	return updateRule{heatBath: heatBath, rate: rate, planes: planes, field: f}
}

// row is the row kernel of the ten classes, in Go only.
func (f *fieldRule) row(j *rowJob) {
	for lane := range lanes {
		s := [4]uint64{j.state[0][lane], j.state[1][lane], j.state[2][lane], j.state[3][lane]}
		for i := lane; i < j.blocks*lanes; i += lanes {
			turn := f.draw(&s)
			a, b, c, d := j.neighbours(i)
			odd, pair := adder(a, b, c)
			odd, carry := adder(odd, d, 0)
			two := pair ^ carry
			counts := [5]uint64{^(odd | two | pair&carry), odd &^ (pair | carry), two &^ odd, odd & (pair | carry), pair & carry}
			dst := word(j.dst, i)
			spin, next := *dst, uint64(0)
			for n, mask := range counts {
				next |= mask & (^spin&(turn[n]^f.inverted[n]) | spin&(turn[5+n]^f.inverted[5+n]))
			}
			*dst = next
		}
		j.state[0][lane], j.state[1][lane], j.state[2][lane], j.state[3][lane] = s[0], s[1], s[2], s[3]
	}
}

// draw runs the planes for one word, all ten thresholds against the same bits:
// a lane uses one of them only.
func (f *fieldRule) draw(s *[4]uint64) (turn [10]uint64) {
	one := [1][2]uint64{}
	for k := range f.planes {
		_, _, x := draw(one[:], s)
		for class, d := range f.digits[k] {
			turn[class] = turn[class]&x | d&(turn[class]|x)
		}
	}
	return turn
}

// passes decides a residual event at a lane that was old, is now, and has up
// neighbours up.
func (f *fieldRule) passes(old, now, up uint64, rng *rand.Rand) bool {
	class := 5*old + up
	return now == f.inverted[class]&1 && rng.Float64() < f.share[class]
}
