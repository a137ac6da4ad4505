package training

import (
	"math"

	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/run"
)

// meanSteps is how far the running mean of the parameters looks back at most.
const meanSteps = 10_000

// A centre is the running mean θ̄ of the parameters over the records of the last
// quarter of a run: that of the n-th has the weight 4/(n+3).
type centre struct {
	mean []float32
	n    int
}

// add takes in θ of one more record.
func (c *centre) add(params, update []float32) {
	if c.n++; c.n == 1 {
		c.mean = make([]float32, len(params))
	}
	weight := float32(max(4/float64(c.n+3), float64(recordEvery)/meanSteps))
	for i, u := range update {
		c.mean[i] += weight * (params[i] - u - c.mean[i])
	}
}

// Records returns what the last step showed (docs/run-format.md): its energy, and
// what obs saw of it. The optimiser must have kept the update, and every call
// moves the running mean of the parameters on.
func (t *Trainer) Records(energy float64, obs *nn.Observation) []run.Record {
	step := int64(t.Step)
	var gradient2, update2 float64
	records := make([]run.Record, 1, 1+len(t.Network.Groups))
	for i, g := range t.Network.Groups {
		values := t.motion(g)
		perExample := 0.0
		for _, x := range obs.GradNorm2[i] {
			perExample += x / float64(len(obs.GradNorm2[i]))
		}
		values["parameters"], values["example_gradient_norm2"] = float64(g.Size), perExample
		for s := range t.Network.Signals {
			if s.Group == g.Name {
				values["energy_in"], values["energy_out"] = meanSquare(s.Z), meanSquare(s.A)
			}
		}
		records = append(records, run.Record{Step: step, Kind: run.KindLayer, Layer: g.Name, Values: values})
		gradient2, update2 = gradient2+values["gradient_norm2"], update2+values["update_norm2"]
	}
	t.centre.add(t.Network.Params, t.Optimizer.Update())
	whole := map[string]float64{"loss": energy, "learning_rate": t.Optimizer.Spec.LearningRate, "batch": float64(t.Config.Batch),
		"gradient_norm2": gradient2, "update_norm2": update2}
	if spec := t.Optimizer.Spec; spec.Kind == "sgd" {
		whole["momentum"] = spec.Momentum
	} else {
		whole["beta1"] = spec.Beta1
	}
	records[0] = run.Record{Step: step, Kind: run.KindStep, Values: whole}
	return records
}

// motion returns how the parameters of one layer moved in the last step. θ is
// from before the step.
func (t *Trainer) motion(g nn.Group) map[string]float64 {
	var virial, g2, u2, w2, centred, overlap, spread float64
	update := t.Optimizer.Update()
	decay := 0.0 // of the gradient that the optimiser descends
	if t.Optimizer.Spec.Kind != "adamw" {
		decay = t.Optimizer.Spec.WeightDecay
	}
	for j := g.Offset; j < g.Offset+g.Size; j++ {
		u, dE := float64(update[j]), float64(t.Network.Grad[j])
		theta := float64(t.Network.Params[j]) - u
		virial += theta * dE
		g2 += dE * dE
		u2 += u * u
		w2 += theta * theta
		if t.centre.n > 0 {
			away := theta - float64(t.centre.mean[j])
			centred += away * (dE + decay*theta)
			overlap += away * u
			spread += away * away
		}
	}
	values := map[string]float64{"virial": virial, "gradient_norm2": g2, "update_norm2": u2, "weight_norm": math.Sqrt(w2)}
	if t.centre.n > 0 {
		values["centred_virial"], values["centred_update"], values["spread_norm2"] = centred, overlap, spread
	}
	return values
}

func meanSquare(x []float32) float64 {
	var sum float64
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return sum / float64(len(x))
}
