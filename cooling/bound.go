package cooling

import (
	"container/heap"
	"context"
	"math"
	"slices"
	"time"

	"gonum.org/v1/gonum/mat"
)

const (
	mostRounds   = 30 // of narrowing a box
	contractions = 10 // of the intervals of temperatures, a round
)

// A box is a range of currents and a bound of the peak in it.
type box struct {
	low, high []float64
	bound     float64
	widest    int // tile whose currents leave the bound most open
}

type boxes []box

func (b boxes) Len() int           { return len(b) }
func (b boxes) Less(i, j int) bool { return b[i].bound < b[j].bound }
func (b boxes) Swap(i, j int)      { b[i], b[j] = b[j], b[i] }
func (b *boxes) Push(x any)        { *b = append(*b, x.(box)) }
func (b *boxes) Pop() any {
	last := (*b)[len(*b)-1]
	*b = (*b)[:len(*b)-1]
	return last
}

// prove raises the bound to the peak of the solution, by branch and bound.
func (o *optimiser) prove(ctx context.Context, s *Solution, options Options) {
	started := time.Now()
	_, weights := o.smooth(o.balanced, sharpest)
	cap := 0.0 // of the price of power that a solution within the limit pays
	if options.MaxPower > 0 && o.price > powerPrice {
		cap = o.price * options.MaxPower
	}
	whole := box{low: make([]float64, len(o.Tiles)), high: make([]float64, len(o.Tiles))}
	for k, t := range o.Tiles {
		whole.high[k] = t.MaxCurrent
	}
	target := s.After
	if cap == 0 {
		o.price = 0 // the proof is of the peak alone
	}
	if o.hold(target) != nil {
		return
	}
	o.bound(&whole, weights, target, cap)
	queue := &boxes{whole}
	for s.Nodes = 1; queue.Len() > 0; s.Nodes++ {
		s.Bound = min((*queue)[0].bound, target)
		if s.Bound >= target-Tolerance {
			s.Proved = true
			return
		}
		if ctx.Err() != nil || s.Nodes >= mostNodes || options.Time > 0 && time.Since(started) > options.Time {
			return
		}
		b := heap.Pop(queue).(box)
		k := b.widest
		middle := (b.low[k] + b.high[k]) / 2
		for _, upper := range []bool{false, true} {
			half := box{low: slices.Clone(b.low), high: slices.Clone(b.high)}
			if upper {
				half.low[k] = middle
			} else {
				half.high[k] = middle
			}
			o.bound(&half, weights, target, cap)
			half.bound = max(half.bound, b.bound)
			heap.Push(queue, half)
		}
	}
}

// bound fills in a lower bound of the peak for all currents in the box whose peak is
// at most target, and narrows the box to where they can be. With Φ(I) = wᵀT(I) +
// price·P(I) and λ the adjoint at I°, a point of the box,
//
//	Φ(I) = Φ(I°) + Σ_k square_k (I² − I°²) − α(I − I°)X_k(I)
//	square_k = ½R(λ_c + λ_h) + price·R,  X_k = (λ_c + price)T_c − (λ_h + price)T_h
//
// exactly, at the port temperatures of I. The same holds for the temperature of any
// one port, which narrows their intervals, which narrow X, which raises the bound,
// which narrows the currents; and again, as long as it helps. Where the box is small
// enough for Φ to be nearly convex, so is its bound (convex).
func (o *optimiser) bound(b *box, weights []float64, target, cap float64) {
	b.bound = math.Inf(-1)
	b.widest = widest(b)
	prices := []float64{0}
	for range mostRounds {
		before, wide := b.bound, width(b)
		if !o.narrow(b, weights, target, cap, prices) || b.bound >= target-Tolerance {
			return
		}
		if len(prices) == 1 { // it takes more
			prices = []float64{0, 0.5, 1, 2}
			continue
		}
		if b.bound < before+0.02*(target-before) && width(b) > 0.98*wide {
			return
		}
	}
}

