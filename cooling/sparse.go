package cooling

import (
	"fmt"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// A factor is the factorisation P A Pᵀ = L D Lᵀ of a sparse symmetric positive
// definite matrix, row by row along the elimination tree (Davis, ACM Transactions
// on Mathematical Software 31, 587, 2005).
type factor struct {
	n        int
	place    []int32 // of every node in the order of elimination
	starts   []int   // of the columns of L, n + 1
	rows     []int32
	values   []float64
	diagonal []float64
}

// An edge is a conductance between two nodes.
type edge struct {
	i, j int32
	g    float64
}

// factorise factors the matrix of a network: the sum of its edges, and diagonal
// beside them. order is the order of elimination. It fails if a pivot is not
// positive: the matrix is singular or indefinite.
func factorise(diagonal []float64, edges []edge, order []int32) (*factor, error) {
	n := len(diagonal)
	f := &factor{n: n, place: make([]int32, n), diagonal: make([]float64, n), starts: make([]int, n+1)}
	for k, node := range order {
		f.place[node] = int32(k)
	}
	starts, columns, values, d := f.lower(diagonal, edges)
	parent, counts := eliminationTree(starts, columns)
	for k, c := range counts {
		f.starts[k+1] = f.starts[k] + c
	}
	f.rows, f.values = make([]int32, f.starts[n]), make([]float64, f.starts[n])
	return f, f.numeric(starts, columns, values, d, parent, order)
}

// lower gathers the strictly lower triangle of the permuted matrix by rows, and its
// diagonal.
func (f *factor) lower(diagonal []float64, edges []edge) (starts []int, columns []int32, values, d []float64) {
	starts = make([]int, f.n+1)
	d = make([]float64, f.n)
	for node, x := range diagonal {
		d[f.place[node]] = x
	}
	for _, e := range edges {
		a, b := f.place[e.i], f.place[e.j]
		d[a] += e.g
		d[b] += e.g
		starts[max(a, b)+1]++
	}
	for k := range f.n {
		starts[k+1] += starts[k]
	}
	columns, values = make([]int32, starts[f.n]), make([]float64, starts[f.n])
	next := slices.Clone(starts)
	for _, e := range edges {
		a, b := f.place[e.i], f.place[e.j]
		at := next[max(a, b)]
		next[max(a, b)]++
		columns[at], values[at] = min(a, b), -e.g
	}
	return starts, columns, values, d
}

// eliminationTree returns the parent of every column and how many entries it has
// below the diagonal.
func eliminationTree(starts []int, columns []int32) (parent []int32, counts []int) {
	n := len(starts) - 1
	parent, counts = make([]int32, n), make([]int, n)
	flag := make([]int32, n)
	for k := range n {
		parent[k], flag[k] = -1, int32(k)
		for _, j := range columns[starts[k]:starts[k+1]] {
			for i := j; flag[i] != int32(k); i = parent[i] {
				if parent[i] < 0 {
					parent[i] = int32(k)
				}
				counts[i]++
				flag[i] = int32(k)
			}
		}
	}
	return parent, counts
}

func (f *factor) numeric(starts []int, columns []int32, values, d []float64, parent, order []int32) error {
	y := make([]float64, f.n)
	pattern, path, flag := make([]int32, f.n), make([]int32, f.n), make([]int32, f.n)
	next := slices.Clone(f.starts)
	for k := range f.n {
		flag[k] = int32(k)
		top := f.n
		for p := starts[k]; p < starts[k+1]; p++ {
			i := columns[p]
			y[i] += values[p]
			length := 0
			for ; flag[i] != int32(k); i = parent[i] {
				path[length] = i
				length++
				flag[i] = int32(k)
			}
			for length > 0 {
				top, length = top-1, length-1
				pattern[top] = path[length]
			}
		}
		pivot := d[k]
		for _, i := range pattern[top:] {
			x := y[i]
			y[i] = 0
			from, to := f.starts[i], next[i]
			rows := f.rows[from:to]
			column := f.values[from:to]
			for p, row := range rows {
				y[row] -= column[p] * x
			}
			l := x / f.diagonal[i]
			pivot -= l * x
			f.rows[to], f.values[to] = int32(k), l
			next[i]++
		}
		if !(pivot > 1e-14*d[k]) {
			return fmt.Errorf("the thermal network is singular at node %d: it has no way to the ambient, or a cooler runs away", order[k])
		}
		f.diagonal[k] = pivot
	}
	return nil
}

// solve replaces the right-hand side by the solution. work has n elements.
func (f *factor) solve(b, work []float64) {
	for node, k := range f.place {
		work[k] = b[node]
	}
	for k := range f.n {
		x := work[k]
		if x == 0 {
			continue
		}
		from, to := f.starts[k], f.starts[k+1]
		column := f.values[from:to]
		for p, row := range f.rows[from:to] {
			work[row] -= column[p] * x
		}
	}
	for k := range f.n {
		work[k] /= f.diagonal[k]
	}
	for k := f.n - 1; k >= 0; k-- {
		from, to := f.starts[k], f.starts[k+1]
		column := f.values[from:to]
		x := work[k]
		for p, row := range f.rows[from:to] {
			x -= column[p] * work[row]
		}
		work[k] = x
	}
	for node, k := range f.place {
		b[node] = work[k]
	}
}

// schur returns the matrix that is left of the last nodes of the elimination, in their
// order, when all before them are eliminated.
func (f *factor) schur(count int) *mat.SymDense {
	from := f.n - count
	a := mat.NewSymDense(count, nil)
	for k := from; k < f.n; k++ { // column by column of L D Lᵀ
		column := mat.NewVecDense(count, nil)
		column.SetVec(k-from, 1)
		for p := f.starts[k]; p < f.starts[k+1]; p++ {
			column.SetVec(int(f.rows[p])-from, f.values[p])
		}
		a.SymRankOne(a, f.diagonal[k], column)
	}
	return a
}

// extend returns what every node becomes when one of the last nodes of the elimination
// is 1, the others of them are 0, and nothing flows into the rest: a column for each.
func (f *factor) extend(count int) *mat.Dense {
	const together = 8
	r := mat.NewDense(f.n, count, nil)
	work := make([]float64, f.n*together)
	from := f.n - count
	for first := 0; first < count; first += together {
		clear(work)
		columns := min(together, count-first)
		for c := range columns {
			work[(from+first+c)*together+c] = 1
		}
		for k := from - 1; k >= 0; k-- {
			x := [together]float64{}
			for p := f.starts[k]; p < f.starts[k+1]; p++ {
				l := f.values[p]
				at := work[together*int(f.rows[p]):][:together]
				for c := range x {
					x[c] -= l * at[c]
				}
			}
			copy(work[together*k:], x[:])
		}
		for node, k := range f.place {
			copy(r.RawRowView(node)[first:first+columns], work[together*int(k):])
		}
	}
	return r
}

// dissection orders the cells of a grid by nested dissection (George, SIAM Journal on
// Numerical Analysis 10, 345, 1973): two halves first, then the line that parts
// them. visit is called with row and column.
func dissection(row, col, rows, cols int, visit func(row, col int)) {
	const leaf = 3
	switch {
	case rows <= leaf && cols <= leaf:
		for i := range rows {
			for j := range cols {
				visit(row+i, col+j)
			}
		}
	case rows >= cols:
		middle := rows / 2
		dissection(row, col, middle, cols, visit)
		dissection(row+middle+1, col, rows-middle-1, cols, visit)
		for j := range cols {
			visit(row+middle, col+j)
		}
	default:
		middle := cols / 2
		dissection(row, col, rows, middle, visit)
		dissection(row, col+middle+1, rows, cols-middle-1, visit)
		for i := range rows {
			visit(row+i, col+middle)
		}
	}
}
