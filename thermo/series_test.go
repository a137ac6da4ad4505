package thermo

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
	"pgregory.net/rapid"
)

// autoregressive returns n draws of a stationary AR(1) process of mean 0 and
// variance 1, whose integrated time is (1+rho)/(1−rho).
func autoregressive(rng *rand.Rand, n int, rho float64) []float64 {
	xs := make([]float64, n)
	x := rng.NormFloat64()
	for i := range xs {
		xs[i] = x
		x = rho*x + math.Sqrt(1-rho*rho)*rng.NormFloat64()
	}
	return xs
}

func accumulate(xs []float64) *Series {
	s := new(Series)
	for _, x := range xs {
		s.Add(x)
	}
	return s
}

func TestIntegratedTimeOfAutoregressive(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 0))
	for _, rho := range []float64{-0.9, -0.5, 0, 0.5, 0.9, 0.99} {
		want := (1 + rho) / (1 - rho)
		const repeats, n = 20, 50_000
		var taus, streamed Series
		for range repeats {
			xs := autoregressive(rng, n, rho)
			tau, err := IntegratedTime(xs)
			if err != nil {
				t.Fatal(err)
			}
			taus.Add(tau)
			streamed.Add(n / accumulate(xs).Reading("", "", "").ESS)
		}
		g, s := taus.Reading("", "", ""), streamed.Reading("", "", "")
		t.Logf("rho %+.2f: want %.4f, initial sequence %v, streaming %v", rho, want, g, s)
		// The truncated sum is biased by a few per cent at this length.
		if math.Abs(g.Value-want) > 4*g.StdErr+0.04*want {
			t.Errorf("rho %g: integrated time %v, want %.4f", rho, g, want)
		}
		if math.Abs(s.Value-want) > 4*s.StdErr+0.04*want {
			t.Errorf("rho %g: streaming integrated time %v, want %.4f", rho, s, want)
		}
	}
}

func TestIntervalsCover(t *testing.T) {
	const repeats = 1000
	for i, test := range []struct {
		rho float64
		n   int
	}{
		{0, 10}, {0, 100}, {0, 1000}, {0.5, 400}, {0.5, 2000}, {0.9, 3000}, {-0.5, 1000},
		{0.98, 5000}, // integrated time 99, a fiftieth of the series
	} {
		rng := rand.New(rand.NewPCG(2, uint64(i)))
		stored, streamed := 0, 0
		z := distuv.UnitNormal.Quantile(0.975)
		for range repeats {
			xs := autoregressive(rng, test.n, test.rho)
			mean, stderr, _, err := MeanError(xs)
			if err == nil && math.Abs(mean) < z*stderr {
				stored++
			}
			low, high := accumulate(xs).Reading("", "", "").Interval(0.95)
			if low < 0 && 0 < high {
				streamed++
			}
		}
		a, b := float64(stored)/repeats, float64(streamed)/repeats
		t.Logf("rho %.2f, n %d: 95 %% intervals cover %.3f stored, %.3f streaming", test.rho, test.n, a, b)
		if b < 0.93 || b > 0.97 {
			t.Errorf("rho %g, n %d: streaming 95 %% interval covers %g", test.rho, test.n, b)
		}
		tau := (1 + test.rho) / (1 - test.rho)
		if float64(test.n) > 100*tau && (a < 0.93 || a > 0.97) {
			t.Errorf("rho %g, n %d: stored 95 %% interval covers %g", test.rho, test.n, a)
		}
	}
}

