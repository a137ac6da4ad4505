package power

import (
	"math"
	"testing"

	"github.com/kelvin-ml/kelvin/thermo"
)

// TestSimulate replays the published traces: our Zeus does as the simulator of Zeus
// does, and costs that are smooth in the batch size are learned with less regret than
// independent ones.
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
	// What the simulator of Zeus itself gives (zeus-ml 0.11.0, 40 seeds, by
	// bench/batch_size.py), with standard errors: savings at the end and in the first
	// fifth in percent, regret in runs.
	zeus := map[string][6]float64{
		"cifar100": {74.18, 0.22, 62.33, 0.18, 9.59, 0.17}, "imagenet": {19.14, 0.35, -1.39, 0.36, 4.34, 0.10}, "librispeech": {37.74, 0.32, 25.09, 0.29, 8.63, 0.40},
		"movielens-1m": {65.64, 0.43, 51.15, 0.33, 14.84, 0.42}, "squad": {16.88, 0.69, 12.80, 0.32, 1.78, 0.20}, "sentiment140": {20.94, 0.01, 12.14, 0.01, 1.69, 0.01},
	}
	regret, peer := map[string]float64{}, 0.0
	for _, r := range list {
		t.Logf("%-13s %-8s saves %v at the end, %v in the first fifth; regret %v, wasted %v of %d", r.Dataset, r.Policy, r.Saving, r.EarlySaving, r.Regret, r.Wasted, r.Recurrences)
		regret[r.Policy] += r.Regret.Value
		if want := zeus[r.Dataset]; r.Policy == Zeus {
			peer += want[4]
			for k, got := range []thermo.Reading{r.Saving, r.EarlySaving, r.Regret} {
				scale := 100.0
				if k == 2 {
					scale = 1
				}
				if math.Abs(scale*got.Value-want[2*k]) > 4*math.Hypot(scale*got.StdErr, want[2*k+1]) {
					t.Errorf("%s: %v, of Zeus itself %g ± %g", r.Dataset, got, want[2*k], want[2*k+1])
				}
			}
		}
		if r.Policy == Baseline && math.Abs(r.Saving.Value) > 4*r.Saving.StdErr {
			t.Errorf("%s: the baseline saves %v", r.Dataset, r.Saving)
		}
		if r.Policy != Baseline && r.Saving.Value < 0.15 {
			t.Errorf("%s: %s saves %v", r.Dataset, r.Policy, r.Saving)
		}
	}
	if !(regret[Smooth] < 0.8*peer && regret[Smooth] < 0.8*regret[Zeus] && regret[Zeus] < regret[Baseline]) {
		t.Errorf("regrets %v, of Zeus itself %g", regret, peer)
	}
}
