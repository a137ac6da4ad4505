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
	mostRounds   = 30
	contractions = 2
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
	_, weights := o.smooth(o.best, sharpest)
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
		if i := o.best.currents[k]; i > b.low[k]+0.1*(b.high[k]-b.low[k]) && i < b.high[k]-0.1*(b.high[k]-b.low[k]) {
			middle = i
		}
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
// which narrows the currents; and again, as long as it helps.
func (o *optimiser) bound(b *box, weights []float64, target, cap float64) {
	b.bound = math.Inf(-1)
	b.widest = widest(b)
	for range mostRounds {
		before, wide := b.bound, width(b)
		if !o.narrow(b, weights, target, cap) || b.bound >= target-Tolerance {
			return
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

// most is its largest value: it is convex on both sides of at, where it is 0.
func (q quadratic) most() float64 {
	return max(0, q.value(q.high, q.xLow), q.value(q.low, q.xHigh))
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
func (o *optimiser) narrow(b *box, weights []float64, target, cap float64) bool {
	m := len(o.Tiles)
	at := make([]float64, m)
	for k := range at {
		at[k] = min(max(o.best.currents[k], b.low[k]), b.high[k])
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
	o.contract(b, s, low, high)
	total := -cap
	for i, w := range weights {
		total += w * s.watched[i]
	}
	power, _ := o.draw(s)
	terms := make([]quadratic, m)
	most := -1.0
	for k, t := range o.Tiles {
		total += o.price * power[k]
		c, h := lambda[2*k]+o.price, lambda[2*k+1]+o.price
		terms[k] = quadratic{t.Resistance * ((lambda[2*k]+lambda[2*k+1])/2 + o.price), t.Seebeck, at[k], b.low[k], b.high[k],
			c*low[2*k] - h*high[2*k+1], c*high[2*k] - h*low[2*k+1]}
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
	return true
}

// contract narrows the intervals of the port temperatures by each other.
func (o *optimiser) contract(b *box, s *state, low, high []float64) {
	ports := len(low)
	var inverse, response mat.Dense
	identity := mat.NewDiagDense(ports, nil)
	for p := range ports {
		identity.SetDiag(p, 1)
	}
	if s.lu.SolveTo(&inverse, false, identity) != nil {
		return
	}
	response.Mul(o.coupling, &inverse)
	for range contractions {
		for p := range ports {
			r := response.RawRowView(p)
			down, up := s.at[p], s.at[p]
			for k, t := range o.Tiles {
				c, h := r[2*k], r[2*k+1]
				q := quadratic{t.Resistance * (c + h) / 2, t.Seebeck, s.currents[k], b.low[k], b.high[k], c*low[2*k] - h*high[2*k+1], c*high[2*k] - h*low[2*k+1]}
				down += q.least()
				up += q.most()
			}
			low[p], high[p] = max(low[p], down), min(high[p], up)
		}
	}
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
	return o.extreme(network{o.coupling, o.bare}, b.high, b.low, b.low)
}

// hottest bounds them from above, for a chip that is nowhere above a temperature:
// it is held there, and the plates' network is what is left.
func (o *optimiser) hottest(b *box) (at []float64, ok bool) {
	return o.extreme(o.held, b.low, b.high, b.high)
}

func (o *optimiser) extreme(n network, cold, hot, joule []float64) (at []float64, ok bool) {
	o.evaluations++
	diagonal, source := o.loads(cold, hot, joule)
	var lu mat.LU
	heat, ok := n.solve(&lu, diagonal, source)
	if !ok {
		return nil, false
	}
	return n.temperatures(heat)
}

// hold factors the network with the chip held at a temperature.
func (o *optimiser) hold(kelvin float64) error {
	const strong = 1e6 // W/K: as good as fixed
	m := o.Model
	toward, source := slices.Clone(m.toward), slices.Clone(o.Power)
	for i, g := range m.toward {
		source[i] += g * m.Config.Ambient
	}
	for _, i := range o.watched {
		toward[i] += strong
		source[i] = strong * kelvin
	}
	f, err := factorise(toward, m.edges, m.order)
	if err != nil {
		return err
	}
	f.solve(source, make([]float64, len(source)))
	r := o.responses(f)
	ports := len(o.bare)
	o.held = network{mat.DenseCopyOf(r.Slice(o.first, o.first+ports, 0, ports)), source[o.first:]}
	return nil
}
