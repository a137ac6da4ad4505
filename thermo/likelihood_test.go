package thermo

import (
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

type choice struct {
	energies []float64
	chosen   int
}

// choose draws from softmax(−e/T).
func choose(rng *rand.Rand, energies []float64, temperature float64) int {
	best, at := math.Inf(-1), 0
	for i, e := range energies {
		if x := -e/temperature - math.Log(rng.ExpFloat64()); x > best { // Gumbel
			best, at = x, i
		}
	}
	return at
}

func choices(rng *rand.Rand, n, k int, spread, temperature float64) []choice {
	draws := make([]choice, n)
	for i := range draws {
		e := make([]float64, k)
		for j := range e {
			e[j] = spread * rng.NormFloat64()
		}
		draws[i] = choice{e, choose(rng, e, temperature)}
	}
	return draws
}

func all(draws []choice) iter.Seq2[[]float64, int] {
	return func(yield func([]float64, int) bool) {
		for _, d := range draws {
			if !yield(d.energies, d.chosen) {
				return
			}
		}
	}
}

func TestLikelihoodReadsTheTemperature(t *testing.T) {
	rng := rand.New(rand.NewPCG(30, 0))
	var worst float64
	for _, temperature := range []float64{0.1, 0.5, 1, 3} {
		for _, k := range []int{2, 10, 200} {
			draws := choices(rng, 1000, k, 1, temperature)
			l, err := NewLikelihood(1./64, 64)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range draws {
				if err := l.Add(d.energies, d.chosen); err != nil {
					t.Fatal(err)
				}
			}
			r := l.Reading("likelihood", "", "energy/nat")
			reads(t, fmt.Sprintf("%d choices", k), r, temperature)
			exact, err := MaximumLikelihood(all(draws), 0)
			if err != nil {
				t.Fatal(err)
			}
			off := math.Abs(r.Value/exact.Value - 1)
			worst = max(worst, off)
			if off > 2e-6 || math.Abs(r.StdErr/exact.StdErr-1) > 1e-3 {
				t.Errorf("%d choices at %g: %v on the grid, %v exactly, %g apart", k, temperature, r, exact, off)
			}
		}
	}
	t.Logf("the grid is off by at most %.2g of the temperature", worst)
}

func TestLikelihoodOfTwoLevels(t *testing.T) {
	// One gap, a fraction f of the draws in the upper level: T = 1/ln((1−f)/f).
	l, _ := NewLikelihood(0.01, 100)
	for i := range 1000 {
		chosen := 0
		if i%10 < 3 {
			chosen = 1
		}
		if err := l.Add([]float64{-7, -6}, chosen); err != nil {
			t.Fatal(err)
		}
	}
	want := 1 / math.Log(7./3)
	r := l.Reading("likelihood", "", "")
	if math.Abs(r.Value/want-1) > 1e-6 {
		t.Errorf("temperature %g, want %g", r.Value, want)
	}
	if e := want * want / math.Sqrt(1000*0.21); math.Abs(r.StdErr/e-1) > 1e-4 {
		t.Errorf("error %g, want %g", r.StdErr, e)
	}
	// A rare upper level, between two nodes: the hardest case for the grid.
	for _, rare := range []int{1, 10, 100} {
		cold, _ := NewLikelihood(0.01, 100)
		for i := range 100_000 {
			_ = cold.Add([]float64{0, 1.09}, min(1, i%(100_000/rare)/(100_000/rare-1)))
		}
		want := 1.09 / math.Log(float64(100_000-rare)/float64(rare))
		got := cold.Reading("", "", "").Value
		t.Logf("%d of 100,000 in the upper level: off by %.2g", rare, got/want-1)
		if math.Abs(got/want-1) > 2e-4 {
			t.Errorf("temperature %g, want %g", got, want)
		}
	}
	// The drop in likelihood at both ends is half the χ² quantile.
	low, high := l.Interval(0.95)
	logLikelihood := func(temperature float64) float64 {
		return -300/temperature - 1000*math.Log1p(math.Exp(-1/temperature))
	}
	for _, end := range []float64{low, high} {
		if drop := logLikelihood(want) - logLikelihood(end); math.Abs(drop/1.920729-1) > 1e-4 {
			t.Errorf("log-likelihood drops by %g at %g, want 1.9207", drop, end)
		}
	}
}

func TestLikelihoodIntervalsCover(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 0))
	const repeats = 1000
	var wald, profile, clustered, naive int
	for range repeats {
		l, _ := NewLikelihood(0.25, 8)
		for _, d := range choices(rng, 200, 5, 1, 1) {
			_ = l.Add(d.energies, d.chosen)
		}
		if low, high := l.Reading("", "", "").Interval(0.95); low < 1 && 1 < high {
			wald++
		}
		if low, high := l.Interval(0.95); low < 1 && 1 < high {
			profile++
		}
		// Every draw five times over: the information counts it five times.
		plain, _ := NewLikelihood(0.25, 8)
		copies, _ := NewLikelihood(0.25, 8)
		for _, d := range choices(rng, 200, 5, 1, 1) {
			for range 5 {
				_ = plain.Add(d.energies, d.chosen)
				_ = copies.Add(d.energies, d.chosen)
			}
			copies.EndCluster()
		}
		if low, high := plain.Interval(0.95); low < 1 && 1 < high {
			naive++
		}
		if low, high := copies.Interval(0.95); low < 1 && 1 < high {
			clustered++
		}
	}
	t.Logf("of 95 %% intervals cover: reading %d, profile %d, clusters %d, clusters ignored %d of %d", wald, profile, clustered, naive, repeats)
	if profile < 930 || profile > 970 || clustered < 930 || clustered > 970 || wald < 920 || wald > 980 {
		t.Error("95 % intervals do not cover 95 %")
	}
	if naive > 750 {
		t.Error("ignoring clusters does not show")
	}
}

func TestLikelihoodClustersAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(32, 0))
	draws := choices(rng, 1003, 4, 1, 0.7)
	l, _ := NewLikelihood(0.1, 10)
	for i, d := range draws {
		_ = l.Add(d.energies, d.chosen)
		if i%10 == 9 {
			l.EndCluster()
			l.EndCluster() // an empty cluster is none
		}
	}
	a := l.Reading("likelihood", "", "energy/nat")
	b, err := MaximumLikelihood(all(draws), 10)
	if err != nil || a.DoF != 100 || b.DoF != 100 || math.Abs(a.StdErr/b.StdErr-1) > 0.02 {
		t.Errorf("clusters on the grid: %+v, exactly: %+v, %v", a, b, err)
	}
}

func TestLikelihoodDefects(t *testing.T) {
	e := []float64{0, 1}
	for _, test := range []struct {
		draws []choice
		want  string
	}{
		{nil, "no draws"},
		{[]choice{{e, 0}, {e, 0}}, "temperature is zero"},
		{[]choice{{e, 0}, {e, 1}}, "infinite or negative"},
		{[]choice{{e, 1}, {e, 1}}, "infinite or negative"},
		{[]choice{{[]float64{2, 2}, 0}}, "energies of every draw are equal"},
	} {
		l, _ := NewLikelihood(0.1, 10)
		for _, d := range test.draws {
			_ = l.Add(d.energies, d.chosen)
		}
		if r := l.Reading("", "", ""); !strings.Contains(r.Invalid, test.want) {
			t.Errorf("%v: %q, want %q", test.draws, r.Invalid, test.want)
		}
		if low, _ := l.Interval(0.95); !math.IsNaN(low) {
			t.Errorf("%v: an interval from %g", test.draws, low)
		}
		if r, err := MaximumLikelihood(all(test.draws), 0); err != nil || !strings.Contains(r.Invalid, test.want) {
			t.Errorf("%v: %q, want %q", test.draws, r.Invalid, test.want)
		}
	}
	l, _ := NewLikelihood(0.1, 10)
	for _, d := range []choice{{e, 2}, {e, -1}, {e[:1], 0}, {nil, 0}, {[]float64{0, math.NaN()}, 0}, {[]float64{0, math.Inf(1)}, 0}} {
		if err := l.Add(d.energies, d.chosen); err == nil {
			t.Errorf("%v is accepted", d)
		}
		if _, err := MaximumLikelihood(all([]choice{d}), 0); err == nil {
			t.Errorf("%v is accepted", d)
		}
	}
	for _, r := range [][2]float64{{0, 1}, {1, 1}, {2, 1}, {-1, 1}, {1, math.Inf(1)}, {math.NaN(), 1}, {1e-300, 1e300}} {
		if _, err := NewLikelihood(r[0], r[1]); err == nil {
			t.Errorf("a range of %v is accepted", r)
		}
	}
	// Outside the range, and on both sides of it.
	rng := rand.New(rand.NewPCG(33, 0))
	for _, r := range [][2]float64{{0.01, 0.1}, {10, 100}} {
		l, _ := NewLikelihood(r[0], r[1])
		for _, d := range choices(rng, 1000, 4, 1, 1) {
			_ = l.Add(d.energies, d.chosen)
		}
		if got := l.Reading("", "", ""); !strings.Contains(got.Invalid, "where the range ends") {
			t.Errorf("range %v: %+v", r, got)
		}
	}
}

func TestLikelihoodAddAllocatesNothing(t *testing.T) {
	l, _ := NewLikelihood(0.1, 10)
	e := []float64{1, 2, 3}
	_ = l.Add(e, 0)
	if n := testing.AllocsPerRun(100, func() { _ = l.Add(e, 1); l.EndCluster() }); n != 0 {
		t.Errorf("Add allocates %g times", n)
	}
}

func FuzzLikelihood(f *testing.F) {
	f.Add(0.0, 1.0, 2.0, 1, 0)
	f.Add(-1e99, 1e99, 1e-300, 2, 1)
	f.Fuzz(func(t *testing.T, a, b, c float64, first, second int) {
		l, err := NewLikelihood(1e-3, 1e3)
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Add([]float64{a, b, c}, first)
		_ = l.Add([]float64{c, b}, second)
		if r := l.Reading("", "", ""); r.Valid() && !(r.Value > 0 && r.StdErr >= 0) {
			t.Errorf("%+v", r)
		}
	})
}

func BenchmarkLikelihoodAdd(b *testing.B) {
	for _, k := range []int{10, 1000} {
		b.Run(fmt.Sprint(k), func(b *testing.B) {
			rng := rand.New(rand.NewPCG(34, 0))
			l, _ := NewLikelihood(1./16, 16)
			d := choices(rng, 1, k, 1, 1)[0]
			for b.Loop() {
				_ = l.Add(d.energies, d.chosen)
			}
		})
	}
}

func ExampleLikelihood() {
	rng := rand.New(rand.NewPCG(1, 2))
	l, err := NewLikelihood(0.1, 10)
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 10_000 {
		energies := []float64{-2, -1, 0, 1} // logits 2, 1, 0, −1
		token := choose(rng, energies, 0.7) // decoded at temperature 0.7
		if err := l.Add(energies, token); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println(l.Reading("likelihood", "", "1"))
	// Output: 0.6968 ± 0.0081
}
