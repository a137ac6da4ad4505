package ising

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/kelvin-ml/kelvin/thermo"
)

func trainAndTest(t *testing.T, size, perTemperature int) (train, test *Samples) {
	t.Helper()
	var grid []float64
	for k := range 26 {
		grid = append(grid, 1.65+0.05*float64(k))
	}
	train, err := Sample(context.Background(), size, grid, perTemperature, 1)
	if err != nil {
		t.Fatal(err)
	}
	if test, err = Sample(context.Background(), size, grid, 40, 2); err != nil {
		t.Fatal(err)
	}
	return train, test
}

func explain(t *testing.T, train, test *Samples, hidden int, decay float64) Explanation {
	t.Helper()
	c, err := Train(context.Background(), train, hidden, decay, 1)
	if err != nil {
		t.Fatal(err)
	}
	e, err := c.Explain(test)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d hidden, decay %g: Tc %.3f, m* %.3f, T(m*) %.3f, cv %.2f, counting %.3f, symmetry %.2f, accuracy %.3f",
		hidden, decay, e.Tc, e.Threshold, e.ThresholdTc, e.WeightCV, e.Counting, e.Symmetry, e.Accuracy)
	return e
}

// TestCountingOrNoise: the regularised network counts magnetisation; without
// regularisation and with more weights than configurations it memorises.
func TestCountingOrNoise(t *testing.T) {
	statistical(t)
	train, test := trainAndTest(t, 16, 8)
	counts, noise := explain(t, train, test, 0, 1e-2), explain(t, train, test, 0, 0)
	if counts.WeightCV > 0.8 || counts.Counting < 0.9 || math.Abs(counts.Tc-Tc) > 0.15 || math.Abs(counts.ThresholdTc-counts.Tc) > 0.1 {
		t.Error("the regularised network does not count magnetisation")
	}
	if noise.WeightCV < 2 || noise.Counting > 0.8 {
		t.Error("the weights are not noise, though nothing kept them from it")
	}
	if noise.Accuracy > counts.Accuracy {
		t.Errorf("noise is more accurate: %g against %g", noise.Accuracy, counts.Accuracy)
	}
}

