package power

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// A Cost is what an activity costs as a function of its duration: convex, falling,
// linear between its points, impossible below the first and constant beyond the
// last.
type Cost struct {
	Time, Cost []float64 // s ascending, and J descending
}

// Hull is the lower convex hull of measured points up to the cheapest: what any
// duration costs when an activity may change its speed in between.
func Hull(times, costs []float64) (Cost, error) {
	order := make([]int, len(times))
	for i := range order {
		if !(times[i] > 0) || math.IsInf(times[i], 0) || math.IsNaN(costs[i]) || math.IsInf(costs[i], 0) {
			return Cost{}, fmt.Errorf("time %g s, cost %g J: expected a positive time and a finite cost", times[i], costs[i])
		}
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		if times[a] != times[b] {
			if times[a] < times[b] {
				return -1
			}
			return 1
		}
		if costs[a] < costs[b] {
			return -1
		}
		return 1
	})
	var c Cost
	for _, i := range order {
		t, e := times[i], costs[i]
		n := len(c.Time)
		if n > 0 && e >= c.Cost[n-1] {
			continue // slower and no cheaper
		}
		for ; n > 1 && (c.Cost[n-2]-c.Cost[n-1])*(t-c.Time[n-1]) <= (c.Cost[n-1]-e)*(c.Time[n-1]-c.Time[n-2])*(1+1e-12); n-- {
			c.Time, c.Cost = c.Time[:n-1], c.Cost[:n-1]
		}
		c.Time, c.Cost = append(c.Time, t), append(c.Cost, e)
	}
	if len(c.Time) == 0 {
		return Cost{}, errors.New("expected measured points, got none")
	}
	return c, nil
}

// At returns the cost of a duration; +Inf below the shortest.
func (c Cost) At(t float64) float64 {
	n := len(c.Time)
	if t < c.Time[0]*(1-1e-9) {
		return math.Inf(1)
	}
	i, _ := slices.BinarySearch(c.Time, t)
	switch {
	case i == 0:
		return c.Cost[0]
	case i == n:
		return c.Cost[n-1]
	}
	x := (t - c.Time[i-1]) / (c.Time[i] - c.Time[i-1])
	return c.Cost[i-1]*(1-x) + c.Cost[i]*x
}

// slope is −dC/dt of the piece below point i: infinite below the first, 0 beyond
// the last.
func (c Cost) slope(i int) float64 {
	switch {
	case i == 0:
		return math.Inf(1)
	case i == len(c.Time):
		return 0
	}
	return (c.Cost[i-1] - c.Cost[i]) / (c.Time[i] - c.Time[i-1])
}

// A Graph is a project: activities that take time and cost by it, each after
// others.
type Graph struct {
	Costs []Cost
	After [][]int // of every activity, those that must end before it begins
}

// A Corner is a corner of the frontier: the least cost in a time.
type Corner struct{ Time, Cost float64 }

// Solve finds the frontier by the parametric network-flow method of Fulkerson and
// Kelley (both 1961): from the slowest schedule that still saves, times are
// shortened along a minimum cut of the critical paths, whose capacity is what a
// second costs, until an activity reaches a corner of its cost or another path
// becomes critical. The flow is kept from cut to cut. If ctx ends, it returns
// what it has, down to that time, and the context's error.
//
// The corners are the fastest first. It also returns when activities begin and end
// in the cheapest schedule that meets a deadline (the fastest for one that cannot be
// met); for NaN, in the one of the least cost when every second of the project
// costs rate besides.
func Solve(ctx context.Context, g Graph, deadline, rate float64) (corners []Corner, starts, ends []float64, err error) {
	s, err := newSolver(g)
	if err != nil {
		return nil, nil, nil, err
	}
	corners = []Corner{{s.makespan(), s.cost()}}
	wanted := slices.Clone(s.time) // the schedule, until a better one is found
	found := s.makespan() <= deadline
	for done := false; !done; {
		if err := ctx.Err(); err != nil {
			slices.Reverse(corners)
			return corners, nil, nil, err
		}
		before := s.value
		var moved float64
		moved, done = s.phase()
		if moved > 0 {
			last := corners[len(corners)-1]
			corners = append(corners, Corner{last.Time - moved, last.Cost + before*moved})
		}
		switch {
		case found:
		case math.IsNaN(deadline) && (s.value > rate || done):
			found = true
			copy(wanted, s.time)
		case s.makespan() <= deadline || done:
			found = true
			s.between(wanted, math.Min(1, math.Max(0, (deadline-s.makespan())/moved)), moved)
		}
	}
	corners[len(corners)-1].Cost = s.cost() // without what was added up on the way
	slices.Reverse(corners)
	for i := range g.Costs {
		starts, ends = append(starts, wanted[2*i]-wanted[s.source]), append(ends, wanted[2*i+1]-wanted[s.source])
	}
	return merge(corners), starts, ends, nil
}

