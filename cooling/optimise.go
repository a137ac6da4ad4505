package cooling

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// A Solution is the currents that Optimise chose.
type Solution struct {
	Currents    []float64 // A, of every tile
	Power       []float64 // W, that every cooler draws
	Taken       []float64 // W, that every cooler takes from its cold side
	Before      float64   // K, the peak without coolers
	After       float64
	Bound       float64 // K, below which no currents bring the peak
	Proved      bool    // Bound is within Tolerance of After
	Evaluations int     // solutions of the reduced network
	Nodes       int     // of the branch and bound
	Interrupted bool
	Harmful     []int // tiles that would only heat the peak, at any current beside the others'
}

const (
	// Tolerance is how near a peak must be to the best possible to be proved, K.
	Tolerance = 0.01

	powerPrice = 1e-5 // K/W: between equal peaks the smaller power wins
	mostNodes  = 400
	sharpest   = 2048 // 1/K: of the smooth maximum at the end
	leastPeak  = 1e-3 // K, that a current must lower the peak by
)

// Options of Optimise.
type Options struct {
	MaxPower float64       // W, of all coolers together; 0 for any
	Time     time.Duration // for the proof; 0 for as long as it takes
}

// Optimise chooses the current of every cooler so that the hottest place of the chip
// is as cool as can be, and then draws as little power as can be.
//
// The peak is minimised by Newton's method on a smooth maximum that is made ever
// sharper, with the exact Hessian. Then branch and bound proves it: for weights w
// of the hottest places, wᵀT(I) is exactly a quadratic of the currents, but for how
// the temperatures at the ports enter its curvature; these are bounded (the network
// is monotone: more extraction cools everything), so the quadratic's minimum bounds
// the peak for any box of currents, and boxes are halved until it reaches the peak.
//
// When ctx ends, or the time for the proof is over, the solution is the best so far,
// and Bound says how far from the best possible it may be.
func Optimise(ctx context.Context, a *Array, o Options) (*Solution, error) {
	search := &optimiser{Array: a, price: powerPrice}
	if search.start = search.evaluate(make([]float64, len(a.Tiles))); search.start == nil {
		return nil, errors.New("the network with all coolers off has no solution")
	}
	best := search.minimise(ctx, search.start)
	if o.MaxPower > 0 && search.total(best) > o.MaxPower {
		best = search.within(ctx, o.MaxPower)
	}
	best = search.trim(best)
	s := &Solution{Currents: best.currents, After: best.peak, Before: math.Inf(-1)}
	for _, node := range a.watched {
		s.Before = max(s.Before, a.Bare[node])
	}
	s.Power, s.Taken = a.draw(best)
	search.prove(ctx, s, o)
	s.Evaluations = search.evaluations
	s.Interrupted = ctx.Err() != nil
	s.Harmful = search.harmful(search.balanced)
	return s, nil
}

type optimiser struct {
	*Array
	price       float64 // K/W, of the power
	start       *state
	balanced    *state  // where the sharpest maximum is least: the weights of its places prove the best
	held        network // of the ports, with the chip held at the peak
	evaluations int
}

func (o *optimiser) evaluate(currents []float64) *state {
	o.evaluations++
	s, ok := o.solveAt(currents)
	if !ok {
		return nil
	}
	return s
}

// smooth returns the smooth maximum of the chip's temperatures, with the price of the
// power, and the weights of the places.
func (o *optimiser) smooth(s *state, beta float64) (value float64, weights []float64) {
	weights = make([]float64, len(s.watched))
	sum := 0.0
	for i, t := range s.watched {
		weights[i] = math.Exp(beta * (t - s.peak))
		sum += weights[i]
	}
	for i := range weights {
		weights[i] /= sum
	}
	power, _ := o.draw(s)
	value = s.peak + math.Log(sum)/beta
	for _, p := range power {
		value += o.price * p
	}
	return value, weights
}

// adjoint returns λ at the ports for the weights: how much wᵀT and the price of the
// power rise for a watt there.
func (o *optimiser) adjoint(s *state, weights []float64) []float64 {
	y := mat.NewVecDense(2*len(o.Tiles), nil)
	y.MulVec(o.shown.T(), mat.NewVecDense(len(weights), weights))
	for k, t := range o.Tiles {
		pumped := o.price * t.Seebeck * s.currents[k]
		y.SetVec(2*k, y.AtVec(2*k)-pumped)
		y.SetVec(2*k+1, y.AtVec(2*k+1)+pumped)
	}
	if err := s.factor.SolveVecTo(y, y); err != nil {
		return nil
	}
	return y.RawVector().Data
}

