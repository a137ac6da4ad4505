package cooling

import (
	"context"
	"flag"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"gonum.org/v1/gonum/mat"
)

var long = flag.Bool("long", false, "run the tests that take minutes")

// hotspots is a chip of 16 mm that spends 20 W everywhere and 2 to 8 W in each of n
// hot spots, on a grid whose cells fit the tiles.
func hotspots(t testing.TB, rows, columns, n int, random *rand.Rand) *Array {
	t.Helper()
	m, power := hotChip(t, rows, columns, n, random)
	a, err := NewArray(m, Regular(rows, columns, m.Width, m.Height), power)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func hotChip(t testing.TB, rows, columns, n int, random *rand.Rand) (*Model, []float64) {
	t.Helper()
	cells := func(tiles int) int { return tiles * max(2, (20+tiles-1)/tiles) }
	return hotGrid(t, cells(rows), cells(columns), n, random)
}

func hotGrid(t testing.TB, rows, columns, n int, random *rand.Rand) (*Model, []float64) {
	t.Helper()
	const side = 0.016
	config := DefaultConfig()
	config.Rows, config.Cols = rows, columns
	f := &Floorplan{Blocks: []Block{{Name: "die", Width: side, Height: side}}}
	m, err := NewGrid(config, DefaultStack(config, f), false)
	if err != nil {
		t.Fatal(err)
	}
	power := make([]float64, len(m.capacity))
	for i := range config.Rows * config.Cols {
		power[i] = 20 / float64(config.Rows*config.Cols)
	}
	for range n {
		i, j := random.IntN(config.Rows-1), random.IntN(config.Cols-1)
		watts := 2 + 6*random.Float64()
		for _, at := range []int{i*config.Cols + j, i*config.Cols + j + 1, (i+1)*config.Cols + j, (i+1)*config.Cols + j + 1} {
			power[at] += watts / 4
		}
	}
	return m, power
}

// A cooler whose cold side is left alone and whose hot side is held reaches
// ΔT = ½ZT_c² at I = αT_c/R (Goldsmid, chapter 2).
func TestOneDimension(t *testing.T) {
	const ambient, held = 300.0, 1e9
	c := Cooler{Seebeck: 0.02, Resistance: 1.5, Conductance: 0.3, MaxCurrent: 10}
	g := mat.NewSymDense(2, []float64{c.Conductance, -c.Conductance, -c.Conductance, c.Conductance + held})
	a := &Array{Tiles: []Tile{{Cooler: c}}, ports: newNetwork(g, []float64{ambient, ambient}), off: []float64{ambient, ambient},
		watched: []int32{0}, shown: mat.NewDense(1, 2, []float64{1, 0})}
	o := &optimiser{Array: a}
	o.start = o.evaluate([]float64{0})
	best := o.minimise(context.Background(), o.start)
	z := c.Seebeck * c.Seebeck / (c.Resistance * c.Conductance)
	cold := (math.Sqrt(1+2*z*ambient) - 1) / z
	if math.Abs(best.peak-cold) > 1e-5 || math.Abs(best.currents[0]-c.Seebeck*cold/c.Resistance) > 1e-3 {
		t.Errorf("%.6f K at %.5f A, expected %.6f K at %.5f A", best.peak, best.currents[0], cold, c.Seebeck*cold/c.Resistance)
	}
	if difference := z * cold * cold / 2; math.Abs(ambient-best.peak-difference) > 1e-5 {
		t.Errorf("ΔT %.5f K, expected %.5f", ambient-best.peak, difference)
	}
}

// With coolers on, the heat of every node and of the whole balances.
func TestBalance(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	a := hotspots(t, 4, 5, 6, random)
	currents := make([]float64, len(a.Tiles))
	for k, tile := range a.Tiles {
		currents[k] = random.Float64() * 0.4 * tile.MaxCurrent
	}
	kelvin, power, residual, err := a.Temperatures(currents)
	if err != nil {
		t.Fatal(err)
	}
	if residual > 1e-9 {
		t.Errorf("a node's heat is off by %.2g of the chip's power", residual)
	}
	in, out := 0.0, 0.0
	for i, p := range a.Power {
		in += p
		out += a.Model.toward[i] * (kelvin[i] - a.Model.Config.Ambient)
	}
	for _, p := range power {
		in += p
	}
	if math.Abs(out-in) > 1e-6*in {
		t.Errorf("%.9f W go in, %.9f W come out", in, out)
	}
	s, ok := a.solveAt(currents)
	if !ok {
		t.Fatal("no solution")
	}
	for i, node := range a.watched {
		if math.Abs(s.watched[i]-kelvin[node]) > 1e-9*kelvin[node] {
			t.Fatalf("node %d: %v K reduced, %v K whole", node, s.watched[i], kelvin[node])
		}
	}
}

// Gradient and Hessian against differences.
func TestDerivatives(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 2))
	a := hotspots(t, 2, 3, 4, random)
	o := &optimiser{Array: a, price: 0.01}
	currents := make([]float64, len(a.Tiles))
	for k, tile := range a.Tiles {
		currents[k] = 0.2 * random.Float64() * tile.MaxCurrent
	}
	const beta, h = 2, 1e-4
	s := o.evaluate(currents)
	_, weights := o.smooth(s, beta)
	gradient, hessian := o.derivatives(s, beta, weights)
	at := func(k int, d float64) (float64, []float64) {
		moved := append([]float64{}, currents...)
		moved[k] += d
		s := o.evaluate(moved)
		v, w := o.smooth(s, beta)
		g, _ := o.derivatives(s, beta, w)
		return v, g
	}
	for k := range currents {
		up, gUp := at(k, h)
		down, gDown := at(k, -h)
		if d := (up - down) / (2 * h); math.Abs(d-gradient[k]) > 1e-5*(1+math.Abs(d)) {
			t.Errorf("slope %d: %v, by differences %v", k, gradient[k], d)
		}
		for l := range currents {
			if d := (gUp[l] - gDown[l]) / (2 * h); math.Abs(d-hessian.At(k, l)) > 1e-4*(1+math.Abs(d)) {
				t.Errorf("curvature %d, %d: %v, by differences %v", k, l, hessian.At(k, l), d)
			}
		}
	}
}

