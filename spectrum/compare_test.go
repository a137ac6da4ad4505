package spectrum

import (
	"math"
	"strings"
	"testing"
)

func TestDistance(t *testing.T) {
	const n = 10_000
	a, b := make([]float64, n), make([]float64, n)
	for i := range a {
		a[i], b[i] = 2, 2+0.5*float64(1-2*(i%2))
	}
	d, err := Distance(t.Context(), tensorOf(t, []int{100, 100}, a), tensorOf(t, []int{100, 100}, b))
	if err != nil || math.Abs(d-0.25) > 1e-12 {
		t.Errorf("got %v, %v, want 0.25", d, err)
	}
	if _, err := Distance(t.Context(), tensorOf(t, []int{n}, a), tensorOf(t, []int{100, 100}, b)); err == nil || !strings.Contains(err.Error(), "one shape") {
		t.Errorf("got %v", err)
	}
	if _, err := Distance(t.Context(), tensorOf(t, []int{n}, make([]float64, n)), tensorOf(t, []int{n}, b)); err == nil || !strings.Contains(err.Error(), "zero") {
		t.Errorf("got %v", err)
	}
}
