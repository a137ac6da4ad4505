package power

import (
	"context"
	"fmt"
	"math"
	"slices"
)

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
// becomes critical. The flow and the tree of paths along which it may grow are kept
// from corner to corner.
//
// The corners are the fastest first. It also returns when activities begin and end
// in the cheapest schedule that meets a deadline (the fastest for one that cannot be
// met); for NaN, in the one of the least cost when every second of the project
// costs rate besides. If ctx ends, it returns what it has, down to that time, and the
// context's error.
func Solve(ctx context.Context, g Graph, deadline, rate float64) (corners []Corner, starts, ends []float64, err error) {
	s, err := newSolver(g)
	if err != nil {
		return nil, nil, nil, err
	}
	slowest := s.nodes[s.sink].time
	corners = []Corner{{slowest, s.cost()}}
	var wanted []float64
	if slowest <= deadline {
		wanted = s.times(0)
	}
	slope := math.Inf(-1)
	s.plant()
	for s.augment() {
		s.spread()
		if s.inside(s.sink) {
			continue
		}
		when, half := s.first()
		if math.IsInf(when, 1) {
			break // cannot be: paths lead to the sink
		}
		if moved := when - s.shift; moved > 0 {
			if ctx.Err() != nil {
				break
			}
			switch {
			case wanted != nil:
			case slowest-when <= deadline:
				wanted = s.times(slowest - deadline)
			case math.IsNaN(deadline) && s.value > rate:
				wanted = s.times(s.shift)
			}
			last := len(corners) - 1
			corner := Corner{slowest - when, corners[last].Cost + s.value*moved}
			if s.value > slope+s.epsilon {
				corners, slope = append(corners, corner), s.value
			} else {
				corners[last] = corner // no corner lies between pieces of one slope
			}
			s.move(when)
		}
		s.settle(&s.arcs[half>>1])
	}
	corners[len(corners)-1].Cost = s.cost() // without what was added up on the way
	slices.Reverse(corners)
	if err := ctx.Err(); err != nil {
		return corners, nil, nil, err
	}
	if wanted == nil {
		wanted = s.times(s.shift)
	}
	for i := range g.Costs {
		starts, ends = append(starts, wanted[2*i]), append(ends, wanted[2*i+1])
	}
	return corners, starts, ends, nil
}

// An arc is an activity, from its beginning to its end, or a precedence, from an end
// to a beginning. Its tension is the difference of the times of its ends; its flow
// is between the slopes of its cost on both sides of the tension.
//
// A half arc is an arc in one direction: 2i forwards, 2i+1 backwards.
type arc struct {
	from, to        int32
	place           int32 // the point of the shape that the tension is at, or below
	loose           int32 // place among the loose arcs; -1: in a tree
	low, high, flow float64
	*shape
	at bool
}

// A shape is the cost of an arc; of a precedence, one point at 0.
type shape struct {
	points []float64 // of the duration
	slopes []float64 // −dC/dt below each, the first infinite; and one more: 0 beyond the last
}

// solver solves the problem for the present shift.
type solver struct {
	graph  Graph
	arcs   []arc
	nodes  []node
	of     []int32 // trees, of the nodes
	trees  []tree
	source int32
	sink   int32

	shift   float64 // by how much the project was shortened
	value   float64 // of the flow
	epsilon float64 // of flows
	tiny    float64 // of times
	loose   []loose
	border  []int32 // loose arcs between trees, of which one is outside
	stack   []int32
}

func newSolver(g Graph) (*solver, error) {
	n := len(g.Costs)
	if n == 0 || len(g.After) != n {
		return nil, fmt.Errorf("pipeline: expected activities with their predecessors, got %d and %d", n, len(g.After))
	}
	s := &solver{graph: g, source: int32(2 * n), sink: int32(2*n + 1), nodes: make([]node, 2*n+2), of: make([]int32, 2*n+2), trees: make([]tree, 2*n+2)}
	for v := range s.nodes {
		s.nodes[v] = node{parent: -1, child: -1, next: -1, last: -1}
		s.of[v], s.trees[v].size = int32(v), 1
	}
	precedence := &shape{points: []float64{0}, slopes: []float64{math.Inf(1), 0}}
	add := func(from, to int, of *shape) {
		i := int32(len(s.arcs))
		s.arcs = append(s.arcs, arc{from: int32(from), to: int32(to), shape: of, loose: i})
		s.loose = append(s.loose, loose{int32(from), int32(to), i})
	}
	ends := make([]bool, n)
	for i := range ends {
		ends[i] = true
	}
	largest := 0.0
	for i, c := range g.Costs {
		of := &shape{points: c.Time, slopes: make([]float64, len(c.Time)+1)}
		for k := range of.slopes {
			of.slopes[k] = c.slope(k)
		}
		if len(c.Time) > 1 {
			largest = math.Max(largest, of.slopes[1])
		}
		add(2*i, 2*i+1, of)
		for _, p := range g.After[i] {
			if p < 0 || p >= n {
				return nil, fmt.Errorf("pipeline: activity %d comes after %d: expected 0 to %d", i, p, n-1)
			}
			add(2*p+1, 2*i, precedence)
			ends[p] = false
		}
		if len(g.After[i]) == 0 {
			add(int(s.source), 2*i, precedence)
		}
	}
	for i, is := range ends {
		if is {
			add(2*i+1, int(s.sink), precedence)
		}
	}
	if err := s.slowest(); err != nil {
		return nil, err
	}
	s.epsilon = 1e-10 * math.Max(largest, 1e-300)
	s.tiny = 1e-11 * math.Max(s.nodes[s.sink].time, 1e-300)
	for i := range s.arcs {
		s.settle(&s.arcs[i])
	}
	return s, nil
}

