package monitor

import (
	"fmt"
	"math"
	"slices"

	"github.com/kelvin-ml/kelvin/thermo"
	"gonum.org/v1/gonum/stat/distuv"
)

// Thresholds of the findings. What they raise falsely is measured: see
// TestFalseAlarms and docs/findings.md.
const (
	lastFew        = 8    // samples that are looked at for what happens just now
	enough         = 24   // samples before them to compare with
	riseSigmas     = 6.0  // of the loss, robust
	riseGradient   = 4.0  // of |g|², as a factor
	stationaryBand = 0.1  // of the stationarity about 1
	hotEdge        = 1.0  // overshoot
	criticalEdge   = 1.6  //
	deadShare      = 0.25 // of a layer's units
	saturatedShare = 0.5  //
	collapsed      = 0.1  // of the weight norm it had at most
	smallestUpdate = 6e-8 // relative: half the spacing of float32
	movingUpdate   = 1e-6 // relative, of another layer
	noiseFactor    = 10.0 // noise scale above the batch
	energyFactor   = 2.0  // change of signal energy from one layer to the next
	sigmas         = 3.0
)

// Fewest is how many records a window must have before a coming divergence, or
// equilibrium, is told.
const Fewest = enough + lastFew

// findings says what is wrong, the most urgent first.
func (m *Monitor) findings(w []sample, r *Report) []thermo.Finding {
	list := m.divergence(w)
	for _, l := range r.Layers {
		list = append(list, m.layerFindings(w, l)...)
	}
	list = append(list, signalEnergy(r.Layers)...)
	list = append(list, noiseDominated(w, r.Layers)...)
	list = append(list, m.equilibrium(w, r)...)
	rank := map[thermo.Severity]int{thermo.Critical: 0, thermo.Warning: 1, thermo.Info: 2}
	slices.SortStableFunc(list, func(a, b thermo.Finding) int { return rank[a.Severity] - rank[b.Severity] })
	return list
}

// divergence looks for a loss that is not finite, and for one that has just left
// the range it had, together with the gradient.
func (m *Monitor) divergence(w []sample) []thermo.Finding {
	loss := column(w, "", "loss")
	if n := len(loss); n > 0 && (math.IsNaN(loss[n-1]) || math.IsInf(loss[n-1], 0)) {
		return []thermo.Finding{{ID: "divergence", Severity: thermo.Critical, Confidence: 1,
			What:     "the run has diverged",
			Evidence: fmt.Sprintf("the loss at step %d is %v", w[len(w)-1].step, loss[n-1]),
			Change:   "go back to the last checkpoint and halve the learning rate"}}
	}
	gradient := column(w, "", "gradient_norm2")
	if len(loss) < Fewest || len(gradient) < Fewest {
		return nil
	}
	before, now := split(loss)
	middle, spread := robust(before)
	rise := (average(now) - middle) / spread
	gradientBefore, gradientNow := split(gradient)
	typical, _ := robust(gradientBefore)
	factor := average(gradientNow) / typical
	if !(rise > riseSigmas && factor > riseGradient) {
		return nil
	}
	return []thermo.Finding{{ID: "divergence", Severity: thermo.Critical, Confidence: chance(rise),
		What: "divergence is coming: loss and gradient grow together",
		Evidence: fmt.Sprintf("the last %d losses are %.3g on average, %.1f standard deviations above the median %.4g before; |g|² is %.3g times what it was",
			lastFew, average(now), rise, middle, factor),
		Change: fmt.Sprintf("halve the learning rate now (from %.3g), or clip the gradient at %.2g", rate(w[len(w)-1]), math.Sqrt(typical))}}
}