// A quadratic is square·(I² − at²) − slope·(I − at)·X for I in an interval that
// includes at, and X in another.
type quadratic struct{ square, slope, at, low, high, xLow, xHigh float64 }

func (q quadratic) value(i, x float64) float64 {
	return q.square*(i*i-q.at*q.at) - q.slope*(i-q.at)*x
}

// least is its smallest value.
func (q quadratic) least() float64 {
	bottom := func(x, from, to float64) float64 {
		if !(q.square > 0) {
			return min(q.value(from, x), q.value(to, x))
		}
		return q.value(min(max(q.slope*x/(2*q.square), from), to), x)
	}
	return min(bottom(q.xHigh, q.at, q.high), bottom(q.xLow, q.low, q.at))
}

// within returns the part of the interval where it can be at most slack.
func (q quadratic) within(slack float64) (low, high float64) {
	// square·d² + (2·square·at − slope·x)·d ≤ slack for d = I − at.
	root := func(x, sign float64) float64 {
		b := sign * (2*q.square*q.at - q.slope*x)
		if !(q.square > 0) {
			return math.Inf(1)
		}
		return (-b + math.Sqrt(b*b+4*q.square*max(slack, 0))) / (2 * q.square)
	}
	return max(q.low, q.at-root(q.xLow, -1)), min(q.high, q.at+root(q.xHigh, 1))
}

// narrow goes through the bounds once; it reports whether they could be had.
func (o *optimiser) narrow(b *box, weights []float64, target, cap float64, prices []float64) bool {
	m := len(o.Tiles)
	at := make([]float64, m)
	for k := range at {
		at[k] = min(max(o.balanced.currents[k], b.low[k]), b.high[k])
	}
	s := o.evaluate(at)
	if s == nil {
		return false
	}
	lambda := o.adjoint(s, weights)
	low, ok1 := o.coolest(b)
	high, ok2 := o.hottest(b)
	if lambda == nil || !ok1 || !ok2 {
		return false
	}
	var response mat.SymDense // of the ports to a watt at each
	if s.factor.InverseTo(&response) != nil {
		return false
	}
	phi := -cap // at the point
	for i, w := range weights {
		phi += w * s.watched[i]
	}
	phi += o.price * o.total(s)
	o.contract(b, s, &response, lambda, low, high, target-phi, prices)
	total, most := phi, -1.0
	terms := make([]quadratic, m)
	for k := range o.Tiles {
		terms[k] = o.term(k, b, s, lambda[2*k]+o.price, lambda[2*k+1]+o.price, low, high)
		least := terms[k].least()
		total += least
		if -least > most {
			most, b.widest = -least, k
		}
	}
	if math.IsNaN(total) {
		return false
	}
	b.bound = max(b.bound, total)
	for k, q := range terms {
		if slack := target - (total - q.least()); slack >= 0 {
			b.low[k], b.high[k] = q.within(slack)
		}
	}
	o.convex(b, s, lambda, &response, low, high, phi, target)
	return true
}

// contract narrows the intervals of the port temperatures by each other and, where
// prices are given, by how far Φ may rise: for any price μ ≥ 0 and sign σ,
// σT_p(I) ≥ σT_p(I°) − μ·slack + Σ_k of the least of σ·(its term) + μ·(that of Φ).
func (o *optimiser) contract(b *box, s *state, response *mat.SymDense, lambda, low, high []float64, slack float64, prices []float64) {
	ports := len(low)
	sum := 0.0
	for _, l := range lambda {
		sum += l
	}
	r := make([]float64, ports)
	for range contractions {
		moved := 0.0
		for p := range ports {
			scale := 0.0
			for q := range r {
				r[q] = response.At(p, q)
				scale += r[q] / sum
			}
			for _, price := range prices {
				price *= scale
				down, up := s.at[p]-price*slack, s.at[p]+price*slack
				for k := range o.Tiles {
					c, h := price*(lambda[2*k]+o.price), price*(lambda[2*k+1]+o.price)
					down += o.term(k, b, s, c+r[2*k], h+r[2*k+1], low, high).least()
					up -= o.term(k, b, s, c-r[2*k], h-r[2*k+1], low, high).least()
				}
				down, up = max(low[p], down), min(high[p], up)
				moved = max(moved, (down-low[p]+high[p]-up)/(high[p]-low[p]))
				low[p], high[p] = down, up
			}
		}
		if !(moved > 0.05) {
			return
		}
	}
}