// TestOneSign: weights that are all of one sign and nearly the same need labels
// that can be separated; next to Tc a few turn their sign.
func TestOneSign(t *testing.T) {
	statistical(t)
	for _, c := range []struct{ gap, cv, against float64 }{{0, 0.6, 0.03}, {0.3, 0.3, 0}} {
		l, err := Learn(context.Background(), LearnOptions{Sizes: []int{20}, Seeds: 2, PerTemperature: 20, Decay: 1e-3, Gap: c.gap, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		s := l.Sizes[0]
		t.Logf("gap %g: weight cv %.2f, against %.3f, counting %.3f", c.gap, s.WeightCV, s.Against, s.Counting)
		if float64(s.WeightCV) > c.cv || float64(s.Against) > c.against || c.gap == 0 && (s.Against == 0 || s.WeightCV < 0.3) {
			t.Error("not what docs/ising.md says")
		}
	}
}

// TestTwoUnitsFindTheSymmetry: without being told, both units read the
// magnetisation, with a threshold on either side.
func TestTwoUnitsFindTheSymmetry(t *testing.T) {
	statistical(t)
	train, test := trainAndTest(t, 10, 60)
	e := explain(t, train, test, 2, 1e-3)
	if e.Symmetry < 0.6 || e.WeightCV > 0.8 || math.Abs(e.Tc-Tc) > 0.1 {
		t.Error("the units do not share one pattern")
	}
}

// TestPrincipalComponent: without labels, the first component is the
// magnetisation.
func TestPrincipalComponent(t *testing.T) {
	_, test := trainAndTest(t, 12, 2)
	pca, err := PrincipalComponent(test)
	if err != nil {
		t.Fatal(err)
	}
	if pca.Uniformity < 0.995 || pca.Share < 0.2 {
		t.Errorf("share %g, uniformity %g", pca.Share, pca.Uniformity)
	}
	for i, p := range pca.Projection {
		if math.Abs(math.Abs(p)-math.Abs(test.Magnetisation(i))) > 0.15 {
			t.Fatalf("projection %g of a configuration of magnetisation %g", p, test.Magnetisation(i))
		}
	}
	if _, err := PrincipalComponent(&Samples{Size: 4}); err == nil {
		t.Error("components of nothing")
	}
}

func TestLearn(t *testing.T) {
	o := LearnOptions{Sizes: []int{6, 8, 10, 12}, Seeds: 2, PerTemperature: 6, Decay: 5e-4, Seed: 1}
	l, err := Learn(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range l.Sizes {
		t.Logf("L = %d: %v, two units %v", s.Size, s.Tc, s.TwoUnits.Tc)
		if math.Abs(s.Tc.Value-Tc) > 0.2 {
			t.Errorf("size %d: %v", s.Size, s.Tc)
		}
	}
	again, err := Learn(context.Background(), o)
	if err != nil || again.Extrapolated.Value != l.Extrapolated.Value {
		t.Errorf("the same seed gave %v and %v, %v", l.Extrapolated, again.Extrapolated, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Learn(ctx, o); err == nil {
		t.Error("a cancelled study passed")
	}
	for want, change := range map[string]func(*LearnOptions){
		"no sizes":  func(o *LearnOptions) { o.Sizes = nil },
		"even":      func(o *LearnOptions) { o.Sizes = []int{7} },
		"up to 256": func(o *LearnOptions) { o.Sizes = []int{300} },
		"ascending": func(o *LearnOptions) { o.Sizes = []int{10, 10} },
		"1 seeds":   func(o *LearnOptions) { o.Seeds = 1 },
		"0 config":  func(o *LearnOptions) { o.PerTemperature = 0 },
		"gap NaN":   func(o *LearnOptions) { o.Gap = math.NaN() },
		"decay":     func(o *LearnOptions) { o.Decay = -1 },
	} {
		bad := o
		change(&bad)
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected an error about %q, got %v", want, err)
		}
	}
}

// TestExtrapolate recovers both terms of the shift.
func TestExtrapolate(t *testing.T) {
	law := func(sizes ...int) (l Learning) {
		for _, size := range sizes {
			x := 1 / float64(size)
			l.Sizes = append(l.Sizes, Learned{Size: size, Tc: thermo.Reading{Value: 2.27 + (0.7-0.1*math.Log(x))*x, StdErr: 0.07 * x}})
		}
		return l.extrapolate()
	}
	for _, sizes := range [][]int{{10, 14, 20, 28, 40}, {10, 20, 40, 80}} {
		l := law(sizes...)
		near(t, "intercept", l.Extrapolated.Value, 2.27, 1e-10)
		if !l.Extrapolated.Valid() || !(l.Extrapolated.StdErr < 0.02) {
			t.Errorf("%v: %v", sizes, l.Extrapolated)
		}
	}
	if r := law(10, 20, 40).Extrapolated; r.Valid() || !strings.Contains(r.Invalid, "four sizes or more, got 3") {
		t.Errorf("extrapolated three sizes to %v", r)
	}
	if r := law(4, 6, 8, 10).Extrapolated; r.Valid() != (r.StdErr <= maxExtrapolationError) {
		t.Errorf("small sizes: %v", r)
	}
	off := law(10, 20, 40, 80)
	off.Sizes[1].Tc.Value += 0.1 // not of the form
	if r := off.extrapolate().Extrapolated; r.Valid() && math.Abs(r.Value-2.27) > 3*r.StdErr {
		t.Errorf("a size off the form: %v", r)
	}
}

// TestUndecided leaves out networks that have no critical temperature, and
// counts them.
func TestUndecided(t *testing.T) {
	found := func(tc float64) Explanation {
		return Explanation{Tc: tc, Threshold: 0.7, ThresholdTc: tc, WeightCV: 0.1, Counting: 0.9, Accuracy: 1, Symmetry: 1}
	}
	nothing := Explanation{Tc: math.NaN(), Threshold: -3, ThresholdTc: math.NaN(), WeightCV: 50, Counting: math.NaN(), Accuracy: 0.5}
	trials := []trial{{single: found(2.2), double: nothing}, {single: found(2.4), double: nothing}, {single: nothing, double: nothing}}
	l := summarise(10, trials)
	near(t, "tc", l.Tc.Value, 2.3, 1e-12)
	near(t, "threshold", float64(l.Threshold), 0.7, 1e-12)
	near(t, "weight cv", float64(l.WeightCV), 0.1, 1e-12)
	near(t, "accuracy", l.Accuracy, 2.5/3, 1e-12)
	if l.Undecided != 1 || l.TwoUnits.Undecided != 3 || !l.Tc.Valid() || l.TwoUnits.Tc.Valid() || l.LearnedNothing() {
		t.Errorf("%+v", l)
	}
	if l.Threshold = 1.8; !l.LearnedNothing() {
		t.Error("a threshold of 1.8 passed for a magnetisation")
	}
	trials[1].single = nothing
	if !summarise(10, trials).LearnedNothing() {
		t.Error("one of three networks learned, and passed for all")
	}
}
