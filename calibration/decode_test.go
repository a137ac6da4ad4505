package calibration

import (
	"math"
	"testing"
)

// TestDecode reads temperature and truncation of tokens that were sampled so.
func TestDecode(t *testing.T) {
	nucleus := func(limit float64) func([]float64, []int32) int {
		return func(p []float64, order []int32) int {
			sum := 0.0
			for m, j := range order {
				if sum += p[j]; sum >= limit {
					return m + 1
				}
			}
			return len(order)
		}
	}
	for _, c := range []struct {
		name string
		t    float64
		keep func([]float64, []int32) int
		kind Truncation
	}{
		{"all", 0.7, nil, Whole},
		{"all, hot", 1.4, nil, Whole},
		{"top-k", 0.9, func([]float64, []int32) int { return 8 }, TopK},
		{"top-p", 0.9, nucleus(0.8), TopP},
	} {
		z, tokens := sampled(5, 1500, 100, 2, c.t, c.keep)
		d, err := Decode(t.Context(), z, tokens)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %v, plainly %v, %s k=%d p=%.4f p-value %.2g", c.name, d.Temperature, d.Plain, d.Truncation, d.K, d.P, d.PValue)
		near(t, c.name, d.Temperature, c.t)
		if d.Truncation != c.kind || d.Low > c.t || d.High < c.t {
			t.Errorf("%s: %+v", c.name, d)
		}
		switch c.kind {
		case TopK:
			if d.K != 8 {
				t.Errorf("k = %d", d.K)
			}
		case TopP:
			if !(d.P > 0.78 && d.P < 0.81) {
				t.Errorf("p = %g", d.P)
			}
		}
		if c.kind != Whole && d.Plain.Value > c.t-3*d.Plain.StdErr {
			t.Errorf("%s: without the truncation the tokens read %v: expected colder", c.name, d.Plain)
		}
	}
}

// TestDecodeAlarms counts truncations that are seen where there are none.
func TestDecodeAlarms(t *testing.T) {
	alarms := 0
	for seed := range uint64(60) {
		z, tokens := sampled(1000+seed, 150, 40, 2, 1, nil)
		d, err := Decode(t.Context(), z, tokens)
		if err != nil {
			t.Fatal(err)
		}
		if d.Truncation != Whole {
			alarms++
		}
	}
	if alarms > 1 {
		t.Errorf("%d false alarms in 60", alarms)
	}
}

// TestFreeze compares with the random energy model.
func TestFreeze(t *testing.T) {
	z, _ := sampled(7, 60, 20_000, 3, 1, nil)
	f, err := Freeze(t.Context(), z, []float64{0.3, 1.5, 3, 30})
	if err != nil {
		t.Fatal(err)
	}
	near(t, "spread", f.Spread, 3)
	near(t, "freezing", f.Temperature, 3/math.Sqrt(2*math.Log(20_000)))
	for _, c := range f.Curve[1:] {
		if math.Abs(c.Effective.Value/c.Normal-1) > 0.1 {
			t.Errorf("at %g %v tokens, normal logits would have %g", c.Temperature, c.Effective, c.Normal)
		}
	}
	if c := f.Curve[0]; c.Effective.Value > 5 || c.Normal != 1 {
		t.Errorf("frozen, %v tokens are left", c.Effective)
	}
}
