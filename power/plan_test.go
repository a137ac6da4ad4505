package power

import (
	"math"
	"strings"
	"testing"
)

// TestPlan compares with the savings that an oracle has on these traces.
func TestPlan(t *testing.T) {
	runs, err := ReadRuns("testdata/summary_train.csv")
	if err != nil {
		t.Fatal(err)
	}
	speeds, err := ReadSpeeds("testdata/summary_power_v100.csv")
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := Plan(runs, speeds, PlanOptions{Target: math.NaN(), Eta: 0.5, MaxSlowdown: 1.1})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]struct {
		saving, limit float64
		batch         int
	}{"cifar100": {74.7, 100, 128}, "imagenet": {23.8, 150, 360}, "squad": {27.6, 125, 8}, "librispeech": {42.8, 100, 32}, "movielens-1m": {66.6, 150, 16384}, "sentiment140": {26.4, 125, 32}}
	if len(jobs) != len(want) {
		t.Errorf("%d jobs, expected %d", len(jobs), len(want))
	}
	for _, j := range jobs {
		w := want[j.Dataset]
		s := j.Saving(j.Best)
		if math.Abs(100*s.Value-w.saving) > 0.05 || j.Best.Batch != w.batch || j.Best.Limit != w.limit {
			t.Errorf("%s: %.2f %% at %d, %g W; expected %.1f %% at %d, %g W", j.Dataset, 100*s.Value, j.Best.Batch, j.Best.Limit, w.saving, w.batch, w.limit)
		}
		if j.Slowed.Time.Value > 1.1*j.Baseline.Time.Value || j.Fastest.Time.Value > j.Frontier[0].Time.Value || j.Best.Energy.Value != j.Frontier[len(j.Frontier)-1].Energy.Value {
			t.Errorf("%s: %+v", j.Dataset, j)
		}
		for i := 1; i < len(j.Frontier); i++ {
			if j.Frontier[i].Time.Value <= j.Frontier[i-1].Time.Value || j.Frontier[i].Energy.Value >= j.Frontier[i-1].Energy.Value {
				t.Errorf("%s: the frontier bends back at %d", j.Dataset, i)
			}
		}
		if both, batch, limit := s.Value, j.Saving(j.BatchOnly).Value, j.Saving(j.LimitOnly).Value; batch > both || limit > both {
			t.Errorf("%s: %g by both, %g and %g by one", j.Dataset, both, batch, limit)
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	runs := []Run{{Dataset: "d", Batch: 8, Target: 1, Epochs: 3}, {Dataset: "d", Batch: 16, Target: 1, Epochs: math.NaN()}}
	speeds := []Speed{{Dataset: "d", Batch: 8, Limit: 100, Seconds: 1, Watts: 90}}
	good := PlanOptions{Baseline: 8, Target: 1, Eta: 0.5, MaxSlowdown: 1}
	jobs, err := Plan(runs, speeds, good)
	if err != nil || len(jobs[0].Failing) != 1 || len(jobs[0].Unmeasured) != 1 || !math.IsNaN(jobs[0].Best.Energy.StdErr) {
		t.Errorf("%+v, %v", jobs, err)
	}
	for want, spoil := range map[string]func(*PlanOptions){
		"no dataset": func(o *PlanOptions) { o.Dataset = "x" }, "baseline": func(o *PlanOptions) { o.Baseline = 16 }, "no run has the target": func(o *PlanOptions) { o.Target = 2 },
		"eta": func(o *PlanOptions) { o.Eta = 2 }, "slowdown": func(o *PlanOptions) { o.MaxSlowdown = math.NaN() }, "batch size to compare": func(o *PlanOptions) { o.Baseline = 0 },
	} {
		o := good
		spoil(&o)
		if _, err := Plan(runs, speeds, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected %q, got %v", want, err)
		}
	}
}

func FuzzTraces(f *testing.F) {
	f.Add("dataset,network,batch_size,optimizer,power_limit,time_per_epoch,average_power\nd,n,8,a,100,1,90\n")
	f.Add("a,b\n\"")
	f.Fuzz(func(t *testing.T, text string) {
		parseCSV(strings.NewReader(text), []string{"dataset", "batch_size"}, func(_ int, field func(string) string, number func(string) (float64, error)) error {
			_, err := number("batch_size")
			return err
		})
	})
}
