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
}

// value writes the loss of each example.
func (l *loss[T]) value(b Batch[T], z []T, losses []float64) {
	size := l.rows * l.classes
	l.logSums = fit(l.logSums, len(losses)*l.rows)
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
		case crossEntropy:
			for r := range l.rows {
				row := out[r*l.classes : (r+1)*l.classes]
				at := i*l.rows + r
				l.logSums[at] = logSumExp(row)
				sum += l.logSums[at] - float64(row[b.Labels[at]])
			}
			losses[i] = sum / float64(l.rows)
		}
	}
}

func logSumExp[T Float](row []T) float64 {
	top := row[0]
	for _, v := range row {
		top = max(top, v)
	}
	sum := 0.0
	for _, v := range row {
		sum += math.Exp(float64(v - top))
	}
	return float64(top) + math.Log(sum)
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
		scale *= float64(l.classes)
		for r, label := range b.Labels {
			row := y.a[r*l.classes : (r+1)*l.classes]
			d := y.d[r*l.classes : (r+1)*l.classes]
			lse := l.logSums[r]
			for j, v := range row {
				d[j] = T(scale * math.Exp(float64(v)-lse))
			}
			d[label] -= T(scale)
		}
	}
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
		for r := range b.Labels {
			row := y.a[r*l.classes : (r+1)*l.classes]
			at := y.at[r*l.classes : (r+1)*l.classes]
			dt := y.dt[r*l.classes : (r+1)*l.classes]
			lse, mean := l.logSums[r], 0.0
			for j, v := range row {
				prob := math.Exp(float64(v) - lse)
				dt[j] = T(prob)
				mean += prob * float64(at[j])
			}
			for j, t := range at {
				dt[j] = T(scale * float64(dt[j]) * (float64(t) - mean))
			}
		}
	}
}
