package thermo

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
	"pgregory.net/rapid"
)

// TestGlobalIsTheWeightedMean checks that the global temperature is the mean of
// the local ones weighted by parameters, and that its error counts their
// correlation.
func TestGlobalIsTheWeightedMean(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		groups := make([]Group, rapid.IntRange(1, 5).Draw(t, "groups"))
		for i := range groups {
			groups[i] = Group{fmt.Sprint(i), rapid.IntRange(1, 1000).Draw(t, "size")}
		}
		v, err := NewVirial(groups)
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(4, 600).Draw(t, "draws") {
			if err := v.Add(rapid.SliceOfN(rapid.Float64Range(-10, 10), len(groups), len(groups)).Draw(t, "virials")); err != nil {
				t.Fatal(err)
			}
		}
		var sum, size, errors float64
		for i, r := range v.Readings() {
			k := float64(groups[i].Size)
			sum, size, errors = sum+k*r.Value, size+k, errors+k*r.StdErr
		}
		global := v.Global()
		if d := global.Value*size - sum; d > 1e-9 || d < -1e-9 {
			t.Fatalf("global %g, weighted mean %g", global.Value, sum/size)
		}
		// The transforms used may differ in number between groups: 8 to 64.
		if global.StdErr*size > 6*errors+1e-9 {
			t.Fatalf("global error %g, above the sum of the local ones %g", global.StdErr, errors/size)
		}
	})
}

func TestSummedSeriesCountsCorrelatedGroups(t *testing.T) {
	rng := rand.New(rand.NewPCG(70, 0))
	v, _ := NewVirial([]Group{{"a", 1}, {"b", 1}})
	opposed, _ := NewVirial([]Group{{"a", 1}, {"b", 1}})
	for range 1000 {
		x := rng.NormFloat64()
		_ = v.Add([]float64{x, x})
		_ = opposed.Add([]float64{1 + x, 1 - x})
	}
	if a, b := v.Global().StdErr, v.Readings()[0].StdErr; a < 0.999*b {
		t.Errorf("identical groups: global error %g, local %g", a, b)
	}
	if e := opposed.Global().StdErr; e > 1e-12 {
		t.Errorf("opposed groups: global error %g, want none", e)
	}
}

func TestChiSquaredCovers(t *testing.T) {
	rng := rand.New(rand.NewPCG(71, 0))
	covered := 0
	const repeats = 2000
	for range repeats {
		k, _ := NewKinetic([]Group{{"a", 3}})
		for range 2 {
			_ = k.Add([]float64{2 * distuv.ChiSquared{K: 3, Src: rng}.Rand()})
		}
		if low, high := k.ChiSquared(0.95); low < 2 && 2 < high {
			covered++
		}
	}
	if rate := float64(covered) / repeats; rate < 0.935 || rate > 0.965 {
		t.Errorf("χ² interval covers %g", rate)
	}
	large, _ := NewKinetic([]Group{{"a", 50_000_000}})
	for range 20 {
		_ = large.Add([]float64{50_000_000})
	}
	if low, high := large.ChiSquared(0.95); !(low > 0.9999 && low < 1 && high > 1 && high < 1.0001) {
		t.Errorf("10⁹ degrees of freedom: [%g, %g]", low, high)
	}
}

func ExampleVirial() {
	// A layer of 3 parameters in the energy Σθ²/2, at temperature 0.2.
	rng := rand.New(rand.NewPCG(1, 2))
	v, err := NewVirial([]Group{{Name: "0", Size: 3}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 5000 {
		var virial float64
		for range 3 {
			theta := 0.4472 * rng.NormFloat64()
			virial += theta * theta // θ·∇E
		}
		if err := v.Add([]float64{virial}); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println(v.Global())
	// Output: 0.2002 ± 0.0024 energy/nat
}