func (m *Monitor) layerFindings(w []sample, l Layer) []thermo.Finding {
	var list []thermo.Finding
	if l.Dead >= deadShare {
		list = append(list, thermo.Finding{ID: "dead-units", Severity: severity(l.Dead, 0.5), Group: l.Name, Confidence: 1,
			What:     fmt.Sprintf("%.0f %% of its units are dead", 100*l.Dead),
			Evidence: "their output was zero on every example looked at",
			Change:   "lower the learning rate early in training, or use an activation that passes negative inputs (leaky_relu, silu)"})
	}
	if l.Saturated >= saturatedShare {
		list = append(list, thermo.Finding{ID: "saturated-units", Severity: severity(l.Saturated, 0.9), Group: l.Name, Confidence: 1,
			What:     fmt.Sprintf("%.0f %% of its units are saturated", 100*l.Saturated),
			Evidence: fmt.Sprintf("their activation is flat on at least 95 %% of the examples, at a mean square input of %.3g", l.EnergyIn.Value),
			Change:   fmt.Sprintf("scale the layer's weights down so that its mean square input is near 1: divide by %.2g", math.Sqrt(l.EnergyIn.Value))})
	}
	list = append(list, m.frozen(w, l)...)
	list = append(list, m.collapsing(w, l)...)
	if o := l.Overshoot; o.Valid() && o.Value-hotEdge > sigmas*o.StdErr {
		list = append(list, thermo.Finding{ID: "too-hot", Severity: severity(o.Value, criticalEdge), Group: l.Name, Confidence: chance((o.Value - hotEdge) / o.StdErr),
			What:     "it is too hot: every step carries it past the middle of its minimum",
			Evidence: fmt.Sprintf("overshoot −⟨Δ·(θ−θ̄)⟩/⟨|θ−θ̄|²⟩ = %v; above 1 a step goes past the mean, 2 is the edge of stability", o),
			Change:   fmt.Sprintf("divide the learning rate of this layer by %.2g", 2*o.Value)})
	}
	return list
}

// frozen looks for a layer that no longer moves while another does.
func (m *Monitor) frozen(w []sample, l Layer) []thermo.Finding {
	recent := w[max(0, len(w)-2*lastFew):]
	gradient, update := column(recent, l.Name, "gradient_norm2"), column(recent, l.Name, "update_norm2")
	if len(update) < 2*lastFew {
		return nil
	}
	step := func(name string) float64 {
		return math.Sqrt(slices.Max(append(column(recent, name, "update_norm2"), 0))) / last(recent, name, "weight_norm")
	}
	if !slices.ContainsFunc(m.names, func(name string) bool { return step(name) > movingUpdate }) {
		return nil
	}
	relative := step(l.Name)
	still := len(gradient) == len(update) && slices.Max(gradient) == 0
	if !still && !(relative < smallestUpdate) {
		return nil
	}
	evidence := fmt.Sprintf("over the last %d records its updates are at most %.2g of its weights, less than float32 resolves", len(update), relative)
	if still {
		evidence = fmt.Sprintf("its gradient was exactly zero in the last %d records", len(update))
	}
	return []thermo.Finding{{ID: "frozen-layer", Severity: thermo.Warning, Group: l.Name, Confidence: 1,
		What: "it no longer learns", Evidence: evidence,
		Change: "if it is not frozen on purpose: look for dead units before it, a detached tensor, or a learning rate of zero in its parameter group"}}
}

// collapsing looks for weights that decay to nothing.
func (m *Monitor) collapsing(w []sample, l Layer) []thermo.Finding {
	norms := column(w, l.Name, "weight_norm")
	if len(norms) < 2*lastFew {
		return nil
	}
	now, before, most := norms[len(norms)-1], norms[len(norms)/2], m.heaviest[l.Name]
	if !(now < collapsed*most && now < 0.95*before) {
		return nil
	}
	return []thermo.Finding{{ID: "collapsing-layer", Severity: severity(1-now/most, 0.99), Group: l.Name, Confidence: 1,
		What:     "its weights are collapsing",
		Evidence: fmt.Sprintf("|θ| is %.3g, %.2g of the %.3g it had, and still falls", now, now/most, most),
		Change:   "lower the weight decay of this layer by ten, and begin anew if the loss has suffered"}}
}

// signalEnergy looks for energy that grows or decays from layer to layer.
func signalEnergy(layers []Layer) []thermo.Finding {
	var active []Layer
	for _, l := range layers {
		if l.EnergyIn.Value > 0 {
			active = append(active, l)
		}
	}
	if len(active) < 3 {
		return nil
	}
	first, last := active[0], active[len(active)-1]
	factor := math.Pow(last.EnergyIn.Value/first.EnergyIn.Value, 1/float64(len(active)-1))
	if factor < energyFactor && factor > 1/energyFactor {
		return nil
	}
	word := "explodes"
	if factor < 1 {
		word = "vanishes"
	}
	return []thermo.Finding{{ID: "signal-energy", Severity: thermo.Warning, Confidence: 1,
		What:     fmt.Sprintf("signal energy %s with depth: by %.3g a layer from %s to %s", word, factor, first.Name, last.Name),
		Evidence: fmt.Sprintf("mean square input %.3g at layer %s, %.3g at layer %s", first.EnergyIn.Value, first.Name, last.EnergyIn.Value, last.Name),
		Change:   fmt.Sprintf("scale the initial weights by %.3g, or normalise between the layers", 1/math.Sqrt(factor))}}
}

