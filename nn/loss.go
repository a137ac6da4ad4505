package nn

import (
	"math"
)

type lossKind int

const (
	meanSquared lossKind = iota
	meanAbsolute
	crossEntropy
)

var losses = map[string]lossKind{"mse": meanSquared, "mae": meanAbsolute, "ce": crossEntropy}

// loss turns outputs into energies. An example has rows×classes outputs: one
// row for a plain network, one a position for a sequence.
type loss[T Float] struct {
	kind          lossKind
	classes, rows int
	logSums       []float64 // ln Σ e^z of every row, for ce
	scratch       []T       // exponentials of some rows
}

// value writes the loss of each example.
func (l *loss[T]) value(b Batch[T], z []T, losses []float64) {
	if l.kind == crossEntropy {
		l.crossEntropies(b.Labels, z, losses)
		return
	}
	size := l.rows * l.classes
	for i := range losses {
		out := z[i*size : (i+1)*size]
		sum := 0.0
		switch l.kind {
		case meanSquared:
			for j, t := range b.Y[i*size : (i+1)*size] {
				e := float64(out[j]) - float64(t)
				sum += e * e
			}
			losses[i] = sum / float64(size)
		case meanAbsolute:
			for j, t := range b.Y[i*size : (i+1)*size] {
				sum += math.Abs(float64(out[j]) - float64(t))
			}
			losses[i] = sum / float64(size)
		}
	}
}

// atOnce is about how many exponentials are taken at a time: as many as stay in
// the first-level cache.
const atOnce = 1 << 12

// crossEntropies writes the mean loss of each example's rows, and keeps the
// logarithms of the rows' sums.
func (l *loss[T]) crossEntropies(labels []int32, z []T, losses []float64) {
	clear(losses)
	l.logSums = fit(l.logSums, len(labels))
	rows := max(atOnce/l.classes, 1)
	for first := 0; first < len(labels); first += rows {
		count := min(rows, len(labels)-first)
		z := z[first*l.classes : (first+count)*l.classes]
		l.scratch = fit(l.scratch, len(z))
		tops := l.logSums[first : first+count]
		for r := range tops {
			row, shifted := z[r*l.classes:(r+1)*l.classes], l.scratch[r*l.classes:(r+1)*l.classes]
			top := row[0]
			for _, v := range row {
				top = max(top, v)
			}
			for j, v := range row {
				shifted[j] = v - top
			}
			tops[r] = float64(top)
		}
		exponentials(l.scratch)
		for r, top := range tops {
			tops[r] = top + math.Log(total(l.scratch[r*l.classes:(r+1)*l.classes]))
		}
	}
	for i := range losses {
		for r := i * l.rows; r < (i+1)*l.rows; r++ {
			losses[i] += l.logSums[r] - float64(z[r*l.classes+int(labels[r])])
		}
		losses[i] /= float64(l.rows)
	}
}

// adjoint writes the derivative of the batch's mean loss by the outputs.
func (l *loss[T]) adjoint(b Batch[T], y *node[T]) {
	y.seen = true
	scale := 1 / float64(len(y.a))
	switch l.kind {
	case meanSquared:
		for j, t := range b.Y {
			y.d[j] = T(2 * scale * (float64(y.a[j]) - float64(t)))
		}
	case meanAbsolute:
		for j, t := range b.Y {
			switch e := y.a[j] - t; {
			case e > 0:
				y.d[j] = T(scale)
			case e < 0:
				y.d[j] = T(-scale)
			default:
				y.d[j] = 0
			}
		}
	case crossEntropy:
		mean := T(scale * float64(l.classes))
		l.probabilities(y.a, y.d)
		for r, label := range b.Labels {
			y.d[r*l.classes+int(label)]--
		}
		for j, d := range y.d {
			y.d[j] = mean * d
		}
	}
}

// probabilities writes e^z/Σe^z of each row to p.
func (l *loss[T]) probabilities(z, p []T) {
	for r, logSum := range l.logSums {
		row := p[r*l.classes : (r+1)*l.classes]
		for j, v := range z[r*l.classes : (r+1)*l.classes] {
			row[j] = T(float64(v) - logSum)
		}
	}
	exponentials(p)
}

// cotangent writes the tangent of the adjoint: the loss's Hessian by the
// outputs times their tangent.
func (l *loss[T]) cotangent(b Batch[T], y *node[T]) {
	y.seenDt = true
	scale := 1 / float64(len(y.a))
	switch l.kind {
	case meanSquared:
		for j, t := range y.at {
			y.dt[j] = T(2*scale) * t
		}
	case meanAbsolute:
		clear(y.dt)
	case crossEntropy:
		scale *= float64(l.classes)
		l.probabilities(y.a, y.dt)
		for r := range b.Labels {
			at := y.at[r*l.classes : (r+1)*l.classes]
			dt := y.dt[r*l.classes : (r+1)*l.classes]
			mean := 0.0
			for j, p := range dt {
				mean += float64(p) * float64(at[j])
			}
			for j, t := range at {
				dt[j] = T(scale * float64(dt[j]) * (float64(t) - mean))
			}
		}
	}
}
