package curvature

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/kelvin-ml/kelvin/thermo"
)

// TraceOptions are the parameters of Trace.
type TraceOptions struct {
	Tolerance  float64 // standard error at which to stop, relative to the trace
	Probes     int     // probes at most
	Seed       uint64
	Population bool                  // count the choice of the examples into the error
	Progress   func(done, total int) // may be nil
}

// A TraceResult is the trace of a matrix, whole and of the diagonal block of
// every layer.
type TraceResult struct {
	Whole    thermo.Reading
	Layers   []thermo.Reading // they sum to Whole
	Probes   int              // random vectors used; 0 when the trace is exact
	Products int
}

// minProbes is the number of probes below which their spread is not trusted.
const minProbes = 16

// Trace estimates the trace of an operator and of its layers by Hutchinson's
// method, from random signs z: E[z·Hz] = tr H. With a Krylov space it is Hutch++
// (R. Meyer and others, arXiv 2010.09649): the trace on the space, which holds
// the large eigenvalues, is known exactly, and only the rest is probed. (Their
// sketch is an orthonormal basis of HΩ; the one of Lanczos is as good and there
// already. Chen and Hallman, arXiv 2205.07080.)
//
// It stops when the standard error of the whole that it has so far, from the
// spread of the probes, is below Tolerance·|trace|. With Population that error
// does not fall below what the number of examples allows, and it stops when the
// probes' share of it is. If it ends before, out of probes or by ctx, the result
// is not valid and says why; when ctx ended it is an error too.
func Trace(ctx context.Context, operator Operator, groups []thermo.Group, krylov *Krylov, o TraceOptions) (TraceResult, error) {
	f, err := newForms(operator, groups, o.Population)
	if err != nil {
		return TraceResult{}, err
	}
	if !(o.Tolerance > 0) || o.Probes < minProbes {
		return TraceResult{}, fmt.Errorf("trace: expected a tolerance > 0 and at least %d probes, got %g and %d", minProbes, o.Tolerance, o.Probes)
	}
	if krylov != nil && krylov.population != o.Population {
		return TraceResult{}, fmt.Errorf("trace: the Krylov space was made with another Population")
	}
	t := &tracer{forms: f, known: f.table()}
	if krylov != nil {
		t.basis, t.known = krylov.Vectors, krylov.sums
	}
	random := rand.New(rand.NewPCG(o.Seed, traceStream))
	probe, product := make([]float64, operator.Dim()), make([]float64, operator.Dim())
	done := len(t.basis) == operator.Dim()
	for !done && len(t.probes) < o.Probes && ctx.Err() == nil {
		signs(random, probe)
		project(t.basis, probe)
		sums := f.table()
		if err := f.apply(probe, product, sums); err != nil {
			return TraceResult{}, err
		}
		t.probes = append(t.probes, sums)
		if n := len(t.probes); n >= minProbes {
			whole := t.reading(-1, false)
			// The error has an error itself, and stopping picks its low side.
			done = whole.StdErr*(1+1/math.Sqrt(2*float64(n-1))) <= o.Tolerance*math.Abs(whole.Value)
			if o.Progress != nil {
				ratio := whole.StdErr / (o.Tolerance * math.Abs(whole.Value))
				o.Progress(n, int(max(float64(n), min(float64(o.Probes), float64(n)*ratio*ratio))))
			}
		}
	}
	return t.result(done, o), ctx.Err()
}

// signs fills v with random signs.
func signs(random *rand.Rand, v []float64) {
	var bits uint64
	for i := range v {
		if i%64 == 0 {
			bits = random.Uint64()
		}
		v[i] = float64(int64(bits&1)*2 - 1)
		bits >>= 1
	}
}

// tracer holds local forms: those known, of the basis, and those of each probe.
type tracer struct {
	forms  *forms
	basis  [][]float64
	known  [][]float64   // [part][group]
	probes [][][]float64 // [probe][part][group]
}

func (t *tracer) result(done bool, o TraceOptions) TraceResult {
	r := TraceResult{Whole: t.reading(-1, o.Population), Probes: len(t.probes), Products: t.forms.products}
	for g := range t.forms.groups {
		r.Layers = append(r.Layers, t.reading(g, o.Population))
	}
	if !done {
		probes := t.reading(-1, false)
		reason := fmt.Sprintf("after %d probes the standard error is %.2g of the trace, more than the tolerance %g",
			len(t.probes), probes.StdErr/math.Abs(probes.Value), o.Tolerance)
		if len(t.probes) < 2 {
			reason = "interrupted before two probes"
		}
		r.Whole.Invalid = reason
		for g := range r.Layers {
			r.Layers[g].Invalid = reason
		}
	}
	return r
}

// reading returns the trace of one group, or of all for −1, with the error of
// the probes and, if wanted, of the parts: the error of the grand mean of a
// table of probes × parts, both of them random.
func (t *tracer) reading(group int, population bool) thermo.Reading {
	weights := []float64{1}
	if t.forms.parts != nil {
		weights = t.forms.parts.Weights()
	}
	parts := make([]float64, len(weights)) // mean over the probes
	probes := make([]float64, len(t.probes))
	value := 0.0
	for c, w := range weights {
		known := pick(t.known[c], group)
		parts[c] = known
		for p := range t.probes {
			x := pick(t.probes[p][c], group)
			parts[c] += x / float64(len(probes))
			probes[p] += w * x
		}
		value += w * parts[c]
	}
	r := thermo.Reading{Name: "trace", Value: value, Unit: "1"}
	if group >= 0 {
		r.Group = t.forms.groups[group].Name
	}
	n := float64(len(probes))
	if len(t.basis) < t.forms.operator.Dim() {
		r.StdErr, r.ESS, r.DoF = math.Sqrt(variance(probes)/n), n, n-1
	}
	if population {
		t.addParts(&r, group, weights, parts, probes)
	}
	return r
}

// addParts adds the spread of the parts to an error of probes. Both spreads
// contain the interaction of probes and parts, which is to be counted once.
func (t *tracer) addParts(r *thermo.Reading, group int, weights, parts, probes []float64) {
	p, c := float64(len(probes)), float64(len(parts))
	ofProbes, ofParts := r.StdErr*r.StdErr, variance(parts)/c
	interaction := 0.0
	if p > 1 {
		partMean := 0.0
		for i, w := range weights {
			partMean += w * (parts[i] - pick(t.known[i], group))
		}
		for i := range parts {
			part := parts[i] - pick(t.known[i], group)
			for j := range probes {
				d := pick(t.probes[j][i], group) - part - probes[j] + partMean
				interaction += d * d
			}
		}
		interaction /= (p - 1) * (c - 1) * p * c
	}
	total := max(ofProbes+ofParts-interaction, ofProbes, ofParts)
	r.DoF = c - 1
	if ofProbes > 0 && total > 0 {
		r.DoF = total * total / (ofProbes*ofProbes/(p-1) + ofParts*ofParts/(c-1))
	}
	r.StdErr = math.Sqrt(total)
}

// pick returns the value of a group, or of all for −1.
func pick(values []float64, group int) float64 {
	if group >= 0 {
		return values[group]
	}
	sum := 0.0
	for _, x := range values {
		sum += x
	}
	return sum
}

func mean(xs []float64) float64 {
	sum := 0.0
	for _, x := range xs {
		sum += x
	}
	return sum / float64(len(xs))
}

// variance is that of a sample; NaN for fewer than two values.
func variance(xs []float64) float64 {
	m, sum := mean(xs), 0.0
	for _, x := range xs {
		sum += (x - m) * (x - m)
	}
	return sum / float64(len(xs)-1)
}