// merge joins pieces of one slope.
func merge(corners []Corner) []Corner {
	var list []Corner
	for _, c := range corners {
		for n := len(list); n > 1; n = len(list) {
			a, b := list[n-2], list[n-1]
			if math.Abs((b.Cost-a.Cost)*(c.Time-b.Time)-(c.Cost-b.Cost)*(b.Time-a.Time)) > 1e-12*math.Abs(b.Cost)*(c.Time-a.Time) {
				break
			}
			list = list[:n-1]
		}
		list = append(list, c)
	}
	return list
}

// An arc is an activity, from its beginning to its end, or a precedence, from an end
// to a beginning. Its tension y is the difference of the times of its ends; its flow
// is between the slopes of the cost on both sides of y.
type arc struct {
	from, to        int32
	low, high, flow float64
}

// A shape is the cost of an arc (of a precedence, one point at 0), and where on it
// the tension is.
type shape struct {
	points []float64 // of the duration
	slopes []float64 // −dC/dt below each, the first infinite; and one more: 0 beyond the last
	place  int32     // the point it is at, or that it is below
	at     bool
}

// solver holds times of events (two for each activity, then the beginning and the
// end of all), and the flow.
type solver struct {
	graph   Graph
	arcs    []arc
	shapes  []shape   // of the arcs
	out, in [][]int32 // arcs by node
	time    []float64
	source  int32
	sink    int32
	value   float64 // of the flow
	epsilon float64 // of flows
	tiny    float64 // of times

	side    []float64 // when a node joined the source's side in this phase; < 0: not yet
	parent  []int32   // arc by which it was reached, coded 2i or 2i+1 (backwards)
	events  eventHeap
	queue   []int32
	touched []int32
}

func newSolver(g Graph) (*solver, error) {
	n := len(g.Costs)
	if n == 0 || len(g.After) != n {
		return nil, fmt.Errorf("pipeline: expected activities with their predecessors, got %d and %d", n, len(g.After))
	}
	s := &solver{graph: g, source: int32(2 * n), sink: int32(2*n + 1), time: make([]float64, 2*n+2), side: make([]float64, 2*n+2), parent: make([]int32, 2*n+2)}
	add := func(from, to int32, c Cost) {
		slopes := make([]float64, len(c.Time)+1)
		for i := range slopes {
			slopes[i] = c.slope(i)
		}
		s.arcs = append(s.arcs, arc{from: from, to: to})
		s.shapes = append(s.shapes, shape{points: c.Time, slopes: slopes})
	}
	precedence := Cost{[]float64{0}, []float64{0}}
	last := make([]bool, n)
	for i := range last {
		last[i] = true
	}
	largest := 0.0
	for i, c := range g.Costs {
		add(int32(2*i), int32(2*i+1), c)
		if len(c.Time) > 1 {
			largest = math.Max(largest, c.slope(1))
		}
		for _, p := range g.After[i] {
			if p < 0 || p >= n {
				return nil, fmt.Errorf("pipeline: activity %d comes after %d: expected 0 to %d", i, p, n-1)
			}
			add(int32(2*p+1), int32(2*i), precedence)
			last[p] = false
		}
		if len(g.After[i]) == 0 {
			add(s.source, int32(2*i), precedence)
		}
	}
	for i, is := range last {
		if is {
			add(int32(2*i+1), s.sink, precedence)
		}
	}
	s.out = byNode(s.arcs, len(s.time), func(a arc) int32 { return a.from })
	s.in = byNode(s.arcs, len(s.time), func(a arc) int32 { return a.to })
	if err := s.slowest(); err != nil {
		return nil, err
	}
	s.epsilon = 1e-10 * math.Max(largest, 1e-300)
	s.tiny = 1e-11 * math.Max(s.makespan(), 1e-300)
	for i := range s.arcs {
		s.settle(int32(i))
	}
	return s, nil
}