// derivatives returns the gradient and the Hessian of the smooth maximum.
func (o *optimiser) derivatives(s *state, beta float64, weights []float64) (gradient []float64, hessian *mat.SymDense) {
	m := len(o.Tiles)
	lambda := o.adjoint(s, weights)
	if lambda == nil {
		return nil, nil
	}
	z := mat.NewDense(2*m, m, nil) // change of the heats with the currents
	for k, t := range o.Tiles {
		i := s.currents[k]
		z.Set(2*k, k, t.Resistance*i-t.Seebeck*s.at[2*k])
		z.Set(2*k+1, k, t.Resistance*i+t.Seebeck*s.at[2*k+1])
	}
	gradient = make([]float64, m)
	for k, t := range o.Tiles {
		gradient[k] = lambda[2*k]*z.At(2*k, k) + lambda[2*k+1]*z.At(2*k+1, k) +
			o.price*(2*t.Resistance*s.currents[k]+t.Seebeck*(s.at[2*k+1]-s.at[2*k]))
	}
	ds := z // becomes that of the ports' temperatures
	if err := s.factor.SolveTo(ds, z); err != nil {
		return nil, nil
	}
	hessian = mat.NewSymDense(m, nil)
	for k, t := range o.Tiles {
		for l := range k + 1 {
			u := o.Tiles[l]
			h := -lambda[2*k]*t.Seebeck*ds.At(2*k, l) + lambda[2*k+1]*t.Seebeck*ds.At(2*k+1, l) -
				lambda[2*l]*u.Seebeck*ds.At(2*l, k) + lambda[2*l+1]*u.Seebeck*ds.At(2*l+1, k) +
				o.price*(t.Seebeck*(ds.At(2*k+1, l)-ds.At(2*k, l))+u.Seebeck*(ds.At(2*l+1, k)-ds.At(2*l, k)))
			if k == l {
				h += t.Resistance * (lambda[2*k] + lambda[2*k+1] + 2*o.price)
			}
			hessian.SetSym(k, l, h)
		}
	}
	o.sharpness(hessian, ds, beta, weights)
	return gradient, hessian
}

// sharpness adds what the smooth maximum has of the scatter of its places' gradients.
func (o *optimiser) sharpness(hessian *mat.SymDense, ds *mat.Dense, beta float64, weights []float64) {
	m := len(o.Tiles)
	var rows []int
	for i, w := range weights {
		if w > 1e-8 {
			rows = append(rows, i)
		}
	}
	if len(rows) < 2 {
		return
	}
	active := mat.NewDense(len(rows), 2*m, nil)
	for n, i := range rows {
		active.SetRow(n, o.shown.RawRowView(i))
	}
	var g mat.Dense
	g.Mul(active, ds)
	mean := make([]float64, m)
	for n, i := range rows {
		for k, x := range g.RawRowView(n) {
			mean[k] += weights[i] * x
		}
	}
	for n, i := range rows {
		row, scale := g.RawRowView(n), math.Sqrt(beta*weights[i])
		for k := range row {
			row[k] = scale * (row[k] - mean[k])
		}
	}
	var scatter mat.SymDense
	scatter.SymOuterK(1, g.T())
	hessian.AddSym(hessian, &scatter)
}

// cost is the peak with the price of the power.
func (o *optimiser) cost(s *state) float64 {
	return s.peak + o.price*o.total(s)
}

func (o *optimiser) total(s *state) float64 {
	power, _ := o.draw(s)
	return floats.Sum(power)
}

// minimise goes downhill from s, with ever sharper maxima.
func (o *optimiser) minimise(ctx context.Context, s *state) *state {
	best := s
	o.balanced = s
	for beta := 4.0; beta <= sharpest; beta *= 8 {
		for range 30 {
			if ctx.Err() != nil {
				return best
			}
			next := o.newton(s, beta)
			if next == nil {
				break
			}
			s = next
		}
		if o.cost(s) < o.cost(best) {
			best = s
		}
	}
	o.balanced = s
	return best
}