// No choice of coolers to switch on, at any of three common currents, is cooler.
func TestNeverWorseThanExhaustive(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	cases := [][3]int{{1, 1, 1}, {2, 2, 3}, {2, 4, 5}, {3, 3, 2}}
	if *long {
		cases = append(cases, [][3]int{{3, 4, 6}, {1, 12, 4}, {4, 4, 8}, {4, 4, 1}}...)
	}
	for _, c := range cases {
		a := hotspots(t, c[0], c[1], c[2], random)
		s, err := Optimise(context.Background(), a, Options{Time: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		best := math.Inf(1)
		tiles := len(a.Tiles)
		for subset := range 1 << tiles {
			for _, share := range []float64{0.15, 0.3, 0.5} {
				currents := make([]float64, tiles)
				for k, tile := range a.Tiles {
					if subset>>k&1 == 1 {
						currents[k] = share * tile.MaxCurrent
					}
				}
				if state, ok := a.solveAt(currents); ok {
					best = min(best, state.peak)
				}
			}
		}
		if !s.Proved {
			t.Errorf("%d × %d: not proved, bound %v K", c[0], c[1], s.Bound)
		}
		t.Logf("%d × %d: %.3f K before, %.4f K after, at least %.4f K (proved %v), exhaustive %.4f K", c[0], c[1], s.Before, s.After, s.Bound, s.Proved, best)
		if s.After > best+1e-6 || s.Bound > best+1e-6 || s.After > s.Before {
			t.Errorf("%d × %d: %v K after, bound %v K, but exhaustive search finds %v K", c[0], c[1], s.After, s.Bound, best)
		}
	}
}

// The bound holds for random currents, near the best and far from it, and proves arrays
// of any size.
func TestBound(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 4))
	for _, size := range [][2]int{{1, 1}, {2, 3}, {4, 1}, {3, 4}, {6, 5}, {10, 10}} {
		a := hotspots(t, size[0], size[1], random.IntN(12), random)
		s, err := Optimise(context.Background(), a, Options{Time: 1})
		if err != nil {
			t.Fatal(err)
		}
		if !s.Proved || s.Nodes != 1 {
			t.Errorf("%d × %d: proved %v with %d boxes, bound %v K of %v K", size[0], size[1], s.Proved, s.Nodes, s.Bound, s.After)
		}
		for range 200 {
			currents := make([]float64, len(a.Tiles))
			spread := math.Pow(10, -3*random.Float64())
			for k, tile := range a.Tiles {
				currents[k] = min(max(s.Currents[k]+spread*tile.MaxCurrent*random.NormFloat64(), 0), tile.MaxCurrent)
			}
			if state, ok := a.solveAt(currents); ok && state.peak < s.Bound {
				t.Fatalf("%d tiles: %.6f K found, bound %.6f K, solution %.6f K", len(a.Tiles), state.peak, s.Bound, s.After)
			}
		}
	}
}

