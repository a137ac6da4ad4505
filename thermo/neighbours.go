package thermo

import (
	"math"
	"slices"
)

const leafSize = 12 // points in a leaf of a neighbourTree, where all are compared

// A neighbourTree finds nearest neighbours among points, by the largest
// difference of any coordinate (the maximum norm): a balanced k-d tree in
// an array of point indices, split at the median of the widest coordinate.
type neighbourTree struct {
	points [][]float64
	index  []int
	split  []split // node i has the children 2i+1 and 2i+2
}

type split struct {
	axis int
	at   float64
}

func newNeighbourTree(points [][]float64) *neighbourTree {
	t := &neighbourTree{points: points, index: make([]int, len(points))}
	for i := range t.index {
		t.index[i] = i
	}
	nodes := 1
	for size := len(points); size > leafSize; size = (size + 1) / 2 {
		nodes = 2*nodes + 1
	}
	t.split = make([]split, nodes)
	t.build(0, t.index)
	return t
}

func (t *neighbourTree) build(node int, index []int) {
	if len(index) <= leafSize {
		return
	}
	axis, widest := 0, -1.0
	for a := range t.points[0] {
		low, high := math.Inf(1), math.Inf(-1)
		for _, i := range index {
			low, high = min(low, t.points[i][a]), max(high, t.points[i][a])
		}
		if high-low > widest {
			axis, widest = a, high-low
		}
	}
	slices.SortFunc(index, func(i, j int) int {
		switch a, b := t.points[i][axis], t.points[j][axis]; {
		case a < b:
			return -1
		case a > b:
			return 1
		}
		return 0
	})
	middle := len(index) / 2
	t.split[node] = split{axis, t.points[index[middle]][axis]}
	t.build(2*node+1, index[:middle])
	t.build(2*node+2, index[middle:])
}

// distances fills nearest, whose length sets how many there are, with the
// ascending distances from point self to its nearest other points.
func (t *neighbourTree) distances(self int, nearest []float64) {
	for i := range nearest {
		nearest[i] = math.Inf(1)
	}
	t.search(0, t.index, self, nearest)
}

func (t *neighbourTree) search(node int, index []int, self int, nearest []float64) {
	last := len(nearest) - 1
	p := t.points[self]
	if len(index) <= leafSize {
		for _, i := range index {
			if i == self {
				continue
			}
			var distance float64
			for a, x := range t.points[i] {
				distance = max(distance, math.Abs(x-p[a]))
			}
			if distance >= nearest[last] {
				continue
			}
			j := last
			for ; j > 0 && nearest[j-1] > distance; j-- {
				nearest[j] = nearest[j-1]
			}
			nearest[j] = distance
		}
		return
	}
	middle := len(index) / 2
	gap := p[t.split[node].axis] - t.split[node].at
	near, far := 2*node+1, 2*node+2
	nearIndex, farIndex := index[:middle], index[middle:]
	if gap >= 0 {
		near, far, nearIndex, farIndex = far, near, farIndex, nearIndex
	}
	t.search(near, nearIndex, self, nearest)
	if math.Abs(gap) < nearest[last] {
		t.search(far, farIndex, self, nearest)
	}
}
