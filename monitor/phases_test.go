package monitor

import (
	"context"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kelvin-ml/kelvin/run"
)

// written is a run of 600 records whose layer of 100 parameters goes from a state
// of energy 1, temperature 0.002 and spread 4 to one of 0.2, 0.0005 and 1 at step
// 3,000, where the learning rate falls; changes leaves the change out.
func written(t *testing.T, changes bool) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	r, err := run.Create(dir, map[string]string{"made_by": "test"})
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 1))
	for step := int64(0); step < 6000; step += 10 {
		energy, temperature, spread, rate := 1.0, 2e-3, 4.0, 0.1
		if changes && step >= 3000 {
			energy, temperature, spread, rate = 0.2, 5e-4, 1, 0.025
		}
		noise := func(share float64) float64 { return 1 + share*random.NormFloat64() }
		const k = 100
		square := 2 * rate * k * temperature * noise(0.1) // of stationary gradient descent
		err := r.Append(
			run.Record{Step: step, Kind: run.KindStep, Values: map[string]float64{"loss": energy * noise(0.05), "learning_rate": rate, "momentum": 0, "batch": 32, "update_norm2": square}},
			run.Record{Step: step, Kind: run.KindLayer, Layer: "a", Values: map[string]float64{"parameters": k, "weight_norm": 10,
				"centred_virial": k * temperature * noise(0.2), "update_norm2": square, "centred_update": -square / 2, "spread_norm2": spread * noise(0.05)}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestHistory(t *testing.T) {
	h, err := ReadHistory(context.Background(), written(t, true))
	if err != nil {
		t.Fatal(err)
	}
	if len(h.Transitions) != 1 || len(h.Phases) != 2 {
		t.Fatalf("%d transitions, %d phases: %+v", len(h.Transitions), len(h.Phases), h.Transitions)
	}
	tr := h.Transitions[0]
	if tr.First < 2900 || tr.Last > 3100 || tr.Kind != "first-order-like" || tr.Driven != "learning rate 0.1 → 0.025 at step 3000" {
		t.Errorf("%+v", tr)
	}
	within := func(name string, value, stderr, expected float64) {
		t.Helper()
		if !(math.Abs(value-expected) <= 4*stderr) {
			t.Errorf("%s: %v ± %v, expected %v", name, value, stderr, expected)
		}
	}
	a, b := h.Phases[0], h.Phases[1]
	within("energy", a.Report.Loss.Value, a.Report.Loss.StdErr, 1)
	within("energy after", b.Report.Loss.Value, b.Report.Loss.StdErr, 0.2)
	within("temperature", a.Report.Temperature.Value, a.Report.Temperature.StdErr, 2e-3)
	entropy := func(spread float64) float64 { return 50 * math.Log(2*math.Pi*math.E*spread/100) }
	within("entropy", a.Entropy.Value, a.Entropy.StdErr, entropy(4))
	within("entropy after", b.Entropy.Value, b.Entropy.StdErr, entropy(1))
	within("latent heat", tr.States.Heat.Value, tr.States.Heat.StdErr, 0.8)
	within("transition temperature", tr.States.Temperature.Value, tr.States.Temperature.StdErr, 0.8/(50*math.Log(4)))
	heat := b.Layers[0].Heat
	within("heat", heat.Value, heat.StdErr, -1.25e-3*50*math.Log(4))
	if h.Training == nil {
		t.Fatal(h.NotTold)
	}
	within("training", h.Training.Temperature.Value, h.Training.Temperature.StdErr, 0.8/(50*math.Log(100)))
	names := map[string]bool{}
	for _, c := range tr.Changes {
		names[h.Curves[c.Curve].Name] = true
	}
	if !names["energy"] || !names["temperature"] || !names["kinetic temperature"] {
		t.Errorf("changes of %v", names)
	}
}

func TestHistoryOfNothing(t *testing.T) {
	h, err := ReadHistory(context.Background(), written(t, false))
	if err != nil {
		t.Fatal(err)
	}
	if len(h.Transitions) != 0 || len(h.Phases) != 1 {
		t.Errorf("%+v", h.Transitions)
	}
	dir := filepath.Join(t.TempDir(), "empty")
	r, err := run.Create(dir, map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadHistory(context.Background(), dir); err == nil || !strings.Contains(err.Error(), "no records of steps") {
		t.Errorf("of an empty run: %v", err)
	}
}