func TestSeriesDefects(t *testing.T) {
	for _, test := range []struct {
		xs   []float64
		want string
	}{
		{nil, "no draws"},
		{[]float64{1, 2, 3}, "3 draws, at least 4"},
		{[]float64{1, 2, math.NaN(), math.Inf(1)}, "draw 2 is NaN"},
		{[]float64{1, math.Inf(-1), 3, 4}, "draw 1 is -Inf"},
		{[]float64{1e308, -1e308, 1e308, -1e308}, "overflows"},
	} {
		r := accumulate(test.xs).Reading("x", "", "")
		if !strings.Contains(r.Invalid, test.want) {
			t.Errorf("%v: invalid %q, want %q", test.xs, r.Invalid, test.want)
		}
		if len(test.xs) == 0 {
			test.want = "0 draws"
		}
		if _, err := IntegratedTime(test.xs); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: IntegratedTime: %v, want %q", test.xs, err, test.want)
		}
		if _, _, _, err := MeanError(test.xs); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: MeanError: %v, want %q", test.xs, err, test.want)
		}
	}
	constant := make([]float64, 1000)
	for i := range constant {
		constant[i] = 0.1
	}
	if r := accumulate(constant).Reading("x", "", ""); r.Value != 0.1 || r.StdErr != 0 || !r.Valid() || r.ESS != 1000 {
		t.Errorf("constant series reads %+v", r)
	}
	if mean, stderr, ess, err := MeanError(constant); math.Abs(mean-0.1) > 1e-15 || stderr != 0 || ess != 1000 || err != nil {
		t.Errorf("constant series: mean %g, error %g, ess %g, %v", mean, stderr, ess, err)
	}
	ramp := make([]float64, 1000)
	for i := range ramp {
		ramp[i] = float64(i)
	}
	if r := accumulate(ramp).Reading("x", "", ""); r.Valid() {
		t.Errorf("a drifting series is valid: %+v", r)
	}
	if _, _, _, err := MeanError(ramp); err == nil {
		t.Error("a drifting series has an error of the mean")
	}
}

func TestSeriesKeepsDigits(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 0))
	var plain, shifted Series
	for range 10_000 {
		x := rng.NormFloat64()
		plain.Add(x)
		shifted.Add(x + 1e9)
	}
	a, b := plain.Reading("", "", ""), shifted.Reading("", "", "")
	if math.Abs(b.Value-1e9-a.Value) > 1e-6 || math.Abs(a.StdErr/b.StdErr-1) > 1e-5 {
		t.Errorf("%v shifted by 1e9 reads %v", a, b)
	}
}

func TestSeriesReadsFiniteNumbersOrSaysWhy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := rapid.OneOf(rapid.Float64(), rapid.Float64Range(-1, 1), rapid.Just(math.NaN()), rapid.Just(math.Inf(1)))
		if rapid.Bool().Draw(t, "tame") {
			draw = rapid.Float64Range(-1e100, 1e100)
		}
		xs := rapid.SliceOfN(draw, 0, 700).Draw(t, "xs")
		s := accumulate(xs)
		r := s.Reading("x", "", "")
		if r.Valid() != (r.Invalid == "") || s.N() != len(xs) {
			t.Fatalf("%d draws: %+v", len(xs), r)
		}
		if _, err := json.Marshal(r); err != nil {
			t.Fatal(err)
		}
		if !r.Valid() {
			return
		}
		low, high := slices.Min(xs), slices.Max(xs)
		slack := 1e-9 * max(math.Abs(low), math.Abs(high))
		if !(r.Value >= low-slack && r.Value <= high+slack) || !(r.StdErr >= 0 && r.StdErr <= math.MaxFloat64) {
			t.Fatalf("draws in [%g, %g] read %+v", low, high, r)
		}
		if tau, err := IntegratedTime(xs); err == nil && !(tau > 0 && tau <= float64(len(xs))) {
			t.Fatalf("integrated time %g of %d draws", tau, len(xs))
		}
	})
}

func TestSeriesAddAllocatesNothing(t *testing.T) {
	var s Series
	x := 0.0
	if n := testing.AllocsPerRun(5000, func() { x += 0.1; s.Add(x) }); n != 0 {
		t.Errorf("Add allocates %g times", n)
	}
}

func ExampleSeries() {
	rng := rand.New(rand.NewPCG(1, 2))
	var energy Series
	for _, x := range autoregressive(rng, 20_000, 0.9) {
		energy.Add(3 + x)
	}
	fmt.Println(energy.Reading("energy", "", "nat"))
	// Output: 3.004 ± 0.033 nat
}

func BenchmarkSeriesAdd(b *testing.B) {
	var s Series
	x := 0.0
	for b.Loop() {
		x += 0.7
		s.Add(x)
	}
}
