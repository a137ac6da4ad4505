package measure

import (
	"fmt"
	"math"

	"github.com/kelvin-ml/kelvin/thermo"
	"github.com/kelvin-ml/kelvin/training"
)

// Thresholds of the findings. Each is far outside what a sound network shows at
// the errors the readings have.
const (
	deadShare      = 0.1  // of a layer's units
	saturatedShare = 0.1  //
	energyFactor   = 1.5  // change of signal energy from one layer to the next
	hotFactor      = 10.0 // local above global temperature
	noiseFactor    = 10.0 // gradient-noise scale above the batch
	confidence     = 0.1  // |T − 1| of the likelihood temperature
	sigmas         = 3.0  // a departure must be this many standard errors
)

// findings says in plain language what is wrong; empty means that nothing was
// found.
func findings(r *Result, trainer *training.Trainer) []thermo.Finding {
	list := []thermo.Finding{}
	list = append(list, unitFindings(r)...)
	list = append(list, signalFindings(r)...)
	list = append(list, heatFindings(r)...)
	if trainer != nil {
		list = append(list, optimizerFindings(r, trainer)...)
	}
	if r.AtWeights != nil && r.AtWeights.Calibration != nil {
		list = append(list, calibrationFindings(*r.AtWeights.Calibration)...)
	}
	return list
}

func unitFindings(r *Result) []thermo.Finding {
	var list []thermo.Finding
	for _, l := range r.Layers {
		e := l.Engine
		if dead := float64(e.Dead); dead > 0 && dead >= deadShare*float64(e.Units) {
			list = append(list, thermo.Finding{ID: "dead-units", Severity: severity(dead/float64(e.Units), 0.5), Group: l.Name,
				What:     fmt.Sprintf("%d of %d units are dead", e.Dead, e.Units),
				Evidence: fmt.Sprintf("their %s output is zero on all %d examples, so they get no gradient and cannot recover", e.Activation, r.Examples),
				Change:   "lower the learning rate early in training, or use an activation that passes negative inputs (leaky_relu, silu)"})
		}
		if saturated := float64(e.Saturated); saturated > 0 && saturated >= saturatedShare*float64(e.Units) {
			list = append(list, thermo.Finding{ID: "saturated-units", Severity: severity(saturated/float64(e.Units), 0.5), Group: l.Name,
				What:     fmt.Sprintf("%d of %d units are saturated", e.Saturated, e.Units),
				Evidence: fmt.Sprintf("their %s is flat at 95 %% of its inputs or more, at a mean square input of %.3g", e.Activation, e.EnergyIn.Value),
				Change:   fmt.Sprintf("scale the layer's weights down so that its mean square input is near 1: divide by %.2g", math.Sqrt(e.EnergyIn.Value))})
		}
	}
	return list
}

func severity(share, critical float64) thermo.Severity {
	if share >= critical {
		return thermo.Critical
	}
	return thermo.Warning
}

// signalFindings looks for signal energy that grows or decays steadily from
// layer to layer, which no depth survives.
func signalFindings(r *Result) []thermo.Finding {
	var list []thermo.Finding
	var active []Layer
	var energies []float64
	for _, l := range r.Layers {
		if q := l.Engine.EnergyIn.Value; q > 0 {
			active, energies = append(active, l), append(energies, q)
		}
	}
	for _, way := range []struct {
		word string
		sign float64
	}{{"decays", -1}, {"grows", 1}} {
		i, j := steepest(energies, way.sign)
		if j == 0 {
			continue
		}
		factor := math.Pow(energies[j]/energies[i], 1/float64(j-i))
		list = append(list, thermo.Finding{ID: "signal-energy", Severity: thermo.Warning,
			What:     fmt.Sprintf("layers %s to %s: signal energy %s by %.3g per layer", active[i].Name, active[j].Name, way.word, factor),
			Evidence: fmt.Sprintf("mean square input %.3g at layer %s, %.3g at layer %s", energies[i], active[i].Name, energies[j], active[j].Name),
			Change:   fmt.Sprintf("scale the initial weights by %.3g, or use --init balanced", 1/math.Sqrt(factor))})
	}
	return list
}

