package power

import (
	"math"
	"testing"
)

// TestSimulate replays the published traces: every policy saves more than half of
// what an oracle saves, and costs that are smooth in the batch size are learned with
// less regret than independent ones.
func TestSimulate(t *testing.T) {
	runs, err := ReadRuns("testdata/summary_train.csv")
	if err != nil {
		t.Fatal(err)
	}
	speeds, err := ReadSpeeds("testdata/summary_power_v100.csv")
	if err != nil {
		t.Fatal(err)
	}
	o := SimulateOptions{PlanOptions: PlanOptions{Target: math.NaN(), Eta: 0.5, MaxSlowdown: 1}, Seeds: 100, Seed: 1}
	list, err := Simulate(t.Context(), runs, speeds, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	regret := map[string]float64{}
	for _, r := range list {
		t.Logf("%-13s %-8s saves %v at the end, %v in the first fifth; regret %v, wasted %v of %d", r.Dataset, r.Policy, r.Saving, r.EarlySaving, r.Regret, r.Wasted, r.Recurrences)
		regret[r.Policy] += r.Regret.Value
		if r.Policy == Baseline && math.Abs(r.Saving.Value) > 4*r.Saving.StdErr {
			t.Errorf("%s: the baseline saves %v", r.Dataset, r.Saving)
		}
		if r.Policy != Baseline && r.Saving.Value < 0.15 {
			t.Errorf("%s: %s saves %v", r.Dataset, r.Policy, r.Saving)
		}
	}
	if !(regret[Smooth] < regret[Zeus] && regret[Zeus] < regret[Baseline]) {
		t.Errorf("regrets %v", regret)
	}
}