// In any box, with the best currents in it or not, no currents are below its bound, and
// none whose peak is at most the target is narrowed away.
func TestBoxes(t *testing.T) {
	random := rand.New(rand.NewPCG(10, 10))
	kept, narrowed := 0, 0
	for range 12 {
		a := hotspots(t, 1+random.IntN(3), 1+random.IntN(4), random.IntN(8), random)
		o := &optimiser{Array: a, price: powerPrice}
		o.start = o.evaluate(make([]float64, len(a.Tiles)))
		o.minimise(context.Background(), o.start)
		_, weights := o.smooth(o.balanced, sharpest)
		for range 8 {
			target := o.balanced.peak + 3*random.Float64()
			if err := o.hold(target); err != nil {
				t.Fatal(err)
			}
			b := box{}
			for k, tile := range a.Tiles {
				i, wide := o.balanced.currents[k], 0.3*tile.MaxCurrent*random.Float64()
				low := max(0, i-wide*random.Float64()*1.2+0.2*wide)
				b.low, b.high = append(b.low, low), append(b.high, min(low+wide, tile.MaxCurrent))
			}
			whole := box{low: slices.Clone(b.low), high: slices.Clone(b.high)}
			o.bound(&b, weights, target, 0)
			for range 100 {
				currents := make([]float64, len(a.Tiles))
				for k := range currents {
					currents[k] = whole.low[k] + math.Pow(random.Float64(), 3)*(whole.high[k]-whole.low[k])
				}
				state, ok := a.solveAt(currents)
				if !ok || state.peak > target {
					continue
				}
				kept++
				if o.cost(state) < b.bound-1e-6 {
					t.Fatalf("%.6f K in a box whose bound is %.6f K (target %.3f K)", state.peak, b.bound, target)
				}
				for k, i := range currents {
					if i < b.low[k]-1e-9 || i > b.high[k]+1e-9 {
						t.Fatalf("%.3f K with %.4f A, but the box was narrowed to %.4f … %.4f A (target %.3f K)", state.peak, i, b.low[k], b.high[k], target)
					}
				}
			}
			if width(&b) < 0.9*width(&whole) {
				narrowed++
			}
		}
	}
	if kept < 200 || narrowed < 10 {
		t.Errorf("only %d currents and %d narrowed boxes were looked at", kept, narrowed)
	}
}

// wᵀT and the price of the power are the quadratic that the proof takes them for, at
// currents far from where it is expanded.
func TestCurvature(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 9))
	a := hotspots(t, 3, 4, 5, random)
	o := &optimiser{Array: a, price: 0.05}
	at, other, step := make([]float64, len(a.Tiles)), make([]float64, len(a.Tiles)), mat.NewVecDense(len(a.Tiles), nil)
	for k, tile := range a.Tiles {
		at[k], other[k] = 0.3*random.Float64()*tile.MaxCurrent, 0.3*random.Float64()*tile.MaxCurrent
		step.SetVec(k, other[k]-at[k])
	}
	s, far := o.evaluate(at), o.evaluate(other)
	_, weights := o.smooth(s, 0.5)
	phi := func(s *state) float64 {
		sum := o.price * o.total(s)
		for i, w := range weights {
			sum += w * s.watched[i]
		}
		return sum
	}
	var response mat.SymDense
	if err := s.factor.InverseTo(&response); err != nil {
		t.Fatal(err)
	}
	gradient, _ := o.derivatives(s, 0.5, weights)
	q := o.curvature(&box{low: other, high: other}, s, o.adjoint(s, weights), &response, far.at, far.at)
	want := phi(s) + mat.Dot(mat.NewVecDense(len(gradient), gradient), step) + mat.Inner(step, q, step)/2
	if got := phi(far); math.Abs(got-want) > 1e-9*got || math.Abs(got-phi(s)) < 1 {
		t.Errorf("%.9f, but the quadratic is %.9f (%.3f where it is expanded)", got, want, phi(s))
	}
	// Over a box it is below what it is anywhere in it, and near that where the box is small.
	for _, wide := range []float64{0.3, 0.01} {
		b := &box{}
		low, high := slices.Clone(s.at), slices.Clone(s.at)
		for k, tile := range a.Tiles {
			b.low, b.high = append(b.low, max(0, at[k]-wide*tile.MaxCurrent)), append(b.high, at[k]+wide*tile.MaxCurrent)
		}
		var inside []*state
		for range 100 {
			currents := make([]float64, len(at))
			for k := range currents {
				currents[k] = b.low[k] + random.Float64()*(b.high[k]-b.low[k])
			}
			if random.IntN(2) == 0 { // corners, where temperatures are extreme
				for k := range currents {
					currents[k] = []float64{b.low[k], b.high[k]}[random.IntN(2)]
				}
			}
			if state, ok := a.solveAt(currents); ok {
				inside = append(inside, state)
				for p, x := range state.at {
					low[p], high[p] = min(low[p], x), max(high[p], x)
				}
			}
		}
		lambda := o.adjoint(s, weights)
		least := o.curvature(b, s, lambda, &response, low, high)
		open := 0.0
		for _, state := range inside {
			for k, i := range state.currents {
				step.SetVec(k, i-at[k])
			}
			here := o.curvature(&box{low: state.currents, high: state.currents}, s, lambda, &response, state.at, state.at)
			exact, bound := mat.Inner(step, here, step), mat.Inner(step, least, step)
			if bound > exact+1e-9*math.Abs(exact) {
				t.Fatalf("curvature %v, bounded by %v", exact, bound)
			}
			open = max(open, (exact-bound)/exact)
		}
		if len(inside) < 50 || wide < 0.1 && open > 0.2 {
			t.Errorf("%d states in the box; the bound leaves %.2g of the curvature open", len(inside), open)
		}
	}
}

