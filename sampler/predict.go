package sampler

import (
	"errors"
	"fmt"
	"math"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/thermo"
	"gonum.org/v1/gonum/stat"
)

// A Prediction is how well the posterior predictive of a classifier, the mean of
// its class probabilities over all draws, does on a data set. Errors count both
// the finite number of examples and the finite number of chains; the labels of one
// sequence may depend on each other.
type Prediction struct {
	LogLikelihood thermo.Reading // mean over the labels of the log probability, nats
	Accuracy      thermo.Reading
	ECE           thermo.Reading // expected calibration error over the bins
	Likelihood    thermo.Reading // temperature of the labels as choices among the probabilities (docs/theory.md, T6): 1 when calibrated, above when too sure
	Bins          []CalibrationBin
}

// A CalibrationBin is the examples whose most probable class has a probability
// in one tenth of (0, 1].
type CalibrationBin struct {
	Low, High            float64
	Examples             int     // labels, of sequences
	Confidence, Accuracy float64 // means; 0 without examples
}

const calibrationBins = 10

// CheckPredict returns the error that [Predict] would have for the network and the
// set, whatever the draws.
func CheckPredict(network *nn.Network[float32], set *dataset.Set) error {
	if network.Spec.Loss != "ce" || set.Labels == nil {
		return fmt.Errorf("predicting: expected a network with the loss ce, and data with labels")
	}
	if _, err := network.Clone().Energy(nn.Batch[float32]{X: set.X, N: set.N, Labels: set.Labels}); err != nil {
		return fmt.Errorf("predicting: %w", err)
	}
	return nil
}

// Predict evaluates the kept draws of r, which must be those of all parameters
// of the network, on the set.
func Predict(r *Result, network *nn.Network[float32], set *dataset.Set) (*Prediction, error) {
	k := len(network.Params)
	if len(r.Names) != k {
		return nil, fmt.Errorf("predicting: expected draws of %d parameters, got %d", k, len(r.Names))
	}
	if err := CheckPredict(network, set); err != nil {
		return nil, err
	}
	n := network.Clone()
	batch := nn.Batch[float32]{X: set.X, N: set.N, Labels: set.Labels}
	var perChain [][]float64 // class probabilities, examples × classes
	var whole []float64
	for _, c := range r.Chains {
		if c.Kept() == 0 {
			return nil, errors.New("predicting: a chain has no draws")
		}
		var mean []float64
		for t := range c.Kept() {
			for i, v := range c.Draws[t*k : (t+1)*k] {
				n.Params[i] = float32(v)
			}
			if _, err := n.Energy(batch); err != nil {
				return nil, fmt.Errorf("predicting: %w", err)
			}
			mean = addProbabilities(mean, n.Outputs(), len(set.Labels), 1/float64(c.Kept()))
		}
		perChain = append(perChain, mean)
		if whole == nil {
			whole = make([]float64, len(mean))
		}
		for i, p := range mean {
			whole[i] += p / float64(len(r.Chains))
		}
	}
	p := assess(whole, set.Labels, set.Positions())
	var err error
	if p.Likelihood, err = likelihood(whole, set.Labels, set.Positions()); err != nil {
		return nil, fmt.Errorf("predicting: %w", err)
	}
	p.addChainErrors(perChain, set.Labels)
	return p, nil
}

// likelihood reads the temperature of the labels.
func likelihood(probabilities []float64, labels []int32, positions int) (thermo.Reading, error) {
	classes := len(probabilities) / len(labels)
	energies := make([]float64, classes)
	return thermo.MaximumLikelihood(func(yield func([]float64, int) bool) {
		for i, label := range labels {
			for j, p := range probabilities[i*classes : (i+1)*classes] {
				energies[j] = -math.Log(max(p, math.SmallestNonzeroFloat64))
			}
			if !yield(energies, int(label)) {
				return
			}
		}
	}, positions)
}

