package curvature

import (
	"context"
	"math"
	"testing"

	"gonum.org/v1/gonum/mat"
)

// semicircle is a bulk with outliers and a null space, as networks have.
func semicircle(n int) []float64 {
	values := make([]float64, n)
	for i := range values[:2*n/3] {
		values[i] = math.Cos(math.Pi * (float64(i) + 0.5) / float64(2*n/3))
	}
	values[0], values[1], values[2] = 6, 4, 3.5
	return values
}

// TestDensityCoverage counts how often the band of 95 % holds the smoothed
// density, over seeds and points.
func TestDensityCoverage(t *testing.T) {
	const seeds, n = 200, 150
	values := semicircle(n)
	op := dense{[]*mat.SymDense{withEigenvalues(values, 4)}}
	covered, total := 0, 0
	for seed := range uint64(seeds) {
		k, err := Lanczos(context.Background(), op, whole(n), LanczosOptions{Steps: 30, Top: 3, Tolerance: 1e-4, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		q, err := NewQuadrature(context.Background(), op, k, QuadratureOptions{Probes: 8, Steps: 60, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		density, width := q.Density(41)
		integral := 0.0
		for _, p := range density {
			want := 0.0
			for _, v := range values {
				d := (v - p.X) / width
				want += math.Exp(-d*d/2) / (width * math.Sqrt(2*math.Pi) * n)
			}
			integral += p.Y * (density[1].X - density[0].X)
			if p.X > 2 { // the peaks of what Lanczos has found
				near(t, "density of known eigenvalues", p.Y, want, 1e-9)
				continue
			}
			if total++; p.Low <= want && want <= p.High {
				covered++
			}
		}
		near(t, "integral", integral, 1, 0.05)
	}
	share := float64(covered) / float64(total)
	t.Logf("covered %.1f %% of %d", 100*share, total)
	if share < 0.9 || share > 0.99 {
		t.Errorf("the band of 95 %% held the density in %.1f %% of cases", 100*share)
	}
}

// TestSumIsExactInSmallSpaces: where Lanczos has found everything, nothing is
// random.
func TestSumIsExactInSmallSpaces(t *testing.T) {
	values := semicircle(30)
	h := withEigenvalues(values, 5)
	op := dense{[]*mat.SymDense{h}}
	k, err := Lanczos(context.Background(), op, whole(30), LanczosOptions{Steps: 30, Top: 30})
	if err != nil {
		t.Fatal(err)
	}
	q, err := NewQuadrature(context.Background(), op, k, QuadratureOptions{Probes: 2, Steps: 4})
	if err != nil {
		t.Fatal(err)
	}
	cubes := 0.0
	for _, v := range values {
		cubes += v * v * v
	}
	r := q.Sum("cubes", "1", func(x float64) float64 { return x * x * x })
	near(t, "sum of cubes", r.Value, cubes, 1e-9)
	if r.StdErr != 0 || q.Products != 0 {
		t.Errorf("got %v after %d products, expected an exact sum", r, q.Products)
	}
}