// newton takes one projected step (Bertsekas, SIAM Journal on Control and
// Optimization 20, 221, 1982), or returns nil where none helps.
func (o *optimiser) newton(s *state, beta float64) *state {
	value, weights := o.smooth(s, beta)
	gradient, hessian := o.derivatives(s, beta, weights)
	if gradient == nil {
		return nil
	}
	var free []int
	for k, t := range o.Tiles {
		if !(s.currents[k] <= 0 && gradient[k] >= 0 || s.currents[k] >= t.MaxCurrent && gradient[k] <= 0) {
			free = append(free, k)
		}
	}
	if len(free) == 0 {
		return nil
	}
	direction := descend(gradient, hessian, free)
	for step := 1.0; step > 1e-4; step /= 4 {
		currents := slices.Clone(s.currents)
		promised := 0.0
		for n, k := range free {
			currents[k] = min(max(currents[k]+step*direction[n], 0), o.Tiles[k].MaxCurrent)
			promised += gradient[k] * (currents[k] - s.currents[k])
		}
		if promised > -1e-9 {
			return nil
		}
		next := o.evaluate(currents)
		if next == nil {
			continue
		}
		if v, _ := o.smooth(next, beta); v <= value+1e-4*promised {
			return next
		}
	}
	return nil
}

// descend returns Newton's direction in the free currents, the Hessian lifted until
// it is positive.
func descend(gradient []float64, hessian *mat.SymDense, free []int) []float64 {
	n := len(free)
	h := mat.NewSymDense(n, nil)
	trace := 0.0
	for i, k := range free {
		for j := range i + 1 {
			h.SetSym(i, j, hessian.At(k, free[j]))
		}
		trace += math.Abs(h.At(i, i))
	}
	b := mat.NewVecDense(n, nil)
	for i, k := range free {
		b.SetVec(i, -gradient[k])
	}
	for lift := 0.0; ; lift = max(10*lift, 1e-6*trace/float64(n), 1e-12) {
		for i := range n {
			h.SetSym(i, i, hessian.At(free[i], free[i])+lift)
		}
		var c mat.Cholesky
		if !c.Factorize(h) {
			continue
		}
		x := mat.NewVecDense(n, nil)
		if err := c.SolveVecTo(x, b); err == nil || lift > 0 {
			return x.RawVector().Data
		}
	}
}

// within finds the price of power at which the coolers draw at most watts.
func (o *optimiser) within(ctx context.Context, watts float64) *state {
	low, high := math.Log(powerPrice), math.Log(1e3)
	best, balanced := o.start, o.start // draws nothing
	s := o.start
	for range 24 {
		o.price = math.Exp((low + high) / 2)
		s = o.minimise(ctx, s)
		if o.total(s) > watts {
			low = math.Log(o.price)
			continue
		}
		high, balanced = math.Log(o.price), o.balanced
		if s.peak < best.peak {
			best = s
		}
		if o.total(s) > 0.9999*watts {
			break
		}
	}
	o.price, o.balanced = math.Exp(high), balanced
	return best
}

// trim switches off what does next to nothing: as many of the smallest currents as
// raise the peak by no more than a thousandth of a kelvin, and no power.
func (o *optimiser) trim(s *state) *state {
	order := make([]int, len(o.Tiles))
	for k := range order {
		order[k] = k
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(s.currents[i], s.currents[j]) })
	best := s
	low, high := 0, len(order) // how many can be switched off, and cannot
	for low < high {
		n := (low + high + 1) / 2
		currents := slices.Clone(s.currents)
		for _, k := range order[:n] {
			currents[k] = 0
		}
		if next := o.evaluate(currents); next != nil && next.peak <= s.peak+leastPeak && o.total(next) <= o.total(s) {
			low, best = n, next
		} else {
			high = n - 1
		}
	}
	return best
}

// harmful lists the tiles that are off because any current would raise the peak.
func (o *optimiser) harmful(s *state) []int {
	_, weights := o.smooth(s, sharpest)
	lambda := o.adjoint(s, weights)
	var list []int
	for k := range o.Tiles {
		if lambda != nil && s.currents[k] == 0 && lambda[2*k]*s.at[2*k] < lambda[2*k+1]*s.at[2*k+1] {
			list = append(list, k)
		}
	}
	return list
}
