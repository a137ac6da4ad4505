package sampler

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"testing"
)

// Against arviz-stats (testdata/diagnostics.py): correlated, antithetic,
// shifted and heavy-tailed chains, of even and odd length.
func TestDiagnosticsAgainstArviz(t *testing.T) {
	data, err := os.ReadFile("testdata/diagnostics.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Chains [][]float64
		RHat   float64
		Bulk   float64 `json:"ess_bulk"`
		Tail   float64 `json:"ess_tail"`
		Mean   float64 `json:"ess_mean"`
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	for i, c := range cases {
		for _, v := range []struct {
			name      string
			got, want float64
		}{
			{"R̂", RHat(c.Chains), c.RHat}, {"bulk", ESSBulk(c.Chains), c.Bulk},
			{"tail", ESSTail(c.Chains), c.Tail}, {"mean", ESS(c.Chains), c.Mean},
		} {
			if !(math.Abs(v.got-v.want) < 1e-6*v.want) {
				t.Errorf("case %d, %s: got %.10g, arviz has %.10g", i, v.name, v.got, v.want)
			}
		}
	}
}

// The autocorrelation time of an AR(1) process is (1+ρ)/(1−ρ).
func TestESSOfAR1(t *testing.T) {
	const rho, n = 0.8, 50000
	chains := make([][]float64, 4)
	for c := range chains {
		rng := rand.New(rand.NewPCG(1, uint64(c)))
		x := rng.NormFloat64()
		for range n {
			chains[c] = append(chains[c], x)
			x = rho*x + math.Sqrt(1-rho*rho)*rng.NormFloat64()
		}
	}
	want := 4 * n * (1 - rho) / (1 + rho)
	if got := ESS(chains); math.Abs(got/want-1) > 0.05 {
		t.Errorf("ESS %.0f, want %.0f", got, want)
	}
}

func TestDiagnosticsOfDegenerateChains(t *testing.T) {
	for name, chains := range map[string][][]float64{
		"none": nil, "short": {{1, 2, 3}}, "uneven": {{1, 2, 3, 4}, {1, 2, 3, 4, 5}}, "NaN": {{1, 2, math.NaN(), 4}}, "constant": {{2, 2, 2, 2}},
	} {
		for _, v := range []float64{RHat(chains), ESS(chains), ESSBulk(chains), ESSTail(chains), MCSE(chains)} {
			if !math.IsNaN(v) {
				t.Errorf("%s: got %v, want NaN", name, v)
			}
		}
	}
}

// Trimmed keeps the chains that together have the most draws of equal length.
func TestTrimmed(t *testing.T) {
	for _, c := range []struct {
		kept []int
		want int // chains
	}{
		{[]int{10, 10, 10}, 3}, {[]int{10, 0, 10}, 2}, {[]int{10, 4, 10, 9}, 3}, {[]int{100, 3, 2}, 1}, {[]int{3, 0}, 0},
	} {
		r := &Result{}
		for _, n := range c.kept {
			r.Chains = append(r.Chains, &Chain{Energy: make([]float64, n)})
		}
		got := 0
		if trimmed := r.Trimmed(); trimmed != nil {
			got = len(trimmed.Chains)
		}
		if got != c.want || len(r.Chains) != len(c.kept) {
			t.Errorf("%v: %d chains, want %d", c.kept, got, c.want)
		}
	}
}