// byNode lists the arcs of every node, one after the other in memory.
func byNode(arcs []arc, nodes int, of func(arc) int32) [][]int32 {
	counts := make([]int, nodes+1)
	for _, a := range arcs {
		counts[of(a)+1]++
	}
	for v := range nodes {
		counts[v+1] += counts[v]
	}
	all, list := make([]int32, len(arcs)), make([][]int32, nodes)
	for v := range list {
		list[v] = all[counts[v]:counts[v]:counts[v+1]]
	}
	for i, a := range arcs {
		list[of(a)] = append(list[of(a)], int32(i))
	}
	return list
}

// slowest sets the earliest times at which every activity takes as long as it saves.
func (s *solver) slowest() error {
	waiting := make([]int, len(s.time))
	for v := range s.in {
		waiting[v] = len(s.in[v])
	}
	queue := []int32{s.source}
	for k := 0; k < len(queue); k++ {
		v := queue[k]
		for _, i := range s.out[v] {
			a := s.arcs[i]
			s.time[a.to] = math.Max(s.time[a.to], s.time[v]+s.longest(i))
			if waiting[a.to]--; waiting[a.to] == 0 {
				queue = append(queue, a.to)
			}
		}
	}
	if len(queue) != len(s.time) {
		for v, w := range waiting {
			if w > 0 && v < 2*len(s.graph.Costs) {
				return fmt.Errorf("pipeline: activity %d comes after itself: expected a graph without cycles", v/2)
			}
		}
	}
	return nil
}

// settle finds the place of an arc's tension among its points, from where it was.
func (s *solver) settle(i int32) {
	a, c := &s.arcs[i], &s.shapes[i]
	y := s.time[a.to] - s.time[a.from]
	k := int(c.place)
	for k > 0 && c.points[k-1] >= y-s.tiny {
		k--
	}
	for k < len(c.points) && c.points[k] < y-s.tiny {
		k++
	}
	c.place = int32(k)
	c.at = k < len(c.points) && c.points[k] <= y+s.tiny
	a.low, a.high = c.slopes[k], c.slopes[k]
	if c.at {
		a.low = c.slopes[k+1]
	}
}

// longest is the duration of an arc from which on nothing is saved.
func (s *solver) longest(i int32) float64 {
	points := s.shapes[i].points
	return points[len(points)-1]
}

func (s *solver) makespan() float64 { return s.time[s.sink] - s.time[s.source] }

func (s *solver) cost() float64 {
	sum := 0.0
	for i, c := range s.graph.Costs {
		sum += c.At(s.time[2*i+1] - s.time[2*i])
	}
	return sum
}

// between sets the times a part of the last move back.
func (s *solver) between(times []float64, part, moved float64) {
	for v := range times {
		times[v] = s.time[v]
		if moved > 0 && !math.IsNaN(part) {
			times[v] += part * s.shiftOf(v, moved)
		}
	}
}

// shiftOf is by how much an event moved in the last phase: as long as it was behind
// the cut.
func (s *solver) shiftOf(v int, moved float64) float64 {
	if s.side[v] >= 0 {
		return s.side[v]
	}
	return moved
}

// An event is an arc across the cut that reaches its next point.
type event struct {
	when float64
	arc  int32 // coded as parent
}

// eventHeap has the earliest event first.
type eventHeap []event

func (h *eventHeap) push(e event) {
	*h = append(*h, e)
	for i := len(*h) - 1; i > 0; {
		up := (i - 1) / 2
		if (*h)[up].when <= (*h)[i].when {
			break
		}
		(*h)[up], (*h)[i] = (*h)[i], (*h)[up]
		i = up
	}
}

func (h *eventHeap) pop() event {
	old := *h
	first, n := old[0], len(old)-1
	old[0] = old[n]
	*h = old[:n]
	for i := 0; ; {
		down := 2*i + 1
		if down >= n {
			return first
		}
		if down+1 < n && old[down+1].when < old[down].when {
			down++
		}
		if old[i].when <= old[down].when {
			return first
		}
		old[i], old[down] = old[down], old[i]
		i = down
	}
}