// noiseDominated looks for gradients that are mostly noise in every layer.
func noiseDominated(w []sample, layers []Layer) []thermo.Finding {
	batch := last(w, "", "batch")
	var scales []float64
	var least thermo.Reading
	for _, l := range layers {
		s := l.NoiseScale
		if !s.Valid() {
			continue
		}
		if scales = append(scales, s.Value); !(s.Value-sigmas*s.StdErr > noiseFactor*batch) {
			return nil
		}
		if least.Name == "" || s.Value < least.Value {
			least = s
		}
	}
	if len(scales) == 0 {
		return nil
	}
	return []thermo.Finding{{ID: "noise-dominated", Severity: thermo.Info, Confidence: chance((least.Value - noiseFactor*batch) / least.StdErr),
		What:     fmt.Sprintf("gradients are mostly noise at a batch of %.0f", batch),
		Evidence: fmt.Sprintf("the gradient-noise scale is %v in layer %s, and larger in all others that are read", least, least.Group),
		Change:   fmt.Sprintf("raise the batch to %.0f, or lower the learning rate: the same progress with less heat", 4*batch)}}
}

// equilibrium looks for a run whose parameters fluctuate about a point and whose
// loss falls no more, at one learning rate.
func (m *Monitor) equilibrium(w []sample, r *Report) []thermo.Finding {
	rho := r.Stationarity
	loss := column(w, "", "loss")
	if !rho.Valid() || len(loss) < Fewest || rho.StdErr > stationaryBand/2 || math.Abs(rho.Value-1) > stationaryBand {
		return nil
	}
	if math.Abs(math.Log(rate(w[len(w)-1])/rate(w[0]))) > rateJump {
		return nil // a schedule lowers it already, and the state follows
	}
	early := mean("", "", "energy", loss[:len(loss)/2])
	late := mean("", "", "energy", loss[len(loss)/2:])
	fall, stderr := early.Value-late.Value, math.Hypot(early.StdErr, late.StdErr)
	if !early.Valid() || !late.Valid() || math.Abs(fall) > 2*stderr {
		return nil
	}
	normal := distuv.Normal{Mu: rho.Value, Sigma: max(rho.StdErr, 1e-9)}
	return []thermo.Finding{{ID: "equilibrium", Severity: thermo.Info,
		Confidence: normal.CDF(1+1.5*stationaryBand) - normal.CDF(1-1.5*stationaryBand),
		What: fmt.Sprintf("the loss has stopped falling and the run is in equilibrium to within %.0f %%: more steps at learning rate %.3g will not lower it",
			math.Ceil(100*(math.Abs(rho.Value-1)+rho.StdErr)), r.LearningRate),
		Evidence: fmt.Sprintf("stationarity %v, 1 when stationary; from the first to the second half of steps %d to %d the loss fell by %s",
			rho, r.From, r.Step, thermo.FormatError(fall, stderr)),
		Change: fmt.Sprintf("lower the learning rate now, to %.3g, or stop", r.LearningRate/5)}}
}

func severity(x, critical float64) thermo.Severity {
	if x >= critical {
		return thermo.Critical
	}
	return thermo.Warning
}

// chance is the confidence of a departure by so many standard errors, below 1.
func chance(sigmas float64) float64 { return min(2*distuv.UnitNormal.CDF(sigmas)-1, 0.9999) }

// split parts the last few values from those before.
func split(values []float64) (before, now []float64) {
	return values[:len(values)-lastFew], values[len(values)-lastFew:]
}

func average(values []float64) float64 {
	var sum float64
	for _, x := range values {
		sum += x
	}
	return sum / float64(len(values))
}

// robust returns the median and the standard deviation as the median of absolute
// deviations gives it, at least a millionth of the median.
func robust(values []float64) (median, deviation float64) {
	sorted := slices.Sorted(slices.Values(values))
	median = sorted[len(sorted)/2]
	for i, x := range sorted {
		sorted[i] = math.Abs(x - median)
	}
	slices.Sort(sorted)
	return median, max(1.4826*sorted[len(sorted)/2], 1e-6*math.Abs(median), math.SmallestNonzeroFloat64)
}

// IDs are the findings there are, as docs/findings.md describes them.
var IDs = []string{"divergence", "too-hot", "equilibrium", "frozen-layer", "collapsing-layer", "dead-units", "saturated-units",
	"signal-energy", "noise-dominated"}