// slowest sets the earliest times at which every activity takes as long as it saves.
func (s *solver) slowest() error {
	waiting := make([]int, len(s.nodes))
	for _, a := range s.arcs {
		waiting[a.to]++
	}
	out := s.byNode(func(a arc) int32 { return a.from })
	queue := []int32{s.source}
	for k := 0; k < len(queue); k++ {
		v := queue[k]
		for _, i := range out[v] {
			a := s.arcs[i]
			s.nodes[a.to].time = math.Max(s.nodes[a.to].time, s.nodes[v].time+a.points[len(a.points)-1])
			if waiting[a.to]--; waiting[a.to] == 0 {
				queue = append(queue, a.to)
			}
		}
	}
	if len(queue) != len(s.nodes) {
		for v, w := range waiting {
			if w > 0 && v < 2*len(s.graph.Costs) {
				return fmt.Errorf("pipeline: activity %d comes after itself: expected a graph without cycles", v/2)
			}
		}
	}
	return nil
}

// byNode lists the arcs of every node.
func (s *solver) byNode(of func(arc) int32) [][]int32 {
	list := make([][]int32, len(s.nodes))
	for i, a := range s.arcs {
		list[of(a)] = append(list[of(a)], int32(i))
	}
	return list
}

// time is when an event happens now.
func (s *solver) time(v int32) float64 {
	if t := &s.trees[s.of[v]]; t.inside {
		return s.nodes[v].time - t.fall
	}
	return s.nodes[v].time - s.shift
}

// times is when every event happens at a shift from the present one to the next.
func (s *solver) times(shift float64) []float64 {
	list := make([]float64, len(s.nodes))
	for v := range list {
		if list[v] = s.time(int32(v)); !s.trees[s.of[v]].inside {
			list[v] -= shift - s.shift
		}
	}
	return list
}

func (s *solver) cost() float64 {
	sum := 0.0
	for i, c := range s.graph.Costs {
		sum += c.At(s.time(int32(2*i+1)) - s.time(int32(2*i)))
	}
	return sum
}

// settle finds the place of an arc's tension among its points, from where it was.
func (s *solver) settle(a *arc) {
	y := s.time(a.to) - s.time(a.from)
	k := int(a.place)
	for k > 0 && a.points[k-1] >= y-s.tiny {
		k--
	}
	for k < len(a.points) && a.points[k] < y-s.tiny {
		k++
	}
	a.place, a.at = int32(k), k < len(a.points) && a.points[k] <= y+s.tiny
	a.low, a.high = a.slopes[k], a.slopes[k]
	if a.at {
		a.low = a.slopes[k+1]
	}
}

// room is how much more flow half an arc takes.
func (s *solver) room(half int32) float64 {
	a := &s.arcs[half>>1]
	if half&1 == 0 {
		return a.high - a.flow
	}
	return a.flow - a.low
}

// ahead is the node to which half an arc leads.
func (s *solver) ahead(half int32) int32 {
	if half&1 == 0 {
		return s.arcs[half>>1].to
	}
	return s.arcs[half>>1].from
}

// behind is the node from which half an arc leads.
func (s *solver) behind(half int32) int32 { return s.ahead(half ^ 1) }

func (s *solver) inside(v int32) bool { return s.trees[s.of[v]].inside }

// across returns the half of an arc that leads from inside to outside.
func (s *solver) across(i int32) (half int32, ok bool) {
	from, to := s.inside(s.arcs[i].from), s.inside(s.arcs[i].to)
	if from {
		return 2 * i, !to
	}
	return 2*i + 1, to
}

// first returns the first shift at which an arc across the cut reaches its next point,
// and that arc.
func (s *solver) first() (when float64, first int32) {
	when = math.Inf(1)
	for _, i := range s.border {
		if half, ok := s.across(i); ok {
			if t := s.due(half); t < when {
				when, first = t, half
			}
		}
	}
	return math.Max(when, s.shift), first
}

// due is the shift at which an arc across the cut reaches its next point, if it does.
func (s *solver) due(half int32) float64 {
	a := &s.arcs[half>>1]
	y := s.time(a.to) - s.time(a.from)
	k := int(a.place)
	switch {
	case half&1 == 0 && k > 0: // the tension falls
		return s.shift + y - a.points[k-1]
	case half&1 == 0:
		return math.Inf(1)
	case a.at:
		k++
	}
	if k == len(a.points) {
		return math.Inf(1)
	}
	return s.shift + a.points[k] - y
}

// move shortens the project.
func (s *solver) move(shift float64) {
	s.shift = shift
	for _, i := range s.border {
		if _, ok := s.across(i); ok {
			s.settle(&s.arcs[i])
		}
	}
}