// term is what tile k adds to a sum of temperatures that rises by c and h for a watt at
// its cold and hot port.
func (o *optimiser) term(k int, b *box, s *state, c, h float64, low, high []float64) quadratic {
	t := &o.Tiles[k]
	q := quadratic{square: t.Resistance * (c + h) / 2, slope: t.Seebeck, at: s.currents[k], low: b.low[k], high: b.high[k]}
	if c >= 0 {
		q.xLow, q.xHigh = c*low[2*k], c*high[2*k]
	} else {
		q.xLow, q.xHigh = c*high[2*k], c*low[2*k]
	}
	if h >= 0 {
		q.xLow, q.xHigh = q.xLow-h*high[2*k+1], q.xHigh-h*low[2*k+1]
	} else {
		q.xLow, q.xHigh = q.xLow-h*low[2*k+1], q.xHigh-h*high[2*k+1]
	}
	return q
}

func width(b *box) float64 {
	sum := 0.0
	for k := range b.low {
		sum += b.high[k] - b.low[k]
	}
	return sum
}

// widest is the tile whose currents differ most in a box.
func widest(b *box) int {
	best := 0
	for k := range b.low {
		if b.high[k]-b.low[k] > b.high[best]-b.low[best] {
			best = k
		}
	}
	return best
}

// coolest bounds the port temperatures of all currents in a box from below: cold sides
// take as at the highest currents, hot sides give and Joule heat is as at the
// lowest.
func (o *optimiser) coolest(b *box) (at []float64, ok bool) {
	return o.extreme(o.Array.ports, b.high, b.low, b.low)
}

// hottest bounds them from above, for a chip that is nowhere above a temperature:
// it is held there, and the plates' network is what is left.
func (o *optimiser) hottest(b *box) (at []float64, ok bool) {
	return o.extreme(o.held, b.low, b.high, b.high)
}

func (o *optimiser) extreme(n network, cold, hot, joule []float64) (at []float64, ok bool) {
	o.evaluations++
	diagonal, source := o.loads(cold, hot, joule)
	var factor mat.Cholesky
	return n.solve(&factor, diagonal, source)
}

// hold factors the network with the chip held at a temperature: its nodes are cut out.
func (o *optimiser) hold(kelvin float64) error {
	m := o.Model
	toward, source := slices.Clone(m.toward), slices.Clone(o.Power)
	for i, g := range m.toward {
		source[i] += g * m.Config.Ambient
	}
	held := make([]bool, len(toward))
	for _, i := range o.watched {
		held[i], toward[i], source[i] = true, 1, kelvin
	}
	edges := make([]edge, 0, len(m.edges))
	for _, e := range m.edges {
		switch {
		case held[e.i] && held[e.j]:
		case held[e.i]:
			toward[e.j] += e.g
			source[e.j] += e.g * kelvin
		case held[e.j]:
			toward[e.i] += e.g
			source[e.i] += e.g * kelvin
		default:
			edges = append(edges, e)
		}
	}
	f, err := factorise(toward, edges, m.order)
	if err != nil {
		return err
	}
	f.solve(source, make([]float64, len(source)))
	o.held = newNetwork(f.schur(2*len(o.Tiles)), source[o.first:])
	return nil
}
