package sampler

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/kelvin-ml/kelvin/dataset"
)

// Probabilities that the labels are drawn from are calibrated; their log
// likelihood is minus their entropy.
func TestAssess(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	const n = 20000
	var probabilities []float64
	labels := make([]int32, n)
	var entropy, accuracy float64
	for i := range labels {
		q := rng.Float64()
		probabilities = append(probabilities, q, 1-q)
		if rng.Float64() > q {
			labels[i] = 1
		}
		entropy -= (q*math.Log(q) + (1-q)*math.Log(1-q)) / n
		accuracy += max(q, 1-q) / n
	}
	p := assess(probabilities, labels, 1)
	near(t, "log-likelihood", p.LogLikelihood.Value, -entropy, p.LogLikelihood.StdErr)
	near(t, "accuracy", p.Accuracy.Value, accuracy, p.Accuracy.StdErr)
	near(t, "calibration error", p.ECE.Value, 0, p.ECE.StdErr)
	temperature := func(what string, want float64) {
		got, err := likelihood(probabilities, labels, 1)
		if err != nil || !got.Valid() || got.StdErr > 0.1*want {
			t.Errorf("%s: %v, %v", what, got, err)
		}
		near(t, what, got.Value, want, got.StdErr)
	}
	temperature("likelihood temperature", 1)
	total := 0
	for i, b := range p.Bins {
		total += b.Examples
		if b.Examples > 0 && (b.Confidence < b.Low || b.Confidence > b.High) {
			t.Errorf("bin %d: %+v", i, b)
		}
	}
	if total != n {
		t.Errorf("%d examples in the bins, want %d", total, n)
	}
	for i := range n { // twice the log odds: the same decisions, overconfident
		q := probabilities[2*i]
		probabilities[2*i] = q * q / (q*q + (1-q)*(1-q))
		probabilities[2*i+1] = 1 - probabilities[2*i]
	}
	temperature("likelihood temperature, overconfident", 2)
	over := assess(probabilities, labels, 1)
	if over.Accuracy.Value != p.Accuracy.Value || over.ECE.Value < 0.05 || over.LogLikelihood.Value >= p.LogLikelihood.Value {
		t.Errorf("overconfident: %+v", over)
	}
}

// Two moons are learnt from the prior alone: the posterior predictive of a small
// network is right nearly always, and better than its worst draw.
func TestPredict(t *testing.T) {
	set := making(t, "two-moons", dataset.Options{Examples: 150, Noise: 0.15, Seed: 1})
	train, test, err := set.Split(0.4, 1)
	if err != nil {
		t.Fatal(err)
	}
	net := network(t, "2-6-2:tanh", "ce")
	density := func(int) (Density, error) { return NewNetworkEnergy(net, train, 2) }
	r, err := Run(context.Background(), density, HMC{StepSize: 0.02, Steps: 20}, Options{Chains: 2, Warmup: 150, Draws: 100, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	p, err := Predict(r, net, test)
	if err != nil {
		t.Fatal(err)
	}
	if p.Accuracy.Value < 0.85 || p.LogLikelihood.Value < -0.4 || !p.Accuracy.Valid() {
		t.Errorf("%+v", p)
	}
	if _, err := Predict(r, network(t, "2-5-2:tanh", "ce"), test); err == nil {
		t.Error("draws of another network: no error")
	}
}
