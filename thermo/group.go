package thermo

import (
	"fmt"
	"math"
)

// A Group is a named set of parameters that shares one reading: a layer, or the
// whole system.
type Group struct {
	Name string `json:"name"`
	Size int    `json:"size"` // parameters, at least one
}

// grouped holds one value series per group and one of their sum. The error of
// the sum is that of the summed series: groups of one draw are correlated.
type grouped struct {
	groups []Group
	series []Series
	total  Series
	size   int
}

func newGrouped(what string, groups []Group) (grouped, error) {
	g := grouped{groups: groups, series: make([]Series, len(groups))}
	if len(groups) == 0 {
		return g, fmt.Errorf("%s: no groups of parameters", what)
	}
	for _, group := range groups {
		if group.Size < 1 {
			return g, fmt.Errorf("%s: group %q has %d parameters, expected at least one", what, group.Name, group.Size)
		}
		if g.size += group.Size; g.size < 0 {
			return g, fmt.Errorf("%s: group %q: the number of parameters overflows", what, group.Name)
		}
	}
	return g, nil
}

// add adds one draw: a value per group.
func (g *grouped) add(values []float64) {
	var sum float64
	for i, x := range values {
		g.series[i].Add(x)
		sum += x
	}
	g.total.Add(sum)
}

func (g *grouped) check(what string, values []float64) error {
	if len(values) != len(g.groups) {
		return fmt.Errorf("%s: expected one value for each of %d groups, got %d", what, len(g.groups), len(values))
	}
	return nil
}

// influence is an estimate together with its linearisation: how much each batch
// of draws pulled it. Sums and ratios of series batched alike keep it, so that
// differences of estimates from the same draws get their true error.
type influence struct {
	value     float64
	series    *Series   // gives the batching
	deviation []float64 // of each batch
	cause     string    // why there is none
}

// meanInfluence is the influence of the mean of s, times scale.
func meanInfluence(s *Series, scale float64) influence {
	f := influence{value: s.Mean() * scale, series: s, cause: s.defect()}
	if f.cause == "" {
		f.deviation = s.deviations()
		for i := range f.deviation {
			f.deviation[i] *= scale
		}
	}
	return f
}

// ratioInfluence is the influence of the ratio of means scale·⟨a⟩/⟨b⟩ of two
// series of the same draws, by the delta method.
func ratioInfluence(a, b *Series, scale float64) influence {
	f := influence{value: scale * a.Mean() / b.Mean(), series: a, cause: a.defect()}
	if f.cause == "" {
		f.cause = b.defect()
	}
	if f.cause == "" && a.N() != b.N() {
		f.cause = fmt.Sprintf("%d draws above and %d below the ratio, expected as many", a.N(), b.N())
	}
	if f.cause == "" && b.Mean() == 0 {
		f.cause = "the mean below the ratio is zero"
	}
	if f.cause != "" {
		return f
	}
	above, below := a.deviations(), b.deviations()
	for i := range above {
		above[i] = scale * (above[i] - f.value/scale*below[i]) / b.Mean()
	}
	f.deviation = above
	return f
}

// reading turns an influence into a reading, without its effective sample size.
func (f influence) reading(name, group, unit string) Reading {
	r := Reading{Name: name, Group: group, Unit: unit, Value: f.value, StdErr: math.NaN(), Invalid: f.cause}
	if f.cause != "" {
		return r
	}
	if math.IsNaN(f.value) || math.IsInf(f.value, 0) {
		r.Invalid = fmt.Sprintf("the estimate is %v", f.value)
		return r
	}
	r.StdErr, r.DoF = f.series.meanError(f.deviation)
	return r
}

// Ratio returns the ratio of the means of two series of the same draws, added
// draw by draw. Its error counts their correlation with each other and in time
// (delta method on joint batches), and it is not valid when the mean below is
// not significantly different from zero, for then the ratio has no finite error.
func Ratio(name, group, unit string, above, below *Series) Reading {
	return ratio(name, group, unit, above, below, 1)
}

func ratio(name, group, unit string, above, below *Series, scale float64) Reading {
	r := ratioInfluence(above, below, scale).reading(name, group, unit)
	b := below.Reading("", "", "")
	if r.Invalid != "" {
		return r
	}
	if low, high := b.Interval(0.95); low <= 0 && high >= 0 {
		r.Invalid = fmt.Sprintf("it divides by %v, which is not significantly different from zero", b)
		return r
	}
	r.Invalid = b.Invalid
	r.ESS = b.ESS
	if a := above.Reading("", "", ""); a.ESS < b.ESS {
		r.ESS = a.ESS
		if r.Invalid == "" {
			r.Invalid = a.Invalid
		}
	}
	return r
}
