package training

import (
	"math"
	"slices"
	"testing"

	"github.com/kelvin-ml/kelvin/nn"
)

// TestRecords compares what is recorded of a step with sums over the weights
// before and after it.
func TestRecords(t *testing.T) {
	config, set := problem()
	config.Optimizer = nn.OptimizerSpec{Kind: "sgd", LearningRate: 0.1, Momentum: 0.5, WeightDecay: 0.01}
	trainer, err := New(config, set)
	if err != nil {
		t.Fatal(err)
	}
	trainer.Optimizer.KeepUpdate = true
	observation := &nn.Observation{}
	mean := make([]float64, len(trainer.Network.Params))
	for n := 1; n <= 5; n++ {
		before := slices.Clone(trainer.Network.Params)
		energy, err := trainer.Advance(observation)
		if err != nil {
			t.Fatal(err)
		}
		records := trainer.Records(energy, observation)
		whole := records[0].Values
		if whole["loss"] != energy || whole["momentum"] != 0.5 || whole["batch"] != 32 {
			t.Errorf("%v", whole)
		}
		for i, g := range trainer.Network.Groups {
			got := records[1+i].Values
			if _, has := got["centred_virial"]; has != (n > 1) {
				t.Fatalf("record %d of layer %s: %v", n, g.Name, got)
			}
			if _, has := got["energy_in"]; has != (i < 2) {
				t.Errorf("layer %s: %v", g.Name, got)
			}
			if n == 1 {
				continue
			}
			want := map[string]float64{}
			for j := g.Offset; j < g.Offset+g.Size; j++ {
				theta, after := float64(before[j]), float64(trainer.Network.Params[j])
				away := theta - mean[j]
				want["centred_virial"] += away * (float64(trainer.Network.Grad[j]) + 0.01*theta)
				want["centred_update"] += away * (after - theta)
				want["spread_norm2"] += away * away
				want["update_norm2"] += (after - theta) * (after - theta)
			}
			for name, x := range want {
				if math.Abs(got[name]-x) > 1e-3*math.Abs(x)+1e-9 {
					t.Errorf("record %d, layer %s: %s is %g, expected %g", n, g.Name, name, got[name], x)
				}
			}
		}
		for j, theta := range before {
			mean[j] += max(4/float64(n+3), 0.001) * (float64(theta) - mean[j])
		}
	}
}