func TestMaxPower(t *testing.T) {
	a := hotspots(t, 3, 3, 4, rand.New(rand.NewPCG(5, 5)))
	free, err := Optimise(context.Background(), a, Options{Time: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	sum := func(xs []float64) (s float64) {
		for _, x := range xs {
			s += x
		}
		return s
	}
	limit := sum(free.Power) / 3
	s, err := Optimise(context.Background(), a, Options{MaxPower: limit, Time: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if p := sum(s.Power); p > limit || p < 0.95*limit {
		t.Errorf("%.4f W, expected just below %.4f", p, limit)
	}
	if !(s.After > free.After && s.After < s.Before) || !s.Proved {
		t.Errorf("%.3f K before, %.3f K with less power, %.3f K with more; proved %v, bound %.3f K", s.Before, s.After, free.After, s.Proved, s.Bound)
	}
	random := rand.New(rand.NewPCG(5, 6))
	for range 3000 { // nothing within the limit is cooler
		currents := make([]float64, len(a.Tiles))
		for k, tile := range a.Tiles {
			currents[k] = max(0, s.Currents[k]+0.02*tile.MaxCurrent*random.NormFloat64())
		}
		if state, ok := a.solveAt(currents); ok {
			if power, _ := a.draw(state); sum(power) <= limit && state.peak < s.Bound {
				t.Fatalf("%.5f K for %.4f W, bound %.5f K", state.peak, sum(power), s.Bound)
			}
		}
	}
	// Among equal peaks the least power: with less, the peak is higher.
	s, err = Optimise(context.Background(), a, Options{MaxPower: 0.98 * sum(free.Power), Time: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if !(s.After > free.After) {
		t.Errorf("%.6f K for %.5f W, %.6f K for %.5f W", free.After, sum(free.Power), s.After, sum(s.Power))
	}
}

func TestRunaway(t *testing.T) {
	a := hotspots(t, 2, 2, 1, rand.New(rand.NewPCG(6, 6)))
	currents := []float64{1, 1, 1, 1}
	for k := range currents {
		currents[k] = 50 * a.Tiles[k].MaxCurrent
	}
	if _, _, _, err := a.Temperatures(currents); err == nil || !strings.Contains(err.Error(), "runs away") {
		t.Errorf("got %v", err)
	}
	for want, tile := range map[string]Tile{
		"beyond the chip of 0.016 × 0.016 m: are its lengths in millimetres?": {X: 8, Y: 8, Width: 2, Height: 2},
		"beyond the chip": {X: 0.015, Width: 0.002, Height: 0.002},
		"covers no cell":  {Width: 1e-6, Height: 1e-6},
	} {
		tile.Cooler = DefaultCooler(1e-6)
		if _, err := NewArray(a.without, []Tile{tile}, a.Power[:a.first]); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, expected %q", err, want)
		}
	}
}

// BenchmarkOptimise is one random case: up to 10 × 10 tiles and 20 hot spots, with
// the network, its factors and the first bound; run it on one core. It reports by
// how much the peak falls, of K above the ambient (with coolers off as well) and of °C.
func BenchmarkOptimise(b *testing.B) {
	random := rand.New(rand.NewPCG(7, 7))
	var above, off, celsius, proved, gap float64
	cases := 0
	for b.Loop() {
		a := hotspots(b, 1+random.IntN(10), 1+random.IntN(10), random.IntN(21), random)
		s, err := Optimise(context.Background(), a, Options{Time: 1})
		if err != nil {
			b.Fatal(err)
		}
		cases++
		above += (s.Before - s.After) / (s.Before - a.Model.Config.Ambient)
		off += (s.Before - slices.Max(a.watchedOff())) / (s.Before - a.Model.Config.Ambient)
		celsius += (s.Before - s.After) / (s.Before - 273.15)
		gap += s.After - s.Bound
		if s.Proved {
			proved++
		}
	}
	n := float64(cases)
	b.ReportMetric(100*above/n, "%above-ambient")
	b.ReportMetric(100*off/n, "%above-ambient-off")
	b.ReportMetric(100*celsius/n, "%celsius")
	b.ReportMetric(100*proved/n, "%proved")
	b.ReportMetric(gap/n, "K-open")
}