// phase grows the side of the source until it holds the sink: along arcs that can
// take more flow, and, when there are none, by shortening all that lies behind the
// cut until an arc across it reaches its next point. Then the flow grows along the
// path that was found. It returns by how much the project was shortened, all at
// the cost of the flow before, and whether nothing can be shortened any more.
func (s *solver) phase() (moved float64, done bool) {
	for v := range s.side {
		s.side[v] = -1
	}
	s.events, s.queue = s.events[:0], append(s.queue[:0], s.source)
	s.side[s.source], s.parent[s.source] = 0, -1
	for s.side[s.sink] < 0 {
		for k := 0; k < len(s.queue) && s.side[s.sink] < 0; k++ {
			s.visit(s.queue[k], moved)
		}
		s.queue = s.queue[:0]
		if s.side[s.sink] >= 0 {
			break
		}
		// Behind the cut everything moves until the next event.
		e, ok := s.next()
		if !ok {
			return 0, true // nothing holds the sink: cannot be, as paths lead there
		}
		moved = math.Max(moved, e.when)
		s.join(e.arc, moved)
	}
	s.shift(moved)
	return moved, !s.augment()
}

// other returns the end of a coded arc that is not yet on the source's side.
func (s *solver) other(coded int32) int32 {
	if coded&1 == 0 {
		return s.arcs[coded>>1].to
	}
	return s.arcs[coded>>1].from
}

func (s *solver) next() (event, bool) {
	for len(s.events) > 0 {
		e := s.events.pop()
		if s.side[s.other(e.arc)] < 0 {
			return e, true
		}
	}
	return event{}, false
}

// join puts the far end of an arc on the source's side.
func (s *solver) join(coded int32, moved float64) {
	v := s.other(coded)
	s.side[v], s.parent[v] = moved, coded
	s.queue = append(s.queue, v)
}

// visit looks at the arcs of a node that is on the source's side.
func (s *solver) visit(v int32, moved float64) {
	for _, i := range s.out[v] {
		a := &s.arcs[i]
		if s.side[a.to] >= 0 {
			continue
		}
		if a.flow < a.high-s.epsilon {
			s.join(2*i, moved)
			continue
		}
		// The tension falls to the next point below.
		c := &s.shapes[i]
		k := int(c.place) - 1 // below which it is, or at the one above
		if k < 0 {
			continue // of infinite capacity: joined above
		}
		y := s.time[a.to] - s.time[v]
		s.events.push(event{moved + math.Max(y-c.points[k], 0), 2 * i})
	}
	for _, i := range s.in[v] {
		a := &s.arcs[i]
		if s.side[a.from] >= 0 {
			continue
		}
		if a.flow > a.low+s.epsilon {
			s.join(2*i+1, moved)
			continue
		}
		c := &s.shapes[i]
		k := int(c.place)
		if c.at {
			k++
		}
		if k >= len(c.points) {
			continue // it may grow for ever
		}
		y := s.time[v] - s.time[a.from]
		s.events.push(event{moved + math.Max(c.points[k]-y, 0), 2*i + 1})
	}
}

// shift moves every event behind the cut, and follows the tensions that changed.
func (s *solver) shift(moved float64) {
	if moved == 0 {
		return
	}
	for i := range s.arcs {
		a := &s.arcs[i]
		if s.shiftOf(int(a.from), moved) != s.shiftOf(int(a.to), moved) {
			s.touched = append(s.touched, int32(i))
		}
	}
	for v := range s.time {
		s.time[v] -= s.shiftOf(v, moved)
	}
	for _, i := range s.touched {
		s.settle(i)
	}
	s.touched = s.touched[:0]
}

// augment sends flow along the path that was found, as much as it takes. It is
// false when that is without bound: the path is of activities at their fastest.
func (s *solver) augment() bool {
	room := math.Inf(1)
	for v := s.sink; v != s.source; {
		coded := s.parent[v]
		a := &s.arcs[coded>>1]
		if coded&1 == 0 {
			room, v = math.Min(room, a.high-a.flow), a.from
		} else {
			room, v = math.Min(room, a.flow-a.low), a.to
		}
	}
	if math.IsInf(room, 1) {
		return false
	}
	room = math.Max(room, 0)
	for v := s.sink; v != s.source; {
		coded := s.parent[v]
		a := &s.arcs[coded>>1]
		if coded&1 == 0 {
			a.flow += room
			v = a.from
		} else {
			a.flow -= room
			v = a.to
		}
	}
	s.value += room
	return true
}