// addProbabilities adds weight times the softmax of each label's outputs.
func addProbabilities(sum []float64, outputs []float32, labels int, weight float64) []float64 {
	if sum == nil {
		sum = make([]float64, len(outputs))
	}
	classes := len(outputs) / labels
	for i := range labels {
		row := outputs[i*classes : (i+1)*classes]
		largest := row[0]
		for _, z := range row {
			largest = max(largest, z)
		}
		var total float64
		for _, z := range row {
			total += math.Exp(float64(z - largest))
		}
		for j, z := range row {
			sum[i*classes+j] += weight * math.Exp(float64(z-largest)) / total
		}
	}
	return sum
}

// assess scores probabilities, with the errors of the finite set of examples, each
// of so many labels.
func assess(probabilities []float64, labels []int32, positions int) *Prediction {
	n := float64(len(labels))
	classes := len(probabilities) / len(labels)
	p := &Prediction{Bins: make([]CalibrationBin, calibrationBins)}
	logs, hits := make([]float64, len(labels)/positions), make([]float64, len(labels)/positions) // means over an example
	for i, label := range labels {
		row := probabilities[i*classes : (i+1)*classes]
		best := 0
		for j, v := range row {
			if v > row[best] {
				best = j
			}
		}
		b := &p.Bins[min(int(row[best]*calibrationBins), calibrationBins-1)]
		b.Examples++
		b.Confidence += row[best]
		logs[i/positions] += math.Log(max(row[label], math.SmallestNonzeroFloat64)) / float64(positions)
		if best == int(label) {
			hits[i/positions] += 1 / float64(positions)
			b.Accuracy++
		}
	}
	var variance float64
	for i := range p.Bins {
		b := &p.Bins[i]
		b.Low, b.High = float64(i)/calibrationBins, float64(i+1)/calibrationBins
		if b.Examples == 0 {
			continue
		}
		m := float64(b.Examples)
		b.Confidence /= m
		b.Accuracy /= m
		p.ECE.Value += m / n * math.Abs(b.Accuracy-b.Confidence)
		variance += m / n / n * b.Accuracy * (1 - b.Accuracy) * float64(positions) // as if the labels of an example were all alike: the most it can be
	}
	p.LogLikelihood = ofExamples("log-likelihood", "nat", logs)
	p.Accuracy = ofExamples("accuracy", "1", hits)
	p.ECE.Name, p.ECE.Unit, p.ECE.StdErr = "expected calibration error", "1", math.Sqrt(variance)
	return p
}

func ofExamples(name, unit string, xs []float64) thermo.Reading {
	mean, sd := stat.MeanStdDev(xs, nil)
	return thermo.Reading{Name: name, Unit: unit, Value: mean, StdErr: sd / math.Sqrt(float64(len(xs)))}
}

// addChainErrors adds the spread of the chains' own scores to the errors: with
// one chain it is unknown, and the readings are not valid.
func (p *Prediction) addChainErrors(perChain [][]float64, labels []int32) {
	var logs, hits, eces, temperatures []float64
	for _, probabilities := range perChain {
		if t, err := likelihood(probabilities, labels, 1); err == nil && t.Valid() {
			temperatures = append(temperatures, t.Value)
		}
		one := assess(probabilities, labels, 1) // the values do not depend on what belongs together
		logs = append(logs, one.LogLikelihood.Value)
		hits = append(hits, one.Accuracy.Value)
		eces = append(eces, one.ECE.Value)
	}
	for _, r := range []struct {
		reading *thermo.Reading
		values  []float64
	}{{&p.LogLikelihood, logs}, {&p.Accuracy, hits}, {&p.ECE, eces}, {&p.Likelihood, temperatures}} {
		if len(r.values) < 2 {
			if r.reading.Valid() {
				r.reading.Invalid = "one chain does not tell its own error"
			}
			continue
		}
		r.reading.StdErr = math.Hypot(r.reading.StdErr, stat.StdDev(r.values, nil)/math.Sqrt(float64(len(r.values))))
	}
}