// steepest returns the first and the last layer of the stretch of at least three
// over which energies rise (sign 1) or fall (−1) by most in excess of energyFactor
// a layer, 0 and 0 if there is none. It begins and ends with steps that exceed it.
func steepest(energies []float64, sign float64) (first, last int) {
	excess := func(i, j int) float64 {
		return sign*math.Log(energies[j]/energies[i]) - float64(j-i)*math.Log(energyFactor)
	}
	most := 0.0
	for i := range energies {
		for j := i + 2; j < len(energies); j++ {
			if x := excess(i, j); x > most && excess(i, i+1) > 0 && excess(j-1, j) > 0 {
				first, last, most = i, j, x
			}
		}
	}
	return first, last
}

// heatFindings looks for a layer far hotter than the network: it holds the
// curvature, so it is the one a larger step breaks first.
func heatFindings(r *Result) []thermo.Finding {
	var list []thermo.Finding
	if r.State != Trained || !r.Temperature.Valid() || r.Temperature.Value <= 0 {
		return nil
	}
	for _, l := range r.Layers {
		excess := l.Temperature.Value - hotFactor*r.Temperature.Value
		if l.Temperature.Valid() && excess > sigmas*l.Temperature.StdErr {
			list = append(list, thermo.Finding{ID: "hot-layer", Severity: thermo.Info, Group: l.Name,
				What:     fmt.Sprintf("it is %.3g times as hot as the network", l.Temperature.Value/r.Temperature.Value),
				Evidence: fmt.Sprintf("local temperature %v, global %v", l.Temperature, r.Temperature),
				Change:   "it is the sharpest layer: give it a smaller learning rate, and quantise or perturb it last"})
		}
	}
	return list
}

// optimizerFindings compares the fluctuations with what a stationary optimiser
// would show.
func optimizerFindings(r *Result, t *training.Trainer) []thermo.Finding {
	var list []thermo.Finding
	rho := r.Stationarity
	spec := t.Config.Optimizer
	switch {
	case rho == nil || !rho.Valid():
	case moving(*rho):
		list = append(list, thermo.Finding{ID: "not-stationary", Severity: thermo.Info,
			What:     "the run is still moving: its temperature is that of a passing state",
			Evidence: fmt.Sprintf("stationarity ρ = %v, 1 when stationary", *rho),
			Change:   "train longer at this learning rate before you lower it"})
	case rho.StdErr < 0.1:
		list = append(list, thermo.Finding{ID: "equilibrium", Severity: thermo.Info,
			What:     fmt.Sprintf("the run is in equilibrium at learning rate %g: more steps at this rate will not lower the energy", spec.LearningRate),
			Evidence: fmt.Sprintf("stationarity ρ = %v, 1 when stationary", *rho),
			Change:   "lower the learning rate now, or stop"})
	}
	if r.AtWeights != nil {
		scale := r.AtWeights.NoiseScale
		if limit := noiseFactor * float64(t.Config.Batch); scale.Valid() && scale.Value-sigmas*scale.StdErr > limit {
			list = append(list, thermo.Finding{ID: "noise-dominated", Severity: thermo.Info,
				What:     fmt.Sprintf("gradients are mostly noise at a batch of %d", t.Config.Batch),
				Evidence: fmt.Sprintf("gradient-noise scale %v", scale),
				Change:   "a larger batch, or a lower learning rate, makes the same progress per step with less heat"})
		}
	}
	return list
}

func calibrationFindings(t thermo.Reading) []thermo.Finding {
	departure := t.Value - 1
	if !t.Valid() || math.Abs(departure) < confidence || math.Abs(departure) < sigmas*t.StdErr {
		return nil
	}
	f := thermo.Finding{ID: "calibration", Severity: thermo.Warning,
		What:     "the network is overconfident on these data",
		Evidence: fmt.Sprintf("the labels read a likelihood temperature of %v, 1 when calibrated", t),
		Change:   fmt.Sprintf("divide the logits by %.3g", t.Value)}
	if departure < 0 {
		f.Severity, f.What = thermo.Info, "the network is underconfident on these data"
		f.Change = fmt.Sprintf("if these are held-out data, divide the logits by %.3g; on training data it is what memorising looks like", t.Value)
	}
	return []thermo.Finding{f}
}
