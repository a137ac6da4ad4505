package power

import "math"

// A node is the beginning or the end of an activity, or of all.
type node struct {
	time              float64 // before what it fell by
	parent            int32   // half arc that leads here from the node above; -1: the root of a tree
	child, next, last int32   // first child, and the neighbours among siblings; -1: none
}

// A tree holds nodes that rise and fall together. The trees inside are parts of one:
// that of the source, to whose nodes more flow could be sent along it. Those outside
// are what was cut off it, still with room from their roots to the leaves; they fall
// as the project is shortened.
type tree struct {
	inside bool
	fall   float64 // of its nodes, once inside
	size   int
}

// A loose arc is in no tree.
type loose struct{ from, to, arc int32 }

// plant makes the first trees: the source's, of all that tight arcs lead to, and
// every other node by itself.
func (s *solver) plant() {
	s.trees[s.source].inside = true
	out := s.byNode(func(a arc) int32 { return a.from })
	queue := []int32{s.source}
	for k := 0; k < len(queue); k++ {
		for _, i := range out[queue[k]] {
			if v := s.arcs[i].to; s.of[v] != s.source && s.room(2*i) > s.epsilon {
				s.trees[s.of[v]].size, s.of[v] = 0, s.source
				s.trees[s.source].size++
				s.hang(v, 2*i)
				queue = append(queue, v)
			}
		}
	}
	s.survey()
}

// hang makes a node, with what is below it, a child by half an arc.
func (s *solver) hang(v, by int32) {
	n, up := &s.nodes[v], &s.nodes[s.behind(by)]
	n.parent, n.next, n.last = by, up.child, -1
	if n.next >= 0 {
		s.nodes[n.next].last = v
	}
	up.child = v
	a := &s.arcs[by>>1]
	if a.loose >= 0 {
		end := len(s.loose) - 1
		s.loose[a.loose] = s.loose[end]
		s.arcs[s.loose[end].arc].loose = a.loose
		s.loose, a.loose = s.loose[:end], -1
	}
}

// take makes a node, with what is below it, a root.
func (s *solver) take(v int32) {
	n := &s.nodes[v]
	if n.last >= 0 {
		s.nodes[n.last].next = n.next
	} else {
		s.nodes[s.behind(n.parent)].child = n.next
	}
	if n.next >= 0 {
		s.nodes[n.next].last = n.last
	}
	n.parent = -1
}

// cut makes a branch a tree of its own.
func (s *solver) cut(v int32, inside bool) {
	i := s.nodes[v].parent >> 1
	s.take(v)
	s.arcs[i].loose = int32(len(s.loose))
	s.loose = append(s.loose, loose{s.arcs[i].from, s.arcs[i].to, i})

	name := int32(0)
	for s.trees[name].size > 0 {
		name++
	}
	s.stack = append(s.stack[:0], v)
	for k := 0; k < len(s.stack); k++ {
		v := s.stack[k]
		n := &s.nodes[v]
		old := &s.trees[s.of[v]]
		if old.inside {
			n.time += s.shift - old.fall
		}
		old.size--
		s.of[v] = name
		for c := n.child; c >= 0; c = s.nodes[c].next {
			s.stack = append(s.stack, c)
		}
	}
	s.trees[name] = tree{inside, s.shift, len(s.stack)}
}

// survey finds the border.
func (s *solver) survey() {
	s.border = s.border[:0]
	for _, l := range s.loose {
		if i, j := s.of[l.from], s.of[l.to]; i != j && !(s.trees[i].inside && s.trees[j].inside) {
			s.border = append(s.border, l.arc)
		}
	}
}

// spread puts inside what more flow can be sent to, until that is the sink.
func (s *solver) spread() {
	for k := 0; k < len(s.border) && !s.inside(s.sink); k++ {
		if half, ok := s.across(s.border[k]); ok && s.room(half) > s.epsilon {
			s.join(half)
			k = -1
		}
	}
}

// join puts inside what half an arc leads to: all of its tree, or the part of it that
// has room from there.
func (s *solver) join(half int32) {
	v := s.ahead(half)
	top := v
	for by := s.nodes[top].parent; by >= 0 && s.room(by^1) > s.epsilon; by = s.nodes[top].parent {
		top = s.behind(by)
	}
	whole := s.nodes[top].parent < 0
	if whole {
		t := &s.trees[s.of[v]]
		t.inside, t.fall = true, s.shift
	} else {
		s.cut(top, true)
	}
	for by := half; ; { // the path from top to v turns round
		above := s.nodes[v].parent
		if above < 0 {
			s.hang(v, by)
			break
		}
		up := s.behind(above)
		s.take(v)
		s.hang(v, by)
		v, by = up, above^1
	}
	if !whole {
		s.survey()
	}
}

// augment sends flow to the sink, if that is inside, and cuts the tree where that takes
// the last room. It is false when the flow has no bound: on a path of activities at
// their fastest.
func (s *solver) augment() bool {
	if !s.inside(s.sink) {
		return true
	}
	room := math.Inf(1)
	for v := s.sink; v != s.source; v = s.behind(s.nodes[v].parent) {
		room = math.Min(room, s.room(s.nodes[v].parent))
	}
	if math.IsInf(room, 1) {
		return false
	}
	s.value += room
	for v := s.sink; v != s.source; {
		by := s.nodes[v].parent
		up, a := s.behind(by), &s.arcs[by>>1]
		if by&1 == 0 {
			a.flow += room
		} else {
			a.flow -= room
		}
		if s.room(by) <= s.epsilon {
			s.cut(v, false)
		}
		v = up
	}
	s.survey()
	return true
}
