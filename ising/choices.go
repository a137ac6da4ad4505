package ising

import (
	"errors"
	"math"

	"github.com/kelvin-ml/kelvin/thermo"
)

// Choices is what the thermometer needs to know of samples of an energy-based
// model: for each variable, what its options would cost with all other
// variables as they are.
type Choices interface {
	// Samples is how many samples there are, independent of each other.
	Samples() int
	// Visit calls choose once for every variable of a sample, with the
	// energies of its options and the option that was taken.
	Visit(sample int, choose func(energies []float64, taken int))
}

// ChoiceTemperature reads the temperature at which samples of a model with
// known energies were drawn: the maximum of their pseudo-likelihood, Σ log
// softmax(−e/T)[taken] (docs/theory.md, T6.4). The variables of a sample may be
// correlated in any way: the standard error is of the sums over samples, so it
// needs several. For one configuration of a lattice see [Model.Temperature].
func ChoiceTemperature(c Choices) (thermo.Reading, error) {
	n := c.Samples()
	if n < 1 {
		return thermo.Reading{}, errors.New("no samples")
	}
	r := thermo.Reading{Name: "likelihood", Unit: "energy/nat", Value: math.NaN(), StdErr: math.NaN()}
	scale, err := spread(c)
	if err != nil {
		return r, err
	}
	if scale == 0 {
		r.Invalid = "no choice: all options cost the same"
		return r, nil
	}
	// Newton's steps inside a bracket: the likelihood is concave in β.
	low, high := math.Inf(-1), math.Inf(1)
	beta, step := 0.0, 1/scale
	for range 300 {
		score, _, information := choiceScore(c, beta)
		if score > 0 {
			low = beta
		} else {
			high = beta
		}
		next := beta + score/information
		switch {
		case math.IsInf(low, -1) || math.IsInf(high, 1):
			if !(math.Abs(next-beta) < step) {
				next = beta + math.Copysign(step, score)
				step *= 2
			}
		case !(next > low && next < high):
			next = (low + high) / 2
		}
		if math.Abs(next-beta) < 1e-12*(math.Abs(beta)+1e-3/scale) {
			break
		}
		beta = next
		if math.Abs(beta)*scale > 1e6 {
			r.Invalid = "every choice is the cheapest: the temperature is not distinguishable from zero"
			return r, nil
		}
	}
	_, squares, information := choiceScore(c, beta)
	r.Value = 1 / beta
	if n < 2 {
		r.Invalid = "one sample: its variables may be correlated, so there is no error"
		return r, nil
	}
	stderr := math.Sqrt(squares*float64(n)/float64(n-1)) / information
	r.StdErr, r.ESS, r.DoF = stderr/(beta*beta), float64(n), float64(n-1)
	if math.Abs(beta) < 2*stderr {
		r.Invalid = "1/T = " + thermo.FormatError(beta, stderr) + ": not distinguishable from infinite temperature"
	}
	return r, nil
}

// spread returns the largest difference between the energies of two options.
func spread(c Choices) (scale float64, err error) {
	for k := range c.Samples() {
		c.Visit(k, func(energies []float64, taken int) {
			if taken < 0 || taken >= len(energies) {
				err = errors.New("the option taken is not one of the options")
				return
			}
			for _, e := range energies {
				if math.IsNaN(e) || math.IsInf(e, 0) {
					err = errors.New("the energy of an option is not a finite number")
				}
				scale = math.Max(scale, math.Abs(e-energies[taken]))
			}
		})
	}
	return scale, err
}

// choiceScore returns the derivative of the log likelihood by β, the sum of
// the samples' squared derivatives, and minus the second derivative.
func choiceScore(c Choices, beta float64) (score, squares, information float64) {
	for k := range c.Samples() {
		var own float64
		c.Visit(k, func(energies []float64, taken int) {
			lowest := math.Inf(1)
			for _, e := range energies {
				lowest = math.Min(lowest, beta*e)
			}
			var z, first, second float64
			for _, e := range energies {
				w := math.Exp(lowest - beta*e)
				z, first, second = z+w, first+w*e, second+w*e*e
			}
			mean := first / z
			own += mean - energies[taken]
			information += second/z - mean*mean
		})
		score += own
		squares += own * own
	}
	return score, squares, information
}
